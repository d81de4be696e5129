"""All checks of a node, looked at one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import trio
from attrs import frozen

from fruitd.health import built_in, readings
from fruitd.health.commands import CommandCheck, checks_in
from fruitd.health.readings import Machine
from fruitd.health.verdict import Result

COMMAND = "command"
"""Name of the check that the configuration has."""


@frozen
class Wanted:
    """What the configuration asks for."""

    command: tuple[str, ...]
    checks_dir: Path
    units: tuple[str, ...]
    timeout_s: float
    state_dir: Path


class Panel:
    """Looks at everything once, in order: what the machine tells of itself, then the owner's programs.

    Args:
        wanted: the configuration.
        slot, slot_path: what runs, for the owner's programs.
        clock_ok: whether the system clock can be right.
        state_trouble: why the last write of the state failed; None while it works.
        machine: where this machine tells of itself.
    """

    def __init__(
        self,
        wanted: Wanted,
        slot: str,
        slot_path: str,
        clock_ok: Callable[[], bool],
        state_trouble: Callable[[], str | None],
        machine: Machine | None = None,
    ) -> None:
        self._wanted = wanted
        self._slot = slot
        self._slot_path = slot_path
        self._clock_ok = clock_ok
        self._state_trouble = state_trouble
        self._machine = machine or Machine()

    async def look(self) -> tuple[Result, ...]:
        """Every check once. Bounded in time by the number of programs."""
        return (
            *await trio.to_thread.run_sync(self.built_in),
            *[await self._run(p) for p in self._programs()],
        )

    def built_in(self) -> tuple[Result, ...]:
        """What the machine tells of itself. Blocks for a moment; for a worker thread."""
        machine, wanted = self._machine, self._wanted
        free_bytes, read_only = readings.disk_room(wanted.state_dir)
        results = (
            built_in.disk(free_bytes, read_only=read_only, trouble=self._state_trouble()),
            built_in.time(self._clock_ok()),
            built_in.memory(readings.meminfo(machine)),
            built_in.temperature(readings.temperatures_c(machine)),
            built_in.power(readings.undervoltage(machine)),
            built_in.units(readings.unit_states(wanted.units, machine)),
        )
        return tuple(result for result in results if result is not None)

    def _programs(self) -> Sequence[CommandCheck | Result]:
        """Looked for anew each time: a check that is added counts at once."""
        wanted = self._wanted
        programs: list[CommandCheck | Result] = []
        for name, found in checks_in(wanted.checks_dir):
            programs.append(
                Result(name, False, found) if isinstance(found, str) else self._check(name, (str(found),))
            )
        if wanted.command:
            programs.append(self._check(COMMAND, wanted.command))
        return programs

    def _check(self, name: str, command: Sequence[str]) -> CommandCheck:
        return CommandCheck(name, command, self._wanted.timeout_s, self._slot, self._slot_path)

    async def _run(self, program: CommandCheck | Result) -> Result:
        return await program.look() if isinstance(program, CommandCheck) else program
