"""A node that once made a large update would be a large process from then on."""

from __future__ import annotations

import subprocess
import sys

MIB = 1024 * 1024
TAKE_AND_LEAVE = """
import threading
from fruitd.heap import keep_heap_small

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

def segment(size_mib):
    dictionary, frame, fresh = (bytes(part * 2**20) for part in (size_mib, 2, 8))
    return dictionary.count(1) + frame.count(1) + fresh.count(1)

keep_heap_small()
before = resident()
for size_mib in (1, 2, 4, 6, 5, 7, 3, 8, 6):
    thread = threading.Thread(target=segment, args=(size_mib,))
    thread.start()
    thread.join()
print(resident() - before)
"""


def test_what_the_segments_of_a_parcel_took_is_given_back() -> None:
    """Memory at work would be what all kinds of segments took together, and a Pi with 512 MiB would run out of it."""
    told = subprocess.run([sys.executable, "-c", TAKE_AND_LEAVE], check=True, capture_output=True, text=True)
    assert int(told.stdout) < 2 * MIB
