"""If one of these failed, a node that U-Boot starts would brick. `fw_printenv` and `fw_setenv` are the judges of the format;
the loader of the contract here is a model of boot.cmd, which test_uboot_machine.py runs for real."""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fruitd.boot.medium import FileMedium
from fruitd.boot.port import BootBackend
from fruitd.boot.uboot_backend import (
    UbootBackend,
    UbootMedia,
    mend_uboot_environment,
    parse_fw_env_config,
    read_fw_env_config,
    read_uboot_environment,
    uboot_media,
    write_uboot_state,
)
from fruitd.boot.uboot_env import (
    UbootCopy,
    UbootState,
    changed,
    decode_copy,
    encode_copy,
    read_copies,
    state_of,
)
from fruitd.errors import RetryError, SlotError, UsageError
from tests.fruitd.boot.contract import BootContract
from tests.fruitd.boot.disks import need, run
from tests.fruitd.boot.media import Contents, RecordedMedium, Recorder, states_of
from tests.fruitd.boot.running_system import boot_with, places_in

SIZE = 2048
FIRST = UbootCopy(
    1,
    {"fruit_default": "a", "fruit_armed": "-", "upgrade_available": "0", "bootcount": "0", "bootlimit": "1"},
)


class ModelBench:
    """boot.cmd in a few lines, on real files; `counts` where U-Boot counts boots by itself too."""

    def __init__(self, folder: Path, *, counts: bool) -> None:
        self.folder, self.counts, self.boots = folder, counts, 0
        for name in ("env0", "env1"):
            (folder / name).write_bytes(encode_copy(FIRST, SIZE))
        self.media = UbootMedia(FileMedium(folder / "env0"), FileMedium(folder / "env1"), SIZE)
        self.places = places_in(folder)
        self.power_cycle()

    def backend(self) -> BootBackend:
        """See `BootBench`."""
        return UbootBackend(self.media, {slot: self.folder / slot for slot in "ab"}, self.places)

    def _save(self, **variables: str) -> dict[str, str]:
        reading = read_uboot_environment(self.media)
        new = {**reading.copy.variables, **variables}
        spare = (self.media.second, self.media.first)[reading.index]
        spare.write(0, encode_copy(UbootCopy((reading.copy.counter + 1) % 256, new), SIZE))
        spare.flush()
        return new

    def _choice(self) -> str:
        env = dict(read_uboot_environment(self.media).copy.variables)
        available = env["upgrade_available"] == "1"
        if self.counts and available:
            env = self._save(bootcount=str(int(env["bootcount"]) + 1))
        if available and env["fruit_armed"] in "ab" and int(env["bootcount"]) <= int(env["bootlimit"]):
            self._save(fruit_armed="-", bootcount="1")
            return env["fruit_armed"]
        return env["fruit_default"]

    def power_cycle(self, bootable: str = "ab") -> None:
        """See `BootBench`."""
        while (slot := self._choice()) not in bootable:
            self.boots += 1
        self.boots += 1
        boot_with(self.places, self.boots, f"fruit.slot={slot}")

    def restart(self, bootable: str = "ab") -> None:
        """See `BootBench`."""
        self.power_cycle(bootable)

    def tear(self) -> None:
        """See `BootBench`."""
        reading = read_uboot_environment(self.media)
        spare = (self.media.second, self.media.first)[reading.index]
        spare.write(0, os.urandom(SIZE // 2))
        spare.flush()
        self.power_cycle()


class TestUbootBackend(BootContract):
    """The contract, on a model of boot.cmd."""

    @pytest.fixture(params=[False, True], ids=["script counts", "U-Boot counts too"])
    def bench(self, tmp_path: Path, request: pytest.FixtureRequest) -> ModelBench:
        return ModelBench(tmp_path, counts=request.param)


CHANGES = [
    (UbootState("a", None), UbootState("a", "b")),
    (UbootState("a", "b"), UbootState("a", None)),
    (UbootState("a", None), UbootState("b", None)),
    (UbootState("b", "a"), UbootState("a", None)),
]


@pytest.mark.parametrize("damaged", [None, 0, 1])
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_every_power_cut_leaves_the_old_word_or_the_new_one(
    old: UbootState, new: UbootState, damaged: int | None
) -> None:
    """A torn environment would be replaced by U-Boot's defaults, which know no slots."""
    before = changed(FIRST, old)
    older = UbootCopy(before.counter - 1, {**before.variables, "notes": "z" * 1500})
    before = evolve(before, variables={**before.variables, "notes": "y" * 1500})
    contents = [encode_copy(before, SIZE), encode_copy(older, SIZE)]
    if damaged is not None:
        contents = [encode_copy(before, SIZE), encode_copy(before, SIZE)]
        contents[damaged] = bytes(range(256)) * (SIZE // 256)
    seen = states_of(
        (contents[0], contents[1]), lambda media: write_uboot_state(UbootMedia(media[0], media[1], SIZE), new)
    )
    assert len(seen) >= 16, "four sectors, any of which may be there or not"
    for first, second in seen:
        assert state_of(read_copies(first, second).copy) in (old, new)
        media = Recorder().media((first, second))
        again = UbootMedia(media[0], media[1], SIZE)
        write_uboot_state(again, new)
        mend_uboot_environment(again)
        found = read_uboot_environment(again)
        assert (state_of(found.copy), found.other_bad) == (new, False)


def test_a_backend_that_forgets_a_flush_is_found() -> None:
    """The checker of power cuts would pass a backend that bricks."""

    def forgetful(media: tuple[RecordedMedium, ...]) -> None:
        new = encode_copy(evolve(changed(FIRST, UbootState("b", None)), variables={"x": "y" * 1500}), SIZE)
        for medium in media:
            medium.write(0, new)
        for medium in media:
            medium.flush()

    before = encode_copy(FIRST, SIZE)
    found = [read_or_none(state) for state in states_of((before, before), forgetful)]
    assert None in found, "both copies torn at once"
    assert any(found)


def read_or_none(state: Contents) -> UbootCopy | None:
    """The copy that counts, if one does."""
    try:
        return read_copies(state[0], state[1]).copy
    except SlotError:
        return None


def test_the_copy_that_counts_is_never_written() -> None:
    """A power cut would leave no good copy."""
    recorder = Recorder()
    media = recorder.media((encode_copy(FIRST, SIZE), encode_copy(FIRST, SIZE)))
    both = UbootMedia(media[0], media[1], SIZE)
    for _, new in CHANGES * 3:
        counts = read_uboot_environment(both).index
        recorder.events.clear()
        write_uboot_state(both, new)
        assert {number for number, _, _ in recorder.events} <= {1 - counts}


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40).filter(
    lambda value: not value.startswith("-")  # an option to fw_setenv
)


def make_env(folder: Path) -> Path:
    """A file with both copies, and the configuration of fw_printenv for it."""
    (folder / "env").write_bytes(encode_copy(FIRST, SIZE) * 2)
    config = folder / "fw_env.config"
    config.write_text(f"# two copies\n{folder}/env 0x0 {SIZE:#x}\n{folder}/env {SIZE:#x} {SIZE:#x}\n")
    return config


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.booleans(), NAMES, VALUES), min_size=1, max_size=4),
    counter=st.integers(0, 255),
)
def test_fw_setenv_and_the_node_read_what_the_other_writes(
    tmp_path: Path, steps: list[tuple[bool, str, str]], counter: int
) -> None:
    """The node would arm in a copy that U-Boot does not look at, from one wrap of the counter to the next."""
    need("fw_printenv")
    config = make_env(tmp_path)
    start = evolve(FIRST, counter=counter)
    after = evolve(FIRST, counter=(counter + 1) % 256)
    (tmp_path / "env").write_bytes(encode_copy(start, SIZE) + encode_copy(after, SIZE))
    media = uboot_media(read_fw_env_config(config))
    expected = dict(FIRST.variables)
    for theirs, name, value in steps:
        if theirs:
            run("fw_setenv", "-c", config, name, value)
            expected[name] = value
        else:
            armed = "b" if len(value) % 2 else None
            write_uboot_state(media, UbootState("a", armed))
            expected |= changed(FIRST, UbootState("a", armed)).variables
        listed = run("fw_printenv", "-c", config).splitlines()
        assert dict(line.split("=", 1) for line in listed) == expected
        assert dict(read_uboot_environment(media).copy.variables) == expected


