"""Other tools on the same nodes, in the same network: what a site would cost with them."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fruitd.errors import RetryError
from simulations.testbed.commands import inside
from simulations.testbed.layout import Host
from simulations.testbed.spreading import Spreading, Stage, held_bytes, signal_all

PACKAGES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "nginx": (("nginx", "nginx-light"), ("curl", "curl")),
    "aria2": (("aria2c", "aria2"),),
}
"""Tool -> programs it needs, and the Debian packages that have them. libtorrent is there: fruitd needs it too."""
TRACKER_PORT, HTTP_PORT = 6969, 80
READY_S_MAX = 60.0
_POLL_S = 0.1


def rival(tool: str, stage: Stage) -> Spreading:
    """The tool of that name; see `plan.Tool`."""
    makers: dict[str, Callable[[Stage], Spreading]] = {
        "nginx": NginxSpreading,
        "aria2": AriaSpreading,
        "libtorrent": lambda s: LibtorrentSpreading(s, lsd=False),
        "libtorrent-lsd": lambda s: LibtorrentSpreading(s, lsd=True),
        "libtorrent-gateway": GatewaySpreading,
    }
    return makers[tool](stage)


class _Processes:
    """Programs in the nodes' namespaces, and each taker's folder."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._started: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._killed: set[str] = set()

    def folder(self, host: Host) -> Path:
        """Of this node; made when it is first asked for."""
        path = self.stage.folder / host.name.replace("/", "-")
        path.mkdir(exist_ok=True)
        return path

    def run(self, host: Host, command: Sequence[str]) -> None:
        """Start a program on a node; what it says goes into the node's log."""
        with open(self.folder(host) / "log", "ab") as log:
            process = subprocess.Popen(
                [*inside(host.namespace), *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder(host), start_new_session=True,
            )  # fmt: skip
        self._started.setdefault(host.name, []).append(process)

    def copy(self, host: Host) -> Path:
        """See `Spreading`."""
        return self.folder(host) / self.stage.image.name

    def kill(self, host: Host) -> None:
        """See `Spreading`."""
        self._killed.add(host.name)
        self._signal(host, signal.SIGKILL)

    def pause(self, host: Host) -> None:
        """See `Spreading`."""
        self._signal(host, signal.SIGSTOP)

    def resume(self, host: Host) -> None:
        """See `Spreading`."""
        self._signal(host, signal.SIGCONT)

    def _signal(self, host: Host, number: int) -> None:
        signal_all([p.pid for p in self._started.get(host.name, []) if p.poll() is None], number)

    def account(self, host: Host) -> None:
        """See `Spreading`: none of them keeps any."""
        return

    def trouble(self) -> list[str]:
        """See `Spreading`."""
        return [
            f"{name}: {process.args!r} ended with {process.returncode}"
            for name, processes in self._started.items()
            if name not in self._killed
            for process in processes
            if process.poll() not in (None, 0)
        ]

    def close(self) -> None:
        """See `Spreading`."""
        for processes in self._started.values():
            signal_all([p.pid for p in processes if p.poll() is None], signal.SIGKILL)
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)

    def ended(self, host: Host) -> bool:
        """True once everything on this node has ended well."""
        processes = self._started.get(host.name, [])
        return bool(processes) and all(process.poll() == 0 for process in processes)

    def wait_for(self, what: str, paths: Sequence[Path]) -> None:
        """Wait until these files are there; raises RetryError."""
        deadline_s = time.monotonic() + READY_S_MAX
        while not all(path.exists() for path in paths):
            if time.monotonic() > deadline_s or self.trouble():
                raise RetryError(f"{what}: {'; '.join(self.trouble()) or f'not within {READY_S_MAX:g} s'}")
            time.sleep(_POLL_S)  # pacing of a look at other processes


class NginxSpreading(_Processes):
    """An HTTP server at the publisher, and curl on every node, all at once: what an update server without peers does."""

    def start(self) -> None:
        """See `Spreading`."""
        publisher = self.stage.publisher
        folder = self.folder(publisher)
        (folder / "nginx.conf").write_text(
            # One process: a master that is killed would leave its workers, and they the namespace.
            f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
            f"events {{}} http {{ access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;\n"
            f"fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;\n"
            f"sendfile on; server {{ listen {HTTP_PORT}; root {self.stage.folder}; }} }}\n"
        )
        self.run(
            publisher,
            ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")],
        )
        self.wait_for("nginx starts", [folder / "nginx.pid"])

    def begin(self) -> None:
        """See `Spreading`."""
        url = f"http://{self.stage.publisher.public}:{HTTP_PORT}/{self.stage.image.name}"
        for host in self.stage.takers:
            self.run(
                host, ["curl", "--silent", "--show-error", "--fail", "--output", str(self.copy(host)), url]
            )

    def done_s(self, host: Host) -> float | None:
        """See `Spreading`."""
        return _written_s(self.copy(host)) if self.ended(host) else None


