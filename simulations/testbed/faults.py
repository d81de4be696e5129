"""What goes wrong in a run, and when: a script that is asked at each look what is due. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from attrs import field, frozen
from attrs.validators import ge, gt, in_, le, optional

from fruitd.errors import UsageError

Deed = Literal["kill", "pause", "resume", "cut", "heal", "slow", "swap"]
GATEWAY = "gateway"


@frozen
class Target:
    """Whom a fault is about: `s1` (a whole place), `s1/2` (its second node), `s1/gateway` (whoever of it has most from outside
    at that moment)."""

    place: str
    node: int | None = None
    gateway: bool = False

    @classmethod
    def parse(cls, text: object) -> Target:
        """From `place`, `place/number` or `place/gateway`; raises UsageError."""
        if not isinstance(text, str) or not text:
            raise UsageError(f"{text!r} is no target: place, place/number, or place/gateway")
        place, slash, which = text.partition("/")
        if not slash:
            return cls(place)
        if which == GATEWAY:
            return cls(place, gateway=True)
        if not (which.isascii() and which.isdigit()) or int(which) < 1:
            raise UsageError(f"{text!r} is no target: nodes are numbered from 1")
        return cls(place, int(which))

    @property
    def is_place(self) -> bool:
        """A whole place, and no node of it."""
        return self.node is None and not self.gateway

    def __str__(self) -> str:
        which = GATEWAY if self.gateway else self.node
        return self.place if which is None else f"{self.place}/{which}"


@frozen
class Progress:
    """A site whose nodes hold this share of the image, taken together."""

    site: str
    share: float = field(validator=[gt(0), le(1)])


@frozen
class Fault:
    """One deed. It waits for `when`, if there is one, and then for `after_s`; without `when`, `after_s` counts from the start.

    kill, pause, resume: a node's processes. cut, heal: the line of a place, or the cable of a node. slow: the same, at
    `mbit_per_s` in both directions. swap: two nodes of a site exchange their addresses.
    """

    do: Deed = field(validator=in_(get_args(Deed)))
    target: Target
    after_s: float = field(default=0.0, validator=ge(0))
    when: Progress | None = None
    mbit_per_s: float | None = field(default=None, validator=optional(gt(0)))
    other: Target | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be done, in words."""
        for wrong, why in (
            (self.do in ("kill", "pause", "resume") and self.target.is_place, "needs a node: place/number or place/gateway"),
            ((self.mbit_per_s is not None) != (self.do == "slow"), "mbit_per_s is what slow needs, and nothing else"),
            ((self.other is not None) != (self.do == "swap"), "other is what swap needs, and nothing else"),
            (
                self.other is not None and (self.other.place != self.target.place or self.other.is_place or self.target.is_place),
                "only two nodes of one site can exchange their addresses",
            ),
        ):  # fmt: skip
            if wrong:
                raise UsageError(f"fault {self.do} {self.target}: {why}")

    def __str__(self) -> str:
        more = f" and {self.other}" if self.other else ""
        rate = f" to {self.mbit_per_s:g} Mbit/s" if self.mbit_per_s is not None else ""
        return f"{self.do} {self.target}{more}{rate}"


class FaultScript:
    """Tells which faults are due; each is told once, in the order of the plan where several are due at one look."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._waiting: list[tuple[Fault, float | None]] = [
            (fault, None if fault.when else fault.after_s) for fault in faults
        ]

    @property
    def open(self) -> bool:
        """True while something is still to come."""
        return bool(self._waiting)

    def due(self, now_s: float, held: Mapping[str, float]) -> list[Fault]:
        """What is to be done now.

        Args:
            now_s: since the spread began.
            held: site -> share of the image that its nodes hold, 0 to 1.
        """
        due: list[Fault] = []
        waiting: list[tuple[Fault, float | None]] = []
        for fault, at_s in self._waiting:
            due_s = at_s
            if (
                due_s is None
                and fault.when is not None
                and held.get(fault.when.site, 0.0) >= fault.when.share
            ):
                due_s = now_s + fault.after_s
            if due_s is not None and now_s >= due_s:
                due.append(fault)
            else:
                waiting.append((fault, due_s))
        self._waiting = waiting
        return due
