"""TCP wires between the nodes of a cluster that a test can cut and mend: a network that splits.

A cut wire neither refuses nor closes: what was sent on it waits, as behind a broken switch.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterable, Sequence

from tests.e2e.cluster import HOST, Cluster


class _Wire:
    """One end of a proxied connection: what it said waits here for the other end."""

    def __init__(self, pair: frozenset[str], connection: socket.socket) -> None:
        self.pair = pair
        self.connection = connection
        self.other: _Wire | None = None


class Wires:
    """One listener for each ordered pair of nodes, in one thread. Give each node the site file that
    `attach` writes for it: it reaches every other node through a wire of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self._selector = selectors.DefaultSelector()
        self._cut: set[frozenset[str]] = set()
        self._asleep: list[tuple[socket.socket, _Wire]] = []
        self._turn = threading.Lock()
        self._ending = False
        self._listeners: dict[socket.socket, tuple[frozenset[str], int]] = {}
        self.ports: dict[tuple[str, str], tuple[int, int]] = {}
        """(who dials, whom): where that wire begins, and where it ends."""
        for name in cluster.names:
            ports = dict(cluster.peer_ports)
            for other in cluster.names:
                if other != name:
                    listener = socket.create_server((HOST, 0))
                    ports[other] = listener.getsockname()[1]
                    self.ports[name, other] = (ports[other], cluster.peer_ports[other])
                    self._listeners[listener] = (frozenset((name, other)), cluster.peer_ports[other])
                    self._selector.register(listener, selectors.EVENT_READ)
            cluster.sites[name] = cluster.write_site(f"site-{name}.toml", ports)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def split(self, *sides: Sequence[str]) -> None:
        """From now on only nodes of the same side reach each other; `split("abc")` mends everything."""
        with self._turn:
            names = [name for side in sides for name in side]
            self._cut = {
                frozenset((one, other))
                for one in names
                for other in names
                if one != other and not any(one in side and other in side for side in sides)
            }
            asleep, self._asleep = self._asleep, []
            for connection, wire in asleep:
                self._selector.register(connection, selectors.EVENT_READ, wire)

    def has_cut(self, pair: frozenset[str]) -> bool:
        """Whether these two are split now."""
        return pair in self._cut

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._close([key.fileobj])  # type: ignore[list-item]
        self._close(connection for connection, _ in self._asleep)
        self._selector.close()

    def _close(self, sockets: Iterable[socket.socket]) -> None:
        for connection in sockets:
            connection.close()

    def _run(self) -> None:
        while not self._ending:
            ready = self._selector.select(0.05)
            with self._turn:
                for key, _ in ready:
                    if isinstance(key.data, _Wire):
                        self._carry(key.data)
                    else:
                        self._accept(key.fileobj)  # type: ignore[arg-type]

    def _accept(self, listener: socket.socket) -> None:
        pair, port = self._listeners[listener]
        connection, _ = listener.accept()
        try:
            onward = socket.create_connection((HOST, port))
        except OSError:
            connection.close()
            return
        near, far = _Wire(pair, connection), _Wire(pair, onward)
        near.other, far.other = far, near
        for wire in (near, far):
            self._selector.register(wire.connection, selectors.EVENT_READ, wire)

    def _carry(self, wire: _Wire) -> None:
        if wire.connection.fileno() < 0:
            return
        assert wire.other is not None
        if wire.pair in self._cut:
            self._selector.unregister(wire.connection)
            self._asleep.append((wire.connection, wire))
            return
        try:
            data = wire.connection.recv(1 << 20)
            if data:
                wire.other.connection.sendall(data)
                return
        except OSError:
            data = b""
        for end in (wire, wire.other):
            if end.connection in self._selector.get_map():
                self._selector.unregister(end.connection)
            self._asleep = [item for item in self._asleep if item[1] is not end]
            end.connection.close()
