"""The demo's health check: runs the one that the booted image brings along.

Started by the daemon as a health command; FRUIT_SLOT_PATH is the slot that is running.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fruitd.demo.images import HEALTH_SCRIPT, read_file


def main() -> int:
    """Exit code of the image's own check; 0 for an image that has none."""
    slot = os.environ.get("FRUIT_SLOT_PATH")
    if not slot:
        print("FRUIT_SLOT_PATH is not set")
        return 1
    script = read_file(Path(slot), HEALTH_SCRIPT)
    if script is None:
        print("the image brings no health check")
        return 0
    done = subprocess.run(["/bin/sh", "-s"], input=script, capture_output=True, check=False)
    sys.stdout.write(done.stdout.decode(errors="replace"))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
