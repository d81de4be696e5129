"""Ordinary BitTorrent programs, as Debian has them, fetch what signed torrents describe. Loopback and the real clock."""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import libtorrent
import pytest
from nacl.signing import SigningKey

from bep35.bencode import decode, encode
from bep35.signing import sign, signer_id_of, verify
from bep35.torrent import Kind, parse

pytestmark = pytest.mark.swarm

TIMEOUT_S = 60
"""Each takes 1 to 10 s here; the rest is for a loaded machine."""
FILES = {"first.bin": 700_001, "more/second.bin": 90_000, "more/third.bin": 16_384}
FLAGS = {
    Kind.V1: libtorrent.create_torrent.v1_only,
    Kind.V2: libtorrent.create_torrent.v2_only,
    Kind.HYBRID: 0,
}
KEY = SigningKey(hashlib.sha256(b"alice").digest())
ALICE = signer_id_of(bytes(KEY.verify_key))


@contextmanager
def tracker(peer_port: int) -> Iterator[str]:
    """The URL of a tracker that knows one peer, on loopback."""
    answer = encode({"interval": 1800, "peers": bytes([127, 0, 0, 1]) + peer_port.to_bytes(2, "big")})

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing: the client's own output is what helps."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/announce"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def unsigned(kind: Kind, folder: Path) -> bytes:
    creator = libtorrent.create_torrent(libtorrent.list_files(str(folder)), 64 * 1024, FLAGS[kind])
    libtorrent.set_piece_hashes(creator, str(folder.parent))
    return bytes(libtorrent.bencode(creator.generate()))


def alone() -> libtorrent.session:
    """A session that speaks with nobody who does not come to it."""
    off = dict.fromkeys(("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp"), False)
    return libtorrent.session({**off, "listen_interfaces": "127.0.0.1:0", "alert_mask": 0})


@pytest.fixture
def offered(tmp_path: Path) -> Iterator[Callable[[Kind], Path]]:
    """Makes files, a signed torrent of them, and a peer that has both; gives the torrent's path."""
    session = alone()
    try:
        with tracker(session.listen_port()) as url:

            def offer(kind: Kind) -> Path:
                source = tmp_path / "seed" / "release"
                for name, length in FILES.items():
                    (source / name).parent.mkdir(parents=True, exist_ok=True)
                    (source / name).write_bytes(os.urandom(length))
                plain = decode(unsigned(kind, source))
                assert isinstance(plain, dict)
                raw = sign(encode({**plain, b"announce": url}), ALICE, KEY, {"release": 1, "version": "1.0"})
                torrent = parse(raw)
                assert torrent.kind is kind
                assert verify(torrent, ALICE, bytes(KEY.verify_key))["release"] == 1
                parameters = libtorrent.load_torrent_buffer(raw)
                parameters.save_path = str(source.parent)
                parameters.flags = libtorrent.torrent_flags.seed_mode
                parameters.trackers = []  # it would learn its own address there, and then refuse whoever shares it
                session.add_torrent(parameters)
                path = tmp_path / "release.torrent"
                path.write_bytes(raw)
                return path

            yield offer
    finally:
        session.pause()


def fetched_whole(tmp_path: Path) -> bool:
    """Whether the client has every file as the peer has it."""
    return all(
        (tmp_path / "client" / "release" / name).read_bytes()
        == (tmp_path / "seed" / "release" / name).read_bytes()
        for name in FILES
    )


@contextmanager
def running(tmp_path: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The client, in a home of its own; told to end when the test does."""
    (tmp_path / "client").mkdir()
    environment = {**os.environ, "HOME": str(tmp_path), "TERM": "dumb", "QT_QPA_PLATFORM": "offscreen"}
    with (
        open(tmp_path / "client.log", "wb") as log,
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def bell(tmp_path: Path) -> Iterator[Callable[[], bool]]:
    """A named pipe `done`: the client's own hook writes to it when a download is complete."""
    os.mkfifo(tmp_path / "done")
    end = os.open(tmp_path / "done", os.O_RDWR | os.O_NONBLOCK)
    try:
        yield lambda: bool(select.select([end], [], [], TIMEOUT_S)[0])
    finally:
        os.close(end)


def needs(client: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(client) is None, reason=f"needs {client}")


@needs("aria2c")
@pytest.mark.parametrize("kind", [Kind.V1], ids=lambda kind: kind.value)
def test_aria2(kind: Kind, offered: Callable[[Kind], Path], tmp_path: Path) -> None:
    """A signed torrent could be fetched by our own program alone."""
    quiet = [
        "--no-conf",
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--seed-time=0",
    ]
    listen = ["--listen-port=20000-65000", "--interface=127.0.0.1"]
    command = ["aria2c", *quiet, *listen, "--dir=client", str(offered(kind))]
    with running(tmp_path, command) as process:
        assert process.wait(TIMEOUT_S) == 0, (tmp_path / "client.log").read_text()[-2000:]
    assert fetched_whole(tmp_path)


@needs("rtorrent")
@pytest.mark.parametrize("kind", [Kind.V1, Kind.HYBRID], ids=lambda kind: kind.value)
def test_rtorrent(kind: Kind, offered: Callable[[Kind], Path], tmp_path: Path) -> None:
    """A signed torrent could be fetched by our own program alone."""
    (tmp_path / "rtorrent.rc").write_text(
        f"""
        system.daemon.set = true
        directory.default.set = {tmp_path}/client
        network.bind_address.set = 127.0.0.1
        network.port_range.set = 20000-65000
        network.port_random.set = yes
        dht.mode.set = disable
        protocol.pex.set = no
        trackers.use_udp.set = no
        method.set_key = event.download.finished,done,"execute.nothrow=sh,-c,\\"echo > {tmp_path}/done\\""
        schedule2 = begin,0,0,"load.start={offered(kind)}"
        """
    )
    with bell(tmp_path) as rung, running(tmp_path, ["rtorrent", "-n", "-o", "import=rtorrent.rc"]):
        assert rung(), (tmp_path / "client.log").read_text()[-2000:]
        assert fetched_whole(tmp_path)


@needs("qbittorrent-nox")
@pytest.mark.parametrize("kind", [Kind.V1, Kind.HYBRID, Kind.V2], ids=lambda kind: kind.value)
def test_qbittorrent(kind: Kind, offered: Callable[[Kind], Path], tmp_path: Path) -> None:
    """A signed torrent could be fetched by our own program alone."""
    settings = tmp_path / "qBittorrent" / "config" / "qBittorrent.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f"""
[AutoRun]
enabled=true
program=sh -c \\"echo > {tmp_path}/done\\"
[BitTorrent]
Session\\DefaultSavePath={tmp_path}/client
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Interface=lo
Session\\InterfaceName=lo
Session\\Port=0
[LegalNotice]
Accepted=true
[Network]
PortForwardingEnabled=false
[Preferences]
Connection\\UPnP=false
WebUI\\Enabled=false
WebUI\\LocalHostAuth=false
WebUI\\Address=127.0.0.1
WebUI\\Port=0
"""
    )
    command = ["qbittorrent-nox", f"--profile={tmp_path}", str(offered(kind))]
    with bell(tmp_path) as rung, running(tmp_path, command):
        assert rung(), (tmp_path / "client.log").read_text()[-2000:]
        assert fetched_whole(tmp_path)
