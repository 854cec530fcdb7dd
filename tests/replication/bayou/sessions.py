"""A person's session with the service, which goes from node to node and takes along what it has seen."""

from __future__ import annotations

from tests.replication.bayou.replicas import Replicas

from holdfast.server.reading import ReadingSession


class Session:
    """One person's session with the service, from node to node, as the server keeps it."""

    def __init__(self, replicas: Replicas, *guarantees: str) -> None:
        self._replicas = replicas
        self._session = ReadingSession("rooms")
        self._session.begin(guarantees, "")

    def see(self, view: str) -> None:
        """From now on, this view."""
        self._session.see(view)

    def ask(self, name: str, line: str) -> str:
        """Read at a node."""
        text = self._replicas.ask(name, line, reading=self._session.reading)
        self._session.learn(self._replicas.replies[-1][2])
        return text

    def submit(self, name: str, line: str) -> str:
        """Write at a node."""
        self._replicas.submit(name, line, reading=self._session.reading)
        _, _, reply = self._replicas.replies[-1]
        self._session.learn(reply)
        return reply.text()
