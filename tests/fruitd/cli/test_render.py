"""What an operator sees, to the letter, in 80 columns."""

from __future__ import annotations

import io
from typing import Any

import trio
from rich.console import Console, RenderableType

from fruitd.cli import render, watch
from fruitd.cli.member_words import listed
from tests.fruitd.api.fake_node import NOW_S, FakeNode, stranger

EVIL = "fruit\x1b]0;owned\x07\x1b[2J\nroot: all is well\u202e"


def shown(view: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(view)
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(text.rstrip() for text in file.getvalue().splitlines())


def status(node: FakeNode) -> dict[str, Any]:
    return trio.run(node.status)


def test_a_watched_update() -> None:
    """An operator could not see how far an update is, where its bytes come from, or what it waits for."""
    node = FakeNode()
    node.offer(2, reused=400 * 2**20)
    node.receive(60 * 2**20)
    node.held = "until Friday"
    assert (
        shown(watch.view(status(node)))
        == """\
fruit-03  9b5281a50370  18 peers heard
fetching  release 2 (2026.2)  for 13 s
two peers hold it, one of them at this site
████████████████████████░░░░░░  82 %  12.3 MiB/s  8.1 s left
460.0 MiB of 560.0 MiB: 400.0 MiB reused from disk, 60.0 MiB fetched
energy: 412 J in 1 min 35 s; measured 94 % of the time
held: until Friday (to end it: fruit resume)

from      where             bytes       rate
own disk  this node     400.0 MiB
fruit-04  this site      45.0 MiB  8.6 MiB/s
fruit-11  another site   15.0 MiB  3.7 MiB/s

Ctrl-C ends the watch, not the update"""
    )


def test_a_node_that_waits_and_has_refused() -> None:
    """A node that stands still would not say why, nor when it goes on."""
    node = FakeNode()
    node.quarantined.append(
        {"release": 3, "version": "2026.3", "infohash": "cd" * 32, "why": "no network", "at_s": NOW_S}
    )
    answer = status(node)
    answer["update"] |= {
        "state": "waiting",
        "why": "the disk is full",
        "attempts": 2,
        "retry_at_s": NOW_S + 90,
    }
    answer["time"]["clock_ok"] = False
    answer["seeding"][0]["release"] = None
    text = shown(render.status(answer))
    assert "update       waiting  for 12 s\n             the disk is full\n" in text
    assert "             tries again in 1 min 30 s\n             trial boots so far: 2\n" in text
    assert "quarantined  release 3 (2026.3): no network (20" in text
    assert "slot b       inactive, content not known  /dev/mmcblk0p3\n" in text
    assert "seeding      image abababababab to 2 peers, 95.4 MiB sent" in text
    assert "clock        is behind the newest signed time, 20" in text


def test_a_node_without_slots() -> None:
    """A relay's status would end in a traceback."""
    answer = status(FakeNode())
    answer["slots"] = {"active": None, "a": None, "b": None}
    answer["trust"]["manifest_sequence"] = None
    answer["node"]["site"] = ""
    assert "passed on" not in shown(render.status(answer))
    answer["traffic"]["passed_on_bytes"] = 3 * 2**20
    text = shown(render.status(answer))
    assert "; 3.0 MiB passed on for others" in " ".join(text.split())
    assert "slot" not in text
    assert "no manifest yet" in text
    assert "site not told" in text


def test_the_last_update() -> None:
    """Nobody could tell what an update cost once it is over."""
    node = FakeNode()
    node.offer(2, reused=400 * 2**20)
    node.receive(10**9)
    words = " ".join(shown(render.status(status(node))).split())
    assert (
        "last update release 2 (2026.2) in 1 min 1 s: 502.8 MiB reused from disk, 57.2 MiB fetched "
        "(42.9 MiB from this site), 560.0 MiB written; 412 J in 1 min 35 s, 120 J more than idle; "
        "measured 94 % of the time" in words
    )


def test_what_is_not_measured_is_not_shown() -> None:
    """A node without a board would be said to draw nothing."""
    for measured, ends in (
        (True, "energy: 412 J in 1 min 35 s; measured 94 % of the time"),
        (False, "fetched"),
    ):
        node = FakeNode()
        node.measured = measured
        node.offer(2, reused=400 * 2**20)
        assert shown(render.update(status(node))).splitlines()[-1].endswith(ends)
    node.receive(10**9)
    answer = status(node)
    assert " J " not in shown(render.status(answer))
    for account in (answer["update"], answer["last_update"]):
        del account["energy"]  # by a daemon of before
    assert "560.0 MiB written" in " ".join(shown(render.status(answer)).split())


def test_nodes_that_are_behind_come_first() -> None:
    """The one node of a hundred that is stuck would be overlooked."""
    node = FakeNode("z-last")
    rows = trio.run(node.nodes)
    rows["nodes"][0]["quarantined"] = [3, {"release": 4, "version": "2026.4"}]
    lines = shown(render.nodes(rows)).splitlines()
    assert lines[0].split() == ["node", "site", "token", "release", "state", "power", "heard", "why"]
    assert lines[1].split()[:6] == ["z-last", "berlin-2", "berlin-batch-1", "1", "(2026.1)", "idle"]
    assert "3 nodes: 2 run release 2, 1 another" in lines
    for row in rows["nodes"]:
        row["member"] = None
    lines = shown(render.nodes(rows)).splitlines()
    assert lines[0].split() == ["node", "site", "release", "state", "power", "heard", "why"]
    assert "(quarantined: release 3, release 4 (2026.4))" in " ".join(" ".join(lines[1:5]).split()[6:])


def test_other_sites_have_a_line_each() -> None:
    """Nobody could tell from here whether the other sites are there at all; or a thousand of them would push the nodes away."""
    rows = trio.run(FakeNode().nodes)
    unheard = {"site": "", "members": None, "known": 1, "heard_s_ago": None, "release": None}
    rows["sites"] += [unheard] * 60
    lines = shown(render.nodes(rows)).splitlines()
    first = lines.index("other sites, as far as this node knows them:") + 1
    assert lines[first].strip() == "hamburg-1: 24 members, 2 known here (last 12 s ago), holds release 2"
    assert lines[first + 1].strip() == "no named site: 1 known here"
    assert [each.strip() for each in lines[first + 50 :]] == ["and 11 more"]


def test_who_does_not_count_is_shown_apart() -> None:
    """A copied card, or a stranger with the swarm key, would pass for one of our nodes."""
    node = FakeNode("copy")
    rows = trio.run(node.nodes)
    rows["nodes"][0]["member"] = rows["nodes"][0]["member"] | {"counts": False}
    rows["others"] = [stranger(f"x-{n}") for n in range(7)]
    words = " ".join(shown(render.nodes(rows)).split())
    assert "2 nodes: 2 run release 2, 0 another; 1 more than their tokens admit, not counted" in words
    assert "not members, so not counted: x-0 (10.0.0.9:47101)," in words
    assert "and 2 more" in words


def test_a_node_says_what_it_lacks_to_be_a_member() -> None:
    """A node without a token would be missing from every list, and nobody would know why."""
    answer = trio.run(FakeNode().status)
    assert "by token berlin-batch-1 rack=3" in " ".join(shown(render.status(answer)).split())
    why = "this node's status does not count: it has no join token"
    answer["membership"] = {"needed": True, "member": None, "why": why}
    assert why in " ".join(shown(render.status(answer)).split())
    told = {"schema": 1, "swarm_keys": ["aa", "bb"], "membership": answer["membership"]}
    words = " ".join(shown(render.reloaded(told)).split())
    assert words == f"swarm key aa seals, bb open too {why}"


def test_members_are_listed_by_token() -> None:
    """An operator could not see who came by which token, or that it was copied."""
    members = trio.run(FakeNode().members)
    members["tokens"][0]["members"].append({"id": "5d" * 20, "name": "", "since_s": 1.8e9, "counts": False})
    members["tokens"][0]["nodes_max"] = 1
    words = " ".join(shown(listed(members, 1.9e9)).split())
    for expected in (
        "2 of 1",
        "1 too many: the latest do not count",
        "not heard yet",
        "node 5c5c5c5c5c5c: stolen",
    ):
        assert expected in words
    nobody = {"closed": False, "tokens": [], "revoked": []}
    assert "names no operator" in shown(listed(nobody, 0.0))


def test_nothing_yet() -> None:
    """A node on its first day would be shown as an error."""
    assert shown(render.history({"schema": 1, "events": []})) == "nothing has happened yet"
    alone = {"nodes": [trio.run(FakeNode().nodes)["nodes"][0] | {"release": None, "version": None}]}
    assert shown(render.nodes(alone)).endswith("\n1 node")


def test_no_peer_writes_on_the_terminal() -> None:
    """A peer could clear the operator's screen, or write "all is well" on it."""
    node = FakeNode(EVIL)
    node.peers = [(EVIL, EVIL)]
    node.refusals = [{"what": EVIL, "why": EVIL, "source": EVIL, "count": 1, "first_s": 1.0, "last_s": 2.0}]
    node.offer(2, reused=1)
    node.held = EVIL
    views = [
        watch.view(status(node)),
        render.status(status(node)),
        render.nodes(trio.run(node.nodes)),
        render.history(
            {"events": [{"at_s": 1e300, "what": EVIL, "why": EVIL, "release": 1, "version": EVIL}]}
        ),
        render.doctor(trio.run(node.doctor)),
    ]
    for view in views:
        lines = shown(view, width=1000).splitlines()
        assert any("fruit?]0;owned??[2J root: all is well?" in text for text in lines)
        assert all(text.isprintable() and not text.startswith("root") for text in lines)
