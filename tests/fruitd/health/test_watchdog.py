"""If one of these failed, a node that hangs on trial would hang for ever, or one that is well be restarted by its watchdog."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fruitd.health.watchdog import MAGIC_CLOSE, Watchdog, WatchdogDevice


class Fake:
    """A watchdog with a countdown: physics, not a mock."""

    def __init__(self, longest_s: int = 15, error: int | None = None) -> None:
        self.longest_s = longest_s
        self.timeout_s = 60
        self.left_s: float | None = None
        self.error = error
        self.bitten = False

    def open(self) -> None:
        if self.error is not None:
            raise OSError(self.error, "as asked")
        self.left_s = self.timeout_s

    def set_timeout(self, seconds: int) -> int:
        self.timeout_s = min(seconds, self.longest_s)
        return self.timeout_s

    def pet(self) -> None:
        self.left_s = self.timeout_s

    def close(self, *, stop: bool) -> None:
        if stop:
            self.left_s = None

    def pass_time(self, seconds: float) -> None:
        if self.left_s is not None:
            self.left_s -= seconds
            self.bitten = self.bitten or self.left_s <= 0


def test_a_node_that_lives_is_not_bitten_and_one_that_hangs_is() -> None:
    """As this file says."""
    device = Fake()
    watchdog = Watchdog(device, "/dev/watchdog", 30)
    watchdog.hold()
    assert watchdog.words == "/dev/watchdog is held, 15 s", "the hardware knows no more"
    for _ in range(100):
        device.pass_time(watchdog.every_s)
        watchdog.pet()
    assert not device.bitten
    device.pass_time(watchdog.every_s)
    device.pass_time(15)
    assert device.bitten


def test_after_the_trial_nothing_bites() -> None:
    """A node that has committed would be restarted fifteen seconds later."""
    device = Fake()
    watchdog = Watchdog(device, "/dev/watchdog", 10)
    watchdog.hold()
    watchdog.stop()
    device.pass_time(1000)
    assert not device.bitten
    assert not watchdog.held
    watchdog.stop()
    watchdog.pet()
    assert device.left_s is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.EBUSY, "somebody else holds it, such as systemd"),
        (errno.ENOENT, "this machine has none"),
        (errno.EACCES, "the daemon's user may not open it"),
        (errno.EIO, "as asked"),
    ],
)
def test_a_trial_goes_on_without_a_watchdog_and_says_why(error: int, words: str) -> None:
    """A machine without one could never update; or nobody would know that it runs without."""
    watchdog = Watchdog(Fake(error=error), "/dev/watchdog", 10)
    watchdog.hold()
    watchdog.pet()
    watchdog.stop()
    assert words in watchdog.words


def test_no_watchdog_is_wanted() -> None:
    """A demo on somebody's laptop would reset it."""
    watchdog = Watchdog(None, "", 10)
    watchdog.hold()
    watchdog.pet()
    watchdog.stop()
    assert not watchdog.held
    assert watchdog.words == "not used: the configuration names none"


def test_a_device_is_stopped_by_the_magic_letter_only(tmp_path: Path) -> None:
    """Closing would not stop the watchdog after a commit, or would stop it when the daemon dies."""
    path = tmp_path / "watchdog"
    path.write_bytes(b"")
    device = WatchdogDevice(path)
    device.open()
    assert device.set_timeout(12) == 12, "a file knows no timeouts"
    with pytest.raises(OSError):
        device.pet()
    device.close(stop=False)
    assert path.read_bytes() == b""
    device.open()
    device.close(stop=True)
    assert path.read_bytes() == MAGIC_CLOSE


def test_the_numbers_are_the_kernels() -> None:
    """Another request than was meant would be made of the driver."""
    from fruitd.health import watchdog as module

    def request(direction: int, number: int) -> int:
        return direction << 30 | 4 << 16 | ord("W") << 8 | number

    assert request(2, 5) == module._KEEPALIVE
    assert request(3, 6) == module._SETTIMEOUT
    assert request(2, 7) == module._GETTIMEOUT


@pytest.mark.root
def test_a_real_watchdog() -> None:
    """The driver would answer otherwise than the fake."""
    path = Path("/dev/watchdog0")
    if not path.exists():
        pytest.skip("this kernel has no watchdog (softdog is not built in)")
    watchdog = Watchdog(WatchdogDevice(path), str(path), 60)
    watchdog.hold()
    watchdog.pet()
    held = watchdog.held
    watchdog.stop()
    assert held or "cannot be held" in watchdog.words
