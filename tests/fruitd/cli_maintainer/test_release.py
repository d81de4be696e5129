"""`fruit release`: if it failed, maintainers could not release, or would release what they did not mean."""

from __future__ import annotations

import base64
import json
import os

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bep35.metainfo
from fruitd.errors import RefusedError
from fruitd.maintainer import ReleasePlan, build_release, sign_release, verify_release
from fruitd.maintainer.bundle import Bundle, Plan
from swarm.news.record import Record
from swarm.root_file import load_root
from swarm.trust.key_files import read_secret_key
from swarm.trust.manifest import Manifest
from swarm.trust.trusted_set import TrustedSet
from tests.fruitd.cli_maintainer.conftest import BUILD, IMAGE
from tests.fruitd.cli_maintainer.listening_node import listening_node

RESOURCE = "org.fruit-testbed.os/rootfs"


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_release_signed_by_the_threshold_is_believed_by_a_node(signed, fruit):
    """If this failed, the main job would fail at its first step."""
    trusted = TrustedSet(load_root((signed / "root.fruit").read_bytes()))
    manifest = trusted.check_manifest(Record.decode((signed / "release-1/manifest").read_bytes()))
    release = manifest.release_for(RESOURCE, frozenset({"pi4"}))
    metainfo = trusted.check_torrent(release, (signed / "release-1/image.torrent").read_bytes())
    assert metainfo.name == "rootfs-1.img"
    assert metainfo.length_bytes == 1_024_000
    answer = fruit("release", "verify", "release-1", "--trust", "root.fruit", "--image", "image")
    assert answer.code == 0
    assert "nodes will believe it" in answer.out


def test_one_signature_of_two_is_not_enough(built, fruit):
    """If this failed, one maintainer alone could reach every node."""
    assert "1 more signature is needed" in fruit("release", "sign", "release-1", "--key", "cora.key").out
    assert "1 more signature is needed" in fruit("release", "sign", "release-1", "--key", "cora.key").out
    verify = fruit("release", "verify", "release-1", "--trust", "root.fruit")
    assert verify.code == 1
    assert "has 1 valid signatures" in verify.err
    publish = fruit("release", "publish", "release-1")
    assert publish.code == 1
    assert "lacks 1 of 2 signatures" in publish.err


def test_signing_again_or_in_another_order_changes_no_content(signed, fruit):
    """If this failed, two maintainers would sign two different manifests of one sequence: equivocation."""
    before = Record.decode((signed / "release-1/manifest").read_bytes())
    torrent = (signed / "release-1/image.torrent").read_bytes()
    assert fruit("release", "sign", "release-1", "--key", "eve.key", "--key", "cora.key").code == 0
    after = Record.decode((signed / "release-1/manifest").read_bytes())
    assert after.content_hash == before.content_hash
    assert len(after.signatures) == 3
    assert (signed / "release-1/image.torrent").read_bytes() == torrent


def test_show_says_what_it_is_and_who_signed(built, fruit):
    """If this failed, maintainers would sign blind."""
    unsigned = json.loads(fruit("release", "show", "release-1", "--json").out)
    assert (unsigned["missing"], unsigned["signed_by"], unsigned["torrent"]["signed_by"]) == (2, [], None)
    fruit("release", "sign", "release-1", "--key", "dan.key")
    document = json.loads(fruit("release", "show", "release-1", "--json").out)
    assert document["schema"] == 1
    assert document["missing"] == 1
    assert document["torrent"]["signed_by"]["name"] == "dan"
    assert [key["name"] for key in document["signed_by"]] == ["dan"]
    assert (document["resource"], document["release"], document["compatible"]) == (RESOURCE, 1, ["pi4"])
    metainfo = bep35.metainfo.parse((built / "release-1/image.torrent").read_bytes())
    assert document["infohash"] == metainfo.infohash.hex()
    words = fruit("release", "show", "release-1").out
    assert "dan (" in words
    assert f"infohash    {metainfo.infohash.hex()}" in words


def test_a_key_that_holds_no_role_signs_nothing(built, fruit):
    """If this failed, a maintainer with the wrong key would find out only when every node refuses."""
    before = files(built / "release-1")
    for key, said in [
        ("mallory.key", "no release key"),
        ("ann.key", "no release key"),
        ("cora.pub", "public key"),
    ]:
        answer = fruit("release", "sign", "release-1", "--key", key)
        assert answer.code == 1
        assert said in answer.err
    assert files(built / "release-1") == before


