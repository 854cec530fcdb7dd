"""Holdfast's rooms, and pycrdt where it is installed: ten replicas write alone, then meet. One row each.

python rooms_peers.py holdfast|pycrdt REPLICAS CLAIMS
"""

from __future__ import annotations

import importlib.metadata
import sys
import time
from typing import Any


def pycrdt(replicas: int, claims: int) -> str:
    """One key for each claim; each replica takes in what each other one made, as bytes."""
    import pycrdt as crdt

    docs: list[Any] = [crdt.Doc() for _ in range(replicas)]
    maps = [doc.get("claims", type=crdt.Map) for doc in docs]
    for one, mine in enumerate(maps):
        for number in range(claims):
            slot = f"Oak@2027-01-04@{(one * 7 + number * 13) % 500}"
            mine[f"{one}-{number}"] = {"slot": slot, "by": f"replica-{one}", "ms": 1_795_000_000_000 + number}
    begin = time.process_time()
    made = [doc.get_update() for doc in docs]
    sent = 0
    for to, doc in enumerate(docs):
        for giver, update in enumerate(made):
            if giver != to:
                sent += len(update)
                doc.apply_update(update)
    used_ms = (time.process_time() - begin) * 1e3
    assert all(len(mine) == replicas * claims for mine in maps), "not merged"
    return f"| pycrdt {importlib.metadata.version('pycrdt')} | {used_ms:.0f} | {sent / 1e6:.1f} | none |"


def holdfast(replicas: int, claims: int) -> str:
    """The merge of `holdfast bench rooms`, until everything is confirmed at every replica."""
    from holdfast.bench.rooms import as_in_a_node, measure_merge

    with as_in_a_node():
        merge = measure_merge("all-heard", claims, 500)
    assert (merge.agree, merge.replicas) == (True, replicas), "not merged"
    name = f"| Holdfast {importlib.metadata.version('holdfast')}, rooms decided and confirmed"
    executed = f"{merge.executions_each:.2f} executions a write a replica"
    return f"{name} | {merge.cpu_s * 1e3:.0f} | {merge.bytes_sent / 1e6:.1f} | all, {executed} |"


if __name__ == "__main__":
    measure = {"holdfast": holdfast, "pycrdt": pycrdt}[sys.argv[1]]
    try:
        print(measure(int(sys.argv[2]), int(sys.argv[3])), flush=True)
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed, so it is left out (see rooms_peers.sh).", file=sys.stderr)
