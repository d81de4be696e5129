"""`python -m fruitd.updater` prints the state diagram and the table, as docs/states.md holds them."""

from __future__ import annotations

import sys

from fruitd.updater.diagram import page_blocks

sys.stdout.write(page_blocks())
