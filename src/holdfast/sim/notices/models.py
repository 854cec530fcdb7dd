"""Which services a run of notices may be between."""

from __future__ import annotations

MODELS = ("lamport-lamport", "solo-solo", "bayou-lamport", "lamport-bayou", "bayou-bayou")
"""The source's protocol and the receiver's."""
