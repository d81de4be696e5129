"""The yard that tests of libtorrent work in; those of the model have their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.swarm.transfer.loopback import RealYard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[RealYard]:
    real = RealYard(tmp_path)
    yield real
    real.close()