def test_an_image_that_is_not_the_one_signed_is_told_where_it_differs(signed, fruit):
    """If this failed, a maintainer would publish a release whose image nobody has."""
    image = bytearray((signed / "image").read_bytes())
    image[300_000] ^= 1
    (signed / "image").write_bytes(image)
    answer = fruit("release", "verify", "release-1", "--trust", "root.fruit", "--image", "image", "--json")
    assert answer.code == 1
    document = json.loads(answer.out)
    assert document["ok"] is False
    assert "1 of 16 pieces differ, the first at byte 262144" in document["why"]
    (signed / "image").write_bytes(bytes(5))
    assert (
        "5 bytes" in fruit("release", "verify", "release-1", "--trust", "root.fruit", "--image", "image").err
    )
    assert "another size" in fruit("release", "publish", "release-1").err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--release": 0}, "--release"),
        ({"--version": ""}, "version"),
        ({"--version": "a\x1bb"}, "version"),
        ({"--resource": "x" * 129}, "resource"),
        ({"--channel": "c" * 65}, "--channel is longer than 64 bytes"),
        ({"--sequence": 2**53}, "--sequence"),
        ({"--trust": "image"}, "image"),
        ({"--trust": "missing"}, "missing"),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_hashing_and_leaves_nothing(swarm, fruit, changed, said):
    """If this failed, a slip would cost an hour of hashing, or give a release no node can read."""
    options = (
        dict(zip(BUILD[::2], BUILD[1::2], strict=True)) | {"--release": 1, "--compatible": "pi4"} | changed
    )
    words = [word for pair in options.items() for word in pair]
    answer = fruit("release", "build", "image", *words, "-o", "release-1")
    assert answer.code in (1, 2)
    assert said in answer.err
    assert [p.name for p in swarm.iterdir() if "release-1" in p.name] == []


def test_what_is_no_image_is_refused(swarm, fruit):
    """If this failed, a typing error would be signed and spread."""
    (swarm / "empty").touch()
    os.mkfifo(swarm / "fifo")
    for image in ("empty", "fifo", "missing", "."):
        answer = fruit("release", "build", image, *BUILD, "--release", 1, "--compatible", "pi4", "-o", "r")
        assert answer.code in (1, 2)
        assert image in answer.err
        assert not (swarm / "r").exists()


def test_an_image_that_grows_while_it_is_hashed_is_refused(swarm):
    """If this failed, a release could be built from an image that is still being written."""
    image = swarm / "image"

    def grow(done: int, total: int) -> None:
        with image.open("ab") as file:
            file.write(b"more")

    plan = ReleasePlan(RESOURCE, 1, "1.0", ("pi4",))
    root = (swarm / "root.fruit").read_bytes()
    with pytest.raises(Exception, match="changed while it was read"):
        build_release(image, swarm / "r", plan, root, now_s=1.8e9, progress=grow)
    assert not (swarm / "r").exists()


def test_a_folder_that_is_there_is_not_touched(built, fruit):
    """If this failed, building anew would throw away collected signatures."""
    before = files(built / "release-1")
    answer = fruit(
        "release", "build", "image", *BUILD, "--release", 2, "--compatible", "pi4", "-o", "release-1"
    )
    assert answer.code == 1
    assert "is there already" in answer.err
    assert files(built / "release-1") == before


def build_next(fruit, *words):
    return fruit(
        "release", "build", "image", *BUILD, *words, "--previous", "release-1/manifest", "-o", "release-2"
    )


def test_releases_for_other_hardware_are_carried_on(signed, fruit):
    """If this failed, a release for one kind of board would take the updates of all others away."""
    assert build_next(fruit, "--release", 7, "--compatible", "pi5").code == 0
    assert "pi4       1 (1.0)  unchanged" in fruit("release", "show", "release-2").out
    assert fruit("release", "sign", "release-2", "--key", "eve.key", "--key", "dan.key").code == 0
    record = Record.decode((signed / "release-2/manifest").read_bytes())
    manifest = TrustedSet(load_root((signed / "root.fruit").read_bytes())).check_manifest(record)
    before = Record.decode((signed / "release-1/manifest").read_bytes())
    assert manifest.release_for(RESOURCE, frozenset({"pi5"})).release == 7
    assert manifest.release_for(RESOURCE, frozenset({"pi4"})) == Manifest.decode(before.body).releases[0]
    assert record.sequence == before.sequence + 1


