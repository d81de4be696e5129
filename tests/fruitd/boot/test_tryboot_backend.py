"""If one of these failed, a Raspberry Pi 4 or 5 would brick. The firmware is a model; the FAT is real."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fruitd.boot.autoboot import FILE_BYTES, autoboot_for, decode, encode, read_state
from fruitd.boot.medium import FileMedium, Medium
from fruitd.boot.port import BootBackend
from fruitd.boot.tryboot_backend import TrybootBackend, tryboot_media
from fruitd.errors import RetryError, SlotError
from tests.fruitd.boot.contract import BootContract
from tests.fruitd.boot.disks import make_fat, need, run
from tests.fruitd.boot.media import Contents, RecordedMedium, Recorder, states_of
from tests.fruitd.boot.running_system import boot_with, places_in, put_tree

PARTITIONS = {"a": 2, "b": 3}
NEW_EEPROM_S = 1_740_000_000


def content(default: str) -> bytes:
    return encode(autoboot_for(default, PARTITIONS))


class ModelFlag:
    """The one-shot flag, in the memory of a firmware."""

    def __init__(self) -> None:
        self.wanted = False

    def get(self) -> bool:
        """See `TrialFlag`."""
        return self.wanted

    def set(self, wanted: bool) -> None:
        """See `TrialFlag`."""
        self.wanted = wanted

    def restart_command(self) -> Sequence[str]:
        """See `TrialFlag`."""
        return ("true",)


class FirmwareBench:
    """A Raspberry Pi: `autoboot.txt` on a real FAT image, and a firmware that does with it what the documentation says."""

    def __init__(self, folder: Path) -> None:
        need("mkfs.vfat", "mcopy")
        self.folder, self.boots = folder, 0
        self.card = folder / "p1"
        make_fat(self.card, {"autoboot.txt": content("a"), "autoboot.bak": content("a")})
        self.flag = ModelFlag()
        self.places = places_in(folder)
        self.power_cycle()

    def media(self) -> tuple[Medium, Medium]:
        return tryboot_media(self.card)

    def backend(self) -> BootBackend:
        """See `BootBench`."""
        slots = {slot: self.folder / slot for slot in "ab"}
        return TrybootBackend(self.media(), slots, PARTITIONS, self.flag, self.places)

    def _start(self, trial: bool) -> str:
        self.boots += 1
        (self.folder / "firmware.txt").unlink(missing_ok=True)
        run("mcopy", "-i", self.card, "::/autoboot.txt", self.folder / "firmware.txt")
        autoboot = decode((self.folder / "firmware.txt").read_bytes())
        assert autoboot is not None, "the firmware found no autoboot.txt"
        number = autoboot.trial if trial else autoboot.default
        put_tree(self.places, partition=number, tryboot=trial, date_s=NEW_EEPROM_S)
        boot_with(self.places, self.boots, "")
        return next(slot for slot, partition in PARTITIONS.items() if partition == number)

    def restart(self, bootable: str = "ab") -> None:
        """See `BootBench`: the flag outlives a restart, once."""
        trial, self.flag.wanted = self.flag.wanted, False
        if self._start(trial) not in bootable:
            self.power_cycle(bootable)

    def power_cycle(self, bootable: str = "ab") -> None:
        """See `BootBench`: the flag does not outlive this."""
        self.flag.wanted = False
        assert self._start(trial=False) in bootable

    def tear(self) -> None:
        """See `BootBench`: a commit is cut after the first of the two files."""
        self.media()[0].write(0, content("b"))
        self.power_cycle()


class TestTrybootBackend(BootContract):
    """The contract, on a model of the firmware and a real FAT."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> FirmwareBench:
        return FirmwareBench(tmp_path)


GARBAGE = b"\xff" * FILE_BYTES


