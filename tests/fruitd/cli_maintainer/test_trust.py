"""`fruit trust` as people in different places use it: if this failed, a swarm could not outlive the loss of a key."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from swarm.root_file import RootChain, load_root
from swarm.trust.root import Role
from tests.fruitd.cli_maintainer.conftest import Answer, Fruit
from tests.fruitd.cli_maintainer.listening_node import listening_node

PEOPLE = ("ann", "ben", "carl", "cora", "dan", "fay")
Person = Callable[..., Answer]


@pytest.fixture
def person(fruit: Fruit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Run `fruit` as somebody, in a folder that is theirs alone and holds their own key."""
    for name in PEOPLE:
        (tmp_path / name).mkdir()
        assert fruit("key", "new", name, "--no-passphrase", "--dir", name).code == 0

    def run(name: str, *words: object) -> Answer:
        monkeypatch.chdir(tmp_path / name)
        return fruit(*words)

    return run


@pytest.fixture
def carry(tmp_path: Path) -> Callable[..., None]:
    """Take files from one person to another, as on a stick."""

    def copy(giver: str, taker: str, *names: str, under: str | None = None) -> None:
        for name in names:
            shutil.copy(tmp_path / giver / name, tmp_path / taker / (under or name))

    return copy


@pytest.fixture
def founded(person: Person, carry: Callable[..., None], tmp_path: Path) -> Path:
    """Ann, ben and carl are root, two of them together; cora and dan release. Everybody has the file."""
    for name in PEOPLE[1:]:
        carry(name, "ann", f"{name}.pub")
    roots = ["--root-key", "ann.key", "--root-key", "ben.pub", "--root-key", "carl.pub"]
    made = person(
        "ann",
        "trust",
        "init",
        "--swarm",
        "orchard",
        *roots,
        "--release-key",
        "cora.pub",
        "--release-key",
        "dan.pub",
    )
    assert made.code == 0, made.err
    assert "too few: 1 more is needed, of ben, carl" in made.out
    carry("ann", "ben", "root.fruit")
    assert "signed by enough" in person("ben", "trust", "sign", "root.fruit", "--key", "ben.key").out
    for name in PEOPLE:
        if name != "ben":
            carry("ben", name, "root.fruit")
    return tmp_path


def test_two_people_found_a_swarm_without_bringing_their_keys_together(founded, person):
    """If this failed, all root keys would have to be on one machine once: there they could all be stolen."""
    assert load_root((founded / "ann" / "root.fruit").read_bytes()).swarm == "orchard"
    assert person("ann", "trust", "show", "root.fruit").code == 0
    assert [p.name for p in (founded / "ben").glob("*.key")] == ["ben.key"]


def test_a_lost_key_is_replaced_by_three_people_in_three_places(founded, person, carry):
    """If this failed, one lost root key would be the beginning of the end of a swarm."""
    carry("fay", "ann", "fay.pub")
    made = person("ann", "trust", "rotate", "root.fruit", "-o", "next.fruit", "--replace", "carl=fay.pub")
    assert made.code == 0, made.err
    assert "loses root" in made.out
    assert "too few: 2 more are needed, of ann, ben, carl" in made.out
    for name in ("ben", "fay"):
        carry("ann", name, "next.fruit")
    for name in ("ann", "ben", "fay"):  # At the same time, each their own copy.
        signed = person(
            name, "trust", "sign", "next.fruit", "--key", f"{name}.key", "--previous", "root.fruit"
        )
        assert signed.code == 0, signed.err
        if name != "ann":
            carry(name, "ann", "next.fruit", under=f"from-{name}")
    assert person("ann", "trust", "show", "next.fruit", "--previous", "root.fruit").code == 1
    results = set()
    for n, order in enumerate(itertools.permutations(["next.fruit", "from-ben", "from-fay"])):
        merged = person("ann", "trust", "merge", *order, "-o", f"root-2-{n}")
        assert merged.code == 0, merged.err
        assert f"fruit trust publish root-2-{n}" in merged.out
        results.add((founded / "ann" / f"root-2-{n}").read_bytes())
    (data,) = results
    root = load_root(data)
    assert root.version == 2
    assert sorted(root.names[k] for k in root.roles[Role.ROOT].keys) == ["ann", "ben", "fay"]
    words = person("ann", "trust", "show", "root-2-0", "--previous", "root.fruit")
    assert words.code == 0
    assert max(len(line) for line in words.out.splitlines()) <= 80
    document = json.loads(person("ann", "trust", "show", "root-2-0", "--json").out)
    assert [(r["version"], r["threshold"], r["missing"]) for r in document["rounds"]] == [
        (1, 2, 0),
        (2, 2, 0),
    ]
    assert document["chain"] == [1, 2]
    assert document["changes"]["roles"].keys() == {"root"}


