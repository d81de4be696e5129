"""Does the release on trial still let this node hear the others? Pure; the table is in docs/operating.md.

A release that breaks the network must not be kept: no later one could reach the node. A broken uplink must not condemn a good
one.
Where the two look alike, the trial stands still: nothing is kept and nothing condemned, until somebody is heard or the node
goes back to find out from the old system.
"""

from __future__ import annotations

from attrs import frozen

from fruitd.health.verdict import Verdict

GOOD = Verdict(True, "")


@frozen
class Hearing:
    """Who is heard, and what the local network looks like."""

    mates: bool = False
    """Somebody of this site is heard."""
    far: bool = False
    """Somebody of another site is heard."""
    news: bool = False
    """Through mates, news of this minute comes from nodes of other sites."""
    interface: bool = True
    """There is a network interface besides the loopback."""
    gateway: bool | None = None
    """The router answers on the link; None where that cannot be told."""

    @property
    def anybody(self) -> bool:
        """Is anybody heard?"""
        return self.mates or self.far


def judge_hearing(before: Hearing, now: Hearing) -> Verdict:
    """What is heard now against what was heard before the update, row by row."""
    if not before.anybody or now.far or (now.mates and not before.far):
        return GOOD
    if now.mates:
        if now.news:
            return Verdict(None, "other sites are not heard any more, though nodes of this site hear them")
        return Verdict(None, "other sites are not heard, by this whole site as it seems", excused=True)
    if not now.interface:
        return Verdict(None, "no network interface is left")
    if before.mates and now.gateway:
        return Verdict(None, "no node is heard any more, though the router of this site answers")
    return Verdict(None, "no node is heard, and the network may be to blame", excused=True)
