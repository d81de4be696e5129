"""Requests and replies as bytes.

    request  command  address  length      arguments...  crc     length = 3 + arguments
    reply    status   0xFF     length      data...       crc     status 0: done, 1: one byte of error code

The length of a request leaves the CRC out. Whether that of a reply counts it is not decided by any public code (the original
client accepts both), so both are understood: the number of data bytes is known from command and status, which leaves exactly two
possible values, and the one that a board uses tells how to read its one reply of varying size, the error buffer.

Source: fruit-testbed/PiStack-interface, pistack/comms.py and crc.py at 2794e88 (facts, not code).
"""

from __future__ import annotations

from attrs import field, frozen

from hw.errors import FrameError, WrongRequestError
from hw.pistack.commands import BAYS, COMMANDS, MASTER, Command, checked_address

OK, ERROR = 0x00, 0x01
HEADER_BYTES = 3
FRAME_BYTES_MAX = 256
"""The length is one byte, and may leave out the CRC."""
_ERROR_BYTES = HEADER_BYTES + 1 + 1
REQUEST_BYTES_MAX = HEADER_BYTES + 3 + 1
_RECEIVED_BYTES_MAX = 2 * FRAME_BYTES_MAX
"""An echo, a frame and noise around it. What comes beyond is dropped: nothing after so much noise is worth reading."""


def _crc_table() -> bytes:
    table = bytearray()
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8C if crc & 1 else crc >> 1
        table.append(crc)
    return bytes(table)


_CRC = _crc_table()


def crc8(data: bytes) -> int:
    """CRC-8/MAXIM: initial value 0, reflected polynomial 0x8C; that of `123456789` is 0xA1."""
    crc, table = 0, _CRC
    for byte in data:
        crc = table[crc ^ byte]
    return crc


@frozen
class Request:
    """One command to one board."""

    command: Command
    address: int
    arguments: tuple[int, ...] = ()
    frame: bytes = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        checked_address(self.address)
        if len(self.arguments) != len(self.command.arguments):
            raise WrongRequestError(
                f"'{self.command.name}' takes {', '.join(self.command.arguments) or 'nothing'}"
            )
        for name, value in zip(self.command.arguments, self.arguments, strict=True):
            top = BAYS - 1 if name == "bay" else 0xFF
            if not 0 <= value <= top:
                raise WrongRequestError(f"'{self.command.name}': {name} is 0 to {top}, not {value}")
        object.__setattr__(
            self, "frame", encode_request(self.command.code, self.address, bytes(self.arguments))
        )

    @property
    def bay(self) -> int | None:
        """Which of the board's bays it is about."""
        return self.arguments[0] if "bay" in self.command.arguments else None


@frozen
class Reply:
    """What a board answered."""

    ok: bool
    data: bytes
    """One byte of error code where not ok."""
    length_counts_crc: bool


def encode_request(code: int, address: int, arguments: bytes) -> bytes:
    """A request as a board expects it; any values, so that the emulator's tests can send wrong ones."""
    body = bytes([code, address, HEADER_BYTES + len(arguments)]) + arguments
    return body + bytes([crc8(body)])


def encode_reply(ok: bool, data: bytes, length_counts_crc: bool) -> bytes:
    """A reply as a board sends it."""
    length = HEADER_BYTES + len(data) + length_counts_crc
    body = bytes([OK if ok else ERROR, MASTER, length]) + data
    return body + bytes([crc8(body)])


def decode_request(frame: bytes) -> tuple[int, int, bytes]:
    """Command code, address and arguments: the board's side.

    Raises:
        FrameError: too short or long, wrong length or checksum.
    """
    if not HEADER_BYTES < len(frame) <= FRAME_BYTES_MAX:
        raise FrameError(f"a request has 4 to {FRAME_BYTES_MAX} bytes, not {len(frame)}")
    if frame[2] != len(frame) - 1:
        raise FrameError(f"a request of {len(frame)} bytes says that it has {frame[2]} and a checksum")
    if crc8(frame[:-1]) != frame[-1]:
        raise FrameError("a request has a wrong checksum")
    return frame[0], frame[1], frame[HEADER_BYTES:-1]


