"""What a heart and a bus cost a daemon: real ones with and without emulated boards, side by side, configured by default."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from attrs import frozen

from benchmarks.images import MIB
from benchmarks.nodes import Fleet, cpu_s, memory_bytes, say, workshop
from benchmarks.rows import NotMeasurableError, Row, at_most
from fruitd.demo.cluster import NodeProcess
from fruitd.demo.rig import StackRig

PAIRS = 3
SETTLE_S = 40.0
"""Boards are identified, every value told twice, and nodes have met."""
MEASURED_S = 180.0
BAYS = 2 * PAIRS


@frozen
class _Look:
    pid: int
    cpu_s: float


def heart_and_bus() -> Iterator[Row]:
    """Processor time and memory that a daemon needs more with a heart and the bus of a stack of three boards."""
    with workshop() as folder, Fleet(folder / "fleet", slot_bytes=MIB, factory_image=None) as fleet:
        rig = StackRig(fleet.folder, BAYS)
        with_boards, without = [], []
        for number in range(PAIRS):
            lines = f'[heartbeat]\nlines = "{rig.lines(rig.places[number])}"\n'
            stack = f'[stack]\nname = "rack-{number}"\nboards = [0, 1, 2]\n'
            bus = f'port = "{rig.port}"\n' if number == 0 else ""
            with_boards.append(fleet.cluster.add(f"with-{number}", slots=False, more=stack + bus + lines))
            without.append(fleet.cluster.add(f"without-{number}", slots=False))
        rig.start()
        try:
            yield from _measured(with_boards, without)
        finally:
            rig.close()


def _measured(with_boards: list[NodeProcess], without: list[NodeProcess]) -> Iterator[Row]:
    nodes = [*with_boards, *without]
    for node in nodes:
        node.start()
    say(f"settling for {SETTLE_S:g} s, then measured for {MEASURED_S:g} s")
    time.sleep(SETTLE_S)
    answer = with_boards[0].get("/v1/stack")
    if answer is None or not answer["own"]["owns"]:
        raise NotMeasurableError("the daemon with the bus does not sweep")
    before, began_s = [_look(node) for node in nodes], time.monotonic()
    time.sleep(MEASURED_S)
    after, took_s = [_look(node) for node in nodes], time.monotonic() - began_s
    cpu = [100 * (late.cpu_s - early.cpu_s) / took_s for early, late in zip(before, after, strict=True)]
    memory = [memory_bytes(look.pid, "VmRSS") / MIB for look in after]
    plain_cpu, plain_memory = statistics.median(cpu[PAIRS:]), statistics.median(memory[PAIRS:])
    against = f"one daemon with a heart and the bus of 3 boards, less the median of {PAIRS} without, over {took_s:.0f} s"
    heart = statistics.median(cpu[1:PAIRS]) - plain_cpu
    yield at_most(
        "power_cpu", cpu[0] - plain_cpu, "%", 0.2, f"of a core; {against}; a heart alone {heart:.3f} %"
    )
    hearts = statistics.median(memory[1:PAIRS]) - plain_memory
    yield at_most(
        "power_memory", memory[0] - plain_memory, "MiB", 2, f"{against}; a heart alone {hearts:.2f} MiB"
    )


def _look(node: NodeProcess) -> _Look:
    if node.process is None or not node.running:
        raise NotMeasurableError(f"{node.name} has ended")
    return _Look(node.process.pid, cpu_s(node.process.pid))
