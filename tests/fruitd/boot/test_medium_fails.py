"""If one of these failed, a boot environment on a full, broken or read-only medium would brick a node, or end its daemon.

Every call with which a backend reads, writes and flushes its medium fails, for once or from then on; the medium is a real file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fruitd.boot import medium
from fruitd.errors import RetryError, SlotError
from tests.fruitd.boot.contract import BootBench
from tests.fruitd.boot.grub_machine import GrubMachine
from tests.fruitd.boot.test_file_backend import FileBench
from tests.fruitd.boot.test_tryboot_backend import FirmwareBench
from tests.fruitd.boot.test_uboot_backend import ModelBench

CALLS = frozenset({"open", "pread", "pwrite", "fsync", "lseek"})
ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)
BENCHES: dict[str, Callable[[Path], BootBench]] = {
    "file": lambda folder: FileBench(folder / "boot.env"),
    "grub": GrubMachine,
    "tryboot": FirmwareBench,
    "uboot": lambda folder: ModelBench(folder, counts=False),
}


class FailingSystem:
    """The module `os` for whoever writes a medium: counts its calls, and fails those it is told to."""

    def __init__(self, fails_from: int, times: int, error: int) -> None:
        self.seen = 0
        self._fails = range(fails_from, fails_from + times)
        self._error = error

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return real if name not in CALLS else lambda *arguments: self._call(real, *arguments)

    def _call(self, real: Callable[..., Any], *arguments: Any) -> Any:
        self.seen += 1
        if self.seen - 1 in self._fails:
            raise OSError(self._error, os.strerror(self._error))
        return real(*arguments)


@pytest.mark.parametrize("change", ["arm", "commit", "mend"])
@pytest.mark.parametrize("loader", BENCHES)
def test_whatever_fails_the_node_starts_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: str, change: str
) -> None:
    """A card that has become read-only, or a bad sector, would leave a loader that starts nothing, or end the daemon."""
    bench = BENCHES[loader](tmp_path)
    words = () if change == "mend" else ("b",)

    def made_with(system: FailingSystem) -> Exception | None:
        backend = bench.backend()
        with monkeypatch.context() as patch:
            patch.setattr(medium, "os", system)
            try:
                getattr(backend, change)(*words)
            except (RetryError, SlotError) as error:
                return error
            return None

    def as_at_first() -> None:
        bench.backend().commit("a")
        bench.power_cycle()

    counter = FailingSystem(0, 0, errno.EIO)
    assert made_with(counter) is None
    assert counter.seen >= 2
    as_at_first()
    refused = 0
    for at in range(counter.seen):
        for times in (1, counter.seen):
            error = made_with(FailingSystem(at, times, ERRORS[at % len(ERRORS)]))
            refused += error is not None
            assert "\n" not in str(error)
            if error is None:
                facts = bench.backend().facts()
                assert change == "mend" or "b" in (facts.armed, facts.default), "it was said to be done"
            bench.power_cycle()
            facts = bench.backend().facts()
            assert facts.active in (("a", "b") if change != "mend" else ("a",))
            assert facts.default in (("a", "b") if change == "commit" else ("a",))
            assert made_with(FailingSystem(0, 0, errno.EIO)) is None, "it does not work any more"
            as_at_first()
    assert refused, "nothing has failed"
