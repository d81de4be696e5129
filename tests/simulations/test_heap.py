"""If time or chance in the world were not a function of the seed, no failing run could be told again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulations.world.heap import TICKS_PER_S, Dice, Heap, tick


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_events_happen_in_order_of_time_and_then_of_planning(times: list[float]) -> None:
    """A node would hear an answer before it asked."""
    heap = Heap()
    happened: list[int] = []
    for number, at_s in enumerate(times):
        heap.at(at_s, happened.append, number)
    heap.run_until(1001)
    assert happened == sorted(range(len(times)), key=lambda n: (tick(times[n]), n))
    assert heap.happened == len(times)


def test_time_never_goes_back() -> None:
    """An event planned for the past would let a node see time run backwards."""
    heap = Heap()
    seen: list[float] = []
    heap.at(5, lambda: heap.at(1, lambda: seen.append(heap.now_s)))
    heap.run_until(10)
    assert seen == [5.0]
    assert heap.now_s == 10.0


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_differences_of_moments_are_exact(one: float, other: float) -> None:
    """A core asked to be woken in 0.1 s would be woken just before, and spin."""
    one, other = tick(one), tick(other)
    assert (one + 1_800_000_000.0) - 1_800_000_000.0 == one
    assert (one - other) + other == one
    assert one * TICKS_PER_S == int(one * TICKS_PER_S)


def test_stops_when_asked() -> None:
    """A violation would be buried under what came after it."""
    heap = Heap()
    happened: list[int] = []
    for n in range(5):
        heap.at(n, happened.append, n)
    heap.run_until(10, stop=lambda: len(happened) == 3)
    assert happened == [0, 1, 2]
    assert heap.now_s == 2.0


def test_dice_are_independent_of_each_other() -> None:
    """A new consumer of chance would change the story of every old seed."""
    alone = [Dice(1).named("a").random() for _ in range(1)]
    dice = Dice(1)
    dice.named("b").random()
    assert [dice.named("a").random()] == alone
    assert dice.named("a", 1).random() != dice.named("a", 2).random()
    assert Dice(1).bytes_for("x") != Dice(2).bytes_for("x")
