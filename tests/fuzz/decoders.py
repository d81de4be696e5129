"""Everything that reads what somebody else wrote: one line each, with good inputs to begin from."""

from __future__ import annotations

import json
import random
import ssl
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote

import attrs
import trio
from attrs import frozen

import bep35.bencode
import bep35.metainfo
import bep35.signatures
import bep35.torrent
from bep35.errors import Bep35Error
from bep35.x509.certificate import read_certificates
from fruitd.api.app import node_app
from fruitd.boot import autoboot, environment, firmware, grubenv, uboot_env
from fruitd.boot.uboot_backend import parse_fw_env_config
from fruitd.config.tables import parse_config
from fruitd.errors import FruitError
from fruitd.health.baseline import Baseline
from fruitd.keeper import wire as keeper_wire
from fruitd.keeper.book import Book
from fruitd.maintainer.bundle import Plan, PlannedParcel
from fruitd.maintainer.fleet import read_nodes
from fruitd.maintainer.signature_file import SignatureFile
from fruitd.power import energy
from fruitd.power.document import Kept, PowerDocument
from fruitd.power.recovery import Phase
from fruitd.slots.partition_table import read_names
from fruitd.state.journal_codec import decode_journal, encode_journal
from fruitd.updater.journal import Journal
from simulations.world.heap import Dice
from simulations.world.images import Image, first_image
from simulations.world.maintainer import Maintainer
from swarm import slices, wire
from swarm.address import Address
from swarm.admission import Admission
from swarm.discovery import meeting
from swarm.discovery.dht import messages as dht
from swarm.envelope import Envelope
from swarm.errors import SwarmError
from swarm.joining import OwnCertificate, TokenFile
from swarm.me import Hello, Me
from swarm.news.record import Record
from swarm.power import (
    FIGURES,
    BayPower,
    Beat,
    Figure,
    NodeHealth,
    PauseAsked,
    Place,
    Supply,
    Worth,
    said_record,
)
from swarm.root_file import RootChain
from swarm.seal import Keyring
from swarm.signing import signed
from swarm.status import NodeStatus
from swarm.switching import Action, SwitchCommand
from swarm.trust.any_key import decode_key
from swarm.trust.freshness import Freshness
from swarm.trust.key_files import lock
from swarm.trust.keys import SecretKey
from swarm.trust.locked_key import Cost
from swarm.trust.manifest import Manifest, NamedParcel
from swarm.trust.root import Role, TrustRoot
from swarm.trust.tokens import Certificate, JoinToken, Revocation
from swarm.trust.trusted_set import TrustedSet
from tests.attacks.court import NOW_S, Court, key, status
from tests.fruitd.api.fake_node import FakeNode
from tests.fuzz import parcels

KIB, MIB = 1024, 1024 * 1024
VECTORS = Path(__file__).parents[1] / "vectors" / "bep35"


@frozen
class Decoder:
    """One reader."""

    name: str
    read: Callable[[bytes], object]
    seeds: Sequence[bytes]
    errors: tuple[type[Exception], ...] = (SwarmError,)
    structure: str = ""
    memory_bytes_max: int = MIB
    """Most that one input may take while it is read, beside what it holds itself."""
    weight: float = 1.0
    """Share of the inputs: those on the network's edge get more."""


def _court() -> tuple[Court, Image]:
    dice = Dice(1)
    return Court(Maintainer(dice)), first_image(dice.named("image"), 40)


def _records(court: Court, image: Image) -> dict[str, Record]:
    node = key("node")
    good = court.published(image, 3, 7, 1_800_000_000)
    return {
        "manifest": good.manifest,
        "root": court.sign_root(court.root),
        "next root": court.sign_root(court.next_root(2)),
        "fresh": court.fresh(good.manifest),
        "token": court.new_token("batch", site="berlin", labels=(("rack", "3"),)).terms,
        "member": court.member(node),
        "revoke": court.revoked(node.node_id),
        "status": status(node),
        **_of_power(court, node),
    }


