"""Notices between services: what `kernel.forwarding` decides, done at a node.

- `carrying`: one service's forwarder here, with the replica that it reads and the nodes it brings notices to.
- `receiving`: the questions of other nodes, where the service that delivers has a replica.
- `messages`: what nodes say to each other about it, by datagram.
- `office`: all of it put together, for one node.
"""

from holdfast.server.notices.office import NoticeOffice

__all__ = ["NoticeOffice"]
