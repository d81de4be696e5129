"""The checks that every node has: for each a pure judgement of what was read, with the bound and its reason."""

from __future__ import annotations

from collections.abc import Mapping

from fruitd.health.verdict import OK_WHY, Result

MIB = 1024 * 1024
DISK_FREE_BYTES_MIN = 8 * MIB
"""A torrent file and the journal fit many times over. Less: the next update could not even be remembered."""
MEMORY_FREE_BYTES_MIN = 24 * MIB
"""Available, as the kernel counts it. Less: the next fetch, at 96 MiB at work, may get the daemon killed."""
TEMPERATURE_C_MAX = 85.0
"""Every Raspberry Pi throttles hard from here. Lower: a summer afternoon condemns a release that computes a little more."""


def disk(free_bytes: int | None, *, read_only: bool = False, trouble: str | None = None) -> Result:
    """The file system of the state: `trouble` is why the last write to it failed."""
    name = "disk"
    if trouble is not None:
        return Result(name, False, trouble)
    if free_bytes is None:
        return Result(name, False, "the file system of the state cannot be looked at")
    if read_only:
        return Result(name, False, "the file system of the state is mounted read-only")
    free = f"{free_bytes // MIB} MiB free where the state is kept"
    return Result(name, free_bytes >= DISK_FREE_BYTES_MIN, free)


def time(clock_ok: bool) -> Result:
    """The system clock. It is set late after a boot, and never without a network."""
    why = OK_WHY if clock_ok else "the system clock is behind what must be true"
    return Result("time", clock_ok, why, patient=True)


def memory(meminfo: Mapping[str, int]) -> Result | None:
    """`meminfo` in bytes, as /proc/meminfo names it; None where the kernel does not say."""
    free = meminfo.get("MemAvailable")
    if free is None:
        return None
    return Result("memory", free >= MEMORY_FREE_BYTES_MIN, f"{free // MIB} MiB of memory available")


def temperature(zones_c: Mapping[str, float]) -> Result | None:
    """The hottest of what the machine measures; None where it measures nothing."""
    if not zones_c:
        return None
    name, hottest_c = max(zones_c.items(), key=lambda zone: zone[1])
    return Result("temperature", hottest_c < TEMPERATURE_C_MAX, f"{name} is at {hottest_c:.0f} °C")


def power(undervoltage: bool | None) -> Result | None:
    """The Raspberry Pi's own alarm; None on machines without."""
    if undervoltage is None:
        return None
    return Result("power", not undervoltage, "the supply's voltage is too low" if undervoltage else OK_WHY)


def units(states: Mapping[str, str] | None) -> Result | None:
    """Units of systemd that have to run, each with its state; None where none is asked for or there is no systemd."""
    if not states:
        return None
    ended = [f"{unit} is {state}" for unit, state in states.items() if state in ("failed", "unknown")]
    late = [
        f"{unit} is {state}" for unit, state in states.items() if state not in ("active", "failed", "unknown")
    ]
    if ended:
        return Result("units", False, ", ".join(ended))
    return Result("units", not late, ", ".join(late) or OK_WHY, patient=True)
