"""Mistakes with releases, as a maintainer meets them at a terminal: if these failed, they would be told to nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from fruitd.maintainer.image_kind import image_kind
from swarm.news.record import Record
from swarm.signing import signed as with_signature
from swarm.trust.key_files import read_secret_key
from swarm.trust.manifest import Manifest
from tests.fruitd.cli_maintainer.conftest import BUILD, IMAGE, Answer, Fruit
from tests.fruitd.cli_maintainer.listening_node import listening_node

NODE = {"id": "9b" * 20, "name": "fruit-03", "release": 1, "version": "1.0", "quarantined": [], "hardware": ["pi4"],
    "slot_bytes": 2 * len(IMAGE)}  # fmt: skip


def nodes_file(*rows: dict[str, Any]) -> str:
    Path("nodes.json").write_text(json.dumps({"schema": 1, "nodes": rows}))
    return "nodes.json"


def build(fruit: Fruit, release: int, *words: object, image: str = "image") -> Answer:
    options = ("--release", release, "--compatible", "pi4", "-o", f"release-{release}")
    return fruit("release", "build", image, *BUILD, *options, *words)


def test_show_says_what_would_change_on_which_hardware(signed: Path, fruit: Fruit) -> None:
    """If this failed, people would sign for nodes they do not mean."""
    nodes = nodes_file(NODE, NODE | {"name": "second"}, NODE | {"hardware": ["pi5"]})
    before = ("--previous", "release-1/manifest")
    assert build(fruit, 2, *before, "--nodes", nodes, "--key", "cora.key").code == 0
    words = fruit("release", "show", "release-2", "--nodes", nodes)
    assert words.code == 0
    assert "compared with manifest" in words.out
    assert "pi4       1 (1.0)  2 (1.0)  1.0 MiB  2 would take it" in words.out
    assert "1 more signature is needed, of dan, eve" in words.out
    document = json.loads(fruit("release", "show", "release-2", "--nodes", nodes, "--json").out)
    [change] = document["changes"]
    assert (change["nodes"], change["would_take"], document["mistakes"]) == (2, 2, [])
    assert (
        document["compared_with"]
        == json.loads(fruit("release", "show", "release-1", "--json").out)["sequence"]
    )
    assert len(bytes.fromhex(document["content_hash"])) == 32


def test_a_mistake_is_refused_at_every_step_until_somebody_says_why(built: Path, fruit: Fruit) -> None:
    """If this failed, whoever looks last would be the only one to be warned."""
    nodes = nodes_file(NODE | {"slot_bytes": len(IMAGE) - 1})
    shown = fruit("release", "show", "release-1", "--nodes", nodes)
    assert shown.code == 1
    assert "a mistake:\n  image-too-large: the image of " in shown.out
    assert json.loads(fruit("release", "show", "release-1", "--nodes", nodes, "--json").out)["mistakes"][
        0
    ] == {
        "what": "image-too-large",
        "why": "the image of 1.0 MiB does not fit the slots of 1 known node (fruit-03): make it smaller by 1 B",
        "final": False,
    }
    meant = ("--anyway", "that node is replaced on Monday")
    building = ("release", "build", "image", *BUILD, "--release", 2, "--compatible", "pi4", "-o", "r2")
    signing = ("release", "sign", "release-1", "--key", "cora.key")
    for command in (building, signing, (*signing, "-o", "signature")):
        refused = fruit(*command, "--nodes", nodes)
        assert refused.code == 1
        assert "(if this is meant, say why: --anyway 'REASON')" in refused.err
    assert not Path("r2").exists()
    assert not Path("signature").exists()
    assert not Path("release-1/manifest").exists()
    for command in (building, (*signing, "-o", "signature"), signing):
        allowed = fruit(*command, "--nodes", nodes, *meant)
        assert Path("r2").exists()
        assert allowed.code == 0, allowed.err
    assert "that node is replaced on Monday" in fruit("release", "show", "r2").out


def test_publish_compares_with_what_the_node_has_and_knows(signed: Path, fruit: Fruit) -> None:
    """If this failed, the last look before all nodes see a release would be a blind one."""
    record = Record.decode((signed / "release-1/manifest").read_bytes())
    keys = [read_secret_key(signed / f"{name}.key") for name in ("cora", "dan")]
    [row] = Manifest.decode(record.body).releases
    other = attrs.evolve(Manifest.decode(record.body), releases=(attrs.evolve(row, infohash=bytes(32)),))
    newer = Record("manifest", b"stable", record.sequence + 5, other.encode())
    with listening_node(signed / "s") as node:
        for held, code, said in (
            ([], 0, ""),
            ([record], 0, ""),
            ([with_signature(newer, *keys)], 1, "out already with other bytes"),
        ):
            node.records, node.requests = held, []
            answer = fruit("release", "publish", "release-1", "--socket", "s")
            assert (answer.code, said in answer.err) == (code, True), answer.err
            assert len(node.requests) == (1 if code == 0 else 0)
        node.records, node.nodes = [], [NODE | {"hardware": ["pi5"]}]
        assert "none of 1 known nodes is pi4" in fruit("release", "publish", "release-1", "--socket", "s").err
        meant = fruit("release", "publish", "release-1", "--socket", "s", "--anyway", "they come on Monday")
        assert meant.code == 0, meant.err


def test_building_at_a_node_goes_on_from_what_it_holds(signed: Path, fruit: Fruit) -> None:
    """If this failed, a release built beside a node would take away what other hardware has."""
    record = Record.decode((signed / "release-1/manifest").read_bytes())
    with listening_node(signed / "s") as node:
        node.records, node.nodes = [record], [NODE | {"hardware": ["pi4", "pi5"]}]
        words = ("--release", 2, "--compatible", "pi5", "-o", "release-2", "--socket", "s")
        answer = fruit("release", "build", "image", *BUILD, *words)
        assert answer.code == 0, answer.err
        assert (signed / "release-2/previous").read_bytes() == record.encode()
        assert "pi4       1 (1.0)  unchanged" in answer.out
        node.records = [record, attrs.evolve(record, body=record.body[:-1] + b"x")]
        words = ("--release", 3, "--compatible", "pi5", "-o", "release-3", "--socket", "s")
        assert "contradict each other" in fruit("release", "build", "image", *BUILD, *words).err


def test_a_release_can_be_signed_again_after_its_key_was_taken_away(signed: Path, fruit: Fruit) -> None:
    """If this failed, taking a stolen key away would take the running release's manifest away for good."""
    new_root = ("--remove", "release=cora", "--threshold", "release=2", "-o", "root-2.fruit")
    assert fruit("trust", "rotate", "root.fruit", *new_root).code == 0
    fruit("trust", "sign", "root-2.fruit", "--key", "ann.key", "--key", "ben.key")
    judged = fruit("release", "show", "release-1", "--trust", "root-2.fruit")
    assert judged.code == 1
    assert "torrent-signer: " in judged.out
    assert "signer-not-in-role: cora" in judged.out
    again = ("--release", 1, "--compatible", "pi4", "-o", "again", "--previous", "release-1/manifest")
    words = (*BUILD[:-1], "root-2.fruit", *again, "--key", "dan.key", "--key", "eve.key")
    answer = fruit("release", "build", "image", *words)
    assert answer.code == 0, answer.err
    assert fruit("release", "verify", "again", "--trust", "root-2.fruit").code == 0
    refused = fruit("release", "sign", "again", "--key", "cora.key")
    assert "no release key" in refused.err


