"""What can be drawn for a run of planners."""

from __future__ import annotations

MODELS = ("named", "unnamed")
"""Whether vendors name their longest delay. Where they do not, and take longer than a planner assumes, a
late leak cannot be seen, and all that is asked of the planner is that it has warned."""

PROBABLE = ("unavailable", "unprocessed", "limited", "odd", "garbage", "lost", "delayed", "late", "reset")
"""What can become of any one request; see `vendor.Troubles`."""
FIRST = (*PROBABLE, "outage", "crash", "rivals", "blocks", "lax")
"""`outage`: a vendor is down for up to minutes; `crash`: of planners; `lax`: a vendor that does not keep its
own limit of two holds, so that the planner must."""
LATER = ("gone", "leases")
"""`gone`: a vendor falls silent and stays so until every plan has ended; `leases`: vendors where a slot runs out
unless it is confirmed, for good or for one more lease, and some that take no confirmations. What a world has of
these is drawn from a source of its own, so that what else a seed means stays as it was before they came."""
FAULTS = (*FIRST, *LATER)
