"""The demo's maintainers: a key ceremony with a threshold, a join token, and releases signed by two of three."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from fruitd.demo.cluster import CHANNEL, HARDWARE, RESOURCE, NodeProcess
from fruitd.maintainer import ReleasePlan, build_release, found_swarm, sign_release
from fruitd.maintainer.admitting import Paper, new_token, sign_paper
from fruitd.maintainer.build import BuildParcel
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.inspect import parcel_files
from fruitd.maintainer.parcels.build import BuiltParcel
from swarm.root_file import load_root
from swarm.trust.key_files import create_key_pair, read_secret_key, write_new
from swarm.trust.keys import SecretKey

SWARM = "demo-fleet"


@frozen
class Maintainers:
    """Who may sign, and the trust root that says so."""

    root_file: Path
    release_keys: tuple[SecretKey, ...]
    operator_key: SecretKey
    token_file: Path
    """Lets nodes in; it lies on every card."""

    @classmethod
    def ceremony(cls, directory: Path) -> Maintainers:
        """Make two root keys, three release keys, of which two must sign, an operator's key, the trust root, and a token."""
        directory.mkdir()
        roots = [read_secret_key(create_key_pair(directory, f"root-{n}")[0]) for n in (1, 2)]
        keys = [read_secret_key(create_key_pair(directory, f"release-{n}")[0]) for n in (1, 2, 3)]
        operator = read_secret_key(create_key_pair(directory, "operator")[0])
        root = found_swarm(
            SWARM, roots, [key.public for key in keys], operator_keys=[operator.public],
            root_threshold=2, release_threshold=2,
        )  # fmt: skip
        maintainers = cls(directory / "root.fruit", tuple(keys), operator, directory / "demo.token")
        maintainers.root_file.write_bytes(root)
        write_new(maintainers.token_file, maintainers.token("demo-cards").encode(), 0o600)
        return maintainers

    def token(self, name: str, **terms: Any) -> Paper:
        """A join token, signed by the operator."""
        root = load_root(self.root_file.read_bytes())
        return sign_paper(new_token(root, name, time.time(), **terms), [self.operator_key], root)

    def release(
        self,
        image: Path,
        release: int,
        folder: Path,
        *,
        signers: int = 2,
        compatible: tuple[str, ...] = (HARDWARE,),
        older: Sequence[Path | None] = (),
        packing: Callable[[BuildParcel], BuiltParcel] | None = None,
    ) -> Bundle:
        """Build and sign a release of this image, with a parcel from each of `older` (None: from nothing); `packing` as there."""
        plan = ReleasePlan(
            resource=RESOURCE,
            release=release,
            version=f"v{release}.0",
            compatible=compatible,
            channel=CHANNEL,
            sequence=release,
        )
        root = self.root_file.read_bytes()
        build_release(image, folder, plan, root, now_s=time.time(), older=older, packing=packing)
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
            "parcels": [
                {"torrent": base64.b64encode(raw).decode(), "path": str(path)}
                for path, raw in parcel_files(bundle)
            ],
        },
    )