class _Torrented(_Processes):
    """What all BitTorrent rivals share: a v1 torrent, a tracker and a seeder at the publisher."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.torrent = stage.folder / "image.torrent"
        self.go = stage.folder / "go"

    def make_torrent(self, *, tracker: bool) -> None:
        """v1: what every client understands."""
        import libtorrent as lt

        made = lt.create_torrent(
            lt.list_files(str(self.stage.image)), self.stage.plan.piece_kib * 1024, lt.create_torrent.v1_only
        )
        lt.set_piece_hashes(made, str(self.stage.image.parent))
        if tracker:
            made.add_tracker(f"http://{self.stage.publisher.public}:{TRACKER_PORT}/announce")
        self.torrent.write_bytes(lt.bencode(made.generate()))

    def start_tracker(self) -> None:
        """At the publisher."""
        publisher = self.stage.publisher
        ready = self.folder(publisher) / "tracker-ready"
        self.run(
            publisher, [sys.executable, "-m", "simulations.testbed.tracker", str(TRACKER_PORT), str(ready)]
        )
        self.wait_for("the tracker starts", [ready])

    def start_node(self, host: Host, *, seed: bool, **settings: Any) -> None:
        """A libtorrent node; takers wait for `go`."""
        folder = self.folder(host)
        if seed:
            shutil.copyfile(self.stage.image, self.copy(host))
        wish = {
            "torrent": str(self.torrent), "folder": str(folder), "port": host.transfer_port, "seed": seed,
            "go": str(self.go), "peers": [], "lsd": False, "pex": True, "more": {}, **settings,
        }  # fmt: skip
        (folder / "wish.json").write_text(json.dumps(wish))
        self.run(
            host, [sys.executable, "-m", "simulations.testbed.libtorrent_node", str(folder / "wish.json")]
        )

    def wait_until_ready(self) -> None:
        """All nodes have said so."""
        hosts = [self.stage.publisher, *self.stage.takers]
        self.wait_for("libtorrent nodes start", [self.folder(host) / "ready" for host in hosts])

    def begin(self) -> None:
        """See `Spreading`."""
        self.go.touch()

    def done_s(self, host: Host) -> float | None:
        """See `Spreading`."""
        done = self.folder(host) / "done"
        return float(done.read_text()) if done.exists() else None


class LibtorrentSpreading(_Torrented):
    """Plain libtorrent with a tracker and peer exchange; with LSD, nodes of a LAN find each other as well."""

    def __init__(self, stage: Stage, *, lsd: bool) -> None:
        super().__init__(stage)
        self._lsd = lsd

    def start(self) -> None:
        """See `Spreading`."""
        self.make_torrent(tracker=True)
        self.start_tracker()
        self.start_node(self.stage.publisher, seed=True)
        for host in self.stage.takers:
            self.start_node(host, seed=False, lsd=self._lsd)
        self.wait_until_ready()


class GatewaySpreading(_Torrented):
    """A gateway set up by hand at each site, with the best settings found; no discovery, no failure, no election."""

    TUNED: Mapping[str, Any] = {
        "enable_outgoing_utp": False, "enable_incoming_utp": False, "unchoke_slots_limit": -1, "request_queue_time": 1,
    }  # fmt: skip

    def start(self) -> None:
        """See `Spreading`."""
        self.make_torrent(tracker=False)
        publisher = self.stage.publisher
        self.start_node(publisher, seed=True, pex=False, more=dict(self.TUNED))
        gateways: list[Host] = []
        for line in self.stage.layout.lines:
            hosts = [host for host in line.hosts if host in self.stage.takers]
            for number, host in enumerate(hosts):
                is_gateway = number == 0
                peers = [mate.address for mate in hosts[:number]]
                ports = [mate.transfer_port for mate in hosts[:number]]
                if is_gateway:
                    others = [publisher, *gateways]
                    peers, ports = [o.public for o in others], [o.transfer_port for o in others]
                    gateways.append(host)
                more = {**self.TUNED, **({"strict_end_game_mode": False} if is_gateway else {})}
                self.start_node(
                    host, seed=False, pex=False, peers=list(zip(peers, ports, strict=True)), more=more
                )
        self.wait_until_ready()


class AriaSpreading(_Torrented):
    """aria2 with a tracker and peer exchange, and its own local peer discovery off, as it is by default."""

    def start(self) -> None:
        """See `Spreading`."""
        self.make_torrent(tracker=True)
        self.start_tracker()
        publisher = self.stage.publisher
        shutil.copyfile(self.stage.image, self.copy(publisher))
        self.run(
            publisher, [*self._command(publisher), "--check-integrity=true", "--bt-seed-unverified=false"]
        )
        hook = self.stage.folder / "whole"
        hook.write_text("#!/bin/sh\n: > done-by-aria2\n")  # aria2 starts it in the node's folder
        hook.chmod(0o700)

    def begin(self) -> None:
        """See `Spreading`."""
        for host in self.stage.takers:
            self.run(host, [*self._command(host), f"--on-bt-download-complete={self.stage.folder / 'whole'}"])

    def done_s(self, host: Host) -> float | None:
        """See `Spreading`."""
        marker = self.folder(host) / "done-by-aria2"
        return _written_s(marker) if marker.exists() else None

    def _command(self, host: Host) -> list[str]:
        return [
            "aria2c", "--no-conf=true", "--quiet=true", f"--dir={self.folder(host)}", f"--listen-port={host.transfer_port}",
            "--enable-dht=false", "--seed-ratio=0", "--file-allocation=none", "--max-overall-upload-limit=0",
            "--bt-min-crypto-level=plain", str(self.torrent),
        ]  # fmt: skip


def _written_s(path: Path) -> float | None:
    """When a file was last written, on the steady clock; None where there is none."""
    return (
        path.stat().st_mtime - time.time() + time.monotonic() if held_bytes(path) or path.exists() else None
    )
