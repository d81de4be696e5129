"""A daemon under a flood of datagrams that mean nothing: does it still hear of a release, and what does it hold meanwhile?"""

from __future__ import annotations

import multiprocessing
import random
import socket
import time
from collections.abc import Iterator, Sequence
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

from attrs import frozen

from benchmarks.images import MIB, write_random_image
from benchmarks.nodes import Fleet, daemon_pid, memory_bytes, say, wait_for, workshop
from benchmarks.rows import Row, at_least, at_most
from fruitd.demo.ceremony import publish
from fruitd.demo.cluster import NodeProcess
from fruitd.demo.diary import Diary
from fruitd.maintainer.bundle import Bundle
from swarm.envelope import Envelope
from swarm.me import Hello, Me
from swarm.seal import Keyring, key_id

RATE_PER_S = 20_000
ACCEPT_S_MAX = 5.0
MEMORY_MIB_MAX = 96
IMAGE_BYTES = 4 * MIB
WARM_S = 3.0
"""The flood has lasted this long when the release is published."""
PATIENCE_S = 60.0
_BATCH_S = 0.005


@frozen
class Flooded:
    """What was seen."""

    sent_per_s: float
    accepted_s: float
    """From handing the release to another node until this one has accepted its manifest."""
    installed_s: float
    """Until it has begun to boot it."""
    memory_bytes: int


def nonsense(keyring: Keyring) -> list[bytes]:
    """A third noise, a third with the right key's id and a wrong seal, a third a good hello of yesterday, over and over."""
    rng = random.Random(1)
    noise = [rng.randbytes(rng.choice((60, 200, 1300))) for _ in range(200)]
    wrong = [b"\x01" + key_id(keyring.keys[0]) + rng.randbytes(240) for _ in range(200)]
    me = Me(rng.randbytes(20), "yesterday", "loopback", 9, 9)
    hello = Envelope(keyring, rng).seal_datagram(Hello(me, rng.randbytes(16), ()))
    return [datagram for three in zip(noise, wrong, [hello] * 200, strict=True) for datagram in three]


def pour(
    port: int, datagrams: Sequence[bytes], rate_per_s: int, stop: Event, sent: Synchronized[int]
) -> None:
    """Send at this rate until told to stop; runs in a process of its own. `sent`: a shared counter."""
    batch = max(1, round(rate_per_s * _BATCH_S))
    count = 0
    began_s = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        while not stop.is_set():
            for _ in range(batch):
                sock.send(datagrams[count % len(datagrams)])
                count += 1
            sent.value = count
            ahead_s = count / rate_per_s - (time.monotonic() - began_s)
            if ahead_s > 0:
                time.sleep(ahead_s)  # the pace of the attack


def measure(folder: Path, rate_per_s: int = RATE_PER_S) -> Flooded:
    """One release, published at another node while this one is flooded."""
    image, factory = folder / "rootfs-1.img", folder / "factory.img"
    write_random_image(image, IMAGE_BYTES, random.Random(1))
    write_random_image(factory, IMAGE_BYTES, random.Random(2))
    with Fleet(folder / "fleet", slot_bytes=IMAGE_BYTES + MIB, factory_image=factory) as fleet:
        publisher, node = fleet.cluster.add("publisher", slots=False), fleet.cluster.add("node")
        for each in (publisher, node):
            each.start()
        fleet.cluster.wait("both answer", [publisher, node], lambda s: s["peers"]["heard"] >= 1, timeout_s=30)
        bundle = fleet.maintainers.release(image, 1, fleet.folder / "release-1")
        keyring = Keyring((bytes.fromhex(fleet.cluster.swarm_key.read_text()),))
        context = multiprocessing.get_context("spawn")
        stop, sent = context.Event(), context.Value("q", 0)
        flood = context.Process(target=pour, args=(node.port, nonsense(keyring), rate_per_s, stop, sent))
        flood.start()
        try:
            wait_for("the flood begins", lambda: sent.value > 0, timeout_s=PATIENCE_S)
            return _watch(fleet, publisher, node, bundle, sent)
        finally:
            stop.set()
            flood.join()


def _watch(
    fleet: Fleet, publisher: NodeProcess, node: NodeProcess, bundle: Bundle, sent: Synchronized[int]
) -> Flooded:
    diary, most, began_s, before = Diary(node), 0, time.monotonic(), sent.value

    def seen(event: str) -> bool:
        nonlocal most
        most = max(most, memory_bytes(daemon_pid(node), "VmHWM"))
        return bool(diary.times(event))

    wait_for("warm", lambda: seen("") or time.monotonic() - began_s > WARM_S, timeout_s=PATIENCE_S)
    published_s = time.time()
    publish(publisher, bundle)
    wait_for("the manifest is accepted", lambda: seen("manifest accepted"), timeout_s=PATIENCE_S)
    wait_for("the slot is armed", lambda: seen("restarting the node"), timeout_s=PATIENCE_S)
    took_s = time.monotonic() - began_s
    accepted_s = diary.times("manifest accepted")[0] - published_s
    armed_s = diary.times("restarting the node")[0] - published_s
    return Flooded((sent.value - before) / took_s, accepted_s, armed_s, most)


def flood() -> Iterator[Row]:
    """The three rows of the promise."""
    with workshop() as folder:
        flooded = measure(folder)
    say(f"{flooded}")
    against = (
        f"of {RATE_PER_S} nonsensical datagrams a second at one node: noise, wrong seals, repeated hellos"
    )
    yield at_least("flood_rate", flooded.sent_per_s / RATE_PER_S, "x", 0.95, against)
    yield at_most(
        "flood_accept", flooded.accepted_s / ACCEPT_S_MAX, "x", 1.0,
        f"of {ACCEPT_S_MAX:g} s, from handing a release to another node until the flooded one has accepted its manifest",
    )  # fmt: skip
    yield at_most(
        "flood_memory", flooded.memory_bytes / MIB, "MiB", MEMORY_MIB_MAX,
        "most resident memory of the flooded daemon until it has installed the release (VmHWM)",
    )  # fmt: skip