def _of_power(court: Court, node: SecretKey) -> dict[str, Record]:
    """What is said about power, by nodes and by operators."""
    place, now_s = Place(3, 1), NOW_S
    bay = BayPower(
        now_s, "rack-1", place, node_id=node.node_id, figures=(Figure(5040, Worth.GOOD),) * len(FIGURES)
    )
    health = NodeHealth(now_s, "rack-1", place, Beat.BEATING, supply=Supply(False, None, True, False, 1400))
    asked = PauseAsked(now_s, "rack-1", node.node_id, 45)
    switch = SwitchCommand(
        court.root.swarm, "rack-1", place, node.node_id, Action.OFF, "card is replaced", now_s + 600
    )
    return {
        "health": said_record(health, node, now_s),
        "power": said_record(bay, node, now_s),
        "pause": said_record(asked, node, now_s),
        "switch": signed(switch.record(now_s), *court.quorum(Role.OPERATOR)),
    }


def _power_document() -> bytes:
    place = Place(3, 1)
    kept = Kept(Phase.TURNING_OFF, "silent for 184 s", 1, 600)
    return PowerDocument(
        {place: kept}, {place: bytes(20)}, {bytes(20): 7}, {place: 9}, ((NOW_S, "cycled"),)
    ).encode()


def _energy() -> bytes:
    return energy.encode(
        {bytes(20): energy.Account(2.2, energy.Meter(412.3, 95.0)), bytes([1] * 20): energy.Account()}
    )


def _messages(records: dict[str, Record]) -> dict[str, list[bytes]]:
    """Every message there is, not sealed."""
    me = Me(bytes(20), "node", "site", 47101, 47102)
    some = tuple(records.values())
    rows = tuple((r.kind, r.key, r.sequence, bytes(8)) for r in some)
    told = (Address("192.0.2.1", 1), Address("2001:db8::1", 2))
    made: dict[str, list[wire.Message]] = {
        "datagram": [
            Hello(me, bytes(16), (bytes(8),), ping=bytes(8)),
            wire.Push(some[3]),
            wire.Have(*rows[0]),
            meeting.Meet(),
            meeting.Go(told),
            meeting.Dial(bytes(8), 47102),
            dht.Ask(bytes(8), bytes(20)),
            dht.Ask(bytes(8), bytes(20), True, dht.value_id("manifest", b"stable"), "manifest", b"stable"),
            dht.Told(
                bytes(8), bytes(20), True, told[0], tuple(dht.Contact(bytes(20), a) for a in told), b"value"
            ),
        ],
        "request": [
            wire.Sync((bytes(8),) * 64),
            wire.Exchange(some, (("manifest", b"stable"),)),
            wire.Get("torrent", bytes(32), 0, 65536),
            wire.Who(bytes(8)),
            wire.Tunnel(),
        ],
        "reply": [
            wire.SyncReply((1, 2), rows, told),
            wire.Records(some),
            wire.Chunk(100, bytes(100)),
            wire.No("not here"),
            wire.Holders(told),
        ],
    }
    return {kind: [wire.encode(message) for message in messages] for kind, messages in made.items()}


def _verdict(admission: Admission, data: bytes) -> None:
    admission.verdict(Record.decode(data))


def _sealed(keyring: Keyring, data: bytes) -> None:
    Envelope(keyring, random.Random(0)).open_datagram(data)


REQUESTS = [
    b"GET\n/v1/status\n\n", b"GET\n/v1/history?limit=5\n\n", b"GET\n/v1/records?kind=manifest\n\n", b"GET\n/v1/nodes\n\n",
    b'POST\n/v1/hold\n\n{"reason": "not now"}', b"POST\n/v1/resume\n\n{}", b"POST\n/v1/rollback\n\n{}",
    b'POST\n/v1/publish\n\n{"manifest": "AAAA", "torrent": "AAAA", "image": "/srv/image"}',
    b'POST\n/v1/lift\n\n{"release": 3}',
]  # fmt: skip


