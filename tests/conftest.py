"""What all tests share: tests marked `root` are skipped by name without root, and fail instead where CI says that it is root."""

from __future__ import annotations

import os

import pytest

NO_SKIP = "FRUIT_NO_ROOT_SKIP"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Loop devices, mounts and namespaces need root; a CI that lost it must not pass for having tested them."""
    if item.get_closest_marker("root") is None or os.geteuid() == 0:
        return
    if os.environ.get(NO_SKIP) == "1":
        pytest.fail(f"needs root, and {NO_SKIP}=1 forbids to skip it", pytrace=False)
    pytest.skip("needs root")
