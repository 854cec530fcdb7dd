"""The load generator's clients speaking to etcd: put a key, delete it, through etcd's JSON gateway.

The gateway costs etcd more than its own gRPC does, so these figures are lower than those of its
compiled tool; the generator's own CPU share is printed beside them.

    python benchmarks/etcd_load.py '{"servers": [["127.0.0.1", 2379]], "clients": 16}'
"""

from __future__ import annotations

import base64
import json
import sys

import msgspec

from holdfast.bench.load import Client, Load, LoadError, LoadOptions


def request(path: str, body: dict[str, str]) -> bytes:
    """One HTTP/1.1 request on a connection that stays open."""
    data = json.dumps(body).encode()
    return b"POST %b HTTP/1.1\r\nHost: etcd\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(data), data)


class EtcdLoad(Load):
    """Closed-loop clients of etcd; one request on its way for each."""

    def __init__(self, options: LoadOptions) -> None:
        super().__init__(options)
        for index, client in enumerate(self.clients):
            key = base64.b64encode(f"{options.tag}{index}".encode()).decode()
            value = base64.b64encode(b"1").decode()
            client.requests = [
                request("/v3/kv/put", {"key": key, "value": value}),
                request("/v3/kv/deleterange", {"key": key}),
            ]
            client.replies = [b'{"header":', b'{"header":']

    def take(self, client: Client, data: bytes, now: float) -> None:
        """A response is complete when as many bytes follow its head as the head announces."""
        client.partial += data
        head, separator, body = client.partial.partition(b"\r\n\r\n")
        if not separator:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"content-length" not in fields:
            raise LoadError(f"etcd answered without a length: {head!r}")
        if len(body) < int(fields[b"content-length"]):
            return
        client.partial = b""
        if b" 200 " not in head[:16] or not body.startswith(client.replies[client.checked]):
            self.fail(f"etcd answered {head[:40]!r} {body[:80]!r}")
        client.checked = (client.checked + 1) % len(client.replies)
        self.note_times(client, 1, now)
        self.send_next(client, 1, now)


def main() -> None:
    """Apply the load, print one row of the table."""
    options = msgspec.json.decode(sys.argv[1], type=LoadOptions)
    try:
        result = EtcdLoad(options).run()
    except LoadError as error:
        sys.exit(f"etcd_load: {error}")
    if result.errors or result.unanswered:
        sys.exit(f"etcd_load: {result.errors} wrong replies, {result.unanswered} unanswered; {result.first_error}")
    print(
        f"| etcd, JSON gateway | {options.clients} | {result.per_second:,.0f} | {result.p50_ms:.2f} "
        f"| load generator {result.cpu_share:.0%} of a CPU |"
    )


if __name__ == "__main__":
    main()