@pytest.mark.parametrize("before", [("a", "a"), ("a", "b"), ("b", "a"), (None, "a"), ("a", None)])
@pytest.mark.parametrize("to", ["a", "b"])
def test_every_power_cut_leaves_the_old_word_or_the_new_one(
    tmp_path: Path, before: tuple[str | None, str | None], to: str
) -> None:
    """A torn commit would start a slot that nobody chose, or none."""
    places = places_in(tmp_path)
    put_tree(places, partition=2, tryboot=False, date_s=NEW_EEPROM_S)
    boot_with(places, 1, "")

    def commit(media: tuple[RecordedMedium, ...]) -> None:
        TrybootBackend((media[0], media[1]), {}, PARTITIONS, ModelFlag(), places).commit(to)

    contents: Contents = tuple(GARBAGE if slot is None else content(slot) for slot in before)
    was = read_state(*contents, PARTITIONS).default
    seen = states_of(contents, commit)
    for state in seen:
        assert read_state(*state, PARTITIONS).default in (was, to)
        if before[0] is not None:  # what the firmware itself reads, which knows no second copy
            autoboot = decode(state[0])
            assert autoboot in (autoboot_for(was, PARTITIONS), autoboot_for(to, PARTITIONS))
        recorder = Recorder()
        media = recorder.media(state)
        commit(media)
        assert all(bytes(medium.content) == content(to) for medium in media)
        assert all(len(data) <= 512 for _, _, data in recorder.events)


@pytest.mark.parametrize("kind", ["12", "16", "32"])
def test_a_commit_changes_one_sector_of_each_file_and_nothing_else_on_the_card(
    tmp_path: Path, kind: str
) -> None:
    """FAT has no journal: a changed allocation table or folder that is cut off would lose the file, and the node."""
    need("mkfs.vfat", "mcopy", "mtype")
    card = tmp_path / "p1"
    size_bytes = {"12": 2, "16": 16, "32": 40}[kind] * 1024 * 1024
    files = {"other.txt": b"x" * 5000, "autoboot.txt": content("a"), "autoboot.bak": content("a")}
    make_fat(card, files, size_bytes, kind)
    before = card.read_bytes()
    places = places_in(tmp_path)
    put_tree(places, partition=3, tryboot=True, date_s=NEW_EEPROM_S)
    boot_with(places, 1, "")
    TrybootBackend(tryboot_media(card), {}, PARTITIONS, ModelFlag(), places).commit("b")
    after = card.read_bytes()
    changed = [at for at in range(0, len(before), 512) if before[at : at + 512] != after[at : at + 512]]
    assert len(before) == len(after)
    assert len(changed) == 2
    for name in ("autoboot.txt", "autoboot.bak"):
        assert run("mtype", "-i", card, f"::/{name}").encode() == content("b")


def test_a_folder_where_the_card_is_mounted_will_do(tmp_path: Path) -> None:
    """An owner who mounts the first partition could not update."""
    for name in ("autoboot.txt", "autoboot.bak"):
        (tmp_path / name).write_bytes(content("a"))
    inode = (tmp_path / "autoboot.txt").stat().st_ino
    places = places_in(tmp_path)
    put_tree(places, partition=2, tryboot=False, date_s=NEW_EEPROM_S)
    boot_with(places, 1, "")
    backend = TrybootBackend(tryboot_media(tmp_path), {}, PARTITIONS, ModelFlag(), places)
    backend.commit("b")
    assert decode((tmp_path / "autoboot.txt").read_bytes()) == autoboot_for("b", PARTITIONS)
    assert (tmp_path / "autoboot.txt").stat().st_ino == inode, (
        "replaced by a rename, which FAT does not make safe"
    )


