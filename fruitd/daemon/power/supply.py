"""How the machine is fed, from the kernel's files: on a battery, or below its voltage."""

from __future__ import annotations

from pathlib import Path

from swarm.transfer.uplink_rules import Supply

SUPPLIES = Path("/sys/class/power_supply")
"""Documentation/ABI/testing/sysfs-class-power of the kernel."""
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
"""Of the Raspberry Pi's firmware; hex. Bit 0: the voltage is too low at this moment."""
SUPPLIES_MAX = 16
_TEXT_BYTES_MAX = 64


def supply(supplies: Path = SUPPLIES, throttled: Path = THROTTLED) -> Supply:
    """What can be seen now; a machine that shows nothing is taken to be well fed."""
    return Supply(on_battery=_on_battery(supplies), undervolted=_undervolted(throttled))


def _on_battery(folder: Path) -> bool:
    """A battery is being drained, and no mains is there."""
    try:
        places = sorted(folder.iterdir())[:SUPPLIES_MAX]
    except OSError:
        return False
    mains = any(_text(place / "type") != "Battery" and _text(place / "online") == "1" for place in places)
    drained = any(
        _text(place / "type") == "Battery" and _text(place / "status") == "Discharging" for place in places
    )
    return drained and not mains


def _undervolted(path: Path) -> bool:
    try:
        return bool(int(_text(path) or "0", 16) & 1)
    except ValueError:
        return False


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_TEXT_BYTES_MAX).decode("ascii", "replace").strip()
    except OSError:
        return ""
