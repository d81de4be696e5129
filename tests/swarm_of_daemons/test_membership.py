"""Who is a member, with real daemons: tokens on cards, strangers without one, revocations, and an operator's round."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.maintainer.admitting import new_revocation, sign_paper
from swarm.root_file import load_root
from swarm.status import NodeStatus, status_record
from swarm.trust.key_files import generate
from tests.swarm_of_daemons.looks import doctor_of, fruit, fruit_alone, log_of, until
from tests.swarm_of_daemons.strangers import Insider

pytestmark = pytest.mark.swarm

SPREAD_S = 120.0


def rows_of(node: NodeProcess) -> dict[str, dict[str, Any]]:
    """What a node shows of each node, by name."""
    answer = node.get("/v1/nodes") or {"nodes": []}
    return {row["name"]: row for row in answer["nodes"]}


def members_of(node: NodeProcess) -> set[str]:
    """Names of those that it takes for members."""
    return {name for name, row in rows_of(node).items() if row["member"] is not None}


def start(cluster: Cluster, *nodes: NodeProcess) -> None:
    """Switch on, and wait until they know each other."""
    for node in nodes:
        node.start()
    others = len(cluster.nodes) - 1
    cluster.wait("each other", cluster.nodes, lambda s: s["peers"]["heard"] >= others, timeout_s=SPREAD_S)


def operators_word(maintainers: Maintainers, target: str, **words: Any) -> bytes:
    """A revocation, signed."""
    root = load_root(maintainers.root_file.read_bytes())
    paper = new_revocation(root, bytes.fromhex(target), words.pop("reason", "stolen"), time.time(), **words)
    return sign_paper(paper, [maintainers.operator_key], root).record.encode()


def test_a_node_without_a_token_works_says_so_and_does_not_count(
    make_cluster: Callable[..., Cluster],
) -> None:
    """A forgotten token would cost the node its updates, or let anybody with the swarm key into the list of nodes."""
    cluster = make_cluster()
    first, second = (cluster.add(f"n{n}", slots=False) for n in (1, 2))
    bare = cluster.add("bare", slots=False)
    text = (bare.directory / "fruitd.toml").read_text()
    (bare.directory / "fruitd.toml").write_text(text.replace("token =", "# token ="))
    start(cluster, first, second, bare)
    until(
        lambda: members_of(first) == members_of(second) == members_of(bare) == {"n1", "n2"},
        lambda: f"{[sorted(rows_of(node)) for node in cluster.nodes]}",
        SPREAD_S,
    )
    told = " ".join(fruit(bare, "status").stdout.split())
    assert "this node's status does not count: it has no join token" in told
    assert any("membership: this node's status does not count" in line for line in doctor_of(bare))
    others = (first.get("/v1/nodes") or {})["others"]
    assert [row["name"] for row in others] == ["bare"]
    assert "not members, so not counted: bare" in " ".join(fruit(first, "nodes").stdout.split())
    (bare.directory / "fruitd.toml").write_text(text)
    bare.stop()
    bare.start()
    until(lambda: members_of(first) == {"n1", "n2", "bare"}, lambda: f"{rows_of(first)}", SPREAD_S)


def test_the_token_may_go_once_the_certificate_is_made(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers
) -> None:
    """A card that is found later would still let anybody in, or a node without its token would be lost at its next start."""
    cluster = make_cluster()
    node, other = (cluster.add(name, slots=False) for name in ("node", "other"))
    start(cluster, node, other)
    until(lambda: members_of(other) == {"node", "other"}, lambda: f"{rows_of(other)}", SPREAD_S)
    seed = json.loads(maintainers.token_file.read_text())["seed"]
    maintainers.token_file.unlink()
    node.stop()
    node.start()
    cluster.wait("a start", [node], lambda s: s["membership"]["member"] is not None, timeout_s=SPREAD_S)
    assert node.get("/v1/status")["membership"]["why"] == ""  # type: ignore[index]
    for path in (p for p in node.directory.rglob("*") if p.is_file()):
        assert bytes.fromhex(seed) not in path.read_bytes(), path
        assert seed.encode() not in path.read_bytes(), path


def test_a_stranger_with_the_swarm_key_fills_no_list(make_cluster: Callable[..., Cluster]) -> None:
    """Ten thousand invented nodes would stand in every list, and push the real ones out."""
    cluster = make_cluster()
    node, other = (cluster.add(name, slots=False) for name in ("node", "other"))
    start(cluster, node, other)
    until(lambda: members_of(node) == {"node", "other"}, lambda: f"{rows_of(node)}", SPREAD_S)
    insider = Insider(cluster)
    for number in range(200):
        said = NodeStatus(int(time.time()), f"fake-{number}", "", 9, "", b"", "idle", "", (), 0, "x")
        insider.push(node, status_record(said, generate("fake"), time.time()))

    def counted() -> int:
        refusals = (node.get("/v1/doctor") or {"refusals": []})["refusals"]
        return sum(row["count"] for row in refusals if "is not a member" in row["why"])

    until(lambda: counted() >= 150, lambda: f"{counted()} counted", SPREAD_S)
    refusals = [r for r in (node.get("/v1/doctor") or {})["refusals"] if "is not a member" in r["why"]]
    assert len(refusals) == 1, "each invention got a line of its own"
    assert set(rows_of(node)) == {"node", "other"}


def test_a_revoked_node_is_gone_everywhere_and_comes_back_when_it_is_lifted(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers
) -> None:
    """A stolen node would stay among ours on those that were off when it was turned away."""
    cluster = make_cluster()
    first, second, thief = (cluster.add(name, slots=False) for name in ("first", "second", "thief"))
    start(cluster, first, second, thief)
    everyone = {"first", "second", "thief"}
    until(lambda: members_of(first) == members_of(second) == everyone, lambda: f"{rows_of(first)}", SPREAD_S)
    second.stop()
    thief_id = rows_of(first)["thief"]["id"]
    (cluster.settings.directory / "word").write_bytes(operators_word(maintainers, thief_id))
    told = fruit(first, "member", "publish", str(cluster.settings.directory / "word"))
    assert told.returncode == 0, told.stderr
    until(lambda: set(rows_of(first)) == {"first", "second"}, lambda: f"{rows_of(first)}", SPREAD_S)
    second.start()
    until(lambda: set(rows_of(second)) == {"first", "second"}, lambda: f"{rows_of(second)}", SPREAD_S)
    until(
        lambda: "node was revoked by an operator: stolen" in " ".join(doctor_of(thief)),
        lambda: f"{doctor_of(thief)}",
        SPREAD_S,
    )
    assert f"node {thief_id[:12]}: stolen" in fruit(second, "member", "list").stdout
    lifted = operators_word(maintainers, thief_id, lifted=True, reason="found", after=int(time.time()) + 1)
    (cluster.settings.directory / "word").write_bytes(lifted)
    assert fruit(second, "member", "publish", str(cluster.settings.directory / "word")).returncode == 0
    until(lambda: members_of(first) == members_of(second) == everyone, lambda: f"{rows_of(first)}", SPREAD_S)


def test_an_operators_round_with_the_fruit_command(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, tmp_path: Path
) -> None:
    """An operator following the page could not make a token, see who came by it, or close it behind them."""
    key = maintainers.root_file.parent / "operator.key"
    signing = ["--key", str(key), "--trust", str(maintainers.root_file)]
    cluster = make_cluster(token_file=tmp_path / "batch.token")
    first, second, late = (cluster.add(name, slots=False) for name in ("first", "second", "late"))
    terms = ["--site", "glasgow", "--label", "rack=3", "--nodes", "1", "-o", str(tmp_path / "batch.token")]
    made = fruit_alone("member", "token", "batch", *signing, *terms)
    assert made.returncode == 0, made.stderr
    for node in (first, second):
        node.start()
    until(lambda: members_of(first) == {"first", "second"}, lambda: f"{rows_of(first)}", SPREAD_S)
    listed = fruit(first, "member", "list").stdout
    assert "2 of 1" in listed
    assert "too many" in listed
    assert sum(row["member"]["counts"] for row in rows_of(first).values()) == 1
    assert rows_of(second)["first"]["member"]["labels"] == {"rack": "3"}
    told = fruit(first, "member", "revoke", "batch", "--keep-members", "--reason", "all in", *signing)
    assert told.returncode == 0, told.stderr
    late.start()
    until(
        lambda: "was revoked by an operator: all in" in " ".join(doctor_of(late)),
        lambda: f"{doctor_of(late)}",
        SPREAD_S,
    )
    assert members_of(first) == members_of(second) == {"first", "second"}
    assert not any(seed_in(tmp_path) in json.dumps(line) for node in cluster.nodes for line in log_of(node))


def seed_in(folder: Path) -> str:
    """The token's secret."""
    return str(json.loads((folder / "batch.token").read_text())["seed"])
