"""Which libtorrent a node will have."""

from __future__ import annotations

import pytest

from swarm.errors import UnsupportedError
from swarm.transfer.libtorrent_module import check_version


@pytest.mark.parametrize("version", ["2.0.11", "2.1.0.0", "1.2.19", "2.1", "unknown"])
def test_an_old_libtorrent_is_refused(version: str) -> None:
    """An older libtorrent truncates slots, cannot write to devices and has holes in its hash requests."""
    with pytest.raises(UnsupportedError, match=r"2\.1\.1 or later is needed"):
        check_version(version)


@pytest.mark.parametrize("version", ["2.1.1", "2.1.1.0", "2.2.0", "3.0.0"])
def test_a_new_libtorrent_is_accepted(version: str) -> None:
    """A node could not be kept up to date."""
    check_version(version)
