"""Messages under virtual time: people, their devices, a model of the whole service, and what it is judged by."""
