"""What can be wrong with a node's own machine: configuration, slots, disks, a daemon too many. Nothing that runs is touched, one
line says what is the matter, and the node goes on by itself when it is mended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fruitd.boot.file_backend import ID_VARIABLE, SLOT_VARIABLE
from fruitd.demo.ceremony import Maintainers, publish
from fruitd.demo.cluster import Cluster, NodeProcess
from fruitd.demo.images import DemoImages
from tests.swarm_of_daemons.looks import Running, file_hash, log_of, runs, says, update_of

pytestmark = pytest.mark.swarm

START_S, UPDATE_S = 120.0, 180.0
MIB = 1024 * 1024


def _daemon(node: NodeProcess, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fruitd", "--config", str(node.directory / "fruitd.toml"), *options]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[log]\nlvel = "info"\n', "[log] has no key 'lvel' (did you mean \"level\"?)"),
        ('[log]\nlevel = "loud"\n', "[log] level is 'loud'; allowed: debug, info, warning, error"),
        ("[slot]\n", "there is no table 'slot' (did you mean \"slots\"?)"),
        ("[log\n", "not valid TOML"),
    ],
)
def test_a_bad_configuration_is_one_line_and_exit_code_2(
    make_cluster: Callable[..., Cluster], more: str, words: str
) -> None:
    """A node would start with something else than its owner meant, or leave him with a traceback."""
    node = make_cluster().add("n1", more=more)
    for options in (("--check",), ()) if "lvel" in more else (("--check",),):
        done = _daemon(node, *options)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stdout == ""
    assert not (node.directory / "state").exists(), "something was touched"


def test_slots_that_cannot_be_written_and_a_second_daemon(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """A node with a broken partition table would destroy what it should not, give up for ever, or keep others from updating."""
    cluster = make_cluster()
    publisher = cluster.add("publisher", slots=False)
    missing, small, folder, good = (cluster.add(name) for name in ("missing", "small", "folder", "good"))
    missing.slot("b").unlink()
    os.truncate(small.slot("b"), 1 * MIB)
    folder.slot("b").unlink()
    folder.slot("b").mkdir()
    for node in cluster.nodes:
        node.start()
    cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= 4, timeout_s=START_S)
    before = [Running.of(node) for node in (missing, small, folder, good)]

    done = _daemon(good, **{SLOT_VARIABLE: "a", ID_VARIABLE: "another"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"runs on the state in {good.directory / 'state'}; stop it" in done.stderr
    before[-1].check()

    publish(publisher, maintainers.release(images.good[0], 1, tmp_path / "r1"))
    says(missing, f"slot {missing.slot('b')} does not exist")
    says(small, f"slot {small.slot('b')} is too small: it has {MIB} bytes, the image has")
    says(folder, f"slot {folder.slot('b')} is a directory, not a block device or a file")
    for running in before[:-1]:
        running.check()
    assert update_of(small)["state"] == "refused"
    cluster.wait("the good peer", [good], runs(1), timeout_s=UPDATE_S)

    folder.slot("b").rmdir()
    for node in (missing, folder, small):
        with open(node.slot("b"), "ab") as slot:
            slot.truncate(cluster.settings.slot_bytes)
    cluster.wait("mended", [missing, folder], runs(1), timeout_s=UPDATE_S)
    publish(publisher, maintainers.release(images.good[1], 2, tmp_path / "r2"))
    cluster.wait("the next release", [missing, small, folder, good], runs(2), timeout_s=UPDATE_S)


# ---------------------------------------------------------------------- what needs root


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def _loop_device(backing: Path, size_bytes: int) -> Iterator[Path]:
    with open(backing, "ab") as file:
        file.truncate(size_bytes)
    device = _run("losetup", "--find", "--show", str(backing))
    try:
        yield Path(device)
    finally:
        _run("losetup", "--detach", device)


@contextlib.contextmanager
def _mounted(where: Path, *arguments: str) -> Iterator[None]:
    where.mkdir(exist_ok=True)
    _run("mount", *arguments, str(where))
    try:
        yield
    finally:
        if where.is_mount():
            _run("umount", str(where))


def _fill(folder: Path) -> Path:
    """A file that takes all room that is left."""
    path = folder / "somebody-elses"
    with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


@pytest.mark.root
def test_slots_on_block_devices_mounted_slots_and_full_disks(
    make_cluster: Callable[..., Cluster], maintainers: Maintainers, images: DemoImages, tmp_path: Path
) -> None:
    """An update would never reach a partition, or overwrite a mounted one, or leave a node broken by its full disk."""
    cluster = make_cluster()
    slot_bytes = cluster.settings.slot_bytes
    publisher = cluster.add("publisher", slots=False)
    devices, mounted, full_state, full_slot = (
        cluster.add(name) for name in ("devices", "mounted", "full-state", "full-slot")
    )
    with contextlib.ExitStack() as stack:
        for slot in ("a", "b"):
            path = stack.enter_context(_loop_device(devices.slot(slot).rename(tmp_path / slot), slot_bytes))
            devices.slot(slot).symlink_to(path)
        partition = stack.enter_context(_loop_device(tmp_path / "partition", slot_bytes))
        _run("mkfs.ext4", "-q", str(partition))
        mounted.slot("b").unlink()
        mounted.slot("b").symlink_to(partition)
        mount_point = tmp_path / "mounted"
        stack.enter_context(_mounted(mount_point, "-o", "ro", str(partition)))
        state = full_state.directory / "state"
        stack.enter_context(_mounted(state, "-t", "tmpfs", "-o", "size=3m,mode=0700", "none"))
        disk = tmp_path / "disk"
        stack.enter_context(_mounted(disk, "-t", "tmpfs", "-o", "size=1m", "none"))
        (disk / "slot").touch()
        os.truncate(disk / "slot", slot_bytes)  # sparse: has the size, has no room
        full_slot.slot("b").unlink()
        full_slot.slot("b").symlink_to(disk / "slot")
        stack.callback(cluster.close)

        for node in cluster.nodes:
            node.start()
        cluster.wait("start", cluster.nodes, lambda s: s["peers"]["heard"] >= 4, timeout_s=START_S)
        troubled = [Running.of(node) for node in (mounted, full_slot)]
        running_hash = file_hash(full_state.slot("a"))
        partition_hash = file_hash(partition)
        (state / "reserve").unlink()  # so that it does not even help that the node keeps some room for itself
        hog = _fill(state)
        publish(publisher, maintainers.release(images.good[0], 1, tmp_path / "r1"))

        says(mounted, f"slot {mounted.slot('b')} is mounted at {mount_point}; unmount it")
        says(full_state, f"the state in {state} cannot be written: database or disk is full")
        says(full_slot, f"slot {full_slot.slot('b')}: No space left on device")
        cluster.wait("the node on devices", [devices], runs(1), timeout_s=UPDATE_S)
        assert file_hash(devices.slot("b"), images.good[0].stat().st_size) == file_hash(images.good[0])
        for running in troubled:
            running.check()
        # Where SQLite's log still has room of its own the journal can be saved, and the update may go on; only what runs is sure.
        assert file_hash(full_state.slot("a")) == running_hash, "the slot that runs was written"
        assert file_hash(partition) == partition_hash, "a mounted partition was written"

        hog.unlink()
        _run("umount", str(mount_point))
        _run("mount", "-o", "remount,size=64m", str(disk))
        cluster.wait("mended", [mounted, full_state, full_slot], runs(1), timeout_s=UPDATE_S)
        assert not [line for node in cluster.nodes for line in log_of(node) if line["event"] == "bug"]
