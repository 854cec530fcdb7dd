"""Active replication ordered by Lamport's mutual exclusion (Lamport 1978), seed 002.

`exclusion` is the algorithm itself: timestamped request, acknowledgement, release. `views` decides
who takes part in it, `joining` brings servers back, `reads` answers queries, `snapshots` cuts the
journal; `replica` is the state they share and `core` the inputs and timers.
"""

from holdfast.replication.lamport.configuration import LamportConfiguration
from holdfast.replication.lamport.core import Lamport, genesis_records

__all__ = ["Lamport", "LamportConfiguration", "genesis_records"]
