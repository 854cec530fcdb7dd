"""What every test may use."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("short", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("short"), max_examples=2000)
LONG = os.environ.get("HOLDFAST_LONG") == "1"
settings.load_profile("long" if LONG else "short")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts the tests in the background of a script has them ignore Ctrl-C, and so would every program here.
    signal.signal(signal.SIGINT, signal.default_int_handler)

Until = Callable[..., None]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long form of a test stays out of the short run; it is never the only form."""
    if LONG:
        return
    long_forms = [item for item in items if item.get_closest_marker("slow")]
    if long_forms:
        config.hook.pytest_deselected(items=long_forms)
        items[:] = [item for item in items if item not in long_forms]


@pytest.fixture
def until() -> Until:
    """`until(condition, timeout_s=10)`: returns as soon as `condition()` is true, fails at the timeout."""

    def wait(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"still not so after {timeout_s} s: {condition}"
            time.sleep(0.005)

    return wait
