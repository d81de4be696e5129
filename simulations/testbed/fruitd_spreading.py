"""fruitd on all nodes: real daemons, each under its boot chooser, in its namespace."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, ClusterSettings, NodeProcess, Place
from fruitd.demo.diary import Diary
from fruitd.maintainer.bundle import Bundle
from simulations.testbed.commands import inside
from simulations.testbed.layout import Host
from simulations.testbed.spreading import Stage, write_image

SLOT_SPARE_BYTES = 4 * 1024 * 1024
TARGET_SLOT = "b"
FETCHED = "image fetched"
"""The daemon's own word for: every piece is here and has passed its hash."""
STAY = ("/bin/true",)
"""A restart command that restarts nothing: the node stays up, armed, and serves on."""


class FruitdSpreading:
    """See `Spreading`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        factory = stage.folder / "factory.img"
        write_image(factory, 1, stage.plan.seed + 1)
        self._maintainers = Maintainers.ceremony(stage.folder / "maintainers")
        self.cluster = Cluster(
            ClusterSettings(
                directory=stage.folder,
                root_file=self._maintainers.root_file,
                slot_bytes=stage.plan.image_bytes + SLOT_SPARE_BYTES,
                factory_image=factory,
                health_command=STAY,
                token_file=self._maintainers.token_file,
                restart_command=() if stage.plan.restarts else STAY,
            )
        )
        first = stage.helper or stage.publisher
        known = [self._add(first, slots=False)]
        if first is not stage.publisher:
            known.append(self._add(stage.publisher, slots=False, contacts=known))
        self._publisher = known[-1]
        self.nodes = {host.name: self._add(host, slots=True, contacts=known[:1]) for host in stage.takers}
        self._diaries = {name: Diary(node) for name, node in self.nodes.items()}
        self._done: dict[str, float] = {}
        self._killed: set[str] = set()
        self._bundle: Bundle | None = None

    def _add(self, host: Host, *, slots: bool, contacts: list[NodeProcess] | None = None) -> NodeProcess:
        place = Place(
            bind="0.0.0.0",  # noqa: S104  in a namespace of its own; and its address may change
            interface="",
            address=host.public,
            site=host.place if self._stage.plan.site_names else "",
            ports=(host.control_port, host.transfer_port),
            enter=inside(host.namespace),
        )
        name = host.name.replace("/", "-")
        return self.cluster.add(name, slots=slots, contacts=contacts or [], place=place)

    def start(self) -> None:
        """See `Spreading`. Nodes that share a LAN know all of each other; everybody knows somebody else too."""
        for node in self.cluster.nodes:
            node.start()
        bundle = self._maintainers.release(self._stage.image, 1, self._stage.folder / "release-1")
        self._bundle = bundle
        self._stage.say(f"{len(self.cluster.nodes)} daemons started")
        for place in self._stage.layout.lines:
            nodes = [self.nodes[host.name] for host in place.hosts if host.name in self.nodes]
            mates = 0 if place.plan.isolated else len(nodes) - 1
            self.cluster.wait(
                f"{place.plan.name} finds itself", nodes, _met(mates), timeout_s=self._stage.plan.meet_s_max
            )

    def begin(self) -> None:
        """See `Spreading`: the release is published."""
        assert self._bundle is not None
        publish(self._publisher, self._bundle)

    def copy(self, host: Host) -> Path:
        """See `Spreading`."""
        return self.nodes[host.name].slot(TARGET_SLOT)

    def done_s(self, host: Host) -> float | None:
        """See `Spreading`."""
        if host.name not in self._done:
            fetched = self._diaries[host.name].times(FETCHED)
            if fetched:
                self._done[host.name] = fetched[0] - time.time() + time.monotonic()
        return self._done.get(host.name)

    def account(self, host: Host) -> dict[str, Any] | None:
        """See `Spreading`: the parts `site` and `bytes` of the node's status, docs/api.md."""
        status = self.nodes[host.name].get("/v1/status") if host.name not in self._killed else None
        return {part: status.get(part) for part in ("site", "bytes")} if status is not None else None

    def kill(self, host: Host) -> None:
        """See `Spreading`."""
        self._killed.add(host.name)
        self._node(host).kill()

    def pause(self, host: Host) -> None:
        """See `Spreading`."""
        self._node(host).pause()

    def resume(self, host: Host) -> None:
        """See `Spreading`."""
        self._node(host).resume()

    def _node(self, host: Host) -> NodeProcess:
        wanted = host.name.replace("/", "-")
        return next(node for node in self.cluster.nodes if node.name == wanted)

    def trouble(self) -> list[str]:
        """See `Spreading`."""
        return [
            f"{name} has ended by itself: {node.log}"
            for name, node in self.nodes.items()
            if name not in self._killed and not node.running
        ]

    def close(self) -> None:
        """See `Spreading`."""
        for node in self.cluster.nodes:
            node.kill()


def _met(mates: int) -> Any:
    return lambda status: status["peers"]["heard"] >= max(1, mates) and status["peers"]["same_site"] >= mates
