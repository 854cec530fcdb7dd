"""The branches of a service as servers of their own: the faces of one replicated app.

Every node replicates all branches; a branch's *server* runs at one of them. It takes the requests of the
branch's people, keeps the branch's log, and gives the branch's part of an answer that all branches make together.

- `keeper`: which node serves which branch; it registers in the directory, takes over, and goes home.
- `door`: where a request goes: to the branch here, or by datagram to the node that serves it.
- `gathering`: an answer in parts, each from its own branch's server, all of one number in the order.
- `notes`: what people do at another branch, told to that one's log.
- `log`: what a branch was asked and answered. `messages`: questions between nodes, by datagram (`server.calls`).
- `servers`: all of it put together, for one service at one node.
"""

from holdfast.server.branches.servers import BranchServers

__all__ = ["BranchServers"]