NODES = {
    "schema": 1,
    "nodes": [
        {"name": "n", "hardware": ["pi"], "slot_bytes": 1 << 30, "release": 3, "version": "1.3", "quarantined": [2]},
        {"id": "cd" * 20, "hardware": None, "slot_bytes": None, "release": None, "quarantined": [{"release": 2, "version": "1"}]},
    ],
}  # fmt: skip
FW_ENV = b"# device offset size\n/boot/uboot.env 0x0 0x4000\n/boot/uboot2.env 0x0 0x4000\n"
KEEPER_SAYS = [keeper_wire.encode_done({"slot": "b"}), keeper_wire.encode_failed(FruitError("no"))]
AUTOBOOT = b"[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"


class ApiBrokeError(Exception):
    """The API answered that it has a bug, or did not answer."""


def _api() -> Callable[[bytes], None]:
    app = node_app(FakeNode())  # type: ignore[arg-type]

    def read(data: bytes) -> None:
        head, _, body = data.partition(b"\n\n")
        method, _, target = head.partition(b"\n")
        path, _, query = target.partition(b"?")
        if path.startswith(b"/v1/watch"):
            return
        # The server lets nothing but printable ASCII through in a request line.
        quoted, asked = quote_from_bytes(path, "/%").encode(), quote_from_bytes(query, "=&%").encode()
        trio.run(_ask, app, quote_from_bytes(method), quoted, asked, body)

    return read


async def _ask(app: Callable[..., object], method: str, path: bytes, query: bytes, body: bytes) -> None:
    sent: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            sent.append(int(str(message["status"])))

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": unquote(path.decode()),
        "raw_path": path, "query_string": query, "headers": [], "scheme": "http", "server": ("node", 80), "client": None,
        "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)  # type: ignore[misc]
    if not sent or (sent[0] >= 500 and sent[0] != 503):
        raise ApiBrokeError(f"answered {sent}")


def _partitions() -> bytes:
    """A disk with a GPT of two entries, cut to what is read of it."""
    sector = bytearray(512)
    sector[:8] = b"EFI PART"
    struct.pack_into("<Q", sector, 72, 2)
    struct.pack_into("<II", sector, 80, 2, 128)
    mbr = bytearray(512)
    mbr[510:] = b"\x55\xaa"
    mbr[450] = 0xEE
    return bytes(mbr) + bytes(sector) + bytes(range(256))


def _names(data: bytes) -> None:
    read_names(lambda offset, length: data[offset : offset + length], 512)


