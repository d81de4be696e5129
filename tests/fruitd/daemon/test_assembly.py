"""Putting a node together: what is wrong for a moment only must not keep it off, and a second daemon must change nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from fruitd.boot.file_backend import ID_VARIABLE, SLOT_VARIABLE, create_environment
from fruitd.config.tables import Config, load_config
from fruitd.daemon.assembly import assemble
from fruitd.errors import RefusedError
from fruitd.state.node_state import NodeState
from tests.swarm.trust.ceremony import ROOTS, root_bytes


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv(SLOT_VARIABLE, "a")
    monkeypatch.setenv(ID_VARIABLE, "boot")
    create_environment(tmp_path / "env", "a")
    for slot in "ab":
        (tmp_path / slot).write_bytes(bytes(4096))
    (tmp_path / "root").write_bytes(root_bytes(*ROOTS))
    key = tmp_path / "swarm.key"
    key.write_text("00" * 32 + "\n")
    key.chmod(0o600)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = f"""
[node]
name = "n1"
resource = "os"
compatible = ["pi4"]
state_dir = "{tmp_path}/state"
[swarm]
bind = "127.0.0.1"
port = {port}
beacon = false
key_file = "{key}"
[trust]
root = "{tmp_path}/root"
[slots]
a = "{tmp_path}/a"
b = "{tmp_path}/b"
[boot]
backend = "file"
env = "{tmp_path}/env"
[api]
socket = "{tmp_path}/api"
"""
    (tmp_path / "fruitd.toml").write_text(text)
    return load_config(tmp_path / "fruitd.toml")


def test_a_second_daemon_leaves_the_boot_environment_alone(config: Config, tmp_path: Path) -> None:
    """It would mend a copy that the first is just writing, and a commit be lost."""
    env = tmp_path / "env"
    torn = env.read_bytes()[:512] + b"x" * 512
    env.write_bytes(torn)
    state = NodeState(config.node.state_dir)
    with pytest.raises(RefusedError, match="another fruitd"):
        trio.run(assemble, config)
    assert env.read_bytes() == torn
    state.close()


def test_an_address_that_is_taken_is_no_wrong_configuration(config: Config) -> None:
    """systemd never starts a daemon again that says so: a node that was too early for its network would be off for good."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((config.swarm.bind, config.swarm.port))
        with pytest.raises(RefusedError, match="cannot be listened on"):
            trio.run(assemble, config)
