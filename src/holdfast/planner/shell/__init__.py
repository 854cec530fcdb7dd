"""The planner's shell: HTTP, the clock and the journal on disk around the core. See docs/planner.md."""

from holdfast.planner.shell.planner import Outcome, Planner, PlanStopped, Unknown

__all__ = ["Outcome", "PlanStopped", "Planner", "Unknown"]
