"""Bayou: replicas that each take reads and writes alone and agree afterwards.

- D. Terry et al., *Managing Update Conflicts in Bayou, a Weakly Connected Replicated Storage System*, SOSP 1995.
- K. Petersen et al., *Flexible Update Propagation for Weakly Consistent Replication*, SOSP 1997.
- D. Terry et al., *Session Guarantees for Weakly Consistent Replicated Data*, PDIS 1994.
"""

from holdfast.replication.bayou.configuration import RETENTION_MS, BayouConfiguration
from holdfast.replication.bayou.core import Bayou, genesis_records

__all__ = ["RETENTION_MS", "Bayou", "BayouConfiguration", "genesis_records"]
