"""What a lookup found, in words: the newest record that verified, or that nobody can tell.

Values are never counted against each other: the highest sequence that verifies wins, were it one voice against a hundred. Whoever
holds back everything looks like somebody who has nothing, so "nothing was published" is never concluded.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from attrs import define, field, frozen

from swarm.address import Address

VOICES_MAX = 128
"""Nodes whose word is remembered in one lookup: more than it may ask."""


class Verdict(StrEnum):
    """What one node's answer came to."""

    NEWEST = "newest"
    """The very record that is held now, or one of two that contradict each other."""
    OLDER = "older"
    REFUSED = "refused"
    """It does not verify: forged, or signed under a trust root that this node has not seen."""
    NOTHING = "nothing"


@frozen
class Held:
    """What this node's store holds under the name: sequence, and the content hashes of one or two records."""

    sequence: int
    hashes: frozenset[bytes]


def judge(sequence: int, content_hash: bytes, held: Held | None) -> Verdict:
    """What a value was worth, after it was offered to the store; `held` is what the store has now."""
    if held is None or sequence > held.sequence:
        return Verdict.REFUSED
    if sequence < held.sequence:
        return Verdict.OLDER
    return Verdict.NEWEST if content_hash in held.hashes else Verdict.REFUSED


@frozen
class Finding:
    """The end of a lookup. `sequence` None: it cannot be told, `words` say why."""

    sequence: int | None
    words: str
    asked: int
    answered: int

    @property
    def found(self) -> bool:
        """Whether the newest of what was told is known."""
        return self.sequence is not None


@define
class Search:
    """One lookup of a value, as its answers come in."""

    name: str
    """Of the value, for people: "manifest of channel stable"."""
    _voices: dict[Address, Verdict] = field(factory=dict, init=False)
    _sequences: dict[Address, int] = field(factory=dict, init=False)

    def heard(self, source: Address, verdict: Verdict, sequence: int = 0) -> None:
        """One node's answer, judged."""
        if source in self._voices or len(self._voices) < VOICES_MAX:
            self._voices[source] = verdict
            self._sequences[source] = sequence

    def finding(self, asked: int, held: Held | None) -> Finding:
        """The end. `held`: what the store has now, from whomever."""
        answered = len(self._voices)
        verdicts = Counter(
            judge_again(self._sequences[source], verdict, held) for source, verdict in self._voices.items()
        )
        gave = verdicts[Verdict.NEWEST]
        if held is not None and gave:
            words = (
                f"{self.name}: {held.sequence} is the newest, from {gave} of {answered} nodes that answered"
            )
            return Finding(held.sequence, words + _besides(verdicts), asked, answered)
        return Finding(
            None, f"{self.name}: cannot tell, {_why_not(asked, answered, verdicts)}", asked, answered
        )


def judge_again(sequence: int, verdict: Verdict, held: Held | None) -> Verdict:
    """An answer that was the newest when it came may have been overtaken by a later one."""
    if verdict is Verdict.NEWEST and held is not None and sequence < held.sequence:
        return Verdict.OLDER
    return verdict


def _besides(verdicts: Counter[Verdict]) -> str:
    told = [
        f"{verdicts[verdict]} gave {what}"
        for verdict, what in ((Verdict.OLDER, "an older one"), (Verdict.REFUSED, "one that does not verify"))
        if verdicts[verdict]
    ]
    return "".join(f"; {words}" for words in told)


def _why_not(asked: int, answered: int, verdicts: Counter[Verdict]) -> str:
    if not asked:
        return "there was nobody to ask"
    if not answered:
        return f"none of {asked} nodes answered"
    if verdicts[Verdict.REFUSED]:
        what = "gave one that does not verify: forged, or this node misses a trust root"
        return f"{verdicts[Verdict.REFUSED]} of {answered} nodes {what}"
    if verdicts[Verdict.OLDER]:
        return f"{answered} nodes answered and none has what this node has"
    return f"{answered} nodes answered and none has one: nothing is published, or they keep it back"
