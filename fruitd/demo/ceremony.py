"""The demo's maintainers: a key ceremony with a threshold, and releases signed by two of three."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

from attrs import frozen

from fruitd.demo.cluster import CHANNEL, HARDWARE, RESOURCE, NodeProcess
from fruitd.maintainer import ReleasePlan, build_release, found_swarm, sign_release
from fruitd.maintainer.bundle import Bundle
from swarm.trust.key_files import create_key_pair, read_secret_key
from swarm.trust.keys import SecretKey

SWARM = "demo-fleet"


@frozen
class Maintainers:
    """Who may sign, and the trust root that says so."""

    root_file: Path
    release_keys: tuple[SecretKey, ...]

    @classmethod
    def ceremony(cls, directory: Path) -> Maintainers:
        """Make two root keys and three release keys, of which two must sign, and the trust root."""
        directory.mkdir()
        roots = [read_secret_key(create_key_pair(directory, f"root-{n}")[0]) for n in (1, 2)]
        keys = [read_secret_key(create_key_pair(directory, f"release-{n}")[0]) for n in (1, 2, 3)]
        root_file = directory / "root.fruit"
        root_file.write_bytes(
            found_swarm(SWARM, roots, [key.public for key in keys], root_threshold=2, release_threshold=2)
        )
        return cls(root_file, tuple(keys))

    def release(self, image: Path, release: int, folder: Path, *, signers: int = 2) -> Bundle:
        """Build and sign a release of this image."""
        plan = ReleasePlan(
            resource=RESOURCE,
            release=release,
            version=f"v{release}.0",
            compatible=(HARDWARE,),
            channel=CHANNEL,
            sequence=release,
        )
        build_release(image, folder, plan, self.root_file.read_bytes(), now_s=time.time())
        for key in self.release_keys[:signers]:
            sign_release(folder, key)
        return Bundle.load(folder)


def publish(node: NodeProcess, bundle: Bundle) -> dict[str, Any]:
    """Hand a signed release to a node over its API."""
    manifest = bundle.manifest
    return node.post(
        "/v1/publish",
        {
            "manifest": base64.b64encode(manifest.encode() if manifest else b"").decode(),
            "torrent": base64.b64encode(bundle.torrent).decode(),
            "image": bundle.plan.image,
        },
    )
