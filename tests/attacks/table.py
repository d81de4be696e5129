"""One row for each attack: what the attacker has, what is said over which channel, and for which reason nodes do not listen."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from swarm.errors import Reason
from swarm.news.record import Record
from tests.attacks.stage import Stage, Touchable

TUF = (
    "arbitrary installation", "endless data", "extraneous dependencies", "fast-forward", "indefinite freeze", "malicious mirrors",
    "mix-and-match", "rollback", "key compromise", "wrong software",
)  # fmt: skip
"""The attacks that the TUF specification 1.0.34 names."""
UPTANE = ("eavesdrop", "drop requests", "slow retrieval", "partial bundle", "replay")
"""What Uptane's list of threats adds."""
OWN = ("strangers", "equivocation", "type confusion", "membership", "too many", "time")
FAMILIES = (*TUF, *UPTANE, *OWN)

Lie = Callable[[Stage], Iterable[Record]]
Story = Callable[[Stage], None]


@frozen
class Attack:
    """A row. A lie is told and refused for a reason; a story acts for itself and says what has to come of it."""

    family: str
    name: str
    has: str
    """What the attacker has, beside a place on the LAN."""
    play: Story

    def __str__(self) -> str:
        return f"{self.family}: {self.name}".replace(" ", "-")


ROWS: list[Attack] = []


def story(family: str, name: str, has: str = "the swarm key") -> Callable[[Story], Story]:
    """A row that acts for itself. Every row ends with the next good release on all nodes; the suite sees to that."""

    def add(play: Story) -> Story:
        assert family in FAMILIES, family
        assert all((row.family, row.name) != (family, name) for row in ROWS), name
        ROWS.append(Attack(family, name, has, play))
        return play

    return add


def lie(
    family: str,
    name: str,
    has: str,
    words: str,
    reason: Reason | None,
    *,
    by: str = "push",
) -> Callable[[Lie], Lie]:
    """A row that says records over a channel: refused with these words for this reason, and nothing is touched.

    `reason` None: dropped without a word, as what is known or overtaken is.
    """

    def add(make: Lie) -> Lie:
        def play(stage: Stage) -> None:
            before = Touchable.of(stage.victim)
            getattr(stage, by)(*make(stage))
            stage.pass_time(3.0)
            said = [(refused.why, refused.reason) for refused in stage.refused]
            if reason is not None:
                assert any(words in why and kind == reason for why, kind in said), (words, reason, said)
            unmoved(stage, before)

        story(family, name, has)(play)
        return make

    return add


def unmoved(stage: Stage, before: Touchable) -> None:
    """Nothing that matters has changed on the victim."""
    differences = before.differences(Touchable.of(stage.victim))
    assert not differences, differences
