"""Real daemons on loopback, with small real images: made once for all tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fruitd.demo.ceremony import Maintainers
from fruitd.demo.cluster import Cluster, ClusterSettings
from fruitd.demo.images import DemoImages, make_images

SLOT_SPARE_BYTES = 1024 * 1024
FILES_BYTES = 3 * 1024 * 1024


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> DemoImages:
    """A factory image, two good releases and a bad one, about 6 MiB each."""
    return make_images(tmp_path_factory.mktemp("images"), files_bytes=FILES_BYTES)


@pytest.fixture
def maintainers(tmp_path: Path) -> Maintainers:
    """A trust root with three release keys, of which two must sign."""
    return Maintainers.ceremony(tmp_path / "maintainers")


@pytest.fixture
def make_cluster(images: DemoImages, maintainers: Maintainers) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters that are switched off at the end. Their folder has a short name: sockets' names are bounded."""
    clusters: list[Cluster] = []
    with tempfile.TemporaryDirectory(prefix="fruit-") as short:

        def make(**settings: object) -> Cluster:
            directory = Path(short) / str(len(clusters))
            directory.mkdir()
            largest = max(path.stat().st_size for path in (*images.good, images.bad))
            defaults: dict[str, object] = {
                "directory": directory,
                "root_file": maintainers.root_file,
                "token_file": maintainers.token_file,
                "slot_bytes": largest + SLOT_SPARE_BYTES,
                "factory_image": images.factory,
            }
            cluster = Cluster(ClusterSettings(**{**defaults, **settings}))  # type: ignore[arg-type]
            clusters.append(cluster)
            return cluster

        yield make
        for cluster in clusters:
            cluster.close()
