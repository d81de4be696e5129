"""How fast it could be at best: what every figure of the testbed is held against. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def site_bound_s(
    image_bytes: int, publisher_up: float, site_down: Sequence[float], site_up: Sequence[float]
) -> float:
    """Least time in which every site can hold the image.

    Each site counts as one peer of a fluid model: its nodes are free to share what has come in while it comes in. No schedule
    beats this, whatever is measured on the wire: headers, requests, and the way over the LANs come on top.

    Args:
        image_bytes: size of the image, > 0.
        publisher_up: the publisher's uplink, bytes/s, > 0.
        site_down, site_up: per site, bytes/s, same length S >= 1; down > 0, up >= 0.

    Returns:
        Seconds: the largest of one copy leaving the publisher, one copy entering the slowest site, and S copies leaving all
        uplinks together.

    Source: Kumar & Ross, "Peer-assisted file distribution: the minimum distribution time", 2006, each site taken as one peer.
    """
    sites = len(site_down)
    return max(
        image_bytes / publisher_up,
        image_bytes / min(site_down),
        sites * image_bytes / (publisher_up + sum(site_up)),
    )


def publisher_copies_at_bound(
    image_bytes: int, publisher_up: float, site_down: Sequence[float], site_up: Sequence[float]
) -> float:
    """Copies that the publisher has to send for the bound to be kept: the sites' uplinks cannot give more than the rest."""
    bound_s = site_bound_s(image_bytes, publisher_up, site_down, site_up)
    return max(1.0, len(site_down) - bound_s * sum(site_up) / image_bytes)
