"""What a sweep of the bus found of each bay, as far as it may be acted on."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from hw.readings import Quality, Quantity, Reading
from swarm.power import BAYS, FIGURES, Figure, Place, Worth, held

_QUANTITIES = {
    "bay_v": Quantity.BAY_VOLTAGE,
    "bay_a": Quantity.BAY_CURRENT,
    "bay_w": Quantity.BAY_POWER,
    "input_v": Quantity.INPUT_VOLTAGE,
    "input_a": Quantity.INPUT_CURRENT,
    "input_w": Quantity.INPUT_POWER,
}
_WORTH = {
    Quality.GOOD: Worth.GOOD,
    Quality.STALE: Worth.STALE,
    Quality.OUT_OF_RANGE: Worth.OUT_OF_RANGE,
    Quality.NO_SENSOR: Worth.NO_SENSOR,
}
NOTHING = (Figure(),) * len(FIGURES)


@frozen
class BaySeen:
    """One bay."""

    place: Place
    present: bool
    """Its board answered."""
    powered: bool | None = None
    heartbeat: bool | None = None
    """None: not read this time in a way that may be acted on."""
    figures: tuple[Figure, ...] = NOTHING


def bays_of(
    address: int, present: bool, board: Iterable[Reading], bays: Iterable[Iterable[Reading]]
) -> list[BaySeen]:
    """Both bays of a board, from its readings."""
    of_board = {reading.quantity: reading for reading in board}
    found = []
    for bay, readings in zip(range(BAYS), bays, strict=True):
        all_readings = of_board | {reading.quantity: reading for reading in readings}
        figures = tuple(_figure(all_readings.get(_QUANTITIES[name])) for name in FIGURES)
        powered, heartbeat = (_state(all_readings.get(q)) for q in (Quantity.POWERED, Quantity.HEARTBEAT))
        found.append(BaySeen(Place(address, bay), present, powered, heartbeat, figures))
    return found


def _state(reading: Reading | None) -> bool | None:
    return bool(reading.value) if reading is not None and reading.good and reading.value is not None else None


def _figure(reading: Reading | None) -> Figure:
    if reading is None:
        return Figure()
    milli = None if reading.value is None else held(round(reading.value * 1000))
    return Figure(milli, _WORTH[reading.quality])
