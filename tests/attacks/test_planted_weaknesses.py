"""The suite is shown weaknesses of every kind it is there to find: it has to notice each."""

from __future__ import annotations

import pytest

from bep35 import signing
from swarm.blob_checks import FileCheck
from swarm.trust import trusted_set
from swarm.trust.root import TrustRoot
from tests.attacks import stories
from tests.attacks.stage import Stage, Touchable
from tests.attacks.table import ROWS, unmoved

pytestmark = pytest.mark.world

assert stories.__doc__, "importing it fills the table"


def fallen(*names: str) -> list[str]:
    """Of these rows, those that do not end as they have to."""
    chosen = [row for row in ROWS if row.name in names]
    assert len(chosen) == len(names), names
    found = []
    for row in chosen:
        stage = Stage.set()
        try:
            row.play(stage)
            stage.good()
        except Exception:  # an assertion, or whatever a weakness leads to
            found.append(row.name)
    return found


class AnyHash(bytes):
    """The hash of whatever was asked for."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


TOO_FEW = (
    "an unsigned manifest, push",
    "a manifest by one release key, exchange",
    "a next root by one root key",
)
WRONG_BYTES = ("a peer gives the torrent of the release before",)
UNFIT = ("a torrent for another board", "a torrent of another release number")


def test_the_rows_stand_without_a_weakness() -> None:
    """What falls in any case would show nothing."""
    assert fallen(*TOO_FEW, *WRONG_BYTES, *UNFIT) == []


def test_thresholds_that_nobody_checks_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stolen key would do, and every test would pass."""
    monkeypatch.setattr(TrustRoot, "check_threshold", lambda self, role, fact: None)
    assert fallen(*TOO_FEW) == list(TOO_FEW)


def test_hashes_that_nobody_checks_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody's bytes would pass for a torrent, and every test would pass."""
    monkeypatch.setattr(trusted_set, "_agree", lambda *_: None)
    monkeypatch.setattr(signing, "verify", lambda *_: {})
    assert set(fallen(*UNFIT)) == set(UNFIT)
    monkeypatch.undo()
    # Bytes whose hash nobody looked at go on to the check against the manifest, which refuses the whole release for them.
    monkeypatch.setattr(FileCheck, "blob_id", lambda self: AnyHash())
    assert set(fallen(*WRONG_BYTES)) == set(WRONG_BYTES)


def touched(stage: Stage) -> list[str]:
    """Every kind of touch, one after the other; those that the comparison does not see."""
    machine = stage.victim.machine
    unseen = []

    def arm() -> None:
        machine.armed = "a" if machine.active == "b" else "b"

    def write() -> None:
        machine.slots[str(machine.active)].blocks[0] += 1

    def boot() -> None:
        machine.booted += 1

    def forget() -> None:
        machine.disk.records.pop(next(name for name in machine.disk.records if name[0] == "manifest"))

    def journal() -> None:
        machine.disk.journal = None

    for touch in (arm, write, boot, journal, forget):
        before = Touchable.of(stage.victim)
        touch()
        if not before.differences(_seen(stage, before)):
            unseen.append(touch.__name__)
    return unseen


def _seen(stage: Stage, before: Touchable) -> Touchable:
    try:
        return Touchable.of(stage.victim)
    except AssertionError:  # it holds what it has not kept
        return Touchable(None, (), (), 0, {})


def test_every_touch_is_seen() -> None:
    """A slot that was written, or a boot environment that was changed, would pass for untouched."""
    assert touched(Stage.set()) == []


def test_a_comparison_that_sees_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test before this one could not fail."""
    monkeypatch.setattr(Touchable, "differences", lambda self, now: [])
    assert len(touched(Stage.set())) == 5


def test_unmoved_fails_where_something_moved() -> None:
    """No row could fail."""
    stage = Stage.set()
    before = Touchable.of(stage.victim)
    stage.good()
    with pytest.raises(AssertionError):
        unmoved(stage, before)
