"""Free loopback ports for the tests: none is given out twice, so that two askers of one test never get the same."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"


def _candidates() -> Iterator[int]:
    """Ports below those that the system gives to outgoing connections, each once, in an order of this run."""
    ports = list(range(10_000, 32_000))
    random.Random(os.urandom(8)).shuffle(ports)
    yield from ports


_CANDIDATES = _candidates()


def _is_free(port: int) -> bool:
    """Whether nobody has this port now, for streams or for datagrams."""
    with contextlib.ExitStack() as held:
        stream = held.enter_context(socket.socket())
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        datagrams = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            stream.bind((HOST, port))
            datagrams.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` ports that nobody has now and that this run of the tests never gave out before."""
    ports: list[int] = []
    while len(ports) < count:
        port = next(_CANDIDATES, None)
        assert port is not None, "this run of the tests has used up its ports"
        if _is_free(port):
            ports.append(port)
    return ports
