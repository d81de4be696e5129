from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import FrameError, WrongRequestError
from hw.pistack import commands
from hw.pistack.commands import COMMANDS, board_address
from hw.pistack.frames import ReplyReader, Request, crc8, decode_request, encode_reply, request_of

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pistack" / "frames.json").read_text())
VOLTAGE = Request(commands.INPUT_VOLTAGE, 4)


def slow_crc(data: bytes) -> int:
    """Bit by bit, as the definition has it."""
    crc = 0
    for bit in (byte >> n & 1 for byte in data for n in range(8)):
        crc = (crc >> 1) ^ (0x8C if (crc ^ bit) & 1 else 0)
    return crc


@given(st.binary(max_size=300))
def test_the_checksum_is_that_of_the_boards(data: bytes) -> None:
    """No board would answer, and every reply would look damaged."""
    assert crc8(data) == slow_crc(data)


def test_golden_frames() -> None:
    """Our frames would not be those that public code sends and reads."""
    for vector in VECTORS["crc"]:
        assert crc8(bytes.fromhex(vector["of"])) == vector["is"]
    assert {vector["code"] for vector in VECTORS["requests"]} == set(COMMANDS)
    for vector in VECTORS["requests"]:
        request = request_of(vector["code"], vector["address"], *vector["arguments"])
        assert request.frame.hex() == vector["frame"]
        assert decode_request(request.frame) == (vector["code"], 4, bytes(vector["arguments"]))
    for vector in VECTORS["replies"]:
        request = request_of(vector["to"], 4, *([0] if COMMANDS[vector["to"]].arguments else []))
        data, counts = bytes.fromhex(vector["data"]), vector["length_counts_crc"]
        reply = ReplyReader(request, counts if request.command.varies else None).feed(
            bytes.fromhex(vector["frame"])
        )
        assert reply is not None
        assert (reply.ok, reply.data, reply.length_counts_crc) == (vector["ok"], data, counts)


def test_the_frames_of_the_original_client() -> None:
    """The three requests known from the original client byte by byte would differ."""
    assert VOLTAGE.frame.hex(" ") == "0a 04 03 b3"
    assert Request(commands.HEARTBEAT, 4, (1,)).frame.hex(" ") == "0f 04 04 01 61"
    assert Request(commands.TURN_ON, 4, (0,)).frame.hex(" ") == "11 04 04 00 12"


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.booleans(),
    st.booleans(),
    st.binary(min_size=16, max_size=16),
    st.booleans(),
    st.data(),
)
def test_a_reply_is_found_byte_by_byte(
    code: int, ok: bool, counts: bool, data: bytes, echoes: bool, drawn: st.DataObject
) -> None:
    """A reply that comes in pieces, with or without an echo before it, would be lost, or taken before it is whole."""
    command = COMMANDS[code]
    request = Request(command, 4, (0,) * len(command.arguments))
    size = command.data_bytes + (drawn.draw(st.integers(0, 8)) if command.varies else 0)
    frame = encode_reply(ok, data[: size if ok else 1], counts)
    reader = ReplyReader(request, counts if command.varies else None)
    stream = (request.frame if echoes else b"") + frame
    while len(stream) > 1:
        assert 1 <= reader.wanted_bytes <= len(stream)
        assert reader.feed(stream[:1]) is None
        stream = stream[1:]
    reply = reader.feed(stream)
    assert reply is not None
    assert (reply.ok, reply.data, reply.length_counts_crc) == (ok, frame[3:-1], counts)
    assert not reader.noisy


@pytest.mark.parametrize(
    ("before", "after"), [(b"\0", b""), (b"", b"\xff"), (b"\x01\xff\x04", b""), (b"\xff" * 20, b"\0")]
)
def test_noise_around_a_reply_is_told(before: bytes, after: bytes) -> None:
    """A reply out of noise would be believed as one on a quiet line is."""
    reader = ReplyReader(VOLTAGE)
    reply = reader.feed(before + encode_reply(True, b"\x12\x34", False) + after)
    assert reply is not None
    assert reply.data == b"\x12\x34"
    assert reader.noisy


@given(st.binary(max_size=8))
def test_another_checksum_is_no_reply(data: bytes) -> None:
    """A damaged reply would be taken for a whole one."""
    frame = encode_reply(True, data[:2].ljust(2, b"\0"), False)
    for wrong in range(256):
        if wrong != frame[-1]:
            assert ReplyReader(VOLTAGE).feed(frame[:-1] + bytes([wrong])) is None


@pytest.mark.parametrize(
    "frame",
    [
        encode_reply(True, b"\x01", False),  # another command's size
        encode_reply(True, b"\x01\x02\x03", False),
        encode_reply(False, b"\x12\x34", False),
        bytes([0, 4, 5, 1, 2, crc8(bytes([0, 4, 5, 1, 2]))]),  # to somebody else
        bytes([2, 255, 5, 1, 2, crc8(bytes([2, 255, 5, 1, 2]))]),  # no such status
        bytes([0, 255, 7, 1, 2, crc8(bytes([0, 255, 7, 1, 2]))]),  # no such length
    ],
)
def test_what_is_right_in_itself_and_no_reply_to_this(frame: bytes) -> None:
    """The reply to another question, or a request of another master, would be taken for a value."""
    assert ReplyReader(VOLTAGE).feed(frame) is None


def test_a_board_that_writes_lengths_one_way_does_not_write_them_the_other_way() -> None:
    """A damaged length would pass, since both ways of writing it are understood."""
    assert ReplyReader(VOLTAGE, length_counts_crc=True).feed(encode_reply(True, b"\1\2", False)) is None
    assert ReplyReader(VOLTAGE, length_counts_crc=False).feed(encode_reply(True, b"\1\2", True)) is None


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_any_bytes_end_in_a_reply_or_in_none(pieces: list[bytes]) -> None:
    """Garbage would raise, or fill the memory."""
    reader = ReplyReader(Request(commands.ERROR_BUFFER, 4), length_counts_crc=True)
    for piece in pieces:
        reader.feed(piece)
        assert 1 <= reader.wanted_bytes <= 256
        assert len(reader._received) <= 512


@given(st.binary(max_size=300))
def test_a_board_reads_any_bytes(data: bytes) -> None:
    """The emulator would fall over what a test sends it."""
    try:
        code, address, arguments = decode_request(data)
    except FrameError:
        return
    assert bytes([code, address]) + arguments == data[:2] + data[3:-1]


@pytest.mark.parametrize(
    ("code", "address", "arguments"),
    [
        (0x0A, 0xFF, ()),
        (0x0A, -1, ()),
        (0x0D, 4, ()),
        (0x0D, 4, (2,)),
        (0x15, 4, (0, 256)),
        (0x2A, 4, ()),
        (0x00, 4, ()),
    ],
)
def test_requests_that_cannot_be(code: int, address: int, arguments: tuple[int, ...]) -> None:
    """A request for another bay or the master's own address would go out on the bus."""
    with pytest.raises(WrongRequestError):
        request_of(code, address, *arguments)


def test_addresses_are_a_prefix_and_four_switches() -> None:
    """Two boards of different prefixes would be taken for one, or a board for the master."""
    assert board_address(3) == 3
    assert board_address(3, 0x20) == 0x23
    for switches, prefix in ((16, 0), (-1, 0), (0, 0x21), (0, 0x100), (15, 0xF0)):
        with pytest.raises(WrongRequestError):
            board_address(switches, prefix)
