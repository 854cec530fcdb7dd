"""The wires of a cluster for its datagrams too: rough weather, and what a split cuts.

with closing(Wires(cluster)) as wires, closing(RoughWires(wires, Weather(seed, lost=10))) as rough:
    cluster.start()
"""

from __future__ import annotations

import heapq
import selectors
import socket
import threading
import time

from tests.e2e.cluster import HOST
from tests.e2e.wires import Wires
from tests.runtime.rough_weather import Weather

BUFFER_BYTES = 4 << 20
QUEUE_LOOKS_S = 0.001


class RoughWires:
    """UDP at the numbers of the TCP wires' ports, in one thread of its own. A datagram between nodes that
    `wires` has split is lost; of the others `weather` decides."""

    def __init__(self, wires: Wires, weather: Weather) -> None:
        self.weather = weather
        self._wires = wires
        self._selector = selectors.DefaultSelector()
        self._held: list[tuple[float, int, socket.socket, bytes]] = []
        self._held_so_far = 0
        self._ending = False
        for (near, far), (port, target) in wires.ports.items():
            wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            wire.bind((HOST, port))
            wire.setblocking(False)
            self._selector.register(wire, selectors.EVENT_READ, (frozenset((near, far)), (HOST, target)))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _run(self) -> None:
        while not self._ending:
            for key, _ in self._selector.select(QUEUE_LOOKS_S if self._held else 0.05):
                self._carry(key.fileobj, key.data[0])  # type: ignore[arg-type]
            now_s = time.monotonic()
            while self._held and self._held[0][0] <= now_s:
                _, _, wire, data = heapq.heappop(self._held)
                self._pass(wire, data)

    def _carry(self, wire: socket.socket, pair: frozenset[str]) -> None:
        data = wire.recv(65_536)
        if self._wires.has_cut(pair):
            return
        for delay_s in self.weather.copies():
            if delay_s:
                self._held_so_far += 1
                heapq.heappush(self._held, (time.monotonic() + delay_s, self._held_so_far, wire, data))
            else:
                self._pass(wire, data)

    def _pass(self, wire: socket.socket, data: bytes) -> None:
        try:
            wire.sendto(data, self._selector.get_key(wire).data[1])
        except OSError:
            self.weather.counters["lost"] += 1
