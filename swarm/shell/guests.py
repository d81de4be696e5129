"""Who holds a connection to this node, and who has to make way when there are too many.

Whoever asks does so at once; whoever only holds a connection has until the deadline. So the one that has been silent longest
makes way for a newcomer: otherwise a stranger, who needs no key to connect, could hold all of them, and nobody would get a
release here.
"""

from __future__ import annotations

from collections import Counter

import trio
from attrs import Factory, define

from swarm.address import Address


@define(eq=False)
class Guest:
    """One connection that is served."""

    source: Address
    scope: trio.CancelScope = Factory(trio.CancelScope)
    asked: bool = False
    """Its request is here, whole."""


def made_room(guests: dict[Guest, None], host: str, count_max: int, per_host_max: int) -> bool:
    """Whether one more may come from `host`; a silent guest is sent away for it where there are too many.

    `guests`: oldest first. Of the newcomer's own host if that has too many; else of the host that has most.
    """
    counts = Counter(guest.source.host for guest in guests)
    if counts[host] >= per_host_max:
        crowd = host
    elif len(guests) >= count_max:
        silent = Counter(guest.source.host for guest in guests if not guest.asked)
        crowd = max(silent, key=lambda each: counts[each], default=host)
    else:
        return True
    leaves = next((g for g in guests if g.source.host == crowd and not g.asked), None)
    if leaves is None:
        return False
    del guests[leaves]
    leaves.scope.cancel()
    return True
