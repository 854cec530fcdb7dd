"""The HTTP API of a vendor's slots: who may call, what is answered, and how it fails on purpose."""