def decoders() -> list[Decoder]:
    """All of them."""
    court, image = _court()
    records = _records(court, image)
    raw = {name: record.encode() for name, record in records.items()}
    messages = _messages(records)
    admission = Admission(TrustedSet(court.root))
    keyring = Keyring((bytes(32),))
    envelope = Envelope(keyring, random.Random(0))
    sealed = [keyring.seal(data, b"fruit-datagram-1", bytes(24)) for data in messages["datagram"]]
    frames = [envelope.seal_request(wire.Sync((bytes(8),) * 64))[1]]
    torrents = [court.torrent(image, 3, court.keys[next(iter(court.keys))][0])[0]]
    torrents += [
        path.read_bytes() for path in sorted(VECTORS.glob("*.torrent")) if path.stat().st_size < 4 * KIB
    ]
    token = court.new_token("batch")
    key_files = [
        key("ann").encode(),
        key("ann").public.encode(),
        lock(key("ann"), "x", Cost(1, 8192)).encode(),
    ]
    config = b'[node]\nname = "n"\ncompatible = ["pi"]\n[trust]\nroot = "r"\n[swarm]\nkey_file = "k"\ncontacts = ["a:1"]\n'
    node = key("node")
    signature = SignatureFile("stable 7", "ann", node.public.raw, bytes(32), bytes(64), None)
    own = (FruitError,)
    packed = partial(Decoder, structure="msgpack")
    bencoded = partial(Decoder, errors=(Bep35Error,), structure="bencode", memory_bytes_max=4 * MIB)
    return [
        packed("record", Record.decode, list(raw.values()), weight=2),
        packed("admission", partial(_verdict, admission), list(raw.values())),
        packed("manifest", Manifest.decode, [records["manifest"].body, _with_parcels(records)], weight=2),
        packed("root", TrustRoot.decode, [records["root"].body, records["next root"].body], weight=2),
        packed(
            "root file",
            RootChain.decode,
            [raw["root"], raw["root"] + raw["next root"]],
            memory_bytes_max=4 * MIB,
        ),
        packed("fresh", Freshness.decode, [records["fresh"].body]),
        packed("token", JoinToken.decode, [records["token"].body]),
        packed("member", Certificate.decode, [records["member"].body]),
        packed("revoke", Revocation.decode, [records["revoke"].body]),
        packed("status", NodeStatus.decode, [records["status"].body]),
        packed("health", NodeHealth.decode, [records["health"].body]),
        packed("power", BayPower.decode, [records["power"].body]),
        packed("pause", PauseAsked.decode, [records["pause"].body]),
        packed("switch", SwitchCommand.decode, [records["switch"].body]),
        packed("power document", PowerDocument.decode, [_power_document()], errors=own),
        packed("energy of updates", energy.decode, [_energy()], errors=own),
        packed("certificate file", OwnCertificate.decode, [_certificate(court)]),
        packed("datagram", wire.decode_datagram, messages["datagram"], weight=3),
        packed(
            "stream request", wire.decode_request, messages["request"], weight=2, memory_bytes_max=2 * MIB
        ),
        packed("stream reply", wire.decode_reply, messages["reply"], weight=2, memory_bytes_max=2 * MIB),
        Decoder("sealed datagram", partial(_sealed, keyring), sealed, weight=2),
        Decoder("slice", slices.decode, _slices(), weight=2),
        Decoder("sealed frame", envelope.open_request, frames),
        Decoder(
            "sealed reply",
            partial(envelope.open_reply, bytes(16)),
            [envelope.seal_reply(bytes(16), wire.No("not here"))],
        ),
        bencoded("torrent", bep35.metainfo.parse, torrents),
        bencoded("torrent of any kind", bep35.torrent.parse, torrents),
        bencoded("signatures", bep35.signatures.read_signatures, _signatures(torrents)),
        Decoder(
            "X.509 certificates",
            read_certificates,
            _certificates(),
            errors=(Bep35Error,),
            memory_bytes_max=4 * MIB,
        ),
        bencoded("bencode", bep35.bencode.decode, torrents),
        Decoder("key file", decode_key, key_files),
        Decoder("token file", TokenFile.decode, [token.encode()]),
        Decoder(
            "signature file", SignatureFile.decode, [signature.encode()], errors=(FruitError, SwarmError)
        ),
        Decoder("release.json", Plan.decode, [_plan()], errors=own, structure="json"),
        Decoder("list of nodes", read_nodes, [json.dumps(NODES).encode()], errors=own, structure="json"),
        Decoder("configuration", partial(parse_config, file=Path("/x/f.toml")), [config], errors=own),
        Decoder("journal", decode_journal, [encode_journal(Journal())], errors=own),
        Decoder("baseline", Baseline.decode, [Baseline().encode()], errors=(FruitError, SwarmError)),
        packed("keeper request", keeper_wire.decode_request, _keeper_requests(), errors=own),
        packed(
            "keeper reply",
            keeper_wire.decode_reply,
            KEEPER_SAYS,
            errors=own,
        ),
        packed("keeper book", Book.decode, [Book().encode()], errors=own),
        Decoder("boot environment", _boot, [_environment()], errors=own),
        Decoder("U-Boot environment", _uboot, [_uboot_copy()], errors=own),
        Decoder(
            "GRUB environment",
            grubenv.decode_block,
            [grubenv.encode_block({"fruit_default": "a"})],
            errors=own,
        ),
        Decoder(
            "autoboot.txt",
            autoboot.decode,
            [AUTOBOOT],
            errors=own,
        ),
        Decoder("fw_env.config", _fw_env, [FW_ENV], errors=own),
        Decoder("firmware's answer", _firmware, [_answered()], errors=own),
        Decoder("partition table", _names, [_partitions()], errors=own),
        # A header may tell of 64 GiB (a byte for each block: 4 MiB) and open to 4 MiB; a segment to 8, with a dictionary of 8.
        Decoder("parcel", parcels.whole, parcels.good(), memory_bytes_max=10 * MIB),
        Decoder("parcel header", parcels.header, parcels.headers(), memory_bytes_max=6 * MIB),
        Decoder(
            "parcel's older image", parcels.older(), [parcels.OLDER.read_bytes()], memory_bytes_max=26 * MIB
        ),
        Decoder("parcel segment", parcels.segment(), parcels.frames(), memory_bytes_max=26 * MIB),
        Decoder("API", _api(), REQUESTS, errors=(), memory_bytes_max=4 * MIB, weight=0.5),
    ]


