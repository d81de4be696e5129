"""Bytes thrown at every port of one real daemon: each row leaves it as it was, and each port's rows end with a good release."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest
from attrs import define, frozen

from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import Cluster, ClusterSettings, NodeProcess
from fruitd.demo.images import DemoImages, make_images
from swarm.seal import NONCE_BYTES, key_id
from tests.attacks.counting import Score
from tests.swarm_of_daemons.forgeries import Forge, publish_bytes
from tests.swarm_of_daemons.looks import Running, doctor_of, log_of, runs, until
from tests.swarm_of_daemons.strangers import (
    DATAGRAM_CONTEXT,
    HOST,
    REQUEST_CONTEXT,
    Insider,
    throw_datagram,
    throw_stream,
)

pytestmark = pytest.mark.swarm

SPARE_BYTES = 1024 * 1024
START_S, SPREAD_S = 120.0, 180.0
RNG = random.Random(1)


@define
class Target:
    """A publisher, the daemon that everything is thrown at, and what an insider has."""

    cluster: Cluster
    publisher: NodeProcess
    node: NodeProcess
    forge: Forge
    insider: Insider
    images: DemoImages
    infohash: bytes = b""

    def good(self) -> None:
        """A good release is published, and the node installs, boots and keeps it."""
        bundle = self.forge.next_bundle(self.images.good[self.forge._last % 2])
        assert bundle.manifest is not None
        publish_bytes(self.publisher, bundle.manifest.encode(), bundle.torrent, bundle.plan.image)
        self.cluster.wait("the good release", [self.node], runs(bundle.plan.release), timeout_s=SPREAD_S)
        status = self.node.get("/v1/status")
        assert status is not None
        self.infohash = bytes.fromhex(status["slots"][status["slots"]["active"]]["infohash"])

    def seal(self, message: object, context: bytes = DATAGRAM_CONTEXT) -> bytes:
        """Any message, as an insider seals it."""
        raw = message if isinstance(message, bytes) else bytes(msgpack.packb(message))
        return self.insider.keyring.seal(raw, context, RNG.randbytes(NONCE_BYTES))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One daemon for all rows."""
    folder = tmp_path_factory.mktemp("wire")
    images = make_images(tmp_path_factory.mktemp("wire-images"), files_bytes=2 * 1024 * 1024)
    maintainers = Maintainers.ceremony(folder / "maintainers")
    slot_bytes = max(path.stat().st_size for path in (*images.good, images.bad)) + SPARE_BYTES
    with tempfile.TemporaryDirectory(prefix="fruit-") as short:
        settings = ClusterSettings(
            Path(short), maintainers.root_file, slot_bytes, images.factory, token_file=maintainers.token_file
        )
        cluster = Cluster(settings)
        publisher, node = cluster.add("publisher", slots=False), cluster.add("n1")
        for each in cluster.nodes:
            each.start()
        try:
            cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= 1, timeout_s=START_S)
            made = Target(cluster, publisher, node, Forge(maintainers, folder), Insider(cluster), images)
            made.good()
            yield made
        finally:
            cluster.close()


@frozen
class Throw:
    """One row."""

    family: str
    name: str
    throw: Callable[[Target], object]
    said: str = ""
    """What the node has to say of it; nothing where it has nobody to tell."""

    def __str__(self) -> str:
        return f"{self.family}: {self.name}".replace(" ", "-")


def datagram(make: Callable[[Target], bytes]) -> Callable[[Target], object]:
    return lambda t: throw_datagram(t.node, make(t))


def stream(make: Callable[[Target], bytes]) -> Callable[[Target], object]:
    return lambda t: throw_stream(t.node, make(t))


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def asked(t: Target, message: object, exchange_id: bytes = bytes(16)) -> bytes:
    """A request in its frame."""
    return framed(exchange_id + t.seal(message, REQUEST_CONTEXT + exchange_id))


