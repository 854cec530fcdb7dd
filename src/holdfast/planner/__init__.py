"""The same slot at every vendor: a core without I/O, whose peers are the vendors. See docs/planner.md.

`core.PlannerCore` takes the vendors' answers and the time, and returns what to ask of them next;
`shell` gives it a clock, HTTP and a journal on disk. `holdfast.client.Planner` is the way in.
"""

from holdfast.planner.configuration import Configuration, Vendor
from holdfast.planner.core import PlannerCore
from holdfast.planner.messages import Answered, Call, Unanswered

__all__ = ["Answered", "Call", "Configuration", "PlannerCore", "Unanswered", "Vendor"]
