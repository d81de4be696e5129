"""What libtorrent is told of this node's settings."""

from __future__ import annotations

import pytest

from swarm.transfer.session_settings import TransferSettings, session_settings


@pytest.mark.parametrize(
    ("host", "listening"),
    [
        ("0.0.0.0", "0.0.0.0:47102"),
        ("::", "0.0.0.0:47102,[::]:47102"),
        ("fd00::1", "[fd00::1]:47102"),
        ("192.168.1.7", "192.168.1.7:47102"),
    ],
)
def test_images_move_over_every_ip_version_that_news_does(host: str, listening: str) -> None:
    """A node that listens on "::" would be met over IPv4, and nobody could fetch from it there."""
    settings = TransferSettings(node_id=bytes(20), host=host, port=47102)
    assert session_settings(settings, 0)["listen_interfaces"] == listening
