"""A node by itself, run inside a network namespace: python -m tests.swarm.shell.neighbour NUMBER SETTINGS

Says on standard output, a JSON line each, whom it knows, on which interfaces it beacons, and what manifest it holds, whenever
that changes. A line on standard input is the sequence number of a manifest to publish, too large for a datagram.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from swarm.shell import ShellSettings
from tests.swarm.core.village import manifest
from tests.swarm.shell.hamlet import Home, settle

LOOK_S = 0.2


def _state(home: Home) -> dict[str, Any]:
    entry = home.store.get("manifest", b"stable")
    return {
        "peers": {peer.name: [peer.address.host, peer.same_site] for peer in home.core.peers()},
        "on": home.shell.beaconed_on,
        "manifest": entry.sequence if entry is not None else 0,
    }


async def _publish(home: Home) -> None:
    stdin = trio.lowlevel.FdStream(0)
    async for line in stdin:
        home.publish(manifest(int(line), bytes(3000)))


async def main(number: int, settings: ShellSettings) -> None:
    """Until it is ended."""
    async with trio.open_nursery() as nursery:
        home = await settle(nursery, number, settings)
        nursery.start_soon(_publish, home)
        said: dict[str, Any] = {}
        while True:
            state = _state(home)
            if state != said:
                said = state
                sys.stdout.write(json.dumps(state) + "\n")
                sys.stdout.flush()
            await trio.sleep(LOOK_S)


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    asked["beacon_interfaces"] = tuple(asked.get("beacon_interfaces", ()))
    trio.run(main, int(sys.argv[1]), ShellSettings(**asked))
