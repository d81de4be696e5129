"""Nodes that are kept in the past, and clocks that are wrong."""

from __future__ import annotations

from simulations.world.maintainer import CALENDAR_S
from tests.attacks.acts import evil_row, rows_of, running
from tests.attacks.court import DAY_S, NOW_S
from tests.attacks.stage import Stage, Touchable
from tests.attacks.table import story, unmoved


def later(s: Stage, days: float) -> None:
    """All clocks go on by this much."""
    for host in s.world.hosts:
        host.firmware.clock_ahead_s += days * DAY_S
        host.clock_was_set()
    s.pass_time(60.0)


@story("indefinite freeze", "whoever stands between lets nothing newer through", "the way to the node")
def _(s: Stage) -> None:
    s.say(s.court.fresh(s.current.manifest, s.now_s()))
    later(s, 30)
    held_back = s.victim.node.standing(s.victim.steady_s() + s.victim.node.wall_offset_s).held_back  # type: ignore[union-attr]
    assert "may be kept in the past" in str(held_back)
    before = running(s)
    s.everywhere(s.court.fresh(s.current.manifest, NOW_S + 1), s.old[1])
    s.pass_time(10.0)
    assert running(s) == before
    s.sequence += 1
    newest = s.court.manifest(s.sequence, rows_of(s.current), issued_at_s=int(CALENDAR_S + 30 * DAY_S))
    s.say(newest, s.court.fresh(newest, CALENDAR_S + 30 * DAY_S + s.world.heap.now_s))


@story("indefinite freeze", "a newer manifest exists and is kept back", "the way to the node")
def _(s: Stage) -> None:
    ahead = s.court.manifest(s.sequence + 5, [evil_row(s)])
    s.say(s.court.fresh(ahead, s.now_s()))
    standing = s.victim.node.standing(s.victim.steady_s())  # type: ignore[union-attr]
    assert standing.behind == s.sequence + 5
    assert "has not reached this node" in str(standing.held_back)
    s.sequence += 5


@story("indefinite freeze", "the root expires while nothing gets through", "the way to the node")
def _(s: Stage) -> None:
    s.court.root = s.court.next_root(3, expires_at_s=NOW_S + 10 * DAY_S)
    s.say(s.court.sign_root(s.court.root))
    later(s, 40)
    assert "expired" in str(
        s.victim.node.standing(s.victim.steady_s() + s.victim.node.wall_offset_s).held_back
    )  # type: ignore[union-attr]
    s.court.root = s.court.next_root(4)
    s.say(s.court.sign_root(s.court.root))


# ---------------------------------------------------------------------- clocks

for name, at_s in {
    "1970": 0.0, "January 2038": 2.0**31 + 60, "February 2106": 2.0**32 + 60, "the year 9000": 221_845_392_000.0,
}.items():  # fmt: skip

    @story("time", f"the time server says {name}", "the clock")
    def _(s: Stage, at_s: float = at_s) -> None:
        before = Touchable.of(s.victim)
        s.victim.firmware.clock_ahead_s = at_s - s.world.heap.now_s
        s.victim.clock_was_set()
        s.pass_time(10.0)
        unmoved(s, before)
        right_again(s)

    @story("time", f"the clock jumps to {name} in the middle of an update", "the clock")
    def _(s: Stage, at_s: float = at_s) -> None:
        good = s.next_release()
        s.publish(good)
        journal = lambda: s.victim.machine.disk.journal  # noqa: E731
        s.until(
            lambda: (
                journal() is not None
                and journal().target is not None
                and journal().target.release == good.release
            ),
            60.0,
        )  # type: ignore[union-attr]
        s.victim.firmware.clock_ahead_s = at_s - s.world.heap.now_s
        s.victim.clock_was_set()
        s.until(lambda: s.runs(good))
        right_again(s)


def right_again(s: Stage) -> None:
    """A wrong time may make a node wait, with its reason in words; it is over with the wrong time."""
    s.victim.firmware.clock_ahead_s = CALENDAR_S
    s.victim.clock_was_set()
