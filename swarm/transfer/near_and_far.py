"""Tells libtorrent which hosts are of this node's site: limits of the uplink hold for all others, and only the site has places
that no stranger can take.

libtorrent takes private addresses for near ones. Here nodes say who is near, since two sites may share private addresses.
"""

from __future__ import annotations

from typing import Any

from swarm.transfer.session_settings import TransferSettings

_BLOCKED = 1
"""`ip_filter::blocked`."""


class NearAndFar:
    """The two classes of peers of a session. `lt`: the module."""

    def __init__(self, lt: Any, session: Any, settings: TransferSettings) -> None:
        self._lt = lt
        self._session = session
        self._hosts: frozenset[str] = frozenset()
        self._far_class = 1 << session.global_peer_class_id
        self._near_class = 1 << session.local_peer_class_id
        near = session.get_peer_class(session.local_peer_class_id)
        near["upload_limit"] = settings.lan_upload_bytes_per_s
        near["connection_limit_factor"] = 100
        session.set_peer_class(session.local_peer_class_id, near)
        # Who comes from elsewhere is let in as long as there are fewer connections than the limit divided by this, in hundredths.
        far = session.get_peer_class(session.global_peer_class_id)
        far["connection_limit_factor"] = 100 * settings.connections_limit // settings.connections_max
        session.set_peer_class(session.global_peer_class_id, far)
        self._apply()

    def set_hosts(self, hosts: frozenset[str]) -> None:
        """Who is near now."""
        if hosts != self._hosts:
            self._hosts = hosts
            self._apply()

    def is_near(self, host: str) -> bool:
        """Nodes behind one address cannot be told apart: what holds for one holds for all of them."""
        return host in self._hosts

    def _apply(self) -> None:
        self._session.set_ip_filter(self._table(far=_BLOCKED, near=0))  # heeded by torrents that are confined
        self._session.set_peer_class_filter(self._table(far=self._far_class, near=self._near_class))

    def _table(self, *, far: int, near: int) -> Any:
        table = self._lt.ip_filter()
        for first, last in (("0.0.0.0", "255.255.255.255"), ("::", "ffff" + ":ffff" * 7)):  # noqa: S104
            table.add_rule(first, last, far)
        for host in self._hosts:
            table.add_rule(host, host, near)
        return table
