"""What all tests share: what needs root, in which order they run, and what keeps tests that run beside each other apart.

Tests marked `root` are skipped by name without root, and fail instead where CI says that it is root.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fruitd.demo import cluster

# An example is not wrong because the machine is busy: by default 200 ms are an error, and a second to make data a failed check.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# What tests share asserts too, and is to say what it saw.
pytest.register_assert_rewrite(
    *(f"tests.{folder.name}" for folder in Path(__file__).parent.iterdir() if folder.is_dir())
)
pytest_plugins = ["tests.attacks.scoring"]
NO_SKIP = "FRUIT_NO_ROOT_SKIP"
LONG = (
    "tests/swarm_of_daemons/test_twenty_nodes.py",
    "tests/unbrickable/test_crash_states.py",
    "tests/hw/test_garbage.py",
    "tests/fuzz/",
    "tests/swarm_of_daemons/",
    "tests/unbrickable/",
    "tests/simulations/",
    "tests/attacks/",
    "tests/swarm/",
)
"""Begun first, in this order, so that the last minutes are short tests: a process that is left with a long one would keep the
others waiting. A file or folder that is new and long belongs here; left out, it costs time, nothing else."""


def pytest_configure(config: pytest.Config) -> None:
    """Processes that test beside each other never give one port to two daemons; what tests start heeds Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So it is for what a script runs in its background, and for everything that is started by that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        number, count = int(worker["workerid"].removeprefix("gw")), int(worker["workercount"])
        cluster.PORTS = cluster.PORTS[number % count :: count]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first."""
    items.sort(
        key=lambda item: next(
            (n for n, begins in enumerate(LONG) if item.nodeid.startswith(begins)), len(LONG)
        )
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Loop devices, mounts and namespaces need root; a CI that lost it must not pass for having tested them."""
    if item.get_closest_marker("root") is None or os.geteuid() == 0:
        return
    if os.environ.get(NO_SKIP) == "1":
        pytest.fail(f"needs root, and {NO_SKIP}=1 forbids to skip it", pytrace=False)
    pytest.skip("needs root")
