"""Who makes way when too many hold a connection."""

from __future__ import annotations

import pytest
import trio

from swarm.address import Address
from swarm.shell.guests import Guest, made_room


def crowd(*rows: tuple[str, bool]) -> dict[Guest, None]:
    """Guests by host and whether they have asked, oldest first."""
    return {Guest(Address(host, 1000 + n), asked=asked): None for n, (host, asked) in enumerate(rows)}


A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
SILENT, ASKED = False, True


@pytest.mark.parametrize(
    ("rows", "newcomer", "leaves"),
    [
        ([(A, SILENT), (A, SILENT)], B, None),
        ([(A, SILENT), (A, SILENT), (B, SILENT)], A, 0),
        ([(A, ASKED), (A, SILENT), (B, SILENT)], A, 1),
        ([(B, SILENT), (A, SILENT), (A, SILENT), (C, SILENT)], B, 1),
        ([(B, SILENT), (A, ASKED), (A, ASKED), (C, SILENT)], C, 0),
        ([(A, ASKED), (A, ASKED)], A, "nobody"),
        ([(A, ASKED), (A, ASKED), (B, ASKED), (C, ASKED)], B, "nobody"),
    ],
    ids=[
        "there is room",
        "the oldest of the host that has too many",
        "not one that has asked",
        "of the host that has most",
        "of another, where those have all asked",
        "none of this host is silent",
        "nobody is silent",
    ],
)
def test_who_makes_way(rows: list[tuple[str, bool]], newcomer: str, leaves: int | str | None) -> None:
    """A newcomer would be turned away for somebody who only holds a connection, or push out one who is being served."""

    async def body() -> None:
        guests = crowd(*rows)
        before = list(guests)
        assert made_room(guests, newcomer, 4, 2) == (leaves != "nobody")
        gone = [number for number, guest in enumerate(before) if guest not in guests]
        assert gone == ([leaves] if isinstance(leaves, int) else [])
        assert [number for number, guest in enumerate(before) if guest.scope.cancel_called] == gone

    trio.run(body)