def _with_parcels(records: dict[str, Record]) -> bytes:
    manifest = Manifest.decode(records["manifest"].body)
    named = (
        NamedParcel(bytes(32), bytes(32), 900, 1000, b""),
        NamedParcel(bytes(32), bytes(32), 900, 1000, bytes(32)),
    )
    releases = tuple(attrs.evolve(release, parcels=named) for release in manifest.releases)
    return attrs.evolve(manifest, releases=releases).encode()


def _slices() -> list[bytes]:
    whole = slices.Slice(bytes(8), 0, 2, bytes(slices.SLICE_BYTES))
    return [
        slices.Want(bytes(8), 0, 16, b"request").encode(),
        whole.encode(),
        slices.Slice(bytes(8), 1, 2, b"end").encode(),
    ]


def _signatures(torrents: Sequence[bytes]) -> list[bytes]:
    """What stands under `signatures` in those that have it."""
    found = []
    for torrent in torrents:
        try:
            found.append(bep35.bencode.raw_items(torrent)[b"signatures"])
        except (Bep35Error, KeyError):
            continue
    return found


def _certificates() -> list[bytes]:
    """PEM and DER."""
    pems = [path.read_text() for path in sorted(VECTORS.glob("*.crt.pem"))]
    return [*(pem.encode() for pem in pems), *(ssl.PEM_cert_to_DER_cert(pem) for pem in pems)]


def _plan() -> bytes:
    return Plan(
        "swarm", "stable", "org.example/os", 3, "1.3", ("pi",), 7, 1_800_000_000, "/srv/image", 1 << 20, "ab" * 32, "ext4", 1, "",
        parcels=(PlannedParcel("cd" * 32, "/srv/older", 1 << 16, "ef" * 32),),
    ).encode()  # fmt: skip


def _fw_env(data: bytes) -> None:
    parse_fw_env_config(data.decode("utf-8", "replace"), "fw_env.config")


def _answered() -> bytes:
    """As the firmware answers: the request, with its status and the tag's length marked."""
    words = list(struct.unpack("<7I", firmware.encode_flag_message(0x30064, 1)))
    words[1], words[4] = 0x80000000, 0x80000004
    return struct.pack("<7I", *words)


def _firmware(data: bytes) -> None:
    firmware.decode_flag_message(data, 0x30064)


def _certificate(court: Court) -> bytes:
    return OwnCertificate(court.token.terms, court.member(key("node"))).encode()


def _keeper_requests() -> list[bytes]:
    from tests.fruitd.keeper.bench import proof

    return [
        keeper_wire.encode_request(keeper_wire.Check("b", proof())),
        keeper_wire.encode_request(keeper_wire.Lend("b", 1 << 40)),
    ]


def _environment() -> bytes:
    return environment.encode_copy(environment.BootEnvironment("a", "b", 7))


def _boot(data: bytes) -> None:
    """As it is, and with the checksum that its beginning should have: no mutation would get past that."""
    environment.read_copies(data * 2)
    text = data[:40]
    good = (text + b"%08x\n" % zlib.crc32(text)).ljust(environment.COPY_BYTES, b"\0")
    environment.read_copies(good + data)


def _uboot(data: bytes) -> None:
    """The same for U-Boot's."""
    uboot_env.read_copies(data, data[::-1])
    body = data[uboot_env.HEADER.size :]
    uboot_env.read_copies(uboot_env.HEADER.pack(zlib.crc32(body), 7) + body, data)


def _uboot_copy() -> bytes:
    return uboot_env.encode_copy(uboot_env.UbootCopy(1, {uboot_env.DEFAULT: "a", uboot_env.COUNT: "1"}), 512)