def test_signing_again_or_after_the_merge_is_as_good(founded, person, carry):
    """If this failed, the order in which people find the time would matter."""
    person("ann", "trust", "rotate", "root.fruit", "-o", "next.fruit", "--expires", "never")
    carry("ann", "ben", "next.fruit")
    first = person("ann", "trust", "sign", "next.fruit", "--key", "ann.key", "-o", "a.fruit")
    assert first.code == 0
    assert "ann (" in first.out
    merged = person("ann", "trust", "merge", "a.fruit", "next.fruit", "-o", "merged.fruit")
    assert "too few" in merged.out
    carry("ann", "ben", "merged.fruit")
    after = person("ben", "trust", "sign", "merged.fruit", "--key", "ben.key")
    again = person("ben", "trust", "sign", "merged.fruit", "--key", "ben.key")
    assert (after.code, again.code) == (0, 0)
    assert "has signed" in after.out
    assert "has signed" not in again.out
    assert load_root((founded / "ben" / "merged.fruit").read_bytes()).expires_at_s == 0


def test_what_is_not_the_change_of_ones_own_swarm_is_not_signed(founded, person, carry):
    """If this failed, somebody in the middle could have a maintainer sign for other people."""
    carry("ben", "ann", "ben.pub")
    forged = person("ann", "trust", "init", "--swarm", "orchard", "--root-key", "ben.pub", "--root-key", "ann.key",
                    "--root-threshold", "1", "--release-key", "ann.pub", "-o", "forged.fruit")  # fmt: skip
    assert forged.code == 0
    person("ann", "trust", "rotate", "forged.fruit", "-o", "forged-2.fruit", "--expires", "never")
    carry("ann", "ben", "forged-2.fruit")
    before = (founded / "ben" / "forged-2.fruit").read_bytes()
    for command in (["sign", "forged-2.fruit", "--key", "ben.key"], ["show", "forged-2.fruit"]):
        refused = person("ben", "trust", *command, "--previous", "root.fruit")
        assert refused.code == 1
        assert "root 1, which you trust, is not in it" in refused.err
    assert (founded / "ben" / "forged-2.fruit").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "nothing would change"),
        (["--remove", "root=ann", "--remove", "root=ben"], 2, "1 would be left"),
        (["--remove", "root"], 2, "has no = with something before and after it"),
        (["--remove", "admin=ann"], 2, "'admin' is no role; roles are root, release, freshness, operator"),
        (["--add", "root=missing.pub"], 1, "missing.pub cannot be read"),
        (["--add", "root=root.fruit"], 1, "root.fruit is no key file"),
        (["--threshold", "root=two"], 2, "does not end in a number"),
        (["--threshold", "root=9"], 2, "threshold 9 of role root is not from 1 to 3"),
        (["--expires", "1999-12-31"], 2, "would expire on 1999-12-31"),
        (["--expires", "soon"], 2, "is no expiry"),
        (["--replace", "zed=ann.pub"], 2, "zed does not hold the role"),
    ],
)
def test_mistakes_of_a_rotation_are_refused_in_one_line_and_leave_nothing(founded, person, words, code, said):
    """If this failed, a slip would be found when it is too late, or half a file would lie about."""
    answer = person("ann", "trust", "rotate", "root.fruit", "-o", "next.fruit", *words)
    assert (answer.code, answer.err.count("\n")) == (code, 1), answer.err
    assert said in answer.err
    assert not (founded / "ann" / "next.fruit").exists()


