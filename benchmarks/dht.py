"""A node with five contacts, of which one is left, in a swarm of a hundred with 5 % loss: until it fetches the newest release.

Two real daemons: the contact that is left, which holds the release as all do in a swarm that has settled, and the newcomer.
The other 98 nodes are `crowd`: the same cores, shells and tables on sockets of their own, in one process. In a network
namespace whose loopback drops packets at random: needs root.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from benchmarks.images import MIB, write_random_image
from benchmarks.nodes import Fleet, say, wait_for, workshop
from benchmarks.rows import NotMeasurableError, Row, at_most
from fruitd.demo.ceremony import publish
from fruitd.demo.cluster import NodeProcess, free_ports
from fruitd.demo.diary import Diary

CROWD = 98
LOSS_PERCENT = 5
NEWCOMERS = 5
IMAGE_BYTES = 4 * MIB
PATIENCE_S = 240.0
SETTLE_CONTACTS = 16
"""The crowd has met when the contact knows so many of it in the table."""
_LOOK_S = 0.02
DROP = """table inet rain { chain in { type filter hook input priority 0;
  meta l4proto { tcp, udp } numgen random mod 100 < %d drop; }; }"""


def first_contact() -> Iterator[Row]:
    """Runs `measure` in a network of its own."""
    if os.geteuid() != 0:
        raise NotMeasurableError("losing packets needs root")
    inside = 'ip link set lo up && exec "$0" -m benchmarks.dht'
    run = subprocess.run(
        ["unshare", "-n", "sh", "-c", inside, sys.executable], stdout=subprocess.PIPE, text=True, check=False
    )
    if run.returncode:
        raise NotMeasurableError("the swarm behind it could not be measured: see above")
    found = json.loads(run.stdout)
    against = (
        f"median of {NEWCOMERS} newcomers with one working contact of five, {CROWD + 2} nodes, {LOSS_PERCENT} % of packets lost; "
        f"from the daemon's first datagram; slowest {max(found['fetching']):.2f} s"
    )
    yield at_most("first_contact_to_fetching", statistics.median(found["fetching"]), "s", 5, against)
    told = f"the same, until it has the manifest, from whomever; slowest {max(found['manifest']):.2f} s"
    yield at_most("first_contact_to_manifest", statistics.median(found["manifest"]), "s", 5, told)
    table = f"the same, until the table has said which is the newest; slowest {max(found['table']):.2f} s"
    yield at_most("first_contact_to_table", statistics.median(found["table"]), "s", 15, table)


def measure() -> dict[str, list[float]]:
    """Seconds of each newcomer."""
    subprocess.run(["nft", "-f", "-"], input=DROP % LOSS_PERCENT, text=True, check=True)
    with workshop() as folder:
        image, factory = folder / "rootfs-1.img", folder / "factory.img"
        write_random_image(image, IMAGE_BYTES, random.Random(1))
        write_random_image(factory, MIB, random.Random(2))
        with Fleet(folder / "fleet", slot_bytes=IMAGE_BYTES + MIB, factory_image=factory) as fleet:
            fleet.cluster.settings = evolve(fleet.cluster.settings, beacon=False)
            contact = fleet.cluster.add("contact", slots=False)
            contact.start()
            fleet.cluster.wait("the contact answers", [contact], lambda _: True, timeout_s=PATIENCE_S)
            crowd = _crowd(fleet, contact)
            try:
                publish(contact, fleet.maintainers.release(image, 1, fleet.folder / "release-1"))
                fleet.cluster.wait(
                    "the crowd has met",
                    [contact],
                    lambda s: (
                        s["dht"]["contacts"] >= SETTLE_CONTACTS and s["trust"]["manifest_sequence"] == 1
                    ),
                    timeout_s=PATIENCE_S,
                )
                return _newcomers(fleet, contact)
            finally:
                crowd.kill()


def _crowd(fleet: Fleet, contact: NodeProcess) -> subprocess.Popen[str]:
    root, key = fleet.maintainers.root_file, contact.swarm_key
    words = [str(root), str(key), "12000", str(CROWD), str(contact.port)]
    crowd = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd", *words], stdout=subprocess.PIPE, text=True
    )
    if crowd.stdout is None or crowd.stdout.readline() != "gathered\n":
        raise NotMeasurableError("the crowd did not gather")
    return crowd


def _newcomers(fleet: Fleet, contact: NodeProcess) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"manifest": [], "fetching": [], "table": []}
    for number in range(NEWCOMERS):
        gone = [
            NodeProcess("gone", Path(tempfile.gettempdir()), port, port, has_slots=False)
            for port in free_ports(4)
        ]
        node = fleet.cluster.add(f"new-{number}", contacts=[*gone[:2], contact, *gone[2:]])
        diary = Diary(node)
        node.start()
        wait_for(
            "the newcomer fetches and has looked into the table",
            lambda: bool(diary.times("reused") and diary.times("looked into the table")),  # noqa: B023  at once
            timeout_s=PATIENCE_S,
            pause_s=_LOOK_S,
        )
        began_s = diary.times("ready")[0]
        for name, event in (
            ("manifest", "manifest accepted"),
            ("fetching", "reused"),
            ("table", "looked into the table"),
        ):
            found[name].append(diary.times(event)[0] - began_s)
        say(", ".join(f"{name} {took_s[-1]:.2f} s" for name, took_s in found.items()))
        node.stop()
    return found


if __name__ == "__main__":
    print(json.dumps(measure()))