def reply_bytes(command: Command) -> int:
    """Size of the reply to it with its checksum; the least, where that varies."""
    return HEADER_BYTES + command.data_bytes + 1


class ReplyReader:
    """Finds the reply to one request in what comes from the line.

    What echoes the request is skipped (many RS-485 converters hear themselves). Noise before a frame is skipped too, but told:
    `noisy` replies are believed only when repeated (agreement.py).
    """

    def __init__(self, request: Request, length_counts_crc: bool | None = None) -> None:
        """`length_counts_crc`: how this board writes lengths, None where not known yet (not for replies of varying size)."""
        assert length_counts_crc is not None or not request.command.varies, "identify the board first"
        self._request = request
        self._counts = (False, True) if length_counts_crc is None else (length_counts_crc,)
        self._received = b""
        self._after_echo = b""
        self._overflowed = False
        self.noisy = False

    def feed(self, data: bytes) -> Reply | None:
        """The reply, as soon as its last byte is there."""
        self._received += data
        if len(self._received) > _RECEIVED_BYTES_MAX:
            self._received, self._overflowed = self._received[:_RECEIVED_BYTES_MAX], True
        received = self._after_echo = self._without_echo()
        for offset in range(len(received) - HEADER_BYTES):
            if received[offset + 1] == MASTER and received[offset] <= ERROR:
                found = self._frame_at(received, offset)
                if found is not None:
                    reply, end = found
                    self.noisy = offset > 0 or end < len(received)
                    return reply
        return None

    @property
    def received(self) -> bytes:
        """All that came, as far as it is kept."""
        return self._received

    @property
    def anything(self) -> bool:
        """True once something came that is not our own request."""
        return bool(self._after_echo)

    @property
    def hopeless(self) -> bool:
        """True once there is so much noise that nothing more is read."""
        return self._overflowed

    @property
    def wanted_bytes(self) -> int:
        """How many more bytes it takes at least until there can be a reply. At least 1."""
        received = self._after_echo
        if self._received and not received:
            return len(self._request.frame) - len(self._received) + HEADER_BYTES + 1
        if len(received) >= HEADER_BYTES and received[0] <= ERROR and received[1] == MASTER:
            sizes = self._sizes(received[0], received[2])
            return max(1, min(sizes, default=1) - len(received))
        return max(1, min(reply_bytes(self._request.command), _ERROR_BYTES) - len(received))

    def _without_echo(self) -> bytes:
        frame, received = self._request.frame, self._received
        if received.startswith(frame):
            return received[len(frame) :]
        # A reply begins with 0 or 1 and no command is below 2: what is the beginning of the request is an echo under way.
        return b"" if frame.startswith(received) else received

    def _frame_at(self, received: bytes, offset: int) -> tuple[Reply, int] | None:
        for size in self._sizes(received[offset], received[offset + 2]):
            end = offset + size
            if end <= len(received) and crc8(received[offset : end - 1]) == received[end - 1]:
                data = received[offset + HEADER_BYTES : end - 1]
                return Reply(received[offset] == OK, data, received[offset + 2] == size), end
        return None

    def _sizes(self, status: int, length: int) -> tuple[int, ...]:
        """Sizes with checksum that a frame with this header can have; none where it is no reply to the request."""
        command = self._request.command
        if status == OK and command.varies:
            size = length if self._counts[0] else length + 1
            return (size,) if reply_bytes(command) <= size <= FRAME_BYTES_MAX else ()
        size = HEADER_BYTES + 1 + (command.data_bytes if status == OK else 1)
        return (size,) if any(length == size - 1 + counts for counts in self._counts) else ()


def request_of(code: int, address: int, *arguments: int) -> Request:
    """By code, for people with a table in front of them.

    Raises:
        WrongRequestError: no such command, or wrong arguments.
    """
    command = COMMANDS.get(code)
    if command is None:
        raise WrongRequestError(f"there is no command {code:#04x}: there are 0x02 to 0x29")
    return Request(command, address, arguments)
