"""How a node's answers look on a terminal. Everything shown may have come from a peer: it is made safe first.

Each function takes an answer of the API (docs/api.md) and returns something rich can print within 80 columns.
"""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fruitd.amounts import duration, line, moment, rate, size, update_energy
from fruitd.cli.stack_picture import heart

Json = dict[str, Any]
STATE_STYLES = {
    "idle": "green",
    "committed": "green",
    "trial": "yellow",
    "refused": "red",
    "rolled back": "red",
    "quarantined": "red",
}
CONTENT_WORDS = {
    "committed": "kept after its trial",
    "verified": "checked, not kept yet",
    "quarantined": "quarantined: never booted again by itself",
    "unknown": "content not known",
}
BAR_CELLS = 30
STRANGERS_SHOWN = 5
SITES_SHOWN = 50


def status(answer: Json) -> RenderableType:
    """Everything about one node, a subject a line."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column(overflow="fold")
    for label, words in _subjects(answer):
        rows.add_row(label, words)
    return rows


def _subjects(answer: Json) -> list[tuple[str, RenderableType]]:
    node, trust, peers, traffic = answer["node"], answer["trust"], answer["peers"], answer["traffic"]
    manifest = trust["manifest_sequence"]
    who = f"{line(node['name'])}  {line(node['id'])[:12]}  {_site(node['site'])}"
    news = f"manifest {manifest}" if manifest is not None else "no manifest yet"
    subjects: list[tuple[str, RenderableType]] = [
        ("node", Text(who)),
        ("daemon", Text(f"{line(node['software'])}, up {duration(node['uptime_s'])}")),
        (
            "follows",
            Text(f"{line(trust['channel'])} of {line(trust['swarm'])}, root {trust['root_version']}, {news}"),
        ),
        ("update", update(answer)),
    ]
    if trust["disputed"] or trust["held_back"]:
        subjects.append(("held back", Text(line(trust["disputed"] or trust["held_back"]), style="red")))
    subjects += _membership(answer["membership"])
    subjects += [
        (f"slot {slot}", _slot(answer["slots"], slot)) for slot in ("a", "b") if answer["slots"].get(slot)
    ]
    if answer["last_update"]:
        subjects.append(("last update", Text(_last_update(answer["last_update"]))))
    subjects += [("seeding", Text(_seeding(row))) for row in answer["seeding"]]
    subjects += [
        (
            "peers",
            Text(f"{peers['known']} known, {peers['heard']} heard lately, {peers['same_site']} at this site"),
        ),
        *_site_and_bytes(answer),
        ("traffic", Text(_traffic(traffic))),
    ]
    subjects += [("quarantined", Text(_quarantine(row), style="red")) for row in answer["quarantined"]]
    refused = answer["refusals"]
    if refused:
        newest = max(refused, key=lambda row: float(row["last_s"]))
        times = sum(int(row["count"]) for row in refused)
        words = f"{times} times, last {line(newest['what'])}: {line(newest['why'])} (more: fruit doctor)"
        subjects.append(("refused", Text(words, style="yellow")))
    if not answer["time"]["clock_ok"]:
        floor = moment(answer["time"]["floor_s"])
        subjects.append(
            ("clock", Text(f"is behind the newest signed time, {floor}, which counts", style="yellow"))
        )
    return subjects


def _traffic(traffic: Json) -> str:
    words = f"{size(traffic['sent_bytes'])} sent, {size(traffic['received_bytes'])} received"
    passed_on_bytes = traffic["passed_on_bytes"]
    return f"{words}; {size(passed_on_bytes)} passed on for others" if passed_on_bytes else words


def _site_and_bytes(answer: Json) -> list[tuple[str, RenderableType]]:
    """Who speaks for the site, where image bytes came from, and what the uplink has carried."""
    site, ways, uplink = answer["site"], answer["bytes"], answer["uplink"]
    words = f"{site['mates']} others"
    if site["gateway"] is not None:
        words += f", gateway is {line(site['gateway']['name']) or line(site['gateway']['id'])[:12]}"
    if site["out"] is not None:
        words += f", this node uses the uplink: {line(site['out'])}"
    if site["left_lan"]:
        left = ", ".join(f"{line(reason)} {count}" for reason, count in sorted(site["left_lan"].items()))
        words += f"; left the LAN: {left}"
    came = ", ".join(f"{size(ways[way])} {name}" for way, name in _WAYS.items() if ways[way])
    month = f"{size(uplink['received_bytes'])} in, {size(uplink['sent_bytes'])} out this month"
    if uplink["quota_bytes"] is not None:
        month += f", of {size(uplink['quota_bytes'])}"
    shown = (
        Text(month) if uplink["allowed"] else Text(f"{month}; not now: {line(uplink['why'])}", style="yellow")
    )
    return [("site", Text(words)), ("images", Text(came or "none yet")), ("uplink", shown)]


_WAYS = {
    "own_disk": "from its own disk",
    "lan": "from its site",
    "wan": "from other sites",
    "relay": "for others",
}


def _membership(membership: Json) -> list[tuple[str, RenderableType]]:
    member, why = membership["member"], line(membership["why"])
    lines: list[RenderableType] = []
    if member is not None and membership["needed"]:
        labels = " ".join(f"{line(label)}={line(value)}" for label, value in sorted(member["labels"].items()))
        lines.append(Text(f"by token {line(member['token'])}" + (f"  {labels}" if labels else "")))
    if why:
        lines.append(Text(why, style="yellow"))
    return [("member", Group(*lines))] if lines else []


def update(answer: Json) -> RenderableType:
    """What the update is doing, what it waits for, and how far it is."""
    now_s, doing = answer["time"]["now_s"], answer["update"]
    head = Text(line(doing["state"]), style=STATE_STYLES.get(doing["state"], "cyan"))
    if doing["release"] is not None:
        head.append(f"  {release(doing)}", style="default")
    head.append(f"  for {duration(max(0.0, now_s - doing['since_s']))}", style="dim")
    lines: list[RenderableType] = [head, Text(line(doing["why"]))]
    if doing["progress"] is not None:
        lines += progress(doing["progress"])
    if energy := doing.get("energy"):
        lines.append(Text(f"energy: {_energy(energy)}", style="dim"))
    if doing["held"] is not None:
        lines.append(Text(f"held: {line(doing['held'])} (to end it: fruit resume)", style="yellow"))
    if doing["retry_at_s"] is not None and doing["retry_at_s"] > now_s:
        lines.append(Text(f"tries again in {duration(doing['retry_at_s'] - now_s)}"))
    if doing["attempts"] > 1:
        lines.append(Text(f"trial boots so far: {doing['attempts']}"))
    return Group(*lines)


def progress(done: Json, cells: int = BAR_CELLS) -> list[RenderableType]:
    """A bar (dark: reused from this node's disk, bright: from peers) and the figures beneath it."""
    image = max(1, done["image_bytes"])
    have = min(done["have_bytes"], image)
    reused = min(done["reused_bytes"], have)
    reused_cells = int(cells * reused / image)
    have_cells = int(cells * have / image)
    bar = Text("█" * reused_cells, style="blue")
    bar.append("█" * (have_cells - reused_cells), style="green")
    bar.append("░" * (cells - have_cells), style="dim")
    percent = int(100 * have / image)
    bar.append(f" {percent:3d} %")
    if done["rate_bytes_per_s"] > 0:
        bar.append(f"  {rate(done['rate_bytes_per_s'])}")
    if done["eta_s"] is not None:
        bar.append(f"  {duration(done['eta_s'])} left")
    if done["step_done"] is not None and int(100 * done["step_done"]) != percent:
        bar.append(f"  this step {int(100 * done['step_done'])} %")
    figures = f"{size(have)} of {size(done['image_bytes'])}: {size(reused)} reused from disk, "
    figures += f"{size(done['fetched_bytes'])} fetched{_shapes(done)}"
    if done["wasted_bytes"]:
        figures += f", {size(done['wasted_bytes'])} wasted"
    return [bar, Text(figures, style="dim")]


def sources(rows: list[Json], reused_bytes: int) -> RenderableType:
    """Where the bytes come from: this node's disk first, then the peers that gave most."""
    table = _table("from", "where", "bytes", "rate", right=("bytes", "rate"))
    if reused_bytes:
        table.add_row("own disk", "this node", size(reused_bytes), "")
    for row in sorted(rows, key=lambda r: -int(r["bytes"]))[:12]:
        name = line(row["name"]) or line(row["node"])[:12]
        where = "this site" if row["same_site"] else "another site"
        speed = float(row.get("rate_bytes_per_s") or 0)
        table.add_row(Text(name), where, size(row["bytes"]), rate(speed) if speed > 0 else "")
    return table


def nodes(answer: Json) -> RenderableType:
    """Every node heard of: those that are behind first, with the reason they give."""
    rows = answer["nodes"]
    newest = max((row["release"] for row in rows if row["release"] is not None), default=None)
    by_token = any(row["member"] for row in rows)
    token = ("token",) if by_token else ()
    powered = any(row["power"] for row in rows)
    power = ("power",) if powered else ()
    table = _table("node", "site", *token, "release", "state", *power, "heard", "why", right=("heard",))
    table.columns[-1].ratio = 1
    table.expand = True
    counted = [row for row in rows if row["member"] is None or row["member"]["counts"]]
    behind = [row for row in counted if newest is not None and row["release"] != newest]
    for row in sorted(rows, key=lambda r: (r not in behind, line(r["name"]), line(r["id"]))):
        heard = "here" if row["self"] else _heard(row["heard_s_ago"])
        why = line(row["why"])
        if row["quarantined"]:
            why += f" (quarantined: {', '.join(_named(q) for q in row['quarantined'])})"
        table.add_row(
            Text(line(row["name"])),
            Text(line(row["site"]) or "-"),
            *([_token(row["member"])] if by_token else []),
            Text(_numbered(row) or "-", style="yellow" if row in behind else ""),
            Text(line(row["state"]), style=STATE_STYLES.get(row["state"], "cyan")),
            *([heart(row["power"])] if powered else []),
            heard,
            Text(why),
        )
    total = f"{len(counted)} node{'s' if len(counted) != 1 else ''}"
    if newest is not None:
        total += f": {len(counted) - len(behind)} run release {newest}, {len(behind)} another"
    if len(rows) > len(counted):
        total += f"; {len(rows) - len(counted)} more than their tokens admit, not counted"
    strangers, sites = _strangers(answer.get("others", [])), _sites(answer.get("sites", []))
    return Group(table, Text(total, style="bold"), *strangers, *sites)


def _token(member: Json | None) -> Text:
    if member is None:
        return Text("-")
    return Text(line(member["token"]), style="" if member["counts"] else "red")


def _strangers(others: list[Json]) -> list[RenderableType]:
    """Peers whose status does not count, a few of them by name."""
    if not others:
        return []
    named = ", ".join(
        f"{line(row['name']) or '?'} ({line(row['address'])})" for row in others[:STRANGERS_SHOWN]
    )
    more = f" and {len(others) - STRANGERS_SHOWN} more" if len(others) > STRANGERS_SHOWN else ""
    return [Text(f"not members, so not counted: {named}{more}", style="yellow")]


def _sites(rows: list[Json]) -> list[RenderableType]:
    """Other sites, a line each: their nodes tell only each other what they run."""
    lines: list[RenderableType] = []
    for row in rows[:SITES_SHOWN]:
        members = f"{row['members']} members, " if row["members"] is not None else ""
        heard = f" (last {_heard(row['heard_s_ago'])} ago)" if row["heard_s_ago"] is not None else ""
        holds = f", holds release {row['release']}" if row["release"] is not None else ""
        name = line(row["site"]) or "no named site"
        lines.append(Text(f"  {name}: {members}{row['known']} known here{heard}{holds}"))
    if len(rows) > SITES_SHOWN:
        lines.append(Text(f"  and {len(rows) - SITES_SHOWN} more"))
    return [Text("other sites, as far as this node knows them:"), *lines] if lines else []


def reloaded(answer: Json) -> RenderableType:
    """What the node goes on with."""
    seals, *opens = (line(key) for key in answer["swarm_keys"])
    lines: list[RenderableType] = [
        Text(f"swarm key {seals} seals" + (f", {', '.join(opens)} open too" if opens else ""))
    ]
    member, why = answer["membership"]["member"], line(answer["membership"]["why"])
    if member is not None:
        lines.append(Text(f"member by token {line(member['token'])}"))
    if why:
        lines.append(Text(why, style="yellow"))
    return Group(*lines)


def _heard(seconds_ago: float | None) -> str:
    """None: known from others' news only."""
    return "not itself" if seconds_ago is None else duration(seconds_ago)


def history(answer: Json) -> RenderableType:
    """What happened to this node, oldest first."""
    if not answer["events"]:
        return Text("nothing has happened yet")
    table = _table("when", "what", "release", "why")
    table.columns[-1].ratio = 1
    table.expand = True
    for event in answer["events"]:
        what, named, why = line(event["what"]), _numbered(event), line(event["why"])
        table.add_row(moment(event["at_s"]), Text(what), Text(named), Text(why))
    return table


def doctor(answer: Json) -> RenderableType:
    """Each check, what it found, what to do; then what was refused."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in answer["checks"]:
        mark = Text("ok", style="green") if check["ok"] else Text("BAD", style="bold red")
        grid.add_row(mark, Text(line(check["name"])), Text(line(check["found"])))
        if not check["ok"] and check["do"]:
            grid.add_row("", "", Text(f"do: {line(check['do'])}", style="bold"))
    parts: list[RenderableType] = [grid, Text("")]
    if answer["refusals"]:
        table = _table("refused", "times", "last", "why", right=("times",))
        for row in answer["refusals"]:
            why = f"{line(row['why'])} (from {line(row['source'])})"
            table.add_row(Text(line(row["what"])), str(row["count"]), moment(row["last_s"]), Text(why))
        parts += [table, Text("")]
    bad = sum(not check["ok"] for check in answer["checks"])
    parts.append(Text("all is well" if answer["ok"] else f"{bad} of {len(answer['checks'])} checks need you"))
    return Group(*parts)


def release(named: Json) -> str:
    """`release 2 (2026.11)`."""
    version = line(named["version"]) if named.get("version") else ""
    return f"release {named['release']}" + (f" ({version})" if version else "")


def _numbered(row: Json) -> str:
    """`2 (2026.11)`, for a column that says what it is; nothing where there is no release."""
    return release(row).removeprefix("release ") if row["release"] is not None else ""


def _named(quarantined: Any) -> str:
    return release(quarantined) if isinstance(quarantined, dict) else f"release {line(quarantined)}"


def _site(name: str) -> str:
    return f"site {line(name)}" if name else "site not told"


def _slot(slots: Json, slot: str) -> Text:
    content = slots[slot]
    running = "runs now" if slots["active"] == slot else "inactive"
    if content["release"] is None:
        words = f"{running}, {CONTENT_WORDS['unknown']}"
    else:
        kept = CONTENT_WORDS.get(content["content"], line(content["content"]))
        words = f"{running}, {release(content)}, {kept}"
    return Text(f"{words}  {line(content['path'])}")


def _last_update(last: Json) -> str:
    here = sum(int(row["bytes"]) for row in last["sources"] if row["same_site"])
    energy = last.get("energy")
    return (
        f"{release(last)} in {duration(last['took_s'])}: {size(last['reused_bytes'])} reused from disk, "
        f"{size(last['fetched_bytes'])} fetched{_shapes(last)} ({size(here)} from this site), "
        f"{size(last['written_bytes'])} written" + (f"; {_energy(energy)}" if energy else "")
    )


def _energy(told: Json) -> str:
    return update_energy(told["energy_j"], told["measured_s"], told["above_idle_j"], told["measured_share"])


def _shapes(account: Json) -> str:
    """In which shape it came, where a parcel had a part in it."""
    origin = account.get("by_origin") or {}
    if not origin.get("parcel_bytes") and not origin.get("made_bytes"):
        return ""
    words = [f"{size(origin['parcel_bytes'])} as a parcel that made {size(origin['made_bytes'])}"]
    words += [f"{size(origin['image_bytes'])} as blocks"] if origin["image_bytes"] else []
    words += [f"{size(origin['healed_bytes'])} healed"] if origin["healed_bytes"] else []
    return f": {', '.join(words)}"


def _seeding(row: Json) -> str:
    if row.get("parcel"):
        what = f"a parcel to {release(row | {'version': None})}" if row["release"] is not None else "a parcel"
        return f"{what} to {row['peers']} peers, {size(row['sent_bytes'])} sent, from {line(row['path'])}"
    what = (
        release(row | {"version": None})
        if row["release"] is not None
        else f"image {line(row['infohash'])[:12]}"
    )
    return f"{what} to {row['peers']} peers, {size(row['sent_bytes'])} sent, from {line(row['path'])}"


def _quarantine(row: Json) -> str:
    return f"{release(row)}: {line(row['why'])} ({moment(row['at_s'])})"


def _table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in right else "left",
            overflow="fold",
            no_wrap=heading in ("when", "last", "times", "bytes", "rate", "heard"),
        )
    return table