def test_who_may_not_sign_is_told_who_may(founded, person):
    """If this failed, a release maintainer would wonder why nothing comes of the signature."""
    person("cora", "trust", "rotate", "root.fruit", "-o", "next.fruit", "--expires", "never")
    answer = person("cora", "trust", "sign", "next.fruit", "--key", "cora.key")
    assert answer.code == 1
    assert "these do: ann, ben, carl" in answer.err
    assert person("cora", "trust", "sign", "next.fruit", "--key", "cora.pub").code == 1


def test_an_expired_root_says_so(fruit, tmp_path, monkeypatch):
    """If this failed, nodes would stop installing and nobody would know why."""
    fruit("key", "new", "ann", "--no-passphrase")
    init = ("trust", "init", "--swarm", "x", "--root-key", "ann.key", "--release-key", "ann.pub")
    assert "renew it soon" in fruit(*init, "--expires", "30d").out
    monkeypatch.setattr("fruitd.cli.trust.time.time", lambda: 4_000_000_000.0)
    shown = fruit("trust", "show", "root.fruit")
    assert shown.code == 0
    assert "EXPIRED on" in shown.out
    assert json.loads(fruit("trust", "show", "root.fruit", "--json").out)["expired"] is True
    renewed = fruit("trust", "rotate", "root.fruit", "-o", "root-2.fruit", "--expires", "3y")
    assert renewed.code == 0, renewed.err
    assert load_root(RootChain.decode((tmp_path / "root.fruit").read_bytes()).encode()).version == 1


def test_all_roots_that_a_node_lacks_are_published_oldest_first(founded, person):
    """If this failed, a node that missed a root could not be helped by whoever has the file."""
    newest = "root.fruit"
    for version in (2, 3):
        person(
            "ann", "trust", "rotate", newest, "-o", f"root-{version}", "--expires", f"20{29 + version}-01-01"
        )
        newest = f"root-{version}"
        shutil.copy(founded / "ben" / "ben.key", founded / "ann")
        person("ann", "trust", "sign", newest, "--key", "ann.key", "--key", "ben.key")
    chain = RootChain.decode((founded / "ann" / newest).read_bytes())
    with listening_node(founded / "s") as node:
        node.answer = {"schema": 1, "outcome": "accepted"}
        node.records = [chain.records[0]]
        published = person("ann", "trust", "publish", newest, "--socket", founded / "s")
        assert published.code == 0, published.err
        assert published.out == "trust root 2: accepted\ntrust root 3: accepted\n"
        assert node.requests == [("/v1/records", record.encode()) for record in chain.records[1:]]
        node.requests.clear()
        node.records, node.answer = list(chain.records), {"schema": 1, "outcome": "known"}
        assert (
            person("ann", "trust", "publish", newest, "--socket", founded / "s").out
            == "trust root 3: known\n"
        )
        node.answer = {"schema": 1, "outcome": "disputed"}
        disputed = person("ann", "trust", "publish", newest, "--socket", founded / "s", "--json")
        assert disputed.code == 1
        assert "rotate again" in disputed.err


def test_a_half_signed_root_is_refused_before_it_is_sent(founded, person):
    """If this failed, people would believe a change is on its way that no node takes."""
    person("ann", "trust", "rotate", "root.fruit", "-o", "next.fruit", "--expires", "never")
    person("ann", "trust", "sign", "next.fruit", "--key", "ann.key")
    with listening_node(founded / "s") as node:
        answer = person("ann", "trust", "publish", "next.fruit", "--socket", founded / "s")
        assert answer.code == 1
        assert "next.fruit is not published: root has 1 valid signatures" in answer.err
        assert node.requests == []


@pytest.mark.parametrize("command", ["init", "rotate", "sign", "merge", "show", "publish"])
def test_help_has_an_example(fruit, command):
    """If this failed, a new maintainer would have to guess."""
    answer = fruit("trust", command, "--help")
    assert answer.code == 0
    assert "Example:" in answer.out
