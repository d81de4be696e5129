"""Forged, broken, old and misdirected releases, and peers that lie or say nothing, against one swarm of real daemons.

The tests share the swarm, and each leaves it with a newer release number than it found; each can be run alone. Every test
ends with a look at what ran before: the same daemon, the same bytes, the same boot environment.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import define, evolve

from bep35.merkle import leaf_hashes_of
from bep35.metainfo import parse
from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import Cluster, ClusterSettings, NodeProcess
from fruitd.demo.images import DemoImages
from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import Bundle
from swarm.news.record import RECORD_BYTES_MAX, Record
from swarm.transfer.libtorrent_transfer import LibtorrentTransfer
from swarm.transfer.port import ImageJob
from swarm.transfer.session_settings import TransferSettings
from swarm.trust.key_files import generate
from tests.swarm_of_daemons.forgeries import Draft, Forge, own_image, publish_bytes
from tests.swarm_of_daemons.looks import Running, doctor_of, log_of, runs, says, until, update_of
from tests.swarm_of_daemons.strangers import (
    HOST,
    Insider,
    Liar,
    babble,
    hold_stream,
    mute,
    throw_datagram,
    throw_stream,
)

pytestmark = pytest.mark.swarm

SPARE_BYTES = 1024 * 1024
START_S, SPREAD_S = 120.0, 120.0


@define
class Siege:
    """A swarm under attack: a publisher, two nodes with slots, and what attackers and maintainers have."""

    cluster: Cluster
    publisher: NodeProcess
    nodes: list[NodeProcess]
    forge: Forge
    insider: Insider
    images: DemoImages
    folder: Path

    def good(self, bundle: Bundle) -> None:
        """Publish what maintainers signed, and see every node install it."""
        assert bundle.manifest is not None
        publish_bytes(self.publisher, bundle.manifest.encode(), bundle.torrent, bundle.plan.image)
        self.cluster.wait("the good release", self.nodes, runs(bundle.plan.release), timeout_s=SPREAD_S)

    def spread(self, draft: Draft) -> None:
        """Its manifest, signed by as many as must, reaches all nodes; nobody holds its torrent for that."""
        record = draft.record(self.forge.quorum)
        for node in (self.publisher, *self.nodes):
            self.insider.push(node, record)

    def settled(self, words: str) -> None:
        """Every node has come to rest, for this reason."""
        for node in self.nodes:
            until(
                lambda node=node: words in update_of(node).get("why", ""),
                lambda node=node: str(update_of(node)),
            )
            says(node, words)


@pytest.fixture(scope="module")
def siege(images: DemoImages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    """One swarm for all tests of this file."""
    folder = tmp_path_factory.mktemp("siege")
    maintainers = Maintainers.ceremony(folder / "maintainers")
    slot_bytes = max(path.stat().st_size for path in (*images.good, images.bad)) + SPARE_BYTES
    with tempfile.TemporaryDirectory(prefix="fruit-") as short:
        cluster = Cluster(
            ClusterSettings(
                Path(short),
                maintainers.root_file,
                slot_bytes,
                images.factory,
                token_file=maintainers.token_file,
            )
        )
        publisher = cluster.add("publisher", slots=False)
        nodes = [cluster.add(name) for name in ("n1", "n2")]
        for node in cluster.nodes:
            node.start()
        try:
            cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= 2, timeout_s=START_S)
            forge = Forge(maintainers, folder)
            yield Siege(cluster, publisher, nodes, forge, Insider(cluster), images, folder)
        finally:
            cluster.close()


@pytest.fixture
def unmoved(siege: Siege) -> Iterator[None]:
    """Whatever the test does, nothing of the running systems is touched."""
    before = [Running.of(node) for node in siege.nodes]
    yield
    for running in before:
        running.check()


def _refused(publish: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as refusal:
        publish()
    words = str(refusal.value).partition(": ")[2]
    assert "\n" not in words
    return words


def test_garbage_from_strangers(siege: Siege, unmoved: None) -> None:
    """Anybody on the LAN could stop a node by sending it noise, or fill its log."""
    node, rng = siege.nodes[0], random.Random(1)
    for size in (0, 1, 28, 45, 500, 1400, 9000):
        throw_datagram(node, rng.randbytes(size))
    throw_datagram(node, b"\x01" + rng.randbytes(100))
    assert throw_stream(node, rng.randbytes(3)) == b""
    assert throw_stream(node, b"GET / HTTP/1.1\r\nHost: fruit\r\n\r\n") == b""
    assert throw_stream(node, (200).to_bytes(4, "big") + bytes(200)) == b""
    says(node, "datagram: too short to be sealed")
    says(node, "datagram: not a sealed message of version 1")
    says(node, "datagram: sealed with a key that is not in this keyring")
    says(node, "stream: the peer closed the connection without a reply")
    says(node, "stream: the length of a stream frame is out of bounds")
    said = sum(line["event"] == "refused" for line in log_of(node))
    for _ in range(200):
        throw_datagram(node, rng.randbytes(100))
    until(lambda: sum(r["count"] for r in _refusals(node)) >= 100, lambda: str(_refusals(node)))
    assert sum(line["event"] == "refused" for line in log_of(node)) <= said + 1, "noise fills the log"


def _refusals(node: NodeProcess) -> list[dict[str, object]]:
    found = node.get("/v1/doctor")
    return [] if found is None else found["refusals"]


def test_forged_manifests_in_the_news(siege: Siege, unmoved: None) -> None:
    """Whoever steals one card, and with it the swarm key, could install what he likes on every node."""
    node, insider, forge = siege.nodes[0], siege.insider, siege.forge
    draft = forge.next_draft(siege.images.good[0])
    good = draft.record(forge.quorum)
    stranger = generate("stranger")
    foreign = evolve(draft, manifest=evolve(draft.manifest, swarm="other-fleet"))
    swapped = evolve(draft, key=b"beta")

    insider.push(node, draft.record([]))
    says(node, "record: manifest has 0 valid signatures by release keys of swarm demo-fleet, it needs 2 of 3")
    insider.push(node, draft.record([*forge.quorum[:1], stranger]))
    says(node, "record: manifest has 1 valid signatures by release keys of swarm demo-fleet, it needs 2 of 3")
    count = _count(node, "manifest has 0 valid")
    insider.push(node, evolve(good, sequence=good.sequence + 1))
    until(lambda: _count(node, "manifest has 0 valid") > count, lambda: str(doctor_of(node)))
    insider.push(node, foreign.record(forge.quorum))
    says(node, "record: manifest is for swarm 'other-fleet', this is 'demo-fleet'")
    insider.push(node, swapped.record(forge.quorum))
    says(node, "record: manifest of channel 'stable' travels under another channel's key")
    insider.push(node, Record("order", b"reboot", 1, b"now"))
    says(node, "record: records of kind 'order' are not known here")
    insider.push_bytes(node, good.encode()[:-20])
    says(node, "datagram: record is not msgpack")
    oversized = evolve(good, body=good.body + bytes(RECORD_BYTES_MAX))
    insider.hand_over(node, [oversized.encode()])
    says(node, f"the limit is {RECORD_BYTES_MAX}")

    for each in siege.nodes:
        status = each.get("/v1/status")
        assert status is not None
        assert (status["trust"]["manifest_sequence"] or 0) < draft.sequence, "a forged manifest was believed"


def _count(node: NodeProcess, words: str) -> int:
    return sum(int(str(r["count"])) for r in _refusals(node) if words in str(r["why"]))


def test_manifests_for_others(siege: Siege, unmoved: None) -> None:
    """A node would install another channel's release, or an image for another board; or its owner would wonder why not."""
    node, forge = siege.nodes[0], siege.forge
    draft = forge.next_draft(siege.images.good[0])
    beta = evolve(draft, key=b"beta", manifest=evolve(draft.manifest, channel="beta"))
    siege.spread(beta)
    says(node, f"manifest {beta.sequence} is of channel beta, this node follows stable")
    siege.spread(draft.with_release(compatible=("other-board",)))
    says(
        node, f"manifest {draft.sequence} of stable has no release of {draft.release.resource} for demo-board"
    )


