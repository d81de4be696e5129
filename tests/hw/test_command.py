from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hw.__main__ import main
from hw.emulator.__main__ import main as emulate
from hw.emulator.bus import EmulatedBus
from hw.emulator.stack import EmulatedStack
from hw.emulator.terminal import Terminal, serving
from hw.errors import ExtraMissingError, HwError, PortError
from hw.pistack.serial_wire import SerialWire
from hw.pistack.stack import PiStack

FAST = 115_200
"""Of the emulated wire, so that tests do not wait for 9600 baud."""


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    with serving(EmulatedBus(EmulatedStack.of(3, absent=[1]), byte_s=10 / FAST)) as served:
        yield served


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, error = capsys.readouterr()
    return code, out, error


def test_a_sweep_on_a_real_terminal(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    """People would not see what their boards measure, or scripts would find other keys than those described."""
    code, out, _ = run(capsys, "sweep", "--port", terminal.path, "--baud", str(FAST), "--json")
    swept = json.loads(out)
    assert code == 0
    assert set(swept) == {"schema", "took_s", "complete", "other_master_age_s", "boards"}
    assert swept["other_master_age_s"] is None
    assert [board["address"] for board in swept["boards"]] == [0, 2]
    assert set(swept["boards"][0]) == {"address", "present", "firmware", "hardware", "readings", "bays"}
    assert [len(bay) for bay in swept["boards"][0]["bays"]] == [5, 5]
    assert all(reading["quality"] == "good" for reading in swept["boards"][0]["readings"])
    code, out, _ = run(capsys, "sweep", "--port", terminal.path, "--baud", str(FAST), "--repeat", "2")
    assert code == 0
    assert out.count("board 0x02, firmware 4, hardware 3") == 2
    assert "2 boards in" in out


def test_bays_are_switched(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    """The command would say that it is done, and the Pi would run on."""
    port = ("--port", terminal.path, "--baud", str(FAST))
    for action, powered in (("cut", False), ("on", True)):
        assert run(capsys, action, *port, "2", "1")[0] == 0
        with terminal.lock:
            assert terminal._bus.stack.board(2).bays[1].powered is powered
    assert run(capsys, "off", *port, "0x02", "0")[0] == 0
    with terminal.lock:
        assert terminal._bus.stack.board(2).bays[0].off_at_s is not None


def test_errors_of_a_board_in_words(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    """People would see numbers."""
    port = ("--port", terminal.path, "--baud", str(FAST))
    assert "0x0f the board started" in run(capsys, "errors", *port, "2")[1]
    told = json.loads(run(capsys, "errors", *port, "2", "--json")[1])
    assert told["errors"][0] == {"code": 15, "text": "the board started"}


def test_what_cannot_be_done_is_said_in_one_line(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """People would see a traceback, or nothing."""
    port = ("--port", terminal.path, "--baud", str(FAST))
    for arguments in (
        ("on", *port, "1", "0"),
        ("errors", *port, "0xff"),
        ("sweep", "--port", "/dev/no-such-port"),
        ("sweep", *port, "--prefix", "0x10"),
        ("beat",),
    ):
        code, _, error = run(capsys, *arguments)
        assert code == 1, arguments
        assert error.startswith("hw: ")
        assert error.count("\n") == 1
    for arguments in (("sweep",), ("on", *port, "2", "5"), ("sensors", "--monitor", "ina999:0x40"), ()):
        with pytest.raises(SystemExit) as wrong:
            main(arguments)
        assert wrong.value.code == 2
    assert emulate(["--boards", "17"]) == 2
    assert emulate(["--noise", "7"]) == 1


def test_sensors_of_any_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """The command would need a Pi to say that this is none."""
    code, out, _ = run(capsys, "sensors", "--json")
    assert code == 0
    assert {"undervoltage", "temperature", "uptime"} <= {
        each["quantity"] for each in json.loads(out)["readings"]
    }


def test_the_emulator_as_a_program() -> None:
    """`python -m hw.emulator` would print no path, or leave when its first client does."""
    command = [
        sys.executable,
        "-m",
        "hw.emulator",
        "--boards",
        "1",
        "--baud",
        str(FAST),
        "--hang",
        "0:1",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path = json.loads(process.stdout.readline())["path"]
        for _ in range(2):
            with PiStack(SerialWire(path), addresses=(0,)) as stack:
                assert stack.sweep().boards[0].present
        assert json.loads(process.stdout.readline())["change"] == "power on"
        process.terminate()
        process.communicate()
    assert process.returncode == 0


def test_a_port_that_goes_away_is_our_error() -> None:
    """Pulling out a converter would end the daemon with an error of another library."""
    with serving(EmulatedBus(EmulatedStack.of(1), byte_s=10 / FAST)) as served:
        stack = PiStack(SerialWire(served.path), addresses=(0,))
        assert stack.sweep().boards[0].present
        with pytest.raises(PortError, match="cannot be opened"):
            SerialWire(served.path)  # held exclusively
    with pytest.raises(PortError, match="gone"):
        stack.sweep()
    with stack:
        pass


def test_without_pyserial_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person would see a traceback about a module they never heard of."""
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ExtraMissingError, match=r"fruitd\[pi\]"):
        SerialWire("/dev/null")
    assert issubclass(ExtraMissingError, HwError)


def test_the_library_loads_without_the_extra() -> None:
    """Every node would need pyserial, smbus2 and RPi.GPIO, boards or not."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['serial', 'smbus2', 'RPi', 'RPi.GPIO']))\n"
        "import pkgutil, importlib, hw\n"
        "for module in pkgutil.walk_packages(hw.__path__, 'hw.'): importlib.import_module(module.name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
