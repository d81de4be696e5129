"""docs/releasing.md on keys and trust roots, followed to the letter: if this failed, a maintainer would be stuck at a line.

Blocks marked `sh NAME` up to the first release make the swarm, as a new maintainer does; those marked `sh NAME later`
change it. The way from an image to nodes that run it is followed with the daemons' tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.root_file import load_chain
from swarm.trust.any_key import public_half
from swarm.trust.key_files import read_key
from swarm.trust.root import Role

DOCUMENT = (Path(__file__).parents[3] / "docs" / "releasing.md").read_text(encoding="utf-8")
FOUNDING = re.compile(r"^```sh (\w+)\n(.*?)^```$", re.M | re.S)
LATER = re.compile(r"^```sh (\w+) later\n(.*?)^```$", re.M | re.S)
PEOPLE = ("ann", "ben", "carl", "dora")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """Dora's ssh-agent."""
    where = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", where], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield where
        finally:
            process.terminate()


def typed(block: str) -> list[str]:
    """The commands of a block, those that go on in the next line as one."""
    return block.replace("\\\n", " ").splitlines()


def founding() -> list[tuple[str, str]]:
    """Whose, and the command: until the first release is built."""
    commands = [(whose, line) for whose, text in FOUNDING.findall(DOCUMENT) for line in typed(text)]
    first_release = next(n for n, (_, line) in enumerate(commands) if line.startswith("fruit release"))
    return commands[:first_release]


def later() -> list[tuple[str, str]]:
    """Whose, and the command: what the sections on keys and on changes show."""
    return [(whose, line) for whose, text in LATER.findall(DOCUMENT) for line in typed(text)]


def test_the_document_has_what_is_run() -> None:
    """If this failed, the test below would run nothing and be green."""
    assert sum("fruit trust sign" in line for _, line in founding()) == 1
    said = {" ".join(line.split()[:3]) for _, line in later()}
    assert said >= {
        "fruit key from-agent",
        "fruit key new",
        *(f"fruit trust {w}" for w in ("rotate", "sign", "merge", "show")),
    }


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="needs Debian's openssh-client")
def test_three_people_come_to_share_a_swarm_by_following_it(tmp_path: Path, agent: Path) -> None:
    """If this failed, changing who may do what would work only for those who wrote it."""
    for name in (*PEOPLE, "stick", "bin"):
        (tmp_path / name).mkdir()
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    script = tmp_path / "bin" / "fruit"
    script.write_text(f"#!{sys.executable}\nfrom fruitd.cli import main\nmain()\n")
    script.chmod(0o755)
    asked = tmp_path / "bin" / "askpass"  # Where ssh-keygen gets the passphrase that dora would type.
    asked.write_text("#!/bin/sh\n")
    asked.chmod(0o755)
    for whose, command in [*founding(), *later()]:
        done = subprocess.run(
            ["setsid", "--wait", "bash", "-euc", command],
            cwd=tmp_path / whose,
            env={
                "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(Path(__file__).parents[3]),
                "HOME": str(tmp_path / whose),
                "STICK": str(tmp_path / "stick"),
                "FRUIT_PASSPHRASE_FILE": str(passphrase),
                "SSH_AUTH_SOCK": str(agent),
                "SSH_ASKPASS": str(asked),
                "SSH_ASKPASS_REQUIRE": "force",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        expected = int((re.search(r"# exit code (\d)", command) or [0, 0])[1])
        assert done.returncode == expected, f"{whose}: {command}\n{done.stdout}{done.stderr}"
    chain = load_chain((tmp_path / "ann" / "root-2.whole").read_bytes())
    root = chain.newest
    assert [r.version for r in chain.roots] == [1, 2]
    for role, names in (
        (Role.ROOT, {"ann-root", "ben-root", "carl-root"}),
        (Role.RELEASE, {"ann", "ben", "carl"}),
    ):
        assert {root.names[raw] for raw in root.roles[role].keys} == names
        assert root.roles[role].threshold == 2
    assert not [path.name for path in (tmp_path / "stick").iterdir() if path.suffix == ".key"]
    assert public_half(read_key(tmp_path / "dora" / "dora.key")).name == "dora"