def test_torrents_that_nobody_should_believe(siege: Siege, unmoved: None) -> None:
    """A torrent without the right signature would be installed because its manifest is good."""
    forge, image = siege.forge, siege.images.good[0]
    third = forge.maintainers.release_keys[2]

    def unsigned(draft: Draft) -> bytes:
        return draft.unsigned_torrent()

    def by_another(draft: Draft) -> bytes:
        return draft.torrent_signed_by(third)

    def for_another_board(draft: Draft) -> bytes:
        return draft.torrent_signed_by(forge.quorum[0], compatible=["other-board"])

    for spoil, words in (
        (unsigned, "torrent: torrent is not signed by org.fruit-testbed.release."),
        (by_another, "does not verify: another key, or the torrent was changed"),
        (for_another_board, "torrent and manifest disagree on compatible"),
    ):
        draft = forge.next_draft(image)
        bad = draft.with_torrent(spoil(draft))
        blobs = {("torrent", bad.release.torrent_sha256): bad.torrent}
        with Liar(siege.insider, siege.nodes, holds=[bad.release.infohash], blobs=blobs):
            siege.spread(bad)
            siege.settled(words)
        words_of_state = f"the torrent of release {draft.release.release}"
        assert all(words_of_state in update_of(node)["why"] for node in siege.nodes)


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-7], lambda raw: raw + b"x", lambda raw: raw[:-1] + b"x"])
def test_torrents_changed_on_their_way(siege: Siege, unmoved: None, spoil: Callable[[bytes], bytes]) -> None:
    """One lying peer would keep a release from all others."""
    bundle = siege.forge.next_bundle(siege.images.good[0])
    draft = Draft.of(bundle)
    sha256 = draft.release.torrent_sha256.hex()
    blobs = {("torrent", draft.release.torrent_sha256): spoil(draft.torrent)}
    with Liar(siege.insider, siege.nodes, holds=[draft.release.infohash], blobs=blobs):
        siege.spread(draft)
        for node in siege.nodes:
            says(node, f"blob: torrent {sha256[:16]} does not match its hash")
    # Nobody has told the truth yet: the nodes wait for somebody who does, and nothing is written.
    assert all(update_of(node)["state"] in ("offered", "waiting") for node in siege.nodes)


