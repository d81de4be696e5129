"""Four boot loaders on files: what each makes of its environment, read by other programs than fruitd's own where there are some.

A loader does what its script in `packaging/` does, with the variables that `grub-editenv` or `fw_printenv` find, or the
`autoboot.txt` that mtools find on the FAT. `file` has its own chooser.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attrs import define, frozen

from fruitd.boot.autoboot import autoboot_for, encode
from fruitd.boot.chooser import bootable, choose
from fruitd.boot.environment import SLOTS
from fruitd.boot.file_backend import (
    ID_VARIABLE,
    SLOT_VARIABLE,
    FileBackend,
    create_environment,
    read_environment,
    write_environment,
)
from fruitd.boot.grub_backend import GrubBackend, create_grub_environment, grub_media
from fruitd.boot.port import BootBackend
from fruitd.boot.running import Places
from fruitd.boot.tryboot_backend import TrybootBackend, tryboot_media
from fruitd.boot.uboot_backend import EnvPlace, UbootBackend, uboot_media
from fruitd.boot.uboot_env import UbootCopy, encode_copy
from fruitd.errors import FruitError, UsageError

UBOOT_COPY_BYTES = 4096
PARTITIONS = {"a": 2, "b": 3}
EEPROM_DATE_S = 1_740_000_000
FAT_KIB = 64


class NoBootError(Exception):
    """The loader finds nothing to boot, or guesses: the node is bricked, or a person is needed."""


@frozen
class Boot:
    """What a loader started."""

    slot: str
    trial: bool
    default: str


@define
class OneShotFlag:
    """The flag in the firmware's memory: see `fruitd.boot.firmware.TrialFlag`."""

    wanted: bool = False

    def get(self) -> bool:
        """True if the next restart is a trial."""
        return self.wanted

    def set(self, wanted: bool) -> None:
        """Set it, or take it back."""
        self.wanted = wanted

    def restart_command(self) -> Sequence[str]:
        """Nobody runs it here."""
        return ("true",)


@define
class Board:
    """A machine as its loader sees it: the disk, what is only in memory, and the flag."""

    disk: Path
    ram: Path
    flag: OneShotFlag

    def slots(self) -> dict[str, Path]:
        """Path of each slot."""
        return {slot: self.disk / f"slot-{slot}" for slot in SLOTS}

    def places(self) -> Places:
        """Where the running system says how it was booted."""
        return Places(
            cmdline=self.ram / "cmdline",
            boot_id=self.ram / "boot_id",
            device_tree=self.ram / "tree",
            root=Path("/proc"),  # on no block device
            sys_block=self.ram / "sys",
        )


class Loader(Protocol):
    """A boot loader and the backend that belongs to it."""

    name: str
    files: tuple[str, ...]
    """Its environment, on the disk."""
    needs: tuple[str, ...]
    """Programs."""

    def create(self, board: Board) -> None:
        """The environment as a machine leaves the factory with it: slot a, nothing armed."""
        ...

    def start(self, board: Board) -> Boot:
        """Choose, having used up on the disk what was armed. Raises `NoBootError`."""
        ...

    def backend(self, board: Board, boot: Boot, boot_id: str) -> BootBackend:
        """fruitd's side, in that boot."""
        ...


