"""Whether a node that fetches an image may use its site's uplink for it, and why. Pure; one `WayOut` for each image.

The gateway may; its site-mates take everything from it and from each other. Whoever gets nothing that way for a stated time
goes out as well, one after the other in the order in which they would be the gateway, and the reason is counted: a site that
leaves its LAN too easily is one whose line carries the image many times, and nobody would know why.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

STALL_S = 8.0
"""Nothing came from the site for so long, and the node next in rank goes out. Longer: a gateway that died unnoticed costs more
time; shorter: every hiccup of a Pi that writes its card costs a part of the image twice."""
SLOW_S = 20.0
SLOW_BYTES_PER_S = 32 * 1024
"""Less than that on average over `SLOW_S` counts as nothing: a gateway that is worse than none. A site behind a line that is
itself thinner has two gateways for a while, which costs what both have under way, not a second image."""
STEPS_MAX = 6
"""Beyond the sixth in rank, all go out after the same time: nobody waits for ever for others that wait."""
TERM_S = 60.0
TERM_S_MAX = 960.0
"""Whoever went out because the site gave too little comes back after this long and sees whether it does now; twice as long each
time it did not. Shorter tries cost pauses where a gateway stays bad; longer ones keep two gateways where one has recovered."""
GIVES_SHARE = 0.25
"""Whoever is out for that reason and gets this share from its site all the same comes back before the time. Where nobody gave
anything to the gateway either (a line that was cut, a publisher that starts anew), both are given to again at the same moment.
Smaller: a gateway that gives little is waited for. Larger: two that get equal shares may take each other for bad."""
GIVES_S = 3.0
"""That is judged over this long, times the places that are left to the last step, so that the last in rank come back first: two
that were given to by each other, and came back at once, would wait for nobody. Smaller: a few pieces decide. Larger: more nodes
of a site stay out when its line is back."""


class Out(StrEnum):
    """Why a node left its LAN for an image."""

    GATEWAY = "gateway"
    """It is the gateway of this image for its site."""
    ALONE = "alone"
    """It knows nobody else of its site: a node alone is its own site."""
    STALLED = "stalled"
    """Nothing came from the site for `STALL_S` or, further back in rank, a multiple of it."""
    SLOW = "slow"
    """Less than `SLOW_BYTES_PER_S` came from the site for `SLOW_S` or a multiple."""


@frozen
class Place:
    """Where this node stands in its site, for one image."""

    rank: int
    """0: it is the gateway among those that hold or fetch the image and are able to go out; 1: the next; ..."""
    mates: int
    """Others of the site that are alive."""
    whole: bool
    """One of them says that it has all of the image: nobody has to go out."""


class WayOut:
    """Decides, and keeps account of, one image's ways out.

    Args:
        now_s: steady time of the beginning.
    """

    def __init__(self, now_s: float) -> None:
        self.reason: Out | None = None
        """Why the node is out; None while it takes from its site only."""
        self.counts: dict[Out, int] = {}
        """How often it went out, by reason."""
        self._near_bytes = 0
        self._far_bytes = 0
        self._came_s = now_s
        self._window: tuple[float, int, int] = (now_s, 0, 0)
        """When it began, and what had come from the site and from outside by then."""
        self._term_s = TERM_S
        self._back_s = float("inf")

    def progress(self, near_bytes: int, far_bytes: int, now_s: float) -> None:
        """So much has come from the site, and from other sites, since the beginning of the fetch."""
        if near_bytes > self._near_bytes:
            self._near_bytes, self._came_s = near_bytes, now_s
        self._far_bytes = max(far_bytes, self._far_bytes)

    def decide(self, place: Place, now_s: float, *, able: bool) -> Out | None:
        """Whether to be out now, and why. `able`: the uplink may be used at all (quota, hours, battery, ...)."""
        reason = self._reason(place, now_s) if able else None
        if reason is not None and reason is not self.reason:
            self.counts[reason] = self.counts.get(reason, 0) + 1
        if reason is None and self.reason is not None:
            self._afresh(now_s)  # those who give now are given as much time as at the beginning
        self.reason = reason
        return reason

    def _reason(self, place: Place, now_s: float) -> Out | None:
        if not place.mates:
            return Out.ALONE
        if place.rank == 0 and not place.whole:
            return Out.GATEWAY
        steps = min(max(place.rank, 1), STEPS_MAX)
        if self.reason in (Out.STALLED, Out.SLOW):
            return None if now_s >= self._back_s or self._given_to(steps, now_s) else self.reason
        if self.reason is not None:
            return None  # another is the gateway now
        return self._disappointed(steps, now_s)

    def _disappointed(self, steps: int, now_s: float) -> Out | None:
        """The site had its time and did not give."""
        began_s, bytes_then, _ = self._window
        reason = None
        if now_s - self._came_s >= STALL_S * steps:
            reason = Out.STALLED
        elif now_s - began_s >= SLOW_S * steps:
            if self._near_bytes - bytes_then < SLOW_BYTES_PER_S * (now_s - began_s):
                reason = Out.SLOW
            self._begin_window(now_s)
        if reason is not None:
            self._begin_window(now_s)
            self._back_s = now_s + self._term_s
            self._term_s = min(2 * self._term_s, TERM_S_MAX)
        return reason

    def _given_to(self, steps: int, now_s: float) -> bool:
        """This node is out, and the site gives it a good share of what comes: it need not be."""
        began_s, near_then, far_then = self._window
        if now_s - began_s < GIVES_S * (STEPS_MAX + 1 - steps):
            return False
        near, far = self._near_bytes - near_then, self._far_bytes - far_then
        self._begin_window(now_s)
        if near == 0 or near < GIVES_SHARE * (near + far):
            return False
        self._term_s = TERM_S
        return True

    def _begin_window(self, now_s: float) -> None:
        self._window = (now_s, self._near_bytes, self._far_bytes)

    def _afresh(self, now_s: float) -> None:
        self._came_s = now_s
        self._begin_window(now_s)
