"""Starts a keeper and a daemon, as an init would, and ends with the daemon: `python with_keeper.py --config FILE`."""

from __future__ import annotations

import signal
import subprocess
import sys


def main() -> int:
    """Exit code: the daemon's."""
    keeper = subprocess.Popen([sys.executable, "-m", "fruitd.keeper", *sys.argv[1:]])
    daemon = subprocess.Popen([sys.executable, "-m", "fruitd", *sys.argv[1:]])
    signal.signal(signal.SIGTERM, lambda *_: daemon.terminate())
    try:
        return daemon.wait()
    finally:
        keeper.kill()
        keeper.wait()


if __name__ == "__main__":
    sys.exit(main())
