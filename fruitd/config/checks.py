"""What a configuration value may be: one small function for each kind of value.

Each takes what TOML gave (any type) and returns the value the node uses, or raises `ValueError` whose message
ends the sentence "KEY ...": what was found, and what is allowed.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fruitd.slots.locate import place_of
from swarm.transfer.uplink_rules import DAY_MIN, Hours

Check = Callable[[Any], Any]

LIST_MAX = 256
"""More contacts than a node can use, and few enough that a mistaken file is noticed."""
TEXT_CHARS_MAX = 4096
SHOWN_CHARS_MAX = 60
INTERFACES_MAX = 16
"""As many as are beaconed on where none is named."""
_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")
_HOURS = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")


def shown(value: Any) -> str:
    """The value as it may stand in a message: one line, never longer than a person wants to read."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 3] + "..."


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """` (did you mean "x"?)` where one of the allowed words is near, otherwise nothing."""
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""


def text(chars_max: int, *, may_be_empty: bool = False) -> Check:
    """A printable line of text."""
    least = 0 if may_be_empty else 1

    def check(value: Any) -> str:
        if isinstance(value, str) and least <= len(value) <= chars_max and value.isprintable():
            return value
        raise ValueError(f"is {shown(value)}; allowed: a printable text of {least} to {chars_max} characters")

    return check


def one_of(*allowed: str) -> Check:
    """One of a few words."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
        raise ValueError(f"is {shown(value)}; allowed: {', '.join(allowed)}{hint}")

    return check


def whole(least: int, most: int, unit: str = "") -> Check:
    """A whole number within bounds."""
    what = f"a whole number from {least} to {most}{' ' + unit if unit else ''}"

    def check(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise ValueError(f"is {shown(value)}; allowed: {what}")

    return check


def seconds(least: float, most: float) -> Check:
    """A duration; whole or with decimals."""

    def check(value: Any) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return float(value)
        raise ValueError(f"is {shown(value)}; allowed: {least:g} to {most:g} seconds")

    return check


def hours(value: Any) -> Hours | None:
    """A time of the day, "HH:MM-HH:MM", that may pass over midnight; empty: all day."""
    if value == "":
        return None
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        begin_h, begin_min, end_h, end_min = map(int, found.groups())
        begin, end = begin_h * 60 + begin_min, end_h * 60 + end_min
        if begin < DAY_MIN and end <= DAY_MIN and max(begin_min, end_min) < 60 and begin != end:
            return Hours(begin, end)
    raise ValueError(
        f'is {shown(value)}; allowed: two times of the day such as "22:00-06:00", or "" for always'
    )


def yes_or_no(value: Any) -> bool:
    """true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"is {shown(value)}; allowed: true or false")


def path(value: Any) -> Path:
    """A path of a file, a folder or a device; whether it exists is found out when it is used."""
    if isinstance(value, str) and 0 < len(value) <= TEXT_CHARS_MAX and value.isprintable():
        return Path(value)
    raise ValueError(f'is {shown(value)}; allowed: a path, such as "/etc/fruitd/root.fruit"')


def slot_place(value: Any) -> Path:
    """A slot: a path, or a partition's name. A name becomes the path udev would make for it; `fruitd.slots.locate` finds it."""
    try:
        place = place_of(value) if isinstance(value, str) else None
    except ValueError as error:
        raise ValueError(f"is {shown(value)}; allowed: {error}") from error
    return place or path(value)


def watchdog(value: Any) -> str:
    """A watchdog device: found by itself, none, or a path."""
    if (
        isinstance(value, str)
        and len(value) <= TEXT_CHARS_MAX
        and (value in ("auto", "") or value.startswith("/"))
    ):
        return value
    raise ValueError(f'is {shown(value)}; allowed: "auto", "" or a path such as "/dev/watchdog0"')


def words(of: Check, *, least: int = 0) -> Check:
    """A list whose every entry passes `of`; no entry twice where `least` is given as 1 or more."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not least <= len(value) <= LIST_MAX:
            raise ValueError(f"is {shown(value)}; allowed: a list of {least} to {LIST_MAX} texts")
        return tuple(of(entry) for entry in value)

    return check


def command(value: Any) -> tuple[str, ...]:
    """A program and its arguments, run as they are: no shell reads them."""
    if isinstance(value, list) and len(value) <= LIST_MAX:
        fits = all(
            isinstance(word, str) and len(word) <= TEXT_CHARS_MAX and "\0" not in word for word in value
        )
        if fits and (not value or value[0]):
            return tuple(value)
    hint = "; a command is a list, not one text" if isinstance(value, str) else ""
    raise ValueError(f'is {shown(value)}; allowed: a list such as ["/usr/bin/check", "--quick"]{hint}')


def address(value: Any) -> str:
    """An IP address of this machine to listen on."""
    try:
        return str(ipaddress.ip_address(_text(value)))
    except ValueError:
        raise ValueError(f'is {shown(value)}; allowed: an IP address, such as "0.0.0.0" or "::"') from None


def interfaces(value: Any) -> tuple[str, ...]:
    """Interfaces of this machine, by name or IPv4 address: one, or a list; empty: all."""
    named = value if isinstance(value, list) else [value] if value != "" else []
    if len(named) <= INTERFACES_MAX and all(isinstance(each, str) and _is_interface(each) for each in named):
        return tuple(named)
    raise ValueError(
        f'is {shown(value)}; allowed: an interface\'s name or IPv4 address, such as "eth0", a list of at most '
        f'{INTERFACES_MAX} of them, or "" for all'
    )


def multicast_group(value: Any) -> str:
    """An IPv4 multicast group."""
    try:
        group = ipaddress.IPv4Address(_text(value))
    except ValueError:
        group = None
    if group is None or not group.is_multicast:
        raise ValueError(f'is {shown(value)}; allowed: an IPv4 multicast group, such as "239.192.70.82"')
    return str(group)


def contact(value: Any) -> str:
    """`host:port`; an IPv6 address stands in brackets."""
    host, _, port = _text(value).rpartition(":") if isinstance(value, str) else ("", "", "")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    named = 1 <= len(bare) <= 253 and not any(c.isspace() or c in "[]/@" for c in bare) and bare.isprintable()
    bracketed = bare != host
    good_port = port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535
    if named and good_port and (":" in bare) == bracketed:
        return f"{host}:{int(port)}"
    raise ValueError(
        f'is {shown(value)}; allowed: "host:port", such as "fruit.example.org:47101" or "[fd00::7]:47101"'
    )


def socket_path(value: Any) -> Path:
    """A path a Unix socket can have."""
    where = path(value)
    if len(os.fsencode(where)) > 107:
        raise ValueError(
            f"is {shown(value)}; allowed: at most 107 bytes, the kernel's limit for a Unix socket"
        )
    return where


def file_mode(value: Any) -> int:
    """Permissions in octal, as a text: "0660"."""
    if isinstance(value, str) and 3 <= len(value) <= 4 and all(c in "01234567" for c in value):
        mode = int(value, 8)
        if mode <= 0o777:
            return mode
    raise ValueError(f'is {shown(value)}; allowed: permissions in octal as a text, such as "0660"')


def _is_interface(text: str) -> bool:
    """As Linux allows names; digits and dots alone are meant for an address."""
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return _INTERFACE.fullmatch(text) is not None and not set(text) <= set("0123456789.")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text")
    return value
