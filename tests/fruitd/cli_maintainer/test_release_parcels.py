"""`fruit release build --from`: if it failed, every node would fetch whole images, or parcels that nobody signed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from fruitd.maintainer import publish_request
from fruitd.maintainer.bundle import Bundle
from swarm.news.record import Record
from swarm.root_file import load_root
from swarm.trust.manifest import Manifest
from swarm.trust.trusted_set import TrustedSet
from tests.fruitd.cli_maintainer.conftest import BUILD, IMAGE
from tests.swarm.parcel.makers import opened, root

OLDER = IMAGE[300_000:] + bytes(5000)
OLDEST = IMAGE[:700_000]
TWO = ("--release", 2, "--compatible", "pi4", "--from", "older", "--from", "nothing")


@pytest.fixture
def parcelled(swarm: Path, fruit) -> Path:
    """A release with parcels from an older image and from nothing, not signed."""
    (swarm / "older").write_bytes(OLDER)
    (swarm / "oldest").write_bytes(OLDEST)
    answer = fruit("release", "build", "image", *BUILD, *TWO, "-o", "release-2")
    assert answer.code == 0, answer.err
    assert "parcel" in answer.out
    return swarm


def test_parcels_are_signed_with_the_release_and_make_its_image(parcelled, fruit):
    """Nodes would refuse the parcels, or find other bytes in them."""
    assert fruit("release", "sign", "release-2", "--key", "cora.key", "--key", "dan.key").code == 0
    folder = parcelled / "release-2"
    trusted = TrustedSet(load_root((parcelled / "root.fruit").read_bytes()))
    manifest = trusted.check_manifest(Record.decode((folder / "manifest").read_bytes()))
    [release] = manifest.releases
    assert [parcel.from_root for parcel in release.parcels] == [b"", root(OLDER)]
    for parcel, name, old in zip(
        release.parcels, ("from-nothing", f"from-{root(OLDER).hex()[:16]}"), (b"", OLDER), strict=True
    ):
        trusted.check_parcel(release, parcel, (folder / f"{name}.torrent").read_bytes())
        assert opened((folder / f"{name}.parcel").read_bytes(), old) == IMAGE
    verify = ("release", "verify", "release-2", "--trust", "root.fruit", "--image", "image")
    assert fruit(*verify).code == 0
    request = publish_request(folder)
    assert [Path(row["path"]).name for row in request["parcels"]] == [
        "from-nothing.parcel",
        f"from-{root(OLDER).hex()[:16]}.parcel",
    ]
    assert (
        base64.b64decode(request["parcels"][0]["torrent"]) == (folder / "from-nothing.torrent").read_bytes()
    )
    (folder / "from-nothing.parcel").write_bytes(b"short")
    assert "not as long as it was built" in fruit("release", "publish", "release-2").err
    assert fruit(*verify).code == 1


def test_the_first_signature_may_come_back_as_a_file(parcelled, fruit):
    """A ceremony by files would end with parcels that nobody signed."""
    folder = parcelled / "release-2"
    assert fruit("release", "sign", "release-2", "--key", "dan.key", "-o", "by-dan").code == 0
    assert Bundle.load(folder).manifest is None
    assert fruit("release", "merge", "release-2", "by-dan").code == 0
    assert fruit("release", "sign", "release-2", "--key", "eve.key").code == 0
    assert fruit("release", "verify", "release-2", "--trust", "root.fruit").code == 0
    document = json.loads(fruit("release", "show", "release-2", "--json").out)
    assert [parcel["from"] for parcel in document["parcels"]] == [None, root(OLDER).hex()]


def test_a_parcel_torrent_that_was_exchanged_is_not_signed(parcelled, fruit):
    """A signer would put their name under bytes that somebody slipped into the folder."""
    folder = parcelled / "release-2"
    name = f"from-{root(OLDER).hex()[:16]}.torrent"
    (folder / name).write_bytes((folder / "from-nothing.torrent").read_bytes())
    answer = fruit("release", "sign", "release-2", "--key", "dan.key")
    assert answer.code == 1
    assert f"{name} is not the one release.json describes" in answer.err


def test_a_newer_release_carries_parcels_of_other_hardware_on(parcelled, fruit):
    """Nodes of other hardware would lose their parcels with every release that is not for them."""
    fruit("release", "sign", "release-2", "--key", "cora.key", "--key", "dan.key")
    three = ("--release", 3, "--compatible", "pi5", "--previous", "release-2/manifest", "-o", "release-3")
    assert fruit("release", "build", "image", *BUILD, *three).code == 0
    assert fruit("release", "sign", "release-3", "--key", "cora.key").code == 0
    manifest = Manifest.decode(Record.decode((parcelled / "release-3/manifest").read_bytes()).body)
    assert [len(release.parcels) for release in manifest.releases] == [0, 2]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (("older", "older"), "twice"),
        (("image",), "very image"),
        (("missing",), "No such file"),
        (tuple("nothing" for _ in range(9)), "at most 8 parcels"),
    ],
)
def test_what_cannot_be_a_parcel_is_told_and_leaves_nothing(swarm, fruit, sources, said):
    """A release would be left half built, or name what no node can use."""
    (swarm / "older").write_bytes(OLDER)
    before = sorted(path.name for path in swarm.iterdir())
    words = [word for source in sources for word in ("--from", source)]
    two = ("--release", 2, "--compatible", "pi4", *words, "-o", "release-2")
    answer = fruit("release", "build", "image", *BUILD, *two)
    assert answer.code != 0
    assert said in answer.err
    assert sorted(path.name for path in swarm.iterdir()) == before