@pytest.mark.root
def test_on_a_mounted_vfat_the_file_stays_in_its_sector(tmp_path: Path) -> None:
    """The kernel's FAT could move a file that is written; then a power cut would leave none."""
    need("mkfs.vfat", "mcopy", "mount", "losetup")
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    card, mounted = tmp_path / "p1", tmp_path / "mnt"
    make_fat(card, {"autoboot.txt": content("a"), "autoboot.bak": content("a")})
    mounted.mkdir()
    done = subprocess.run(
        ["mount", "-o", "loop", "-t", "vfat", str(card), str(mounted)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"vfat cannot be mounted here: {done.stderr.strip()}")
    try:
        before = card.read_bytes()
        places = places_in(tmp_path)
        put_tree(places, partition=3, tryboot=True, date_s=NEW_EEPROM_S)
        boot_with(places, 1, "")
        TrybootBackend(tryboot_media(mounted), {}, PARTITIONS, ModelFlag(), places).commit("b")
        run("sync", "-f", mounted)
        after = card.read_bytes()
    finally:
        run("umount", mounted)
    changed = [at for at in range(0, len(before), 512) if before[at : at + 512] != after[at : at + 512]]
    assert [
        before[at:].startswith(content("a")) and after[at:].startswith(content("b")) for at in changed
    ].count(True) == 2
    assert len(changed) <= 3, "the two files, and their folder's sector for the time of writing"


def test_what_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    """A node would write the wrong slot, or be without a way back, and nobody would know why."""
    bench = FirmwareBench(tmp_path)
    boot_with(bench.places, 1, "")
    put_tree(bench.places, partition=5, tryboot=False, date_s=NEW_EEPROM_S)
    with pytest.raises(SlotError, match=r"partition 5, which is neither slot \(a is 2, b is 3\)"):
        bench.backend()
    put_tree(bench.places, partition=2, tryboot=False, date_s=1_600_000_000)
    with pytest.raises(SlotError, match="too old: 2020-09-13, needed 2023-05-11"):
        bench.backend()
    for medium in bench.media():
        medium.write(0, GARBAGE)
        medium.flush()
    put_tree(bench.places, partition=2, tryboot=False, date_s=NEW_EEPROM_S)
    with pytest.raises(SlotError, match=r"neither autoboot\.txt nor autoboot\.bak"):
        bench.backend().facts()
    (tmp_path / "none").write_bytes(bytes(4096))
    with pytest.raises(SlotError, match="no FAT"):
        tryboot_media(tmp_path / "none")
    with pytest.raises(SlotError, match="cannot be looked at"):
        tryboot_media(tmp_path / "missing")


def test_a_bad_file_is_mended_from_the_other(tmp_path: Path) -> None:
    """The firmware, which knows one file only, would boot from the first partition, where there is nothing."""
    bench = FirmwareBench(tmp_path)
    bench.backend().commit("b")
    for index in (0, 1):
        bench.media()[index].write(0, GARBAGE)
        bench.media()[index].flush()
        bench.backend().mend()
        assert all(medium.read(0, FILE_BYTES) == content("b") for medium in bench.media())


def test_a_file_too_short_for_both_numbers_is_told(tmp_path: Path) -> None:
    """A file with another length would need another length on FAT, which is two writes that can be torn apart."""
    (tmp_path / "autoboot.txt").write_bytes(b"[all]\n")
    (tmp_path / "autoboot.bak").write_bytes(content("a"))
    places = places_in(tmp_path)
    put_tree(places, partition=2, tryboot=False, date_s=NEW_EEPROM_S)
    boot_with(places, 1, "")
    media = (FileMedium(tmp_path / "autoboot.txt"), FileMedium(tmp_path / "autoboot.bak"))
    with pytest.raises(RetryError, match="has 6 bytes"):
        TrybootBackend(media, {}, PARTITIONS, ModelFlag(), places).commit("b")
    assert (tmp_path / "autoboot.txt").read_bytes() == b"[all]\n"


def test_the_flag_is_taken_back_before_the_numbers_are_swapped(tmp_path: Path) -> None:
    """A power-less moment between the two would make the next restart a trial of the old slot."""
    bench = FirmwareBench(tmp_path)
    bench.backend().arm("b")
    order: list[str] = []
    flag_set, write = bench.flag.set, FileMedium.write
    bench.flag.set = lambda wanted: (order.append("flag"), flag_set(wanted))[1]  # type: ignore[method-assign,func-returns-value]
    try:
        FileMedium.write = lambda self, offset, data: (order.append("file"), write(self, offset, data))[1]  # type: ignore[method-assign,func-returns-value]
        bench.backend().commit("b")
    finally:
        FileMedium.write = write  # type: ignore[method-assign]
    assert order == ["flag", "file", "file"]
