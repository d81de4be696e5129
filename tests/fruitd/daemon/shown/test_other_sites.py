"""What a node can say of other sites without asking anybody."""

from __future__ import annotations

from fruitd.daemon.shown.other_sites import site_rows
from swarm.address import Address
from swarm.discovery.peers import PeerInfo

OLD, NEW = b"7" * 8, b"8" * 8
RELEASES = {OLD: 7, NEW: 8}


def peer(
    number: int,
    site: str,
    *,
    heard_s: float = 90.0,
    mate: bool = False,
    holds: bytes = b"",
    lacks: bytes = b"",
) -> PeerInfo:
    holdings = frozenset({each for each in (holds, lacks) if each})
    address = Address(f"192.0.2.{number}", 47101)
    return PeerInfo(bytes([number]), f"n{number}", site, address, 47102, mate, heard_s, holdings, lacks)


def test_each_other_site_has_a_row_with_what_was_heard_last_and_held() -> None:
    """An operator would have to log in at every site to learn whether it is there and has the release."""
    peers = [
        peer(1, "home", mate=True, holds=NEW),
        peer(2, "lab", heard_s=40.0, holds=OLD),
        peer(3, "lab", heard_s=90.0, lacks=NEW),
        peer(4, "", heard_s=float("-inf")),
    ]
    assert site_rows("home", peers, None, RELEASES, 100.0) == [
        {"site": "", "members": None, "known": 1, "heard_s_ago": None, "release": None},
        {"site": "lab", "members": None, "known": 2, "heard_s_ago": 10.0, "release": 7},
    ]


def test_where_only_members_count_others_are_no_site_and_unheard_members_are() -> None:
    """A stranger with the swarm key would invent sites; a site that nobody spoke to yet would be missing."""
    members = {
        bytes([n]): site for n, site in [(1, "home"), (2, "lab"), (3, "lab"), (5, "home"), (6, "attic")]
    }
    peers = [peer(1, "home", mate=True), peer(2, "cellar"), peer(9, "invented", holds=NEW)]
    rows = site_rows("home", peers, members, RELEASES, 100.0)
    assert [(row["site"], row["members"], row["known"]) for row in rows] == [
        ("attic", 1, 0),
        ("cellar", 1, 1),
        ("lab", 1, 0),
    ]
