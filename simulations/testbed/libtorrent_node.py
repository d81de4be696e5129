"""One node of plain libtorrent: fetches a torrent, says when it is whole, and seeds on until it is killed.

python -m simulations.testbed.libtorrent_node WISH.json        a file that `rivals` writes
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import libtorrent as lt

_POLL_S = 0.05


def main() -> None:
    """Run until killed."""
    wish: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(wish["folder"])
    settings: Any = {
        "listen_interfaces": f"0.0.0.0:{wish['port']}",
        "enable_dht": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_lsd": wish["lsd"],
        # libtorrent's default lets one node behind each translator in at a time.
        "allow_multiple_connections_per_ip": True,
        "alert_mask": int(lt.alert_category.status | lt.alert_category.error),
        **wish["more"],
    }
    start = lt.session_params()
    start.settings = settings
    session = lt.session(start)
    params = lt.load_torrent_file(wish["torrent"])
    params.save_path = str(folder)
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    if wish["seed"]:
        params.flags |= lt.torrent_flags.seed_mode
    if not wish["pex"]:
        params.flags |= lt.torrent_flags.disable_pex
    if wish["seed"]:
        session.add_torrent(params)
        (folder / "ready").touch()
        while True:  # libtorrent's own threads serve until the testbed kills this process
            time.sleep(60)
    (folder / "ready").touch()
    while not Path(wish["go"]).exists():
        time.sleep(_POLL_S)
    handle = session.add_torrent(params)
    for host, port in wish["peers"]:
        handle.connect_peer((host, port))
    whole = False
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            whole = whole or isinstance(alert, lt.torrent_finished_alert)
        if whole and not (folder / "done").exists():
            (folder / "done.part").write_text(repr(time.monotonic()))
            (folder / "done.part").rename(folder / "done")
        if not whole and not handle.status(0).num_peers:
            for host, port in wish["peers"]:  # who started earlier may have found nobody
                handle.connect_peer((host, port))


if __name__ == "__main__":
    main()
