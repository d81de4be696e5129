"""A trust root, as people read it. Pure: from `describe_root` to lines of at most 80 columns where names allow it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fruitd.amounts import line
from fruitd.cli.maintainer_options import key_words
from fruitd.maintainer.expiry import DAY_S, NEVER, day

SOON_S = 90 * DAY_S
"""Renewing takes people in several places; later than this before the end, it is told at every look."""
_MAY = {
    "root": "say who holds these roles",
    "release": "sign releases",
    "freshness": "say that a release is still current",
    "operator": "admit nodes, hold and configure them",
}


def root_lines(root: dict[str, Any], file: str, now_s: float) -> Iterator[str]:
    """Who may do what, until when, what changes, who has signed and who has to."""
    yield f"swarm {line(root['swarm'])}, trust root version {root['version']}"
    for role, held in root["roles"].items():
        yield from _role_lines(role, held)
    yield _expiry_words(root, now_s)
    if root["changes"] is not None:
        yield from _change_lines(root["changes"])
    for row in root["rounds"]:
        yield from _round_lines(row, root)
    if not root["complete"]:
        yield "nodes do not believe it yet; who is missing runs"
        yield f"  fruit trust sign {file} --key NAME.key"


def complete_words(root: dict[str, Any], file: str) -> str:
    """What to do with a root that is signed by enough."""
    if len(root["chain"]) == 1:
        return f"signed by enough: put {file} on every node ([trust] root in fruitd.toml)"
    return f"signed by enough: fruit trust publish {file}"


def _role_lines(role: str, held: dict[str, Any]) -> Iterator[str]:
    keys, threshold = held["keys"], held["threshold"]
    if not keys:
        yield f"nobody may yet {_MAY[role]} ({role})"
        return
    who = "one key" if len(keys) == 1 else f"{threshold} of these {len(keys)} keys together"
    yield f"{who} may {_MAY[role]} ({role}):"
    for key in keys:
        yield f"  {key_words(key)}"
    if role == "root" and threshold == len(keys):
        lost = "this key" if len(keys) == 1 else "one of these keys"
        yield f"  careful: if {lost} is lost, nobody can ever change this again"


def _expiry_words(root: dict[str, Any], now_s: float) -> str:
    at_s = root["expires_at_s"]
    if at_s == NEVER:
        return "it never expires"
    if root["expired"]:
        return f"it EXPIRED on {day(at_s)}: nodes install nothing by themselves until it is renewed (fruit trust rotate)"
    left = int((at_s - now_s) // DAY_S)
    soon = ": renew it soon (fruit trust rotate)" if at_s - now_s < SOON_S else ""
    return f"it expires on {day(at_s)}, in {left} days{soon}"


def _change_lines(changes: dict[str, Any]) -> Iterator[str]:
    yield f"what changes since version {changes['since_version']}:"
    for role, change in changes["roles"].items():
        for key in change["removed"]:
            yield f"  - {key_words(key)} loses {role}"
        for key in change["added"]:
            yield f"  + {key_words(key)} gets {role}"
        old, new = change["threshold"]
        if old != new:
            yield f"  {role} needs {new} signature{'' if new == 1 else 's'} instead of {old}"
    old_s, new_s = changes["expires_at_s"]
    if old_s != new_s:
        yield f"  expires {_day(new_s)} instead of {_day(old_s)}"
    elif not changes["roles"]:
        yield "  nothing"


def _day(at_s: int) -> str:
    return "never" if at_s == NEVER else day(at_s)


def _round_lines(row: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    who = "its own root keys"
    if len(root["rounds"]) > 1:
        now = row["version"] == root["version"]
        who = f"root keys of version {row['version']}, {'who take over' if now else 'who hand over'}"
    yield f"signed by {who}:"
    for key in row["signed_by"]:
        yield f"  {key_words(key)}"
    if row["missing"]:
        others = ", ".join(line(key["name"]) for key in row["not_signed_by"])
        more = "1 more is" if row["missing"] == 1 else f"{row['missing']} more are"
        yield f"  too few: {more} needed, of {others}"
    else:
        yield f"  enough: {row['threshold']} needed"
