"""What one look at the node's health means for the release on trial. Pure.

A release answers for what has changed. A check that failed before the update too says nothing about it, and neither does a fault
that lies beyond this node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

OK_WHY = "healthy"


@frozen
class Result:
    """What one check said."""

    name: str
    ok: bool
    why: str
    patient: bool = False
    """Where it is not ok, time may mend it: right after a boot the clock is not set, and a service not up. Then it is not yet
    good, and not bad either; the trial's deadline decides."""


@frozen
class Verdict:
    """What a look means. `ok` None: neither good nor bad; `excused`: because of something the release cannot help."""

    ok: bool | None
    why: str
    excused: bool = False


def judge(results: Sequence[Result], before: Mapping[str, bool], network: Verdict) -> Verdict:
    """One look during a trial.

    Args:
        results: of every check, now.
        before: what each check said before the update; one that is not there had said nothing, and has to be good.
        network: what the network tells (`fruitd.health.hearing`).

    Returns:
        Bad where anything is worse than before; otherwise what the network says; otherwise not yet where a patient check has
        something to wait for.
    """
    worse = [r for r in results if not r.ok and before.get(r.name, True)]
    bad = [r for r in worse if not r.patient]
    if bad:
        return Verdict(False, _words(bad))
    if network.ok is not True:
        return network
    if worse:
        return Verdict(None, _words(worse))
    as_before = [r for r in results if not r.ok]
    if as_before:
        return Verdict(True, f"no worse than before the update ({_words(as_before)})")
    told = [r.why for r in results if r.why and r.why != OK_WHY]
    return Verdict(True, told[-1] if told else OK_WHY)


def _words(results: Sequence[Result]) -> str:
    more = f", and {len(results) - 1} more" if len(results) > 1 else ""
    return f"{results[0].name}: {results[0].why}{more}"
