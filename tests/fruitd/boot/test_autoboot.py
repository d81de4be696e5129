"""If one of these failed, the firmware of a Raspberry Pi and the node would read different things from autoboot.txt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.boot.autoboot import (
    FILE_BYTES,
    FILE_BYTES_MAX,
    PARTITION_MAX,
    Autoboot,
    decode,
    encode,
    read_state,
)
from fruitd.errors import SlotError

NUMBERS = st.integers(1, PARTITION_MAX)


@given(default=NUMBERS, trial=NUMBERS.filter(lambda n: n > 0), length=st.integers(90, FILE_BYTES_MAX))
def test_what_is_written_is_read(default: int, trial: int, length: int) -> None:
    """A commit would not be one."""
    data = encode(Autoboot(default, trial), length)
    assert len(data) == length
    assert decode(data) == (Autoboot(default, trial) if default != trial else None)


def test_the_file_is_the_one_of_the_documentation() -> None:
    """A form that only we can read would leave the machine on its first partition."""
    documented = b"[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
    assert encode(Autoboot(2, 3)).rstrip(b"\n") + b"\n" == documented
    assert len(encode(Autoboot(2, 3))) == FILE_BYTES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3", Autoboot(2, 3)),
        (
            "# hello\r\n[all]\r\ntryboot_a_b=1\r\nboot_partition=2\r\n[tryboot]\r\nboot_partition=3\r\n",
            Autoboot(2, 3),
        ),
        (
            "[all]\ntryboot_a_b=1\nboot_partition=9\nboot_partition=2\n[tryboot]\nboot_partition=3",
            Autoboot(2, 3),
        ),
        (
            "[none]\nboot_partition=7\n[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3",
            Autoboot(2, 3),
        ),
        ("[tryboot]\nboot_partition=3\n[all]\ntryboot_a_b=1\nboot_partition=2", None),
        ("[all]\nboot_partition=2\n[tryboot]\nboot_partition=3", None),
        ("[all]\ntryboot_a_b=1\nboot_partition=2", None),
        ("[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=2", None),
        ("[all]\ntryboot_a_b=1\nboot_partition=\n[tryboot]\nboot_partition=3", None),
        ("[all]\ntryboot_a_b=1\nboot_partition=64\n[tryboot]\nboot_partition=3", None),
        ("[all]\ntryboot_a_b=1\nboot_partition=2\n[pi4]\nboot_partition=3", None),
        ("[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\0", None),
        ("", None),
    ],
)
def test_what_the_firmware_would_make_of_it(text: str, expected: Autoboot | None) -> None:
    """A file changed by hand would be read one way by the firmware and another by the node."""
    assert decode(text.encode()) == expected


@given(data=st.binary(max_size=FILE_BYTES_MAX + 10))
def test_rubbish_is_refused_and_nothing_else_happens(data: bytes) -> None:
    """A worn sector would end the daemon."""
    decode(data)
    with pytest.raises(SlotError, match="neither"):
        read_state(data, data, {"a": 2, "b": 3})


def test_partitions_that_are_no_slots_are_not_believed() -> None:
    """A card of another layout would be taken for ours, and a stranger's partition be made the default."""
    with pytest.raises(SlotError, match="partitions 2 and 3"):
        read_state(encode(Autoboot(5, 6)), encode(Autoboot(2, 4)), {"a": 2, "b": 3})
