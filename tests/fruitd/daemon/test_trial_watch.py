"""If one of these failed, the daemon would judge a trial by nothing, arm what cannot be judged, or leave the watchdog running."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve

from fruitd.boot_facts import BootFacts
from fruitd.config.tables import Config, parse_config
from fruitd.daemon.trial_watch import CONDEMNED_S, TrialWatch
from fruitd.errors import RetryError
from fruitd.health.watchdog import Watchdog
from fruitd.state.node_state import NodeState
from fruitd.updater import events as on
from fruitd.updater.journal import Journal, State
from tests.fruitd.health.test_watchdog import Fake
from tests.fruitd.updater.machine_model import target

R2 = target(2)
CONFIG = """
[node]
compatible = ["pi"]
state_dir = "state"
[trust]
root = "root.fruit"
[swarm]
key_file = "key"
[slots]
a = "a"
b = "b"
[boot]
backend = "file"
env = "env"
[health]
command = ["sh", "-c", "test ! -e unwell"]
checks_dir = "health.d"
interval_s = 10
"""
MATE, FAR = SimpleNamespace(same_site=True, node_id=b"m"), SimpleNamespace(same_site=False, node_id=b"f")


class Node:
    """As much of a daemon as a trial sees of it."""

    def __init__(self, folder: Path) -> None:
        self.config: Config = parse_config(CONFIG.encode(), folder / "fruitd.toml")
        self.state = NodeState(self.config.node.state_dir)
        self.boot_facts = BootFacts("1", "a", "a", None)
        self.slot_paths = {"a": folder / "a", "b": folder / "b"}
        self.peers: list[Any] = [MATE, FAR]
        self.time = SimpleNamespace(now_s=trio.current_time, clock_ok=True, system_s=1e9)
        self.began_s = 0.0
        self.told: list[on.Health] = []
        self.core = SimpleNamespace(
            swarm=SimpleNamespace(peers=lambda: self.peers),
            store=SimpleNamespace(entries=lambda kind: []),
            updater=SimpleNamespace(journal=Journal(State.TRIAL, target=R2, target_slot="b")),
        )
        self.refused: list[str] = []

    async def tell_updater(self, event: on.Health) -> None:
        self.told.append(event)
        await trio.lowlevel.checkpoint()

    def refuse(self, what: str, why: str, source: str) -> None:
        self.refused.append(why)

    def enter(self, state: State) -> None:
        self.core.updater.journal = evolve(self.core.updater.journal, state=state)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.chdir(tmp_path)
    return Node(tmp_path)


def _run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.05))


def _look(node: Node, watch: TrialWatch, looks: int = 1) -> list[on.Health]:
    """So many looks of a trial."""
    node.told.clear()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            watch.watch(nursery, on=True)
            while len(node.told) < looks:
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

    _run(main)
    return node.told[:looks]


def test_a_fault_of_old_is_excused_after_the_restart_and_a_new_one_is_not(node: Node) -> None:
    """As this file says."""
    Path("unwell").touch()
    _run(lambda: TrialWatch(node).take_baseline(R2.infohash))  # type: ignore[arg-type]
    after = TrialWatch(node)  # type: ignore[arg-type]
    (health,) = _look(node, after)
    assert health.ok
    assert "no worse than before the update (command: " in health.why
    Path("unwell").unlink()
    _run(lambda: TrialWatch(node).take_baseline(R2.infohash))  # type: ignore[arg-type]
    Path("unwell").touch()
    (health,) = _look(node, TrialWatch(node))  # type: ignore[arg-type]
    assert health.ok is False


def test_a_time_that_is_signed_during_a_trial_condemns_nothing_and_a_clock_that_went_back_does(
    node: Node,
) -> None:
    """Whoever has a freshness key, and a clock of tomorrow, would have a good release thrown away by all who try it; so would
    each new release, on nodes whose clocks lose a minute."""
    _run(lambda: TrialWatch(node).take_baseline(R2.infohash))  # type: ignore[arg-type]
    node.time.clock_ok, node.time.system_s = False, 1e9 + 60
    (health,) = _look(node, TrialWatch(node))  # type: ignore[arg-type]
    assert health.ok
    node.time.system_s = 1e9 - 60
    (health,) = _look(node, TrialWatch(node))  # type: ignore[arg-type]
    assert health.ok is not True
    assert "the system clock" in health.why


def test_a_baseline_of_another_release_excuses_nothing(node: Node) -> None:
    """What was broken last year would still be excused."""
    Path("unwell").touch()
    _run(lambda: TrialWatch(node).take_baseline("ff" * 32))  # type: ignore[arg-type]
    (health,) = _look(node, TrialWatch(node))  # type: ignore[arg-type]
    assert health.ok is False


def test_silence_is_neither_good_nor_bad(node: Node) -> None:
    """A release that cuts the node off would be kept, or an outage condemn a good one."""
    _run(lambda: TrialWatch(node).take_baseline(R2.infohash))  # type: ignore[arg-type]
    node.peers = [MATE]
    (health,) = _look(node, TrialWatch(node))  # type: ignore[arg-type]
    assert (health.ok, health.excused) == (None, True)
    node.peers = [MATE, FAR]
    (health,) = _look(node, TrialWatch(node))  # type: ignore[arg-type]
    assert health.ok


def test_nothing_is_armed_while_nobody_is_heard_who_used_to_be(node: Node) -> None:
    """A trial during an outage could not tell whether the release broke the network, and would keep one that did."""
    watch = TrialWatch(node)  # type: ignore[arg-type]

    async def main() -> None:
        await watch.before_arming(R2.infohash)  # the first ever: whoever is heard now is who should be
        node.peers = []
        with pytest.raises(RetryError, match="the trial waits, as it could not be judged"):
            await watch.before_arming(R2.infohash)
        await trio.sleep(node.config.health.outage_s - 1)
        with pytest.raises(RetryError):
            await TrialWatch(node).before_arming(R2.infohash)  # type: ignore[arg-type]
        with pytest.raises(RetryError):
            await watch.before_arming(R2.infohash)
        await trio.sleep(2)
        await watch.before_arming(R2.infohash)

    _run(main)
    (health,) = _look(node, TrialWatch(node))  # type: ignore[arg-type]
    assert health.ok, "being alone is how it is now"


def test_a_baseline_that_cannot_be_kept_stops_the_update_in_words(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk a release would be judged by nothing."""

    def full(name: str, value: bytes) -> None:
        raise RetryError("the state cannot be written: database or disk is full")

    monkeypatch.setattr(node.state, "set_meta", full)
    with pytest.raises(RetryError, match="disk is full"):
        _run(lambda: TrialWatch(node).take_baseline(R2.infohash))  # type: ignore[arg-type]