def run_tool(*command: str | Path) -> str:
    """What a program prints; nothing where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    return done.stdout.decode("latin-1") if done.returncode == 0 else ""


def missing_tools(loader: Loader) -> list[str]:
    """Programs that this loader needs and that are not here."""
    return [name for name in loader.needs if shutil.which(name) is None]


def _variables(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _say(board: Board, boot: Boot, boot_id: str) -> Places:
    places = board.places()
    places.boot_id.write_text(f"{boot_id}\n")
    places.cmdline.write_text(f"quiet fruit.slot={boot.slot}\n")
    return places


class FileLoader:
    """The boot chooser."""

    name = "file"
    files: tuple[str, ...] = ("boot.env",)
    needs: tuple[str, ...] = ()

    def create(self, board: Board) -> None:
        """See `Loader`."""
        create_environment(board.disk / "boot.env", "a")

    def start(self, board: Board) -> Boot:
        """See `Loader`."""
        place, slots = board.disk / "boot.env", board.slots()
        try:
            found = read_environment(place).environment
            if found.armed is not None:
                write_environment(place, found.default, None)
        except FruitError as error:
            raise NoBootError(str(error)) from error
        slot = choose(found, lambda slot: bootable(slots[slot])).slot
        if slot is None:
            raise NoBootError("the chooser finds nothing bootable")
        return Boot(slot, found.armed is not None, found.default)

    def backend(self, board: Board, boot: Boot, boot_id: str) -> BootBackend:
        """See `Loader`."""
        return FileBackend(board.disk / "boot.env", {SLOT_VARIABLE: boot.slot, ID_VARIABLE: boot_id})


class GrubLoader:
    """`packaging/grub/grub.cfg`, with `grub-editenv` for what GRUB's load_env and save_env do."""

    name = "grub"
    files: tuple[str, ...] = ("grubenv", "grubenv.copy")
    needs: tuple[str, ...] = ("grub-editenv",)

    def create(self, board: Board) -> None:
        """See `Loader`. With a variable of somebody else's, so that both sectors are in use."""
        create_grub_environment(board.disk / "grubenv", "a")
        for name in self.files:
            run_tool("grub-editenv", board.disk / name, "set", "theirs=" + "x" * 600)

    def start(self, board: Board) -> Boot:
        """See `Loader`."""
        first, second = (board.disk / name for name in self.files)
        found = _variables(run_tool("grub-editenv", first, "list"))
        default, armed = found.get("fruit_default"), found.get("fruit_armed")
        if default not in SLOTS:
            armed = None
            default = _variables(run_tool("grub-editenv", second, "list")).get("fruit_default")
        if default is None or default not in SLOTS:
            raise NoBootError("GRUB finds no default in either block and guesses")
        if armed in SLOTS and armed is not None:
            run_tool("grub-editenv", first, "set", "fruit_armed=-")
            return Boot(armed, True, default)
        return Boot(default, False, default)

    def backend(self, board: Board, boot: Boot, boot_id: str) -> BootBackend:
        """See `Loader`."""
        return GrubBackend(grub_media(board.disk / "grubenv"), board.slots(), _say(board, boot, boot_id))


class UbootLoader:
    """`packaging/uboot/boot.cmd`, with `fw_printenv` and `fw_setenv` for what U-Boot's own commands do."""

    name = "uboot"
    files: tuple[str, ...] = ("uboot.env",)
    needs: tuple[str, ...] = ("fw_printenv", "fw_setenv")

    def create(self, board: Board) -> None:
        """See `Loader`. With scripts of U-Boot's own before our variables, as in a real one: they lie in different sectors."""
        ours = {
            "fruit_default": "a", "fruit_armed": "-", "upgrade_available": "0", "bootcount": "0", "bootlimit": "1",
        }  # fmt: skip
        theirs = {f"boot_script_{n}": "run this; " * 20 for n in range(6)}
        copies = [encode_copy(UbootCopy(counter, theirs | ours), UBOOT_COPY_BYTES) for counter in (1, 2)]
        (board.disk / "uboot.env").write_bytes(b"".join(copies))

    def start(self, board: Board) -> Boot:
        """See `Loader`."""
        config = board.ram / "fw_env.config"
        lines = [
            f"{board.disk / 'uboot.env'} {at:#x} {UBOOT_COPY_BYTES:#x}\n" for at in (0, UBOOT_COPY_BYTES)
        ]
        config.write_text("".join(lines))
        found = _variables(run_tool("fw_printenv", "-c", config))
        default, armed = found.get("fruit_default"), found.get("fruit_armed")
        if default is None or default not in SLOTS:
            raise NoBootError("U-Boot finds no good copy and guesses")
        counted = int(found.get("bootcount", "2")) <= int(found.get("bootlimit", "1"))
        if found.get("upgrade_available") == "1" and counted and armed in SLOTS and armed is not None:
            script = board.ram / "used-up"
            script.write_text("fruit_armed=-\nbootcount=1\n")
            run_tool("fw_setenv", "-c", config, "-s", script)
            return Boot(armed, True, default)
        return Boot(default, False, default)

    def backend(self, board: Board, boot: Boot, boot_id: str) -> BootBackend:
        """See `Loader`."""
        path = board.disk / "uboot.env"
        first, second = (EnvPlace(path, at, UBOOT_COPY_BYTES) for at in (0, UBOOT_COPY_BYTES))
        return UbootBackend(uboot_media((first, second)), board.slots(), _say(board, boot, boot_id))


