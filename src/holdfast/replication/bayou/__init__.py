"""Bayou: replicas that each take reads and writes alone and agree afterwards.

- D. Terry et al., *Managing Update Conflicts in Bayou, a Weakly Connected Replicated Storage System*, SOSP 1995.
- K. Petersen et al., *Flexible Update Propagation for Weakly Consistent Replication*, SOSP 1997.
- D. Terry et al., *Session Guarantees for Weakly Consistent Replicated Data*, PDIS 1994.
"""

from holdfast.kernel.contracts import App
from holdfast.kernel.machine import Machine
from holdfast.replication.bayou.configuration import RETENTION_MS, BayouConfiguration
from holdfast.replication.bayou.core import Bayou, genesis_records

__all__ = ["RETENTION_MS", "Bayou", "BayouConfiguration", "genesis_records", "make_machine"]


def make_machine(app: App) -> Machine:
    """The machine of a Bayou replica: a client's requests may come days late, and out of their order."""
    return Machine(app, retention_ms=RETENTION_MS, in_order=False)
