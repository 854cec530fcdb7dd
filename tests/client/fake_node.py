"""A process that answers `status` as a node does: `python fake_node.py NAME PORT [stubborn|broken]`."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import sys

NAME, PORT, *HABIT = sys.argv[1:]


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        if self.rfile.readline() == b"status\n":
            service: dict[str, object] = {
                "service": "tickets",
                "protocol": "lamport",
                "model": "perfect",
                "state": "active",
            }
            service |= {"view": ["a", "b"], "epoch": 3, "position": 17, "digest": "0123456789abcdef", "lag": 0}
            status = {"node": NAME, "pid": os.getpid(), "services": [service]}
            self.wfile.write(json.dumps(status).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if HABIT == ["broken"]:
    print("[error] the journal is damaged: set the disk aside and start again", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, signal.SIG_IGN if HABIT == ["stubborn"] else lambda *_: os._exit(0))
Server(("127.0.0.1", int(PORT)), Handler).serve_forever()
