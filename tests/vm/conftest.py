"""Whether virtual machines can and shall be had here, and what the tests share of them."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.fleet import HANG, PANIC, UNWELL, Workshop, spares
from tests.vm.machine import QEMU

TOOLS = {
    QEMU: "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "grub-mkimage": "grub-common",
    "debugfs": "e2fsprogs",
    "mke2fs": "e2fsprogs",
}
FORM = "FRUIT_VM"
"""`short` or `long`: which form is wanted. Without it, machines are started by no test."""


def _missing() -> str | None:
    if os.environ.get(FORM) not in ("short", "long"):
        return f"virtual machines take minutes: make test-vm, or {FORM}=short or long"
    absent = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if not Path("/usr/lib/grub/i386-pc/boot.img").exists():
        absent.append("grub-pc-bin")
    if absent:
        return f"no virtual machines: apt install {' '.join(absent)}"
    return None if os.geteuid() == 0 else "a root image is made by root"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name, what starts machines where there are none to be had."""
    why = _missing()
    if why is not None and os.environ.get(FORM) and os.environ.get("FRUIT_NO_ROOT_SKIP") == "1":
        raise pytest.UsageError(why)
    for item in items:
        if why is not None and item.get_closest_marker("vm") is not None:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def long() -> bool:
    """True in the long form."""
    return os.environ.get(FORM) == "long"


@pytest.fixture(scope="session")
def seed() -> int:
    """Decides at which moments power is cut; `FRUIT_VM_SEED` repeats one."""
    value = int(os.environ.get("FRUIT_VM_SEED") or secrets.randbelow(10**6))
    print(f"FRUIT_VM_SEED={value}")
    return value


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A swarm's maintainer, the root image, and machines that run: a publisher and two peers, four in the long form."""
    shop = Workshop.open(tmp_path_factory.mktemp("vm"))
    try:
        shop.add_release(2, "one")
        shop.add_release(3, "two", {"/usr/sbin/init": PANIC})
        if os.environ[FORM] == "long":
            shop.add_release(4, "three", {"/usr/sbin/init": HANG})
            shop.add_release(5, "four", {"/usr/local/bin/node-is-well": UNWELL})
        shop.add_release(6, "two")
        for release in spares(long=os.environ[FORM] == "long"):
            shop.add_release(release, "one")
        shop.start()
        yield shop
    finally:
        shop.close()
