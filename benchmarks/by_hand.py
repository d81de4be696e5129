"""What a node is compared with: fetching an image by hand, with curl from nginx on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rows import NotMeasurableError

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
"""Debian keeps nginx where ordinary users do not look."""
_START_S_MAX = 10.0
_POLL_S = 0.05


def require(*programs: str, packages: str = "nginx curl") -> None:
    """Raises `NotMeasurableError` naming what is not installed."""
    missing = [program for program in programs if shutil.which(program, path=_PATH) is None]
    if missing:
        raise NotMeasurableError(f"not installed: {', '.join(missing)} (apt install {packages})")


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """nginx on a free port of loopback, serving the folder; gives its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 64; }}
        http {{ access_log off; sendfile on; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
            fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
            server {{ listen 127.0.0.1:{port}; root {folder}; }} }}"""
    )
    program = shutil.which("nginx", path=_PATH) or "nginx"
    with subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(process, f"{url}/{configuration.name}")
            yield url
        finally:
            process.terminate()


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str) -> None:
    deadline_s = time.monotonic() + _START_S_MAX
    while time.monotonic() < deadline_s and process.poll() is None:
        if subprocess.run(["curl", "-sf", "-o", os.devnull, url], check=False).returncode == 0:
            return
        time.sleep(_POLL_S)  # pacing of a poll over another program
    raise NotMeasurableError("nginx does not start; is another one in the way?")


def curl_s(url: str, slot: Path, size_bytes: int) -> float:
    """Seconds of `curl -o slot URL && sync && sha256sum slot`. The slot is removed before and after."""
    slot.unlink(missing_ok=True)
    os.sync()
    began_s = time.monotonic()
    subprocess.run(["curl", "-s", "-o", str(slot), url], check=True)
    subprocess.run(["sync"], check=True)
    subprocess.run(["sha256sum", str(slot)], check=True, stdout=subprocess.DEVNULL)
    took_s = time.monotonic() - began_s
    if slot.stat().st_size != size_bytes:
        raise NotMeasurableError(f"curl fetched {slot.stat().st_size} bytes instead of {size_bytes}")
    slot.unlink()
    return took_s
