"""Tokens, revocations and members in words. What is shown may have come from a peer: it is made safe first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fruitd.amounts import line, moment
from fruitd.cli.maintainer_options import field_line, key_words
from fruitd.maintainer.expiry import day

Json = dict[str, Any]


def paper_lines(described: Json) -> Iterator[str]:
    """What `describe` found, a line a subject."""
    if described["type"] == "token":
        yield f"join token {line(described['name'])} for swarm {line(described['swarm'])}"
        yield field_line("id", described["id"])
        if described["site"]:
            yield field_line("site", described["site"])
        if described["labels"]:
            yield field_line("labels", labels(described["labels"]))
        yield field_line("nodes", described["nodes_max"] or "any number")
        expires = described["expires_at_s"]
        yield field_line("join until", f"{day(expires)} (UTC)" if expires else "there is no end")
        yield field_line(
            "secret", "in this file: who has it can join" if described["secret"] else "not in this file"
        )
    else:
        verb = "no longer revoked" if described["lifted"] else "revoked"
        yield f"{described['of']} {described['id']} of swarm {line(described['swarm'])} is {verb}"
        yield field_line("reason", described["reason"])
        if described["kept"]:
            yield field_line("kept", f"{len(described['kept'])} nodes stay members")
    yield field_line("made", moment(described["made_at_s"]))
    if described["signed_by"] is not None:
        signers = ", ".join(key_words(key) for key in described["signed_by"]) or "nobody"
        missing = described["missing"]
        yield field_line(
            "signed by", signers + (f"; {missing} more operators have to sign" if missing else "")
        )


def next_step(described: Json, file: Path) -> str:
    """What to do with it now."""
    token = described["type"] == "token"
    if not described["complete"]:
        paper = file.with_suffix(".terms") if token and described["secret"] else file
        return (
            f"to go on: fruit member sign {paper} --key OPERATOR.key --trust root.fruit, by another operator"
        )
    if token and described["secret"]:
        return f"{file}: put it on the cards ([node] token in fruitd.toml), readable by the daemon alone"
    if token:
        return f"to go on: fruit member merge TOKEN {file} --trust root.fruit, where the token's secret is"
    return f"to go on: fruit member publish {file}"


def listed(answer: Json, now_s: float) -> RenderableType:
    """Every token with its members."""
    if not answer["closed"] and not answer["tokens"]:
        return Text(
            "this swarm's trust root names no operator: every node's status counts, nobody needs a token"
        )
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), expand=True)
    for heading in ("token", "site", "labels", "members", "join until", ""):
        table.add_column(heading, overflow="fold", no_wrap=heading == "join until")
    table.columns[-1].ratio = 1
    for token in answer["tokens"]:
        table.add_row(
            Text(line(token["name"])),
            Text(line(token["site"]) or "-"),
            Text(labels(token["labels"]) or "-"),
            Text(_count(token)),
            _until(token["expires_at_s"], now_s),
            _marks(token),
        )
    parts: list[RenderableType] = [table]
    for token in answer["tokens"]:
        if token["members"]:
            parts.append(Text(f"\n{line(token['name'])} ({token['id'][:12]})", style="bold"))
            parts += [_member(row) for row in token["members"]]
    if answer["revoked"]:
        parts.append(Text("\nrevoked", style="bold"))
        parts += [_revoked(row) for row in answer["revoked"]]
    return Group(*parts)


def labels(pairs: Json) -> str:
    """`rack=3 row=b`."""
    return line(" ".join(f"{label}={value}" for label, value in sorted(pairs.items())))


def _count(token: Json) -> str:
    most = token["nodes_max"]
    return f"{len(token['members'])} of {most}" if most else str(len(token["members"]))


def _until(expires_at_s: int | None, now_s: float) -> Text:
    if not expires_at_s:
        return Text("no end")
    return Text(day(expires_at_s), style="yellow" if expires_at_s <= now_s else "")


def _marks(token: Json) -> Text:
    if token["revoked"] is not None:
        return Text(f"revoked: {line(token['revoked'])}", style="red")
    beyond = sum(not row["counts"] for row in token["members"])
    return Text(f"{beyond} too many: the latest do not count", style="red") if beyond else Text("")


def _member(row: Json) -> Text:
    words = f"  {line(row['name']) or 'not heard yet'}  {row['id'][:12]}  since {moment(row['since_s'])}"
    return Text(words + ("" if row["counts"] else "  too many"), style="" if row["counts"] else "red")


def _revoked(row: Json) -> Text:
    kept = f" ({len(row['kept'])} of its nodes stay members)" if row["kept"] else ""
    return Text(f"  {row['of']} {row['id'][:12]}: {line(row['reason'])}{kept}", style="red")
