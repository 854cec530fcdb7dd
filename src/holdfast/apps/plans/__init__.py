"""What planners have come to, and who is told of it."""

from holdfast.apps.plans.app import Plans, booked_text
from holdfast.apps.plans.replies import (
    Concluded,
    NobodyNamed,
    NoSuchPerson,
    NoSuchPlan,
    PlanList,
    TooManyTold,
    Withdrawn,
)
from holdfast.apps.plans.rows import Plan
from holdfast.apps.plans.words import PLANS_MAX, TOLD_MAX, VENDORS_MAX, Conclude, Mine, Withdraw

__all__ = [
    "Plans",
    "Concluded",
    "NoSuchPerson",
    "NoSuchPlan",
    "NobodyNamed",
    "PlanList",
    "TooManyTold",
    "Withdrawn",
    "Plan",
    "Conclude",
    "Mine",
    "PLANS_MAX",
    "TOLD_MAX",
    "VENDORS_MAX",
    "Withdraw",
    "booked_text",
]