NOT_OURS = "datagram: not a sealed message of version 1"
DATAGRAMS = [
    Throw("strangers", "an empty datagram", datagram(lambda t: b""), "datagram: too short to be sealed"),
    Throw("strangers", "one byte", datagram(lambda t: b"\1")),
    Throw("strangers", "noise as long as a hello", datagram(lambda t: b"\7" + RNG.randbytes(200)), NOT_OURS),
    Throw(
        "strangers", "noise as long as the longest", datagram(lambda t: b"\7" + RNG.randbytes(1399)), NOT_OURS
    ),
    Throw(
        "strangers",
        "a key nobody has",
        datagram(lambda t: b"\1" + RNG.randbytes(300)),
        "key that is not in this keyring",
    ),
    Throw(
        "endless data", "a datagram of 65,507 bytes", datagram(lambda t: b"\1" + bytes(65_506)), "datagram"
    ),
    Throw(
        "strangers",
        "the right key's id, and noise",
        datagram(lambda t: b"\1" + key_id(t.insider.keyring.keys[0]) + RNG.randbytes(200)),
        "datagram",
    ),
    Throw(
        "liars nearby",
        "sealed noise",
        datagram(lambda t: t.seal(RNG.randbytes(300))),
        "datagram: message is not",
    ),
    Throw(
        "liars nearby",
        "a message of version 2",
        datagram(lambda t: t.seal([2, 1])),
        "message is not of version 1",
    ),
    Throw(
        "liars nearby", "a message of no type", datagram(lambda t: t.seal([1, 99])), "message type is unknown"
    ),
    Throw(
        "liars nearby", "a hello without fields", datagram(lambda t: t.seal([1, 1])), "wrong number of fields"
    ),
    Throw(
        "liars nearby", "lists a thousand deep", datagram(lambda t: t.seal(b"\x91" * 1000)), "message is not"
    ),
    Throw(
        "endless data",
        "a list that says it has 2^32 entries",
        datagram(lambda t: t.seal(b"\xdd\xff\xff\xff\xff")),
        "message is not",
    ),
    Throw(
        "endless data",
        "bytes that say they are 4 GiB",
        datagram(lambda t: t.seal(b"\x93\x01\x02\xc6\xff\xff\xff\xff")),
        "message is not",
    ),
    Throw(
        "type confusion",
        "a reply as a datagram",
        datagram(lambda t: t.seal([1, 22, "no"])),
        "does not belong in a datagram",
    ),
    Throw(
        "type confusion",
        "a request as a datagram",
        datagram(lambda t: t.seal([1, 16, [bytes(8)] * 64])),
        "does not belong in a datagram",
    ),
    Throw(
        "type confusion",
        "a datagram sealed for a stream",
        datagram(lambda t: t.seal([1, 2, b""], REQUEST_CONTEXT)),
        "datagram",
    ),
    Throw(
        "arbitrary installation",
        "a push of no record",
        datagram(lambda t: t.seal([1, 2, b""])),
        "record is not msgpack",
    ),
    Throw(
        "endless data",
        "a push of a record of 4,097 bytes",
        stream(lambda t: asked(t, [1, 18, [bytes(4097)], []])),
        "the limit is 4096",
    ),
    Throw(
        "too many",
        "five thousand datagrams of noise",
        lambda t: [throw_datagram(t.node, RNG.randbytes(100)) for _ in range(5000)],
        "datagram",
    ),
]
STREAMS = [
    Throw("slow retrieval", "a stream that says nothing and goes", stream(lambda t: b"")),
    Throw("strangers", "three bytes", stream(lambda t: b"abc"), "stream"),
    Throw(
        "endless data",
        "a frame of no bytes",
        stream(lambda t: bytes(4)),
        "length of a stream frame is out of bounds",
    ),
    Throw(
        "endless data",
        "a frame of 4 GiB",
        stream(lambda t: b"\xff" * 100),
        "length of a stream frame is out of bounds",
    ),
    Throw("partial bundle", "half a frame", stream(lambda t: framed(bytes(200))[:100]), "stream"),
    Throw(
        "strangers",
        "HTTP",
        stream(lambda t: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "length of a stream frame is out of bounds",
    ),
    Throw(
        "strangers",
        "TLS",
        stream(lambda t: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
        "stream",
    ),
    Throw(
        "strangers",
        "SSH",
        stream(lambda t: b"SSH-2.0-OpenSSH_9.2\r\n"),
        "length of a stream frame is out of bounds",
    ),
    Throw(
        "strangers",
        "a frame that nobody sealed",
        stream(lambda t: framed(RNG.randbytes(300))),
        "not a sealed message",
    ),
    Throw(
        "replay",
        "a request under another exchange's id",
        stream(lambda t: framed(b"x" * 16 + asked(t, [1, 16, [bytes(8)] * 64])[20:])),
        "stream",
    ),
    Throw(
        "type confusion",
        "a datagram as a request",
        stream(lambda t: asked(t, [1, 3, "manifest", b"stable", 1, bytes(8)])),
        "message is not a request",
    ),
    Throw(
        "type confusion",
        "a reply as a request",
        stream(lambda t: asked(t, [1, 22, "no"])),
        "message is not a request",
    ),
    Throw(
        "endless data", "sixty-five records", stream(lambda t: asked(t, [1, 18, [b""] * 65, []])), "stream"
    ),
    Throw(
        "endless data",
        "ten thousand wishes",
        stream(lambda t: asked(t, [1, 18, [], [["manifest", b"x"]] * 10_000])),
        "stream",
    ),
    Throw(
        "endless data",
        "a range behind the end of everything",
        stream(lambda t: asked(t, [1, 20, "torrent", bytes(32), 2**53, 65536])),
        "stream",
    ),
    Throw(
        "endless data",
        "a range of a gigabyte",
        stream(lambda t: asked(t, [1, 20, "torrent", bytes(32), 0, 2**30])),
        "stream",
    ),
    Throw(
        "arbitrary installation",
        "a blob of a kind nobody knows",
        stream(lambda t: asked(t, [1, 20, "passwd", bytes(32), 0, 100])),
    ),
    Throw("too many", "three hundred connections that say nothing", lambda t: hold(t.node.port, 300)),
]


def hold(port: int, count: int) -> None:
    """Open many connections, say nothing on any, and go."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_connection((HOST, port), timeout=2.0))


def torrent_port(*parts: Callable[[Target], bytes]) -> Callable[[Target], object]:
    """Say this on the BitTorrent port, and read whatever comes for a moment."""

    def throw(t: Target) -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((HOST, t.node.transfer_port), timeout=2.0) as sock,
        ):
            for part in parts:
                sock.sendall(part(t))
            sock.settimeout(0.2)
            while sock.recv(65536):
                pass

    return throw


def handshake(t: Target) -> bytes:
    """As a peer that knows the image; reserved bits for extensions and v2."""
    return b"\x13BitTorrent protocol" + b"\0\0\0\0\0\x10\0\x14" + t.infohash[:20] + RNG.randbytes(20)


def peer_message(kind: int, payload: bytes) -> Callable[[Target], bytes]:
    return lambda t: struct.pack(">IB", 1 + len(payload), kind) + payload


TORRENT_PORT = [
    Throw("strangers", "noise on the BitTorrent port", torrent_port(lambda t: RNG.randbytes(5000))),
    Throw(
        "strangers", "an image nobody has", torrent_port(lambda t: handshake(t)[:28] + bytes(20) + bytes(20))
    ),
    Throw("partial bundle", "half a handshake", torrent_port(lambda t: handshake(t)[:40])),
    Throw(
        "strangers", "noise after a good handshake", torrent_port(handshake, lambda t: RNG.randbytes(5000))
    ),
    Throw(
        "endless data",
        "a message of 4 GiB",
        torrent_port(handshake, lambda t: b"\xff\xff\xff\xff\x07" + bytes(1000)),
    ),
    Throw(
        "endless data",
        "a torrent that claims 64 GiB",
        torrent_port(
            handshake,
            lambda t: peer_message(20, b"\0d1:md11:ut_metadatai2ee13:metadata_sizei68719476736ee")(t),
        ),
    ),
    Throw(
        "endless data",
        "a request behind the end",
        torrent_port(handshake, peer_message(6, struct.pack(">III", 2**31 - 1, 0, 16384))),
    ),
    Throw(
        "endless data",
        "a request of two gigabytes",
        torrent_port(handshake, peer_message(6, struct.pack(">III", 0, 0, 2**31 - 1))),
    ),
    Throw(
        "arbitrary installation",
        "a piece that nobody asked for",
        torrent_port(handshake, peer_message(7, struct.pack(">II", 0, 0) + bytes(16384))),
    ),
    Throw(
        "mix-and-match",
        "a bitfield of another image",
        torrent_port(handshake, peer_message(5, b"\xff" * 5000)),
    ),
    Throw(
        "malicious mirrors",
        "haves of pieces that do not exist",
        torrent_port(handshake, *[peer_message(4, struct.pack(">I", n)) for n in (2**31, 2**32 - 1)]),
    ),
    Throw(
        "mix-and-match",
        "hashes of another tree",
        torrent_port(
            handshake, peer_message(22, bytes(32) + struct.pack(">IIII", 0, 0, 512, 0) + bytes(512 * 32))
        ),
    ),
    Throw(
        "endless data",
        "a request for all hashes there are",
        torrent_port(handshake, peer_message(21, bytes(32) + struct.pack(">IIII", 0, 0, 2**32 - 1, 0))),
    ),
    Throw(
        "slow retrieval",
        "a handshake and then nothing, a hundred times",
        lambda t: hold(t.node.transfer_port, 100),
    ),
]


def http(request: Callable[[Target], bytes], status: str) -> Callable[[Target], object]:
    """Say this on the API's socket; the first line of the answer has this status (or the server hangs up)."""

    def throw(t: Target) -> None:
        answer = b""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(15.0)
            sock.connect(str(t.node.socket))
            with contextlib.suppress(OSError):
                sock.sendall(request(t))
            with contextlib.suppress(OSError):
                while part := sock.recv(65536):
                    answer += part
                    if b"\r\n\r\n" in answer:
                        break
        line = answer.split(b"\r\n")[0].decode(errors="replace")
        assert any(word in line for word in status.split("|")) or (not line and "hangs up" in status), (
            line,
            status,
        )

    return throw


def post(
    path: str, body: bytes, kind: str = "application/json", length: int | None = None
) -> Callable[[Target], bytes]:
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: n\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    return lambda t: head.encode() + body


def get(path: str, more: str = "") -> Callable[[Target], bytes]:
    return lambda t: f"GET {path} HTTP/1.1\r\nHost: n\r\n{more}Connection: close\r\n\r\n".encode()


def forged(t: Target) -> bytes:
    """A publish with a manifest that nobody signed, and somebody else's file as its image."""
    draft = t.forge.next_draft(t.images.good[0])
    body = {"manifest": "", "torrent": "", "image": "/etc/shadow"}
    import base64

    body["manifest"] = base64.b64encode(draft.record([]).encode()).decode()
    body["torrent"] = base64.b64encode(draft.torrent).decode()
    return post("/v1/publish", json.dumps(body).encode())(t)


API = [
    Throw(
        "endless data", "a body of 64 MiB", http(post("/v1/publish", bytes(64 * 1024 * 1024)), "413|hangs up")
    ),
    Throw(
        "endless data",
        "a body that says it is 2^60 bytes",
        http(post("/v1/hold", b"{}" * 40_000, length=2**60), "413|400|hangs up"),
    ),
    Throw(
        "endless data",
        "a record of 4,097 bytes over the API",
        http(post("/v1/records", bytes(4097), "application/octet-stream"), "400|413|409|422"),
    ),
    Throw(
        "endless data",
        "a header of a megabyte",
        http(get("/v1/status", "X-A: " + "a" * 1_000_000 + "\r\n"), "431|400|hangs up"),
    ),
    Throw("strangers", "a body that is not JSON", http(post("/v1/hold", b"\xff\xfe"), "400")),
    Throw("endless data", "JSON a hundred thousand deep", http(post("/v1/hold", b"[" * 60_000), "400|413")),
    Throw(
        "extraneous dependencies",
        "a key that nobody knows",
        http(post("/v1/hold", b'{"reason": "x", "run": "sh"}'), "400"),
    ),
    Throw("strangers", "a path out of the API", http(get("/v1/../../etc/passwd"), "404|400")),
    Throw(
        "strangers",
        "a method that nobody has",
        http(lambda t: b"TRACE /v1/status HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n", "405|400|501"),
    ),
    Throw("strangers", "a length below nothing", http(post("/v1/hold", b"{}", length=-1), "400|hangs up")),
    Throw("strangers", "no HTTP at all", http(lambda t: RNG.randbytes(500) + b"\r\n\r\n", "400|hangs up")),
    Throw(
        "arbitrary installation",
        "a publish that nobody signed, of a file of somebody else's",
        http(forged, "409|403|400|422"),
        "has 0 valid signatures",
    ),
    Throw("rollback", "a rollback to a slot that holds nothing good", http(get("/v1/rollback"), "405")),
    Throw("too many", "a hundred connections to the API that say nothing", lambda t: hold_api(t)),
    Throw(
        "strangers", "clients that leave in the middle of whatever it is", lambda t: leave_in_the_middle(t)
    ),
]
LEAVING_S = 5.0
LEAVERS = 4


def leave_in_the_middle(t: Target) -> None:
    """Several at once, for some seconds: part of a request or all of it, part of the answer or nothing of it."""
    asked = [
        post("/v1/publish", bytes(1024 * 1024))(t),
        post("/v1/hold", b"{}" * 40_000, length=2**60)(t),
        post("/v1/hold", b"[" * 60_000)(t),
        post("/v1/hold", b"{}", length=-1)(t),
        get("/v1/status")(t),
        get("/v1/watch")(t),
        get("/v1/doctor")(t),
    ]
    until_s = time.monotonic() + LEAVING_S

    def come_and_leave(rng: random.Random) -> None:
        while time.monotonic() < until_s:
            request = rng.choice(asked)
            with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
                sock.settimeout(1.0)
                sock.connect(str(t.node.socket))
                sock.sendall(
                    request[: rng.choice([len(request), rng.randrange(len(request)), rng.randrange(300)])]
                )
                if rng.random() < 0.3:
                    sock.shutdown(socket.SHUT_WR)
                if rng.random() < 0.6:
                    sock.recv(rng.choice([1, 65536]))

    leavers = [threading.Thread(target=come_and_leave, args=[random.Random(n)]) for n in range(LEAVERS)]
    for leaver in leavers:
        leaver.start()
    for leaver in leavers:
        leaver.join()


def hold_api(t: Target) -> None:
    """As `hold`, on the Unix socket."""
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.settimeout(2.0)
            with contextlib.suppress(OSError):
                sock.connect(str(t.node.socket))


@pytest.mark.parametrize(
    "rows", [DATAGRAMS, STREAMS, TORRENT_PORT, API], ids=["datagrams", "streams", "transfer", "api"]
)
def test_whatever_is_thrown_at_a_port(target: Target, rows: list[Throw], score: Score) -> None:
    """Anybody who reaches a port could stop the daemon, or have it write to what it runs from."""
    running = Running.of(target.node)
    for row in rows:
        row.throw(target)
        if row.said:
            until(
                lambda row=row: any(row.said in line for line in doctor_of(target.node)),
                lambda row=row: f"{row}: doctor says {row.said!r}, but {doctor_of(target.node)}",
            )
        until(lambda: target.node.get("/v1/status") is not None, lambda row=row: f"{row}: no answer")  # type: ignore[misc]
        running.check()
        score.stood(row.family)
    bugs = [
        line
        for line in log_of(target.node)
        if line["event"] in ("bug", "a request failed in a way it should not")
    ]
    assert not bugs, bugs
    target.good()
