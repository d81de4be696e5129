"""`fruit key` and `fruit trust`: if these failed, a swarm would start with keys nobody can rely on."""

from __future__ import annotations

import json

import pytest

from fruitd.config.swarm_keys import read_swarm_keys
from fruitd.errors import UsageError
from fruitd.maintainer import found_swarm
from swarm.root_file import load_root
from swarm.trust.keys import SecretKey
from swarm.trust.root import Role


def test_a_key_pair_is_made_once_and_never_shown(fruit, tmp_path):
    """If this failed, a maintainer would lose a key to a second `key new`, or leak it into a log."""
    answer = fruit("key", "new", "ann", "--no-passphrase")
    seed = json.loads((tmp_path / "ann.key").read_text())["seed"]
    assert answer.code == 0
    assert seed not in answer.out + answer.err
    again = fruit("key", "new", "ann", "--no-passphrase")
    assert again.code == 1
    assert again.err.count("\n") == 1
    assert "not overwritten" in again.err
    assert json.loads((tmp_path / "ann.key").read_text())["seed"] == seed


def test_keys_go_where_they_are_asked_for(fruit, tmp_path):
    """If this failed, a secret key meant for a USB stick would lie on the disk."""
    (tmp_path / "stick").mkdir()
    assert fruit("key", "new", "ann", "--no-passphrase", "--dir", "stick").code == 0
    assert {p.name for p in (tmp_path / "stick").iterdir()} == {"ann.key", "ann.pub"}
    assert not (tmp_path / "ann.key").exists()


def test_a_swarm_key_is_what_the_daemon_reads(fruit, tmp_path):
    """If this failed, a swarm sealed with our own command's key could not start."""
    assert fruit("key", "swarm", "swarm.key").code == 0
    first = read_swarm_keys(tmp_path / "swarm.key")
    assert len(first[0]) == 32
    assert fruit("key", "swarm", "swarm.key").code == 1
    assert read_swarm_keys(tmp_path / "swarm.key") == first


def test_a_founded_swarm_has_the_roles_that_were_asked_for(swarm):
    """If this failed, the wrong people could release, or nobody could."""
    root = load_root((swarm / "root.fruit").read_bytes())
    assert root.swarm == "orchard"
    assert root.roles[Role.ROOT].threshold == 2
    assert root.roles[Role.RELEASE].threshold == 2
    assert sorted(root.names[k] for k in root.roles[Role.RELEASE].keys) == ["cora", "dan", "eve"]
    assert not root.roles[Role.OPERATOR].keys


def test_show_says_who_may_do_what_and_who_signed(swarm, fruit):
    """If this failed, nobody could check what they are about to put on every node."""
    words = fruit("trust", "show", "root.fruit")
    assert words.code == 0
    assert "2 of these 3 keys together may sign releases" in words.out
    assert max(len(line) for line in words.out.splitlines()) <= 80
    document = json.loads(fruit("trust", "show", "root.fruit", "--json").out)
    assert document["schema"] == 1
    assert document["complete"] is True
    assert [key["name"] for key in document["signed_by"]] == ["ann", "ben"]
    assert document["roles"]["release"]["threshold"] == 2
    assert set(document["roles"]) == {"root", "release", "freshness", "operator"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["--root-key", "ann.key", "--root-key", "ann.key", "--release-key", "cora.pub"],
            2,
            "one key given twice",
        ),
        (
            ["--root-key", "ann.key", "--release-key", "cora.pub", "--release-threshold", "2"],
            2,
            "from 1 to 1",
        ),
        (["--root-key", "ann.key", "--release-key", "cora.pub", "--root-threshold", "0"], 2, "from 1 to 1"),
        (["--root-key", "ann.key", "--release-key", "nobody.pub"], 1, "nobody.pub"),
        (["--root-key", "ann.key"], 2, "release-key"),
        (["--root-key", "image", "--release-key", "cora.pub"], 1, "image"),
    ],
)
def test_mistakes_of_a_ceremony_are_refused_in_one_line_and_leave_nothing(swarm, fruit, words, code, said):
    """If this failed, a slip in the ceremony would found a swarm that cannot be ruled, or leave half a file."""
    answer = fruit("trust", "init", "--swarm", "pears", *words, "-o", "pears.fruit")
    assert answer.code == code
    assert said in answer.err
    assert not (swarm / "pears.fruit").exists()


def test_an_existing_trust_root_is_not_replaced(swarm, fruit):
    """If this failed, a repeated command would cut a swarm off from its own nodes."""
    before = (swarm / "root.fruit").read_bytes()
    answer = fruit("trust", "init", "--swarm", "x", "--root-key", "ann.key", "--release-key", "cora.pub")
    assert answer.code == 1
    assert (swarm / "root.fruit").read_bytes() == before


def test_a_damaged_trust_root_is_refused_in_words(swarm, fruit):
    """If this failed, a cut download would end in a traceback."""
    whole = (swarm / "root.fruit").read_bytes()
    for damaged in (whole[:-1], b"", whole.replace(b"orchard", b"orcharx"), bytes(9000)):
        (swarm / "damaged").write_bytes(damaged)
        answer = fruit("trust", "show", "damaged")
        assert answer.code == 1
        assert "Traceback" not in answer.err


def test_two_maintainers_of_one_name_are_told_apart():
    """If this failed, people would be shown two keys as one person."""
    keys = [SecretKey(bytes([i]) * 32, "ann") for i in range(2)]
    with pytest.raises(UsageError, match="both named ann"):
        found_swarm("x", keys[:1], [k.public for k in keys])


def test_more_signatures_than_a_record_carries_are_not_asked_for():
    """If this failed, a swarm could be founded in which no release can ever be signed by enough."""
    keys = [SecretKey(bytes([i]) * 32, f"key-{i}").public for i in range(20)]
    with pytest.raises(UsageError, match="from 1 to 16"):
        found_swarm("x", [SecretKey(bytes([99]) * 32, "root")], keys, release_threshold=17)
