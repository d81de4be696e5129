"""What is asked of boards one after the other, as generators that yield an `Ask` and are sent its outcome. Pure.

`stack.run` carries them out on a wire; tests and the simulated world do the same on virtual time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from attrs import field, frozen, mutable

from hw.errors import (
    BoardError,
    DamagedError,
    NotDoneError,
    RefusedError,
    SilentError,
    UnsupportedError,
    WrongRequestError,
)
from hw.pistack import commands
from hw.pistack.agreement import Agreement, LineHealth, Told
from hw.pistack.commands import Command
from hw.pistack.error_codes import UNKNOWN_COMMAND, UNSUPPORTED, name_of
from hw.pistack.frames import Request
from hw.pistack.line import Answered, Damaged, Outcome, Refused, Silent
from hw.readings import Quantity, Reading

_ASKED_MAX = 8
"""How often one value is asked for until replies agree. Larger holds up a sweep on a line beyond help, smaller gives up on a
line that garbles one reply in three."""


@frozen
class Ask:
    """One exchange."""

    request: Request
    length_counts_crc: bool | None = None
    tries: int | None = None
    """None: as the line's timing says."""


@frozen
class Identity:
    """What a board is."""

    address: int
    firmware: int
    hardware: int
    length_counts_crc: bool


@mutable
class BoardMemory:
    """What has been learned of one board."""

    identity: Identity | None = None
    believed: dict[tuple[int, int | None], Told] = field(factory=dict)
    """By command code and bay."""
    readings: dict[tuple[Quantity, int | None], Reading] = field(factory=dict)
    """By quantity and bay: the last of each, for when the next cannot be had."""


@mutable
class Memory:
    """What has been learned of a bus: the only state that outlives a script."""

    boards: dict[int, BoardMemory] = field(factory=dict)
    health: LineHealth = field(factory=LineHealth)
    now_s: float = float("-inf")
    """When the last exchange ended."""
    in_step: bool = False
    """False where a late reply may still be on its way: replies do not say whom they are from."""

    def board(self, address: int) -> BoardMemory:
        """Made where there is none yet."""
        return self.boards.setdefault(address, BoardMemory())


Exchange = Generator[Ask, Outcome, Outcome]
Judged = Generator[Ask, Outcome, Told | Silent | Damaged]


def exchange(memory: Memory, ask: Ask) -> Exchange:
    """One exchange, with the line brought in step before it where that is in doubt.

    A board that was slow answers the next question instead of the one it was asked. Its address is a question whose answer
    differs from board to board; while the answers are not its address, the line is not in step.
    """
    address = ask.request.address
    if not memory.in_step and ask.request.command is not commands.ADDRESS:
        outcome = yield from probe(memory, address)
        if not isinstance(outcome, Answered):
            return outcome
    outcome = yield ask
    _note(memory, outcome)
    return outcome


def probe(memory: Memory, address: int, tries: int | None = None) -> Exchange:
    """Ask a board for its address: `Answered` only where it says that very address."""
    board = memory.board(address)
    outcome: Outcome = Damaged(float("-inf"))
    for _ in range(_ASKED_MAX):
        counts = board.identity.length_counts_crc if board.identity else None
        outcome = yield Ask(Request(commands.ADDRESS, address), counts, tries)
        _note(memory, outcome)
        if isinstance(outcome, Answered) and outcome.data[0] == address:
            memory.in_step = True
            return outcome
        if isinstance(outcome, Silent):
            return outcome
    return Damaged(outcome.at_s)


def _note(memory: Memory, outcome: Outcome) -> None:
    memory.now_s = outcome.at_s
    memory.health.count(outcome.clean)
    if not outcome.clean:
        memory.in_step = False