class TrybootLoader:
    """The firmware of a Raspberry Pi 4 or 5 as its documentation has it; mtools read the FAT."""

    name = "tryboot"
    files: tuple[str, ...] = ("boot.fat",)
    needs: tuple[str, ...] = ("mkfs.vfat", "mcopy", "mtype")

    def create(self, board: Board) -> None:
        """See `Loader`."""
        card = board.disk / "boot.fat"
        subprocess.run(
            ["mkfs.vfat", "-C", "-F", "12", "-s", "1", str(card), str(FAT_KIB)],
            check=True,
            capture_output=True,
        )
        for name in ("autoboot.txt", "autoboot.bak"):
            file = board.ram / name
            file.write_bytes(encode(autoboot_for("a", PARTITIONS)))
            subprocess.run(["mcopy", "-i", str(card), str(file), "::/"], check=True, capture_output=True)

    def start(self, board: Board) -> Boot:
        """See `Loader`."""
        trial, board.flag.wanted = board.flag.wanted, False
        text = run_tool("mtype", "-i", board.disk / "boot.fat", "::autoboot.txt")[:512]
        numbers, by_flag, section = {"all": 0, "tryboot": 0}, False, "all"
        for line in text.split("\n"):
            key, _, value = line.partition("=")
            if line.startswith("["):
                section = line.strip("[]")
            elif key == "tryboot_a_b":
                by_flag = value == "1"
            elif key == "boot_partition" and value.isdigit() and section in numbers:
                numbers[section] = int(value)
        of_number = {number: slot for slot, number in PARTITIONS.items()}
        default, other = of_number.get(numbers["all"]), of_number.get(numbers["tryboot"])
        if default is None or other is None or not by_flag:
            raise NoBootError(f"the firmware finds no slot to boot in autoboot.txt: {text[:60]!r}")
        boot = Boot(other if trial else default, trial, default)
        self._say(board, PARTITIONS[boot.slot], trial)
        return boot

    def _say(self, board: Board, partition: int, trial: bool) -> None:
        loader = board.places().device_tree / "chosen" / "bootloader"
        loader.mkdir(parents=True, exist_ok=True)
        (board.places().device_tree / "compatible").write_bytes(b"raspberrypi,4-model-b\0brcm,bcm2711\0")
        facts = (("partition", partition), ("tryboot", int(trial)), ("build-timestamp", EEPROM_DATE_S))
        for name, value in facts:
            (loader / name).write_bytes(value.to_bytes(4, "big"))

    def backend(self, board: Board, boot: Boot, boot_id: str) -> BootBackend:
        """See `Loader`."""
        places = _say(board, boot, boot_id)
        self._say(board, PARTITIONS[boot.slot], boot.trial)
        media = tryboot_media(board.disk / "boot.fat")
        return TrybootBackend(media, board.slots(), PARTITIONS, board.flag, places)


LOADERS: tuple[Loader, ...] = (FileLoader(), GrubLoader(), UbootLoader(), TrybootLoader())


def loader_named(name: str) -> Loader:
    """The loader of a backend. Raises `UsageError`."""
    for loader in LOADERS:
        if loader.name == name:
            return loader
    raise UsageError(f"there is no backend {name!r}; allowed: {', '.join(loader.name for loader in LOADERS)}")


class Remembered:
    """A loader whose answers are remembered: the same environment always leads to the same boot."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._answers: dict[tuple[bool, tuple[bytes, ...]], tuple[Boot | str, tuple[bytes, ...]]] = {}

    def start(self, board: Board) -> Boot:
        """See `Loader.start`."""
        paths = [board.disk / name for name in self._loader.files]
        before = (board.flag.wanted, tuple(path.read_bytes() for path in paths))
        if before not in self._answers:
            answer: Boot | str
            try:
                answer = self._loader.start(board)
            except NoBootError as error:
                answer = str(error)
            self._answers[before] = answer, tuple(path.read_bytes() for path in paths)
        answer, after = self._answers[before]
        board.flag.wanted = False
        for path, old, new in zip(paths, before[1], after, strict=True):
            if old != new:
                path.write_bytes(new)
        if isinstance(answer, str):
            raise NoBootError(answer)
        return answer
