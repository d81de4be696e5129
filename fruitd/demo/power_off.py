"""`python -m fruitd.demo.power_off FILE`: shuts a demo's machine down in order; FILE holds the process id of its boot chooser."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main() -> int:
    """Exit code 0 once it has been told."""
    os.kill(int(Path(sys.argv[1]).read_text()), signal.SIGTERM)
    return 0


if __name__ == "__main__":
    sys.exit(main())
