"""Figures that promise too much would go unnoticed: the oracles, the rows and the exit code of the benchmarks."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import installed_images, nodes, parcel_apply, storage
from benchmarks.images import (
    BLOCK_BYTES,
    MIB,
    STEP_BYTES,
    differing_bytes,
    missing_bytes,
    next_release,
    random_image,
    with_new_blocks,
    write_random_image,
)
from benchmarks.rows import NotMeasurableError, Row, at_least, at_most
from fruitd.demo.cluster import NodeProcess
from fruitd.demo.diary import Diary


@pytest.fixture(scope="module")
def image() -> bytes:
    return random_image(4 * MIB, random.Random(1))


def test_what_is_at_a_4_kib_offset_of_the_old_slot_need_not_be_fetched(image: bytes) -> None:
    """Were the oracle too generous, a node could fetch what it has and still pass."""
    moved = image[STEP_BYTES : STEP_BYTES + BLOCK_BYTES]
    assert missing_bytes(moved, image) == 0
    assert missing_bytes(image[1 : 1 + BLOCK_BYTES], image) == BLOCK_BYTES
    assert missing_bytes(moved + bytes(BLOCK_BYTES), image) == BLOCK_BYTES


def test_only_blocks_that_differ_in_their_place_need_be_written(image: bytes) -> None:
    """Were the oracle too generous, a node could wear its card and still pass."""
    changed = bytearray(image)
    changed[BLOCK_BYTES - 1] ^= 1
    changed[-1] ^= 1
    assert differing_bytes(bytes(changed), image) == 2 * BLOCK_BYTES
    assert differing_bytes(image, image + b"beyond the image") == 0


def test_five_percent_are_five_percent(image: bytes) -> None:
    """A change smaller than it is called would make the state's own writes look large, one larger hide them."""
    changed = with_new_blocks(image, 0.05, random.Random(1))
    assert differing_bytes(changed, image) == missing_bytes(changed, image) == round(0.05 * 256) * BLOCK_BYTES
    assert len(changed) == len(image)


def test_a_next_release_has_new_blocks_and_moved_ones() -> None:
    """A change with nothing moved would not show whether moved files are found again."""
    generator = random.Random(1)
    image = random_image(16 * MIB, generator)
    changed = next_release(image, generator)
    assert len(changed) == len(image)
    assert changed[:STEP_BYTES] == image[:STEP_BYTES]  # still looks like a file system
    assert 0 < missing_bytes(changed, image) < differing_bytes(changed, image) < len(image)


def test_images_look_bootable_both_ways(tmp_path: Path) -> None:
    """The boot chooser would start none of them, and every row would be missing."""
    write_random_image(tmp_path / "image", 2 * MIB, random.Random(1))
    written = (tmp_path / "image").read_bytes()
    assert len(written) == 2 * MIB
    assert written[1080:1082] == random_image(MIB, random.Random(1))[1080:1082] == b"\x53\xef"


def test_a_bar_is_missed_beyond_it() -> None:
    """A missed bar would be printed as held."""
    assert at_most("n", 1.3, "x", 1.3, "c").ok
    assert not at_most("n", 1.30001, "x", 1.3, "c").ok  # though it is printed as 1.3
    assert at_least("n", 30, "x", 30, "c").ok
    assert not at_least("n", 29.99999, "x", 30, "c").ok


def good() -> Iterator[Row]:
    yield at_most("good", 1, "x", 2, "nothing")


def bad() -> Iterator[Row]:
    yield at_most("bad", 3, "x", 2, "nothing")


def impossible() -> Iterator[Row]:
    yield from ()
    raise NotMeasurableError("this machine has no nginx")


@pytest.mark.parametrize(("only", "code"), [("good", 0), ("bad", 1), ("good,bad", 1), ("impossible", 1)])
def test_a_missed_bar_fails_the_run(
    only: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI would stay green while a promise is broken."""
    measurements = {name: f"{__name__}:{name}" for name in ("good", "bad", "impossible")}
    functions = {"good": good, "bad": bad, "impossible": impossible}
    monkeypatch.setattr(command, "MEASUREMENTS", measurements)
    monkeypatch.setattr(command, "_rows", lambda name, _where, _idle_s: functions[name]())
    assert command.main(["--only", only, "--json"]) == code
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == [name for name in only.split(",") if name != "impossible"]
    assert all(set(row) == {"name", "value", "unit", "bar", "ok", "against"} for row in rows)


def test_an_unknown_measurement_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt row in CI would measure nothing, and pass."""
    with pytest.raises(SystemExit) as end:
        command.main(["--only", "instal"])
    assert end.value.code == 2
    assert "instal" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(command.MEASUREMENTS | command.QUICK))
