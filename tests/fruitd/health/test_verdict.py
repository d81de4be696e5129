"""If one of these failed, a trial would condemn a release for an old fault or an outage, or keep one that broke something."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.errors import RefusedError
from fruitd.health.baseline import BYTES_MAX, Baseline, checks_before
from fruitd.health.hearing import GOOD, Hearing, judge_hearing
from fruitd.health.verdict import Result, Verdict, judge

OUTAGE = Verdict(None, "no node is heard", excused=True)
CUT_OFF = Verdict(None, "no network interface is left")


def result(name: str, ok: bool, *, patient: bool = False) -> Result:
    return Result(name, ok, "well" if ok else "unwell", patient)


@pytest.mark.parametrize(
    ("now", "before", "network", "ok", "excused"),
    [
        ([result("x", True)], {}, GOOD, True, False),
        ([], {}, GOOD, True, False),
        # a fault that is new is the release's, whatever the network does
        ([result("x", False)], {"x": True}, GOOD, False, False),
        ([result("x", False)], {"x": True}, OUTAGE, False, False),
        ([result("x", False)], {}, GOOD, False, False),
        # one that was there before is not
        ([result("x", False)], {"x": False}, GOOD, True, False),
        ([result("x", False), result("y", False)], {"x": False, "y": True}, GOOD, False, False),
        ([result("x", True)], {"x": False}, GOOD, True, False),
        # the network
        ([result("x", True)], {"x": True}, OUTAGE, None, True),
        ([result("x", True)], {"x": True}, CUT_OFF, None, False),
        # what time may mend
        ([result("time", False, patient=True)], {"time": True}, GOOD, None, False),
        ([result("time", False, patient=True)], {"time": False}, GOOD, True, False),
        ([result("time", False, patient=True)], {"time": True}, OUTAGE, None, True),
        ([result("time", False, patient=True), result("x", False)], {}, GOOD, False, False),
    ],
)
def test_one_look(
    now: list[Result], before: dict[str, bool], network: Verdict, ok: bool | None, excused: bool
) -> None:
    """As this file says; row by row."""
    verdict = judge(now, before, network)
    assert (verdict.ok, verdict.excused) == (ok, excused)


def test_the_reason_names_the_check() -> None:
    """An operator would read that something is wrong, and not what."""
    now = [
        Result("disk", True, "90 MiB free"),
        Result("health.d/camera", False, "no frames"),
        result("y", False),
    ]
    assert judge(now, {}, GOOD).why == "health.d/camera: no frames, and 1 more"
    now = now[:2]
    assert judge(now, {"health.d/camera": False}, GOOD).why == (
        "no worse than before the update (health.d/camera: no frames)"
    )
    assert judge([Result("command", True, "all 4 sensors answer")], {}, GOOD).why == "all 4 sensors answer"


NOBODY, MATES, FAR, BOTH = Hearing(), Hearing(mates=True), Hearing(far=True), Hearing(mates=True, far=True)
PENDING, EXCUSED = (None, False), (None, True)
WELL = (True, False)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        # nobody was heard before: nothing to lose
        (NOBODY, NOBODY, WELL),
        (NOBODY, MATES, WELL),
        # as before
        (MATES, MATES, WELL),
        (MATES, FAR, WELL),
        (FAR, FAR, WELL),
        (BOTH, BOTH, WELL),
        (BOTH, FAR, WELL),
        # the way out is lost
        (BOTH, MATES, EXCUSED),
        (FAR, MATES, EXCUSED),
        (BOTH, Hearing(mates=True, news=True), PENDING),
        # nobody is heard any more
        (MATES, NOBODY, EXCUSED),
        (FAR, NOBODY, EXCUSED),
        (BOTH, Hearing(gateway=False), EXCUSED),
        (MATES, Hearing(gateway=True), PENDING),
        (BOTH, Hearing(gateway=True), PENDING),
        (FAR, Hearing(gateway=True), EXCUSED),
        (FAR, Hearing(interface=False), PENDING),
        (MATES, Hearing(interface=False), PENDING),
    ],
)
def test_what_is_heard(before: Hearing, now: Hearing, expected: tuple[bool | None, bool]) -> None:
    """A release that breaks the network would be kept, or a broken uplink roll a good one back."""
    verdict = judge_hearing(before, now)
    assert (verdict.ok, verdict.excused) == expected
    assert bool(verdict.why) == (verdict.ok is not True)


def test_silence_never_condemns_and_never_keeps() -> None:
    """Exhaustive: who hears less than before is neither kept nor condemned, whatever else there is to see."""
    flags = [False, True]
    for mates, far, m, f, news, interface in itertools.product(flags, repeat=6):
        for gateway in (None, False, True):
            before, now = Hearing(mates, far), Hearing(m, f, news, interface, gateway)
            verdict = judge_hearing(before, now)
            assert verdict.ok is not False
            lost = (far and not f) or (mates and not m and not f)
            assert (verdict.ok is None) == lost


def test_a_check_that_fails_now_and_then_is_not_excused() -> None:
    """A hiccup just before the update would excuse whatever the release breaks."""
    looks = [[result("x", False), result("y", False)], [result("x", True), result("y", False)]]
    assert checks_before(looks) == {"x": True, "y": False}


@given(
    st.text(max_size=64),
    st.dictionaries(st.text(max_size=50), st.booleans(), max_size=20),
    st.builds(
        Hearing,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from([None, True, False]),
    ),
    st.floats(0, 4e9) | st.just(float("inf")),
)
def test_a_baseline_is_read_as_it_was_written(
    infohash: str, checks: dict[str, bool], hearing: Hearing, clock_s: float
) -> None:
    """After the restart, old faults would count against the new release."""
    baseline = Baseline(infohash, checks, hearing, clock_s)
    assert Baseline.decode(baseline.encode()) == baseline


def test_a_baseline_of_older_software_is_read() -> None:
    """The release under trial brings new software: it would judge itself by nothing."""
    known = '"mates":true,"far":true,"news":true,"interface":true'
    old = '{"version":1,"infohash":"ff","checks":{"disk":true},"hearing":{' + known + "}}"
    assert Baseline.decode(old.encode()).checks == {"disk": True}


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_a_damaged_baseline_is_refused(data: bytes) -> None:
    """A torn row in the state would end the daemon in the middle of a trial."""
    with pytest.raises(RefusedError):
        Baseline.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"version":1}',
        b'{"version":2,"infohash":"","checks":{},"hearing":{}}',
        b'{"version":1,"infohash":"","checks":{},"hearing":{}}',
        b'{"version":1,"infohash":"","checks":{"x":1},"hearing":{"mates":true,"far":true,"news":true,"interface":true}}',
        b'{"version":1,"infohash":1,"checks":{},"hearing":{"mates":true,"far":true,"news":true,"interface":true}}',
        b'{"version":1,"infohash":"","checks":{},"hearing":{"mates":true,"far":true,"news":true,"interface":true},"clock_s":-1}',
        b'{"version":1,"infohash":"","checks":{},"hearing":{"mates":true,"far":true,"news":true,"interface":true},"clock_s":1e999}',
        b" " * (BYTES_MAX + 1),
        b"[" * 10_000,
    ],
)
def test_a_strange_baseline_is_refused(data: bytes) -> None:
    """As above."""
    with pytest.raises(RefusedError):
        Baseline.decode(data)
