"""Who attacks: strangers without the swarm key, an insider who has it, and a liar that plays a peer with it.

None of them holds a release key; where a test needs one, it says so by signing itself.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgpack
import trio

from fruitd.demo.cluster import Cluster, NodeProcess
from swarm.address import Address
from swarm.core import Me, SwarmCore, SwarmSettings
from swarm.envelope import Envelope
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.seal import NONCE_BYTES, Keyring
from swarm.shell import ShellSettings, SwarmShell, open_sockets
from swarm.wire import Push

HOST = "127.0.0.1"
SOCKET_PATIENCE_S = 60.0
INTRODUCED_POLL_S = 0.1
DATAGRAM_CONTEXT, REQUEST_CONTEXT = b"fruit-datagram-1", b"fruit-request-1"
PUSH, EXCHANGE = 2, 18
"""Message types of docs/protocol.md."""
_ENTROPY = random.SystemRandom()


def throw_datagram(node: NodeProcess, data: bytes) -> None:
    """Anybody can send this."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(data, (HOST, node.port))


def connect(node: NodeProcess) -> socket.socket:
    """A connection to the control port, as anybody can have one."""
    return socket.create_connection((HOST, node.port), timeout=SOCKET_PATIENCE_S)


def throw_stream(node: NodeProcess, data: bytes) -> bytes:
    """Send this and hang up the sending half; what came back until the node closed."""
    with connect(node) as sock:
        sock.sendall(data)
        with contextlib.suppress(OSError):  # it has hung up already
            sock.shutdown(socket.SHUT_WR)
        return _read_all(sock)


def hold_stream(node: NodeProcess, *, drip: bool) -> bool:
    """Say nothing, or one byte a second of a frame that never ends, until the node hangs up; False if it never does."""
    frame = (4096).to_bytes(4, "big") + bytes(4096)
    with connect(node) as sock:
        sock.settimeout(1.0)
        for at in range(int(SOCKET_PATIENCE_S)):
            try:
                if drip:
                    sock.sendall(frame[at : at + 1])
                if not sock.recv(1):
                    return True
            except TimeoutError:
                continue
            except ConnectionError:
                return True
    return False


def _read_all(sock: socket.socket) -> bytes:
    parts = bytearray()
    try:
        while part := sock.recv(65536):
            parts += part
    except ConnectionError:
        pass
    return bytes(parts)


class Insider:
    """Knows the swarm key, from a stolen card; can seal whatever it likes."""

    def __init__(self, cluster: Cluster) -> None:
        self.keyring = Keyring((bytes.fromhex(cluster.swarm_key.read_text()),))
        self._envelope = Envelope(self.keyring, _ENTROPY)

    def push(self, node: NodeProcess, record: Record) -> None:
        """Eager news, as a node sends it."""
        throw_datagram(node, self._envelope.seal_datagram(Push(record)))

    def push_bytes(self, node: NodeProcess, record: bytes) -> None:
        """The same with bytes in place of a record."""
        message = bytes(msgpack.packb([1, PUSH, record]))
        throw_datagram(node, self.keyring.seal(message, DATAGRAM_CONTEXT, _ENTROPY.randbytes(NONCE_BYTES)))

    def hand_over(self, node: NodeProcess, records: Sequence[bytes]) -> bytes:
        """Records, or what is meant to pass for them, in a stream's exchange; the sealed answer."""
        message = bytes(msgpack.packb([1, EXCHANGE, list(records), []]))
        exchange_id = _ENTROPY.randbytes(16)
        sealed = self.keyring.seal(message, REQUEST_CONTEXT + exchange_id, _ENTROPY.randbytes(NONCE_BYTES))
        frame = exchange_id + sealed
        return throw_stream(node, len(frame).to_bytes(4, "big") + frame)


Tongue = Callable[[trio.SocketStream, int], Awaitable[None]]
"""What a liar does with the n-th stream it is asked on, instead of answering."""


async def mute(stream: trio.SocketStream, number: int) -> None:
    """Take the question and say nothing; every other time one byte a second of an answer that never ends."""
    async with stream:
        await stream.send_all((4096).to_bytes(4, "big") if number % 2 else b"")
        while True:
            await trio.sleep(1)  # the pace of the attack
            if number % 2:
                await stream.send_all(b"\0")


async def babble(stream: trio.SocketStream, number: int) -> None:
    """Answer with garbage: an impossible length, or a frame that nobody sealed."""
    async with stream:
        await stream.send_all(b"\xff" * 4 if number % 2 else (100).to_bytes(4, "big") + bytes(100))
        await stream.receive_some(1)


class Liar:
    """A peer with the swarm key, on the real swarm code, that gives false bytes, or answers as `tongue` does.

    It keeps no records, and says that it holds the images `holds` (infohashes).
    """

    def __init__(
        self,
        insider: Insider,
        contacts: Sequence[NodeProcess],
        *,
        holds: Sequence[bytes],
        blobs: Mapping[tuple[str, bytes], bytes] | None = None,
        tongue: Tongue | None = None,
        node_id: bytes | None = None,
        transfer_port: int = 0,
    ) -> None:
        self.node_id = node_id or _ENTROPY.randbytes(20)
        self._insider = insider
        self._contacts = tuple(Address(HOST, node.port) for node in contacts)
        self._holds = list(holds)
        self._blobs = dict(blobs or {})
        self._tongue = tongue
        self._transfer_port = transfer_port
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="liar")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(SOCKET_PATIENCE_S), "the liar was not taken for a peer"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()

    async def _run(self) -> None:
        sockets = await open_sockets(ShellSettings(bind=HOST, port=0, beacon=False))
        me = Me(self.node_id, "liar", "loopback", sockets.port, self._transfer_port)
        settings = SwarmSettings(contacts=self._contacts, beacon=False)
        rng, now_s = random.SystemRandom(), trio.current_time()
        core = SwarmCore(
            me, settings, self._insider.keyring, RecordStore(_keep_nothing), self._blob, rng, now_s
        )
        core.set_holdings(self._holds, now_s)
        with self._scope:
            async with trio.open_nursery() as nursery:
                if self._tongue is not None:
                    asked, sockets.tcp = sockets.tcp, trio.socket.socket()
                    await sockets.tcp.bind((HOST, 0))
                    sockets.tcp.listen()
                    nursery.start_soon(self._answer, asked, self._tongue, nursery)
                shell = SwarmShell(core, _ignore, sockets)
                await nursery.start(shell.run)
                self._token = trio.lowlevel.current_trio_token()
                # Whoever has answered has heard what it says that it holds. By itself it would be content with one of its site.
                while missing := set(self._contacts) - {peer.address for peer in core.peers()}:
                    shell.submit([core._presence.ping(each, b"", trio.current_time()) for each in missing])
                    await trio.sleep(INTRODUCED_POLL_S)
                self._ready.set()

    def _blob(self, kind: str, blob_id: bytes) -> bytes | None:
        return self._blobs.get((kind, blob_id))

    async def _answer(self, asked: Any, tongue: Tongue, nursery: trio.Nursery) -> None:
        number = 0
        with asked:
            while True:
                sock, _ = await asked.accept()
                nursery.start_soon(_until_they_leave, tongue, trio.SocketStream(sock), number)
                number += 1


async def _until_they_leave(tongue: Tongue, stream: trio.SocketStream, number: int) -> None:
    try:
        await tongue(stream, number)
    except trio.BrokenResourceError:
        return


def _keep_nothing(record: Record) -> None:
    raise RefusedError(f"a liar keeps no {record.kind}")


async def _ignore(effects: list[Any]) -> None:
    return