def test_every_measurement_is_there(name: str) -> None:
    """`make bench` would end half way, after a quarter of an hour."""
    where = (command.MEASUREMENTS | command.QUICK)[name]
    module, _, function = where.partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_a_diary_is_read_on_line_by_line(tmp_path: Path) -> None:
    """A line that is half written would be lost, or end the benchmark."""
    node = NodeProcess("n", tmp_path, 1, 2, has_slots=False)
    diary = Diary(node)
    assert diary.times("committed") == []
    line = '{"time":"2026-11-20T10:00:00.500000Z","level":"info","event":"committed","release":2}\n'
    node.log.write_text("chooser: booting slot a\n" + line + line[:30])
    assert diary.kept(2)
    assert not diary.kept(1)
    with node.log.open("a") as log:
        log.write(line[30:])
    first, second = diary.times("committed", release=2)
    assert first == second == 1795168800.5


def test_memory_and_time_of_a_process_are_read() -> None:
    """A wrong field would show a daemon that needs nothing."""
    pid = os.getpid()
    assert 8 * MIB < nodes.memory_bytes(pid, "VmRSS") <= nodes.memory_bytes(pid, "VmHWM")
    before_s = nodes.cpu_s(pid)
    while nodes.cpu_s(pid) == before_s:
        sum(range(100_000))
    assert nodes.cpu_s(pid) > before_s > 0
    assert nodes.memory_bytes(None, "VmRSS") == 0


@pytest.mark.root
def test_the_device_counts_what_was_written_and_no_more(tmp_path: Path) -> None:
    """Blocks written twice, or not counted, would not show."""
    folder = tmp_path / "node"
    folder.mkdir()
    node = NodeProcess("node", folder, 1, 2, has_slots=True)
    for slot in ("a", "b"):
        node.slot(slot).write_bytes(bytes(8 * MIB))
    with storage.metered(node) as meter:
        node.slot("a").read_bytes()  # in the page cache, in large folios
        before = meter.written_bytes(node)
        with node.slot("a").open("r+b") as file:
            for block in range(0, 512, 8):
                file.seek(block * BLOCK_BYTES)
                file.write(random.Random(block).randbytes(BLOCK_BYTES))
        written = meter.written_bytes(node) - before
    assert 64 * BLOCK_BYTES <= written < 64 * BLOCK_BYTES + 256 * 1024


def test_an_upgraded_file_is_mostly_the_one_before() -> None:
    """A pair without differences, or with nothing else, would say nothing of what parcels cost a node."""
    content = random.Random(1).randbytes(256 * 1024)
    upgraded = installed_images.edited(content, random.Random(2))
    windows = {content[at : at + 32] for at in range(len(content) - 31)}
    kept = sum(upgraded[at : at + 32] in windows for at in range(0, len(upgraded) - 31, 32))
    assert upgraded != content
    assert 0.5 < 32 * kept / len(upgraded) < 1


@pytest.mark.parametrize("backwards", [False, True])
def test_a_slot_holds_the_image_or_nothing_of_it(image: bytes, tmp_path: Path, backwards: bool) -> None:
    """A node that finds its release in place would be measured doing nothing; one whose slot boots nothing, not at all."""
    (tmp_path / "image").write_bytes(image)
    (tmp_path / "slot").write_bytes(bytes(len(image) + MIB))
    parcel_apply.lay(tmp_path / "image", tmp_path / "slot", backwards=backwards)
    held = (tmp_path / "slot").read_bytes()
    assert held[1080:1082] == b"\x53\xef"
    assert len(held) == len(image) + MIB
    differing = parcel_apply.differing_bytes_between(tmp_path / "image", tmp_path / "slot")
    assert differing == (len(image) if backwards else 0)