@pytest.mark.parametrize("bad", [0, 1])
def test_fw_printenv_and_the_node_take_the_same_copy_when_one_is_torn(tmp_path: Path, bad: int) -> None:
    """The node would believe that it armed, and U-Boot start the old slot; or the other way round."""
    need("fw_printenv")
    config = make_env(tmp_path)
    media = uboot_media(read_fw_env_config(config))
    write_uboot_state(media, UbootState("b", None))
    data = bytearray((tmp_path / "env").read_bytes())
    data[bad * SIZE + 10 : bad * SIZE + 600] = b"\xff" * 590
    (tmp_path / "env").write_bytes(data)
    theirs = run("fw_printenv", "-c", config, "-n", "fruit_default").strip()
    assert read_uboot_environment(media).copy.variables["fruit_default"] == theirs
    mend_uboot_environment(media)
    assert not read_uboot_environment(media).other_bad
    assert run("fw_printenv", "-c", config, "-n", "fruit_default").strip() == theirs


def test_one_copy_alone_is_refused_in_words(tmp_path: Path) -> None:
    """A power cut in the middle of a write would leave U-Boot with its defaults: a known fault of fleets in the field."""
    with pytest.raises(UsageError, match="REDUNDAND"):
        parse_fw_env_config("/dev/mmcblk0 0x100000 0x4000\n", "fw_env.config")
    body = b"fruit_default=a\0\0".ljust(SIZE - 4, b"\0")
    single = zlib.crc32(body).to_bytes(4, "little") + body
    with pytest.raises(SlotError, match="REDUNDAND"):
        read_copies(single, b"\xff" * SIZE)
    with pytest.raises(SlotError, match="fw_setenv"):
        read_copies(b"\xff" * SIZE, bytes(SIZE))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "two lines"),
        ("/dev/a 0 0x4000\n" * 3, "two lines"),
        ("/dev/a 0 0x4000\n/dev/a 0x2000 0x4000\n", "overlap"),
        ("/dev/a 0 0x4000\n/dev/a 0x4000 0x8000\n", "the same size"),
        ("/dev/a 0\n", "line 1: allowed: device, offset and size"),
        ("/dev/a x 0x4000\n", "line 1"),
        ("# no\n/dev/a -0x4000 0x4000\n", "line 2: allowed: an offset of 0 or more"),
        ("/dev/a 0 1\n", "a size of 512"),
        ("/dev/mtd0 0 0x4000\n", "raw flash"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(text: str, words: str) -> None:
    """The node would write into whatever else lies there."""
    with pytest.raises(UsageError, match=words):
        parse_fw_env_config(text, "fw_env.config")


def test_what_has_no_environment_is_told(tmp_path: Path) -> None:
    """A node without its environment would end without a word."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_fw_env_config(tmp_path / "none")
    places = parse_fw_env_config("/dev/null 0 0x4000\n/dev/zero 0 0x4000\n", "c")
    with pytest.raises(SlotError, match="neither a block device nor a file"):
        uboot_media(places)
    bench = ModelBench(tmp_path, counts=False)
    for name in ("env0", "env1"):
        (tmp_path / name).write_bytes(encode_copy(UbootCopy(1, {"bootcmd": "boot"}), SIZE))
    with pytest.raises(SlotError, match="fw_setenv fruit_default a"):
        bench.backend().facts()
    with pytest.raises(SlotError, match="full"):
        encode_copy(UbootCopy(1, {"x": "y" * SIZE}), SIZE)


def test_a_write_that_does_not_reach_the_medium_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node would restart for a trial that the loader does not know of, again and again."""
    bench = ModelBench(tmp_path, counts=False)
    monkeypatch.setattr(os, "pwrite", lambda _d, data, _o: len(data))
    with pytest.raises(RetryError, match="reads back wrong"):
        bench.backend().arm("b")


@given(data=st.binary(min_size=0, max_size=SIZE), good_sum=st.booleans())
def test_rubbish_is_read_or_refused_and_nothing_else_happens(data: bytes, good_sum: bool) -> None:
    """A worn sector would end the daemon."""
    if good_sum and len(data) > 5:
        data = zlib.crc32(data[5:]).to_bytes(4, "little") + data[4:]
    copy = decode_copy(data)
    assert copy is None or good_sum
    with contextlib.suppress(SlotError):
        state_of(read_copies(data, data).copy)