def test_a_newer_release_for_the_same_hardware_replaces_the_old(signed, fruit):
    """If this failed, manifests would grow until they no longer fit a record."""
    assert build_next(fruit, "--release", 2, "--compatible", "pi4", "--compatible", "pi5").code == 0
    [pi4, pi5] = json.loads(fruit("release", "show", "release-2", "--json").out)["changes"]
    assert (pi4["before"]["release"], pi4["after"]["release"]) == (1, 2)
    assert (pi5["before"], pi5["after"]["release"]) == (None, 2)


def test_a_release_number_or_sequence_that_does_not_rise_is_refused(signed, fruit):
    """If this failed, a release would be signed that every node ignores as old."""
    (signed / "image").write_bytes(IMAGE + b"other")
    answer = build_next(fruit, "--release", 1, "--compatible", "pi4")
    assert answer.code == 1
    assert "use --release 2 or higher" in answer.err
    answer = build_next(fruit, "--release", 2, "--compatible", "pi4", "--sequence", 5)
    assert answer.code == 2
    assert "--sequence 5" in answer.err
    answer = build_next(fruit, "--release", 2, "--compatible", "pi4", "--channel", "beta")
    assert answer.code == 2
    assert "channel stable" in answer.err


def test_a_previous_manifest_that_too_few_signed_is_refused(built, fruit):
    """If this failed, rows that nobody signed would be carried into a signed manifest."""
    fruit("release", "sign", "release-1", "--key", "cora.key")
    answer = build_next(fruit, "--release", 2, "--compatible", "pi5")
    assert answer.code == 1
    assert "previous manifest: manifest has 1 valid" in answer.err


def exchanged_torrent(folder):
    raw = (folder / "image.torrent").read_bytes()
    (folder / "image.torrent").write_bytes(raw.replace(b"rootfs-1.img", b"rootfs-9.img"))


def raised_release(folder):
    plan = Plan.decode((folder / "release.json").read_bytes())
    (folder / "release.json").write_bytes(attrs.evolve(plan, release=9).encode())


def damaged_plan(folder):
    (folder / "release.json").write_bytes(b'{"type": "fruit-release", "schema": 1, "extra": 1}')


def damaged_manifest(folder):
    (folder / "manifest").write_bytes(b"\x96\x01")


def no_torrent(folder):
    (folder / "image.torrent").unlink()


@pytest.mark.parametrize(
    "tamper", [exchanged_torrent, raised_release, damaged_plan, damaged_manifest, no_torrent]
)
def test_nobody_signs_or_publishes_a_folder_whose_files_contradict_each_other(signed, fruit, tamper):
    """If this failed, whoever carries the folder between maintainers could have them sign something else."""
    folder = signed / "release-1"
    tamper(folder)
    before = files(folder)
    for words in (
        ("sign", "release-1", "--key", "eve.key"),
        ("show", "release-1"),
        ("verify", "release-1", "--trust", "root.fruit"),
        ("publish", "release-1"),
    ):
        answer = fruit("release", *words)
        assert answer.code == 1, words
        assert answer.err.count("\n") == 1
    assert files(folder) == before


@pytest.mark.parametrize("tamper", [exchanged_torrent, raised_release])
def test_the_first_signer_is_protected_as_well(built, fruit, tamper):
    """If this failed, the first signature could be got for another image than the one that was built."""
    tamper(built / "release-1")
    answer = fruit("release", "sign", "release-1", "--key", "cora.key")
    if tamper is exchanged_torrent:
        assert answer.code == 1
        assert "not the one release.json describes" in answer.err
    else:
        assert "release 9" in answer.out, "what is signed is what is shown"


