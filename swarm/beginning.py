"""What a node believes when it starts: the chain of trust roots it was given, then what it kept, judged anew.

The roots on its card are believed because its owner put them there, whatever was kept; kept roots count as far as they
follow them. So a newer root can be handed to a node on a card, and a swarm that lost its root keys be founded anew there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from swarm.admission import Admission
from swarm.errors import RefusedError
from swarm.news.limits import NEWS_LIMITS
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.root_file import RootChain
from swarm.trust.root import ROOT_KIND
from swarm.trust.trusted_set import TrustedSet

Verdict = Callable[[Record], None]


def admission(trusted: TrustedSet) -> Verdict:
    """The verdict that nodes use."""
    return Admission(trusted).verdict


@frozen
class Beginning:
    """Trust, the store that goes by it, and what was kept and is not believed any more, each with the reason."""

    trusted: TrustedSet
    store: RecordStore
    let_go: tuple[tuple[Record, str], ...]


def begin(
    given: RootChain,
    kept: Iterable[Record],
    followed: bytes = b"",
    verdict: Callable[[TrustedSet], Verdict] = admission,
) -> Beginning:
    """Put trust and store together.

    Args:
        given: the roots from the node's card, all of which count.
        kept: the records that were durable, in any order.
        followed: the body of the root that was followed last: of two that contradict each other the one that judges.
        verdict: makes the store's verdict.
    """
    trusted = TrustedSet(given.roots[0])
    store = RecordStore(verdict(trusted))
    for record in given.records:
        store.offer(record)
        trusted.advance(record)
    turn = {kind: place for place, kind in enumerate(NEWS_LIMITS)}
    ordered = sorted(kept, key=lambda r: (turn.get(r.kind, len(turn)), r.sequence, r.body != followed, r.key))
    let_go: list[tuple[Record, str]] = []
    for record in ordered:
        try:
            store.offer(record)
            if record.kind == ROOT_KIND:
                trusted.advance(record)
        except RefusedError as error:
            let_go.append((record, str(error)))
    return Beginning(trusted, store, tuple(let_go))
