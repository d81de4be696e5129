"""`fruit member` as operators run it: tokens for cards, revocations, each signed by as many as it takes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from fruitd.cli.targets import find_target
from fruitd.errors import RefusedError
from swarm.joining import TokenFile, join
from swarm.news.record import Record
from swarm.root_file import load_root
from swarm.trust.key_files import generate
from swarm.trust.tokens import check_revocation, check_token
from tests.fruitd.cli_maintainer.conftest import Fruit

NODE_ID = "5c" * 20


@pytest.fixture
def closed(fruit: Fruit, tmp_path: Path) -> Path:
    """A swarm with two operators, of whom both must sign."""
    for name in ("ann", "cora", "olga", "otto", "mallory"):
        assert fruit("key", "new", name, "--no-passphrase").code == 0
    keys = ["--root-key", "ann.key", "--release-key", "cora.pub"]
    operators = ["--operator-key", "olga.pub", "--operator-key", "otto.pub", "--operator-threshold", 2]
    assert fruit("trust", "init", "--swarm", "orchard", *keys, *operators).code == 0
    return tmp_path


def test_two_operators_make_a_token_that_a_node_can_join_by(fruit: Fruit, closed: Path) -> None:
    """Two operators in two places could not let a node in without handing the token's secret around."""
    terms = ["--site", "glasgow", "--label", "rack=3", "--expires", "30d", "--nodes", 40]
    made = fruit("member", "token", "batch-2", "--key", "olga.key", "--trust", "root.fruit", *terms)
    assert made.code == 0, made.err
    assert "1 more operators have to sign" in made.out
    assert "fruit member sign batch-2.terms" in made.out
    assert (closed / "batch-2.token").stat().st_mode & 0o777 == 0o600
    seed = json.loads((closed / "batch-2.token").read_text())["seed"]
    assert seed not in (closed / "batch-2.terms").read_bytes().hex()
    assert seed not in made.out
    root = load_root((closed / "root.fruit").read_bytes())
    file = TokenFile.decode((closed / "batch-2.token").read_bytes())
    with pytest.raises(Exception, match="has 1 valid signatures"):
        join(file, generate("identity"), root, time.time())
    signed = fruit("member", "sign", "batch-2.terms", "--key", "otto.key", "--trust", "root.fruit")
    assert signed.code == 0
    assert "fruit member merge TOKEN batch-2.terms" in signed.out
    merged = fruit("member", "merge", "batch-2.token", "batch-2.terms", "--trust", "root.fruit")
    assert "put it on the cards" in merged.out
    file = TokenFile.decode((closed / "batch-2.token").read_bytes())
    assert (closed / "batch-2.token").stat().st_mode & 0o777 == 0o600
    token = check_token(root, file.terms)
    assert (token.site, token.labels, token.nodes_max) == ("glasgow", (("rack", "3"),), 40)
    assert 29 * 86_400 < token.expires_at_s - time.time() < 32 * 86_400
    assert join(file, generate("identity"), root, time.time()).token == token
    shown = fruit("member", "show", "batch-2.token", "--trust", "root.fruit", "--json")
    assert shown.code == 0
    described = json.loads(shown.out)
    assert (described["complete"], described["missing"], described["secret"]) == (True, 0, True)
    assert "rack=3" in fruit("member", "show", "batch-2.token").out


def test_a_revocation_is_written_signed_by_both_and_shown(fruit: Fruit, closed: Path) -> None:
    """A stolen node could not be turned away by operators without a node at hand."""
    words = ["--trust", "root.fruit", "--reason", "stolen", "-o", "pi.revoke"]
    assert fruit("member", "revoke", NODE_ID, "--key", "olga.key", *words).code == 0
    assert fruit("member", "show", "pi.revoke", "--trust", "root.fruit").code == 1
    told = fruit("member", "sign", "pi.revoke", "--key", "otto.key", "--trust", "root.fruit")
    assert "to go on: fruit member publish pi.revoke" in told.out
    root = load_root((closed / "root.fruit").read_bytes())
    record = Record.decode((closed / "pi.revoke").read_bytes())
    revocation = check_revocation(root, record)
    assert (revocation.target.hex(), revocation.reason, revocation.lifted) == (NODE_ID, "stolen", False)


def test_strangers_and_mistakes_are_refused_in_one_line(fruit: Fruit, closed: Path) -> None:
    """An operator would make tokens that no node takes, or leave secrets where others read them."""
    trust = ["--trust", "root.fruit"]
    token = ["member", "token", "t", "--key"]
    assert "is no operator key" in fruit(*token, "mallory.key", *trust).err
    assert fruit(*token, "olga.key", *trust, "--label", "rack").code == 2
    assert fruit(*token, "olga.key", *trust, "--expires", "soon").code == 2
    assert "label" in fruit(*token, "olga.key", *trust, "--label", "RACK=3").err
    assert not (closed / "t.token").exists()
    assert fruit(*token, "olga.key", *trust).code == 0
    assert "not overwritten" in fruit(*token, "olga.key", *trust).err
    (closed / "t.token").chmod(0o644)
    told = fruit("member", "sign", "t.token", "--key", "otto.key", *trust)
    assert (told.code, "chmod 600" in told.err) == (1, True)
    told = fruit("member", "show", "root.fruit")
    assert (told.code, "neither a join token nor a revocation" in told.err) == (1, True)
    assert fruit("member", "revoke", "pi-17", "--key", "olga.key", *trust, "--reason", "x").code == 1
    fruit(
        "trust",
        "init",
        "--swarm",
        "open",
        "--root-key",
        "ann.key",
        "--release-key",
        "cora.pub",
        "-o",
        "open.fruit",
    )
    told = fruit(*token, "olga.key", "--trust", "open.fruit", "-o", "o.token")
    assert "nobody may admit nodes to swarm open" in told.err


def test_signatures_to_different_words_are_not_merged(fruit: Fruit, closed: Path) -> None:
    """A token could end with the signatures of another one's terms."""
    for name in ("one", "two"):
        fruit("member", "token", name, "--key", "olga.key", "--trust", "root.fruit")
    told = fruit("member", "merge", "one.token", "two.terms", "--trust", "root.fruit")
    assert (told.code, "say different things" in told.err) == (1, True)


def test_whom_an_operator_means() -> None:
    """The wrong node would be turned away."""
    token = {"id": "7a" * 16, "name": "batch", "members": [{"id": NODE_ID, "name": ""}]}
    members = {"tokens": [token], "revoked": [{"id": "ee" * 20}]}
    nodes = {"nodes": [{"id": NODE_ID, "name": "pi-17"}, {"id": "5d" * 20, "name": "twin"}]}
    nodes["others"] = [{"id": "5e" * 20, "name": "twin"}]
    said = [{"key": "ee" * 20, "sequence": 7}, {"key": NODE_ID, "sequence": 9}]

    def found(words: str) -> tuple[str, int]:
        target = find_target(words, members, nodes, said)
        return target.target_id.hex(), target.said_before

    assert found("pi-17") == found("5c5c") == found(NODE_ID) == (NODE_ID, 9)
    assert found("eeee") == ("ee" * 20, 7)
    assert found("ab" * 20) == ("ab" * 20, 0)
    batch = find_target("batch", members, nodes, said)
    assert (batch.of_token, batch.members) == (True, (bytes.fromhex(NODE_ID),))
    for words in ("twin", "nobody", "5", "abcd"):
        with pytest.raises(RefusedError):
            find_target(words, members, nodes, said)
