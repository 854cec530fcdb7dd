"""Front end, sequencer, replica managers and a vote (seed 003): right answers although a replica is wrong.

- `front`: takes requests, believes what enough replicas say alike, reports the others.
- `sequencing`: gives each request its number; another node takes the role over when its node dies.
- `manager`: journals the order and decides it with the others; `log`, `entering`: the order it holds.
- `replica`: executes what is decided, and may be wrong; `council`: what the managers agree on about that;
  `copying`: how a replica is begun anew. `core`: the inputs and timers.

The order is replicated as in B. Oki and B. Liskov, *Viewstamped Replication*, PODC 1988; what is
executed is voted on as in F. Schneider, *Implementing Fault-Tolerant Services Using the State Machine
Approach*, ACM Computing Surveys 1990.
"""

from holdfast.replication.sequencer.configuration import SequencerConfiguration
from holdfast.replication.sequencer.core import Sequencer, genesis_records

__all__ = ["Sequencer", "SequencerConfiguration", "genesis_records"]