def agreed(
    memory: Memory, request: Request, tolerance: int = 0, steady: int = 0, fresh: bool = False
) -> Judged:
    """Ask until what a board tells can be believed (agreement.py), and remember it.

    Args:
        tolerance, steady: by how much two replies may differ, and one from what is believed.
        fresh: believe no sooner for having believed the same before.
    """
    board = memory.board(request.address)
    key = request.command.code, request.bay
    agreement = Agreement(None if fresh else board.believed.get(key), tolerance, steady)
    failed: Silent | Damaged | None = None
    for _ in range(_ASKED_MAX):
        counts = board.identity.length_counts_crc if board.identity else None
        outcome = yield from exchange(memory, Ask(request, counts))
        if isinstance(outcome, Answered | Refused):
            told = told_by(outcome)
            if agreement.hear(told, memory.health.agreeing_needed):
                board.believed[key] = told
                return told
        else:
            agreement.interrupt()
            if failed is not None or isinstance(outcome, Silent):
                return outcome
            failed = outcome
    return Damaged(outcome.at_s)


def told_by(outcome: Answered | Refused) -> Told:
    """The reply's data as one number, as boards send them: high byte first."""
    if isinstance(outcome, Refused):
        return Told(outcome.code, refused=True)
    return Told(int.from_bytes(outcome.data, "big"))


def identify(memory: Memory, address: int) -> Generator[Ask, Outcome, Identity | None]:
    """What the board is, asked once and remembered; None where there is none, or none that can be understood."""
    board = memory.board(address)
    if board.identity is not None:
        return board.identity
    outcome = yield from probe(memory, address, tries=1)
    if not isinstance(outcome, Answered):
        return None
    counts = outcome.length_counts_crc
    versions = []
    for command in (commands.FIRMWARE_VERSION, commands.HARDWARE_VERSION):
        told = yield from agreed(memory, Request(command, address), fresh=True)
        if not isinstance(told, Told) or told.refused:
            return None
        versions.append(told.value)
    # How lengths are read counts for every later reply: a board is asked again, in case the first one was garbled.
    again = yield from probe(memory, address)
    if not isinstance(again, Answered) or again.length_counts_crc is not counts:
        return None
    board.identity = Identity(address, versions[0], versions[1], counts)
    return board.identity


def search(memory: Memory, addresses: Iterable[int]) -> Generator[Ask, Outcome, tuple[Identity, ...]]:
    """Which boards there are."""
    found = []
    for address in addresses:
        identity = yield from identify(memory, address)
        if identity is not None:
            found.append(identity)
    return tuple(found)


def perform(
    memory: Memory, address: int, command: Command, *arguments: int
) -> Generator[Ask, Outcome, bytes]:
    """Carry out any command once it is known which board is there; its reply's data.

    Every command may be repeated by the line when its reply is lost: all of them say what shall be, none what shall change.

    Raises:
        WrongRequestError: no such argument.
        UnsupportedError: this firmware does not know it, or is known to be too old.
        SilentError, DamagedError, RefusedError: what became of it.
    """
    request = Request(command, address, arguments)
    identity = yield from _supporting(memory, request)
    outcome = yield from exchange(memory, Ask(request, identity.length_counts_crc))
    match outcome:
        case Answered():
            return outcome.data
        case Refused(code=code):
            raise _refusal(request, code)
        case _:
            raise _loss(request, outcome)


def ask_value(
    memory: Memory, address: int, command: Command, *arguments: int
) -> Generator[Ask, Outcome, int]:
    """A number that a board tells, believed only when repeated. Raises what `perform` raises."""
    request = Request(command, address, arguments)
    yield from _supporting(memory, request)
    told = yield from agreed(memory, request, fresh=True)
    if not isinstance(told, Told):
        raise _loss(request, told)
    if told.refused:
        raise _refusal(request, told.value)
    return told.value


def _supporting(memory: Memory, request: Request) -> Generator[Ask, Outcome, Identity]:
    address, command = request.address, request.command
    identity = yield from identify(memory, address)
    if identity is None:
        raise SilentError(
            f"no board answers at {address:#04x}: is it powered, and do its switches say so? "
            f"(`python -m hw search` looks everywhere)"
        )
    if identity.firmware < command.firmware_min:
        raise UnsupportedError(
            f"board {address:#04x} has firmware {identity.firmware}; "
            f"'{command.name}' needs {command.firmware_min}",
            UNKNOWN_COMMAND,
        )
    return identity