def test_a_block_index_that_lies(siege: Siege, unmoved: None) -> None:
    """A slot would be filled by a false index, and everything in it fetched twice."""
    draft = siege.forge.next_draft(siege.images.good[0])
    metainfo = parse(draft.torrent)
    blocks = -(-metainfo.length_bytes // (16 * 1024))
    blobs = {
        ("torrent", draft.release.torrent_sha256): draft.torrent,
        ("leaves", metainfo.pieces_root): random.Random(3).randbytes(32 * blocks),
    }
    with Liar(siege.insider, siege.nodes, holds=[draft.release.infohash], blobs=blobs):
        siege.spread(draft)
        for node in siege.nodes:
            says(node, f"blob: leaves {metainfo.pieces_root.hex()[:16]} does not match its hash")
            assert update_of(node)["state"] == "reusing"


def test_what_a_maintainer_hands_in(siege: Siege, unmoved: None) -> None:
    """A publisher would spread a release that no node can install, and its maintainer would not be told what is wrong."""
    forge, node, image = siege.forge, siege.publisher, siege.images.good[0]
    draft = forge.next_draft(image)
    good, torrent = draft.record(forge.quorum), draft.torrent
    unsigned = draft.with_torrent(draft.unsigned_torrent())
    foreign = draft.with_torrent(draft.torrent_signed_by(forge.maintainers.release_keys[2]))
    cases = (
        (draft.record([]), torrent, image, "manifest has 0 valid signatures"),
        (draft.record(forge.quorum[:1]), torrent, image, "manifest has 1 valid signatures"),
        (evolve(good, sequence=good.sequence + 1), torrent, image, "manifest has 0 valid signatures"),
        (good, torrent[:-9], image, "torrent and manifest disagree on size"),
        (good, torrent + b"e", image, "torrent and manifest disagree on size"),
        (good, torrent[:-1] + b"f", image, "torrent and manifest disagree on SHA-256"),
        (unsigned.record(forge.quorum), unsigned.torrent, image, "torrent is not signed by"),
        (foreign.record(forge.quorum), foreign.torrent, image, "does not verify: another key"),
        (good, torrent, siege.images.good[1], "is not the image this torrent was made from"),
        (good, torrent, siege.images.factory.parent, "cannot be read by the daemon|neither a file nor"),
        (good, torrent, siege.folder / "nowhere", "cannot be read by the daemon: No such file"),
    )
    for record, raw, path, words in cases:
        answer = _refused(lambda r=record, t=raw, p=path: publish_bytes(node, r.encode(), t, p))
        assert any(each in answer for each in words.split("|")), answer
        says(node, answer)
    for raw, words in (
        (good.encode()[:-20], "record is not msgpack"),
        (good.encode() + bytes(5000), "the limit is"),
    ):
        answer = _refused(lambda raw=raw: publish_bytes(node, raw, torrent, image))
        assert words in answer
        says(node, answer)
    status = node.get("/v1/status")
    assert status is not None
    assert (status["trust"]["manifest_sequence"] or 0) < draft.sequence
    assert draft.release.infohash.hex() not in [row["infohash"] for row in status["seeding"]]


def test_an_image_larger_than_the_slot(siege: Siege, unmoved: None) -> None:
    """A node would write half an image, or behind the end of its slot, or try again for ever."""
    slot_bytes = siege.cluster.settings.slot_bytes
    image = own_image(siege.images.good[0], siege.folder / "large", 4, tail_bytes=2 * SPARE_BYTES)
    bundle = siege.forge.next_bundle(image)
    assert bundle.manifest is not None
    publish_bytes(siege.publisher, bundle.manifest.encode(), bundle.torrent, image)
    siege.settled(f"is too small: it has {slot_bytes} bytes, the image has {image.stat().st_size}")
    for node in siege.nodes:
        assert update_of(node)["state"] == "refused"
        assert node.slot("b").stat().st_size == slot_bytes


def test_peers_that_say_nothing_or_one_byte_a_second(siege: Siege) -> None:
    """One mute peer would hold a node's connections, or its update, for ever."""
    bundle = siege.forge.next_bundle(siege.images.good[0])
    holds = [Draft.of(bundle).release.infohash]
    with ThreadPoolExecutor() as pool, Liar(siege.insider, siege.nodes, holds=holds, tongue=mute):
        hung_up = [pool.submit(hold_stream, siege.publisher, drip=drip) for drip in (False, True)]
        siege.spread(Draft.of(bundle))
        siege.good(bundle)
        for node in siege.nodes:
            says(node, "stream: too slow: no whole answer within 10 s")
        says(siege.publisher, "stream: too slow: cut off at the deadline")
        assert all(each.result() for each in hung_up), "a silent connection is held for ever"


def test_a_peer_that_babbles(siege: Siege) -> None:
    """One peer that answers garbage would keep a release from all others."""
    bundle = siege.forge.next_bundle(siege.images.good[0])
    holds, before = [Draft.of(bundle).release.infohash], [Running.of(node) for node in siege.nodes]
    with Liar(siege.insider, siege.nodes, holds=holds, tongue=babble):
        siege.spread(Draft.of(bundle))
        for node in siege.nodes:
            until(lambda node=node: _babbled(node), lambda node=node: str(doctor_of(node)))
        for running in before:
            running.check()
        siege.good(bundle)


def _babbled(node: NodeProcess) -> bool:
    said = (
        "stream: the length of a stream frame is out of bounds",
        "stream: not a sealed message of version 1",
    )
    return any(words in line for line in doctor_of(node) for words in said)


def test_a_seeder_of_rotten_data(siege: Siege) -> None:
    """Bytes that are not the image would get into a slot, or one liar would keep the image from everybody."""
    image = own_image(siege.images.good[0], siege.folder / "own", 5)
    rotten = siege.folder / "rotten"
    rotten.write_bytes(random.Random(6).randbytes(image.stat().st_size))
    bundle = siege.forge.next_bundle(image)
    draft, metainfo = Draft.of(bundle), parse(bundle.torrent)
    job = ImageJob(draft.torrent, draft.release.infohash, str(rotten), metainfo.length_bytes)
    blobs = {
        ("torrent", draft.release.torrent_sha256): draft.torrent,
        ("leaves", metainfo.pieces_root): _leaves(image),
    }
    node_id = random.Random(7).randbytes(20)
    transfer = LibtorrentTransfer(TransferSettings(node_id=node_id, host=HOST, port=0))
    before = [Running.of(node) for node in siege.nodes]
    try:
        transfer.seed(job)
        liar = Liar(
            siege.insider,
            siege.nodes,
            holds=[draft.release.infohash],
            blobs=blobs,
            node_id=node_id,
            transfer_port=transfer.port,
        )
        with liar:
            siege.spread(draft)
            for node in siege.nodes:
                says(
                    node,
                    f"piece: a piece of image {metainfo.infohash.hex()[:16]} does not match its signed hash",
                )
            for running in before:
                running.check()
            siege.good(bundle)
    finally:
        transfer.close()


def _leaves(image: Path) -> bytes:
    with open(image, "rb", buffering=0) as file:
        return leaf_hashes_of(file, image.stat().st_size)


def test_old_repeated_and_contradicting_manifests(siege: Siege) -> None:
    """Who recorded yesterday's news could take the swarm back to yesterday's holes; who signs twice could split it."""
    node, forge, image = siege.nodes[0], siege.forge, siege.images.good[0]
    old, current = forge.next_bundle(image), forge.next_bundle(image)
    siege.good(current)
    before = [Running.of(each) for each in siege.nodes]
    assert old.manifest is not None
    assert current.manifest is not None

    words = f"manifest of channel stable is older than manifest {current.plan.sequence}, which this node has"
    siege.insider.push(node, old.manifest)
    says(node, f"record: {words}")
    answer = _refused(
        lambda: publish_bytes(siege.publisher, old.manifest.encode(), old.torrent, old.plan.image)  # type: ignore[union-attr]
    )
    assert f"is already at manifest {current.plan.sequence}" in answer
    says(siege.publisher, answer)

    for _ in range(20):
        siege.insider.push(node, current.manifest)
    siege.insider.hand_over(node, [current.manifest.encode()] * 20)
    again = publish_bytes(siege.publisher, current.manifest.encode(), current.torrent, current.plan.image)
    assert again["sequence"] == current.plan.sequence

    # A newer manifest that names an older release, signed by enough: release keys that were stolen, or a mistake.
    downgrade = evolve(Draft.of(old), sequence=forge.next_bundle(image).plan.sequence)
    siege.spread(downgrade)
    siege.settled(f"is older than release {current.plan.release}, which this node has accepted")

    twice = forge.next_draft(image)
    other = evolve(twice, manifest=evolve(twice.manifest, issued_at_s=twice.manifest.issued_at_s + 1))
    disputed = f"two validly signed versions of manifest stable {twice.sequence} exist"
    for each in siege.nodes:
        siege.insider.push(each, twice.record(forge.quorum))
        siege.insider.push(each, other.record(forge.quorum))
    for each in siege.nodes:
        says(each, disputed)
        accepted = [line.get("sequence") for line in log_of(each) if line["event"] == "manifest accepted"]
        assert accepted.count(current.plan.sequence) == 1, "a repeat was news"
    for running in before:
        running.check()


def test_after_all_that_a_good_release_gets_through(siege: Siege) -> None:
    """An attacker could stop updates for good by having nodes refuse something."""
    siege.good(siege.forge.next_bundle(siege.images.good[1]))
    for node in siege.nodes:
        assert node.running
        findings = {check["name"]: check for check in (node.get("/v1/doctor") or {"checks": []})["checks"]}
        assert findings["update"]["ok"], findings["update"]
        assert findings["manifest"]["ok"], findings["manifest"]