def test_a_damaged_baseline_is_told_and_excuses_nothing(node: Node) -> None:
    """A torn row would end the daemon in the middle of a trial."""
    node.state.set_meta("health before the update", b"{")
    (health,) = _look(node, TrialWatch(node))  # type: ignore[arg-type]
    assert health.ok
    assert "baseline" in node.refused[0]


@pytest.mark.parametrize(
    ("end", "bitten"), [(State.COMMITTED, False), (State.OFFERED, False), (State.ROLLED_BACK, True)]
)
def test_the_watchdog_is_held_until_the_end_of_the_trial(node: Node, end: State, bitten: bool) -> None:
    """A machine that hangs on trial would hang for ever, or one that has committed be restarted."""
    watch, device = TrialWatch(node), Fake()  # type: ignore[arg-type]
    watch.watchdog = Watchdog(device, "/dev/watchdog", 15)

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def clock() -> None:
                while True:
                    await trio.sleep(2.5)
                    device.pass_time(2.5)

            nursery.start_soon(clock)
            watch.watch(nursery, on=True)
            await trio.sleep(300)
            assert not device.bitten
            node.enter(end)
            watch.watch(nursery, on=False)
            await trio.sleep(CONDEMNED_S / 2)
            assert not device.bitten, "an orderly restart takes its time"
            await trio.sleep(CONDEMNED_S + 30)
            nursery.cancel_scope.cancel()

    _run(main)
    assert device.bitten == bitten


def test_a_demo_on_this_machine_never_opens_its_watchdog(node: Node) -> None:
    """Somebody's laptop would be reset in the middle of `fruit demo`."""
    assert TrialWatch(node).watchdog.words == "not used: the configuration names none"  # type: ignore[arg-type]
    real = evolve(node.config, boot=evolve(node.config.boot, backend="grub"))  # type: ignore[type-var]
    node.config = real
    assert TrialWatch(node).watchdog.words == "not held: nothing is on trial"  # type: ignore[arg-type]
