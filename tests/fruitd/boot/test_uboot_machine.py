"""If one of these failed, a node that U-Boot starts would brick, or try a release twice. The real U-Boot runs boot.cmd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fruitd.boot.uboot_backend import read_uboot_environment
from tests.fruitd.boot.contract import BootContract
from tests.fruitd.boot.disks import need, run
from tests.fruitd.boot.uboot_machine import OFFSETS, SIZE_BYTES, StockUboot, UbootMachine, started


class TestRealUboot(BootContract):
    """The contract, with the real U-Boot choosing and counting."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> UbootMachine:
        return UbootMachine(tmp_path)


def test_uboot_fw_printenv_and_the_node_say_the_same(tmp_path: Path) -> None:
    """Three programs share the environment; one that chose the other copy would undo what the others wrote."""
    need("fw_printenv")
    machine = UbootMachine(tmp_path)
    config = tmp_path / "fw_env.config"
    config.write_text("".join(f"{machine.disk} {offset:#x} {SIZE_BYTES:#x}\n" for offset in OFFSETS))
    for step in range(4):
        machine.backend().arm("b")
        assert machine.start() == "b"
        ours = dict(read_uboot_environment(machine.media).copy.variables)
        theirs = dict(
            line.split("=", 1) for line in run("fw_printenv", "-c", config).splitlines() if "=" in line
        )
        assert theirs["fruit_armed"] == ours["fruit_armed"] == "-"
        assert theirs["bootcount"] == ours["bootcount"] == "1"
        run("fw_setenv", "-c", config, "seen", str(step))
        assert read_uboot_environment(machine.media).copy.variables["seen"] == str(step)


def test_uboot_takes_the_good_copy(tmp_path: Path) -> None:
    """A copy torn by a power cut would be replaced by U-Boot's defaults, which know no slots."""
    machine = UbootMachine(tmp_path)
    machine.backend().commit("b")
    for medium in (machine.media.first, machine.media.second):
        medium.write(100, os.urandom(1000))
        medium.flush()
        assert machine.start() == "b"
        assert "bad CRC" not in machine.said
        machine.backend().mend()


@pytest.mark.parametrize("default", ["a", "b"])
def test_boot_cmd_starts_the_default(tmp_path: Path, default: str) -> None:
    """An update would be lost at the next start."""
    said = StockUboot(tmp_path).start(fruit_default=default)
    assert started(said) == default


def test_boot_cmd_tries_nothing_that_it_cannot_use_up(tmp_path: Path) -> None:
    """A worn card would boot a release that hangs for ever: the try would never be taken back."""
    said = StockUboot(tmp_path).start(fruit_armed="b", upgrade_available="1")
    assert "Failed" in said, "this U-Boot can save after all: the test says nothing"
    assert started(said) == "a"


def test_boot_cmd_leaves_a_slot_that_cannot_be_loaded(tmp_path: Path) -> None:
    """A slot whose kernel cannot be read any more would brick the node."""
    said = StockUboot(tmp_path, kernels="b").start()
    assert "slot a cannot be started" in said
    assert started(said) == "b"


@pytest.mark.parametrize(
    "variables",
    [
        {"fruit_armed": "b"},
        {"fruit_armed": "x", "upgrade_available": "1"},
        {"fruit_armed": "b", "upgrade_available": "1", "bootcount": "2"},
    ],
)
def test_boot_cmd_takes_a_used_up_or_strange_try_for_none(tmp_path: Path, variables: dict[str, str]) -> None:
    """The node would believe that nothing is armed, and U-Boot start it all the same."""
    said = StockUboot(tmp_path).start(**variables)
    assert started(said) == "a"
    assert "Saving" not in said
