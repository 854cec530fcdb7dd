"""Bayou: replicas that each take reads and writes alone and agree afterwards.

- D. Terry et al., *Managing Update Conflicts in Bayou, a Weakly Connected Replicated Storage System*, SOSP 1995.
- K. Petersen et al., *Flexible Update Propagation for Weakly Consistent Replication*, SOSP 1997.
- D. Terry et al., *Session Guarantees for Weakly Consistent Replicated Data*, PDIS 1994.
"""