def test_verify_believes_the_trust_root_it_is_given_not_the_one_in_the_folder(signed, fruit):
    """If this failed, a forged folder would vouch for itself."""
    releasers = ["--release-key", "mallory.pub"]
    fruit(
        "trust", "init", "--swarm", "orchard", "--root-key", "mallory.key", *releasers, "-o", "forged.fruit"
    )
    answer = fruit("release", "verify", "release-1", "--trust", "forged.fruit")
    assert answer.code == 1
    assert "has 0 valid signatures" in answer.err


def test_a_folder_without_a_release_is_said_to_be_one(swarm, fruit):
    """If this failed, a wrong path would get a puzzling answer."""
    for command in ("show", "publish"):
        answer = fruit("release", command, ".")
        assert answer.code == 1
        assert "fruit release build makes one" in answer.err


def test_publish_hands_the_node_exactly_what_was_signed(signed, fruit):
    """If this failed, a signed release would never leave the maintainer's desk."""
    with listening_node(signed / "sock") as node:
        answer = fruit("release", "publish", "release-1", "--socket", signed / "sock")
    assert answer.code == 0, answer.err
    assert "published: release 1 (1.0)" in answer.out
    [(path, body)] = node.requests
    assert path == "/v1/publish"
    assert base64.b64decode(body["manifest"]) == (signed / "release-1/manifest").read_bytes()
    assert base64.b64decode(body["torrent"]) == (signed / "release-1/image.torrent").read_bytes()
    assert body["image"] == str(signed / "image")


def test_publish_finds_an_image_that_was_moved_and_says_what_the_node_refused(signed, fruit):
    """If this failed, a release built on one machine could not be published from another."""
    (signed / "image").rename(signed / "moved")
    gone = fruit("release", "publish", "release-1", "--socket", signed / "sock")
    assert gone.code == 1
    assert "--image" in gone.err
    with listening_node(signed / "sock") as node:
        node.code, node.answer = 409, {"error": "channel stable is already at manifest 9"}
        answer = fruit("release", "publish", "release-1", "--socket", signed / "sock", "--image", "moved")
    assert answer.code == 1
    assert "already at manifest 9" in answer.err
    assert node.requests[0][1]["image"] == str(signed / "moved")


def test_the_library_does_all_of_it_without_a_command(swarm):
    """If this failed, the demo and other programs could not release."""
    progress = []
    root = (swarm / "root.fruit").read_bytes()
    plan = ReleasePlan(RESOURCE, 3, "3.0", ("pi4",), channel="beta")
    folder = swarm / "deep" / "release-3"
    bundle = build_release(
        swarm / "image", folder, plan, root, now_s=1.8e9, progress=lambda *now: progress.append(now)
    )
    assert bundle == Bundle.load(folder)
    assert bundle.plan.sequence == 1_800_000_000
    assert progress[-1] == (1_024_000, 1_024_000)
    first = sign_release(folder, read_secret_key(swarm / "eve.key"))
    second = sign_release(folder, read_secret_key(swarm / "dan.key"))
    assert (first.first, first.missing, second.first, second.missing) == (True, 1, False, 0)
    assert verify_release(folder, root, image=swarm / "image").version == "3.0"


@pytest.mark.parametrize("group", ["key new", "key swarm", "trust init", "trust show", "release build", "release sign",
    "release merge", "release show", "release verify", "release publish"])  # fmt: skip
def test_every_command_explains_itself_with_an_example(fruit, group):
    """If this failed, somebody without the manual would be stuck."""
    answer = fruit(*group.split(), "--help")
    assert answer.code == 0
    assert f"Example:  fruit {group}" in answer.out
    assert max(len(line) for line in answer.out.splitlines()) <= 80


@pytest.mark.fuzz
@given(
    st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(["type", "schema", *(field.name for field in attrs.fields(Plan))]),
        st.sampled_from(["fruit-release", 1, -1, 2**80, 1.5, True, None, "x", [], ["pi4"], [1], {}]),
    ).map(lambda document: json.dumps({"type": "fruit-release", "schema": 1} | document).encode())
)
@settings(max_examples=400, deadline=None)
def test_fuzz_only_refusals_escape_the_plan(data):
    """If this failed, a damaged release.json would end in a traceback."""
    try:
        plan = Plan.decode(data)
    except RefusedError:
        return
    assert Plan.decode(plan.encode()) == plan