def test_an_image_without_a_file_system_is_asked_about_once(swarm: Path, fruit: Fruit) -> None:
    """If this failed, a wrong file would be released, or every signer asked about a right one."""
    (swarm / "noise").write_bytes(b"noise" * 1000)
    refused = build(fruit, 1, image="noise")
    assert refused.code == 1
    assert "looks like no file system" in refused.err
    assert not (swarm / "release-1").exists()
    assert build(fruit, 1, "--anyway", "a LUKS container", image="noise").code == 0
    signing = fruit("release", "sign", "release-1", "--key", "cora.key")
    assert signing.code == 0
    assert "anyway      a LUKS container" in signing.out


def test_show_sees_that_the_image_was_written_since(built: Path, fruit: Fruit) -> None:
    """If this failed, people would learn only from the node that what they signed is gone."""
    assert fruit("release", "show", "release-1").code == 0
    (built / "image").write_bytes(IMAGE + b"more")
    shown = fruit("release", "show", "release-1")
    assert shown.code == 1
    assert "image-changed" in shown.out
    (built / "image").unlink()
    assert fruit("release", "show", "release-1").code == 0, "who signs has no image"


@pytest.mark.parametrize(
    ("name", "at", "magic"),
    [
        ("ext", 1080, b"\x53\xef"),
        ("squashfs", 0, b"hsqs"),
        ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
        ("xfs", 0, b"XFSB"),
        ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
        ("btrfs", 65_600, b"_BHRfS_M"),
        ("", 0, b""),
    ],
)
def test_file_systems_are_known_by_their_magic(tmp_path: Path, name: str, at: int, magic: bytes) -> None:
    """If this failed, people would be asked about good images until they no longer read the question."""
    (tmp_path / "image").write_bytes(bytes(at) + magic + bytes(10))
    assert image_kind(tmp_path / "image") == name


def test_a_release_under_a_trust_root_that_expired_is_refused(
    swarm: Path, fruit: Fruit, monkeypatch: Any
) -> None:
    """If this failed, people would wait for nodes that install nothing any more."""
    import fruitd.cli.release

    now_s = fruitd.cli.release.time.time()
    monkeypatch.setattr(fruitd.cli.release.time, "time", lambda: now_s + 4 * 365 * 86_400)
    answer = build(fruit, 1)
    assert answer.code == 1
    assert "expired at" in answer.err
    assert "fruit trust rotate" in answer.err
