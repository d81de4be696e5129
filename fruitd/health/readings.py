"""What the machine tells of itself, read from /proc and /sys: bounded, and nothing where there is nothing. No judgement here."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

READ_BYTES_MAX = 64 * 1024
ZONES_MAX = 32
UNITS_TIMEOUT_S = 5.0
DISCARD_PORT = 9
_ARP_COMPLETE = 0x2
"""linux/if_arp.h, ATF_COM: the neighbour has answered."""


@frozen
class Machine:
    """Where a machine tells of itself; other ones in tests."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    systemd: Path = Path("/run/systemd/system")


def disk_room(folder: Path) -> tuple[int | None, bool]:
    """Free bytes for this user, and whether it is mounted read-only."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return None, False
    return room.f_bavail * room.f_frsize, bool(room.f_flag & os.ST_RDONLY)


def meminfo(machine: Machine) -> dict[str, int]:
    """/proc/meminfo, in bytes."""
    found = {}
    for line in _text(machine.proc / "meminfo").splitlines():
        name, _, rest = line.partition(":")
        amount = rest.split()
        if amount and amount[0].isdecimal():
            found[name] = int(amount[0]) * (1024 if amount[1:] == ["kB"] else 1)
    return found


def temperatures_c(machine: Machine) -> dict[str, float]:
    """Each thermal zone by its type."""
    found = {}
    for zone in sorted((machine.sys / "class/thermal").glob("thermal_zone*"))[:ZONES_MAX]:
        millidegrees = _text(zone / "temp")
        if millidegrees.removeprefix("-").isdecimal():
            found[_text(zone / "type") or zone.name] = int(millidegrees) / 1000
    return found


def undervoltage(machine: Machine) -> bool | None:
    """The alarm of the Raspberry Pi's supply (driver raspberrypi-hwmon); None without."""
    for sensor in sorted((machine.sys / "class/hwmon").glob("hwmon*"))[:ZONES_MAX]:
        if _text(sensor / "name") == "rpi_volt":
            alarm = _text(sensor / "in0_lcrit_alarm")
            return alarm == "1" if alarm in ("0", "1") else None
    return None


def unit_states(units: Sequence[str], machine: Machine) -> dict[str, str] | None:
    """State of each unit; None where systemd does not run this machine. Blocks; for a worker thread."""
    if not units or not machine.systemd.is_dir():
        return None
    try:
        asked = subprocess.run(
            ["systemctl", "is-active", "--", *units],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=UNITS_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return dict.fromkeys(units, "not answered for")
    states = asked.stdout[:READ_BYTES_MAX].decode("utf-8", "replace").split()
    return (
        dict(zip(units, states, strict=False))
        if len(states) == len(units)
        else dict.fromkeys(units, "unknown")
    )


def has_interface(machine: Machine) -> bool:
    """Is there any network interface besides the loopback?"""
    try:
        return any(link.name != "lo" for link in (machine.sys / "class/net").iterdir())
    except OSError:
        return True  # nothing is known: that is not the same as none


def gateway_answers(machine: Machine) -> bool | None:
    """Has the router of this link answered? None where there is no route over IPv4. Asks it, so that the next look knows more."""
    gateway = _gateway(_text(machine.proc / "net/route"))
    if gateway is None:
        return None
    answered = any(
        fields[0] == gateway and int(fields[2], 16) & _ARP_COMPLETE
        for fields in map(str.split, _text(machine.proc / "net/arp").splitlines()[1:])
        if len(fields) >= 4 and fields[2].startswith("0x")
    )
    if not answered:
        _knock(gateway)
    return answered


def _gateway(routes: str) -> str | None:
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[1] == "00000000" and fields[2] != "00000000":
            return socket.inet_ntoa(struct.pack("=I", int(fields[2], 16)))
    return None


def _knock(host: str) -> None:
    """Whatever becomes of this datagram: before it goes, the kernel asks who has this address."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(b"", (host, DISCARD_PORT))
    except OSError:
        return


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(READ_BYTES_MAX).decode("utf-8", "replace").strip()
    except OSError:
        return ""