def _refusal(request: Request, code: int) -> RefusedError:
    error = UnsupportedError if code in UNSUPPORTED else RefusedError
    name = request.command.name
    return error(f"board {request.address:#04x} refuses '{name}': {name_of(code)}", code)


def _loss(request: Request, outcome: Outcome) -> BoardError:
    about = f"board {request.address:#04x} to '{request.command.name}'"
    if isinstance(outcome, Silent):
        return SilentError(f"no answer of {about}; is the board still powered?")
    return DamagedError(f"the answers of {about} are garbled or contradict each other; look at the wires")


def set_value(
    memory: Memory, address: int, command: Command, bay: int, value: int
) -> Generator[Ask, Outcome, None]:
    """Set one of `commands.SETTINGS`, and read it back.

    Raises:
        NotDoneError: the board agreed, and kept another value. And what `perform` raises.
    """
    if command not in commands.SETTINGS:
        raise WrongRequestError(f"'{command.name}' sets nothing that can be read back")
    yield from perform(memory, address, command, bay, value)
    kept = yield from ask_value(memory, address, commands.SETTINGS[command], bay)
    if kept != value:
        raise NotDoneError(
            f"board {address:#04x} agreed to '{command.name}' {value} for bay {bay}, and says {kept}"
        )


def turn_on(memory: Memory, address: int, bay: int) -> Generator[Ask, Outcome, None]:
    """Power to a bay, now. Raises `NotDoneError` where the board says that there is none, and what `perform` raises."""
    yield from _switch(memory, address, commands.TURN_ON, bay, powered=1)


def cut_off(memory: Memory, address: int, bay: int) -> Generator[Ask, Outcome, None]:
    """Take the power of a bay away, now, without asking its Pi. Raises as `turn_on` does."""
    yield from _switch(memory, address, commands.CUT_OFF, bay, powered=0)


def turn_off(memory: Memory, address: int, bay: int) -> Generator[Ask, Outcome, None]:
    """Signal the Pi to shut down; the board takes the power away when its off delay is over. Raises what `perform` raises."""
    yield from perform(memory, address, commands.TURN_OFF, bay)


def _switch(
    memory: Memory, address: int, command: Command, bay: int, powered: int
) -> Generator[Ask, Outcome, None]:
    yield from perform(memory, address, command, bay)
    found = yield from ask_value(memory, address, commands.POWERED, bay)
    if found != powered:
        raise NotDoneError(
            f"board {address:#04x} agreed to '{command.name}' bay {bay}, and says that it did not"
        )


def set_prefix(memory: Memory, address: int, prefix: int) -> Generator[Ask, Outcome, int]:
    """Give a board another prefix; the address at which it answers from now on.

    Raises:
        WrongRequestError: not a prefix. NotDoneError: it does not answer there. And what `perform` raises.
    """
    moved = commands.board_address(address & 0x0F, prefix)
    yield from perform(memory, address, commands.SET_PREFIX, prefix)
    memory.boards.pop(address, None)
    memory.in_step = False
    if (yield from identify(memory, moved)) is None:
        raise NotDoneError(
            f"board {address:#04x} agreed to prefix {prefix:#04x}, and does not answer at {moved:#04x}"
        )
    return moved


def read_errors(memory: Memory, address: int) -> Generator[Ask, Outcome, tuple[int, ...]]:
    """The board's error buffer, as it holds it (`error_codes.name_of`). Raises what `perform` raises.

    The same bytes have to come repeatedly; a board that logs an error in between is asked again.
    """
    last, in_a_row = None, 0
    for _ in range(_ASKED_MAX):
        data = yield from perform(memory, address, commands.ERROR_BUFFER)
        in_a_row = in_a_row + 1 if data == last else 1
        last = data
        if in_a_row >= memory.health.agreeing_needed:
            return tuple(data)
    raise DamagedError(
        f"board {address:#04x} does not tell its errors twice in the same way; look at the wires"
    )
