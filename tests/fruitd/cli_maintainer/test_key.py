"""`fruit key`: if these failed, secret keys would lie open on disks, or their owners could not open them."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarm.root_file import load_root
from swarm.trust import key_files
from swarm.trust.command_key import CommandKey
from swarm.trust.keys import SecretKey
from swarm.trust.locked_key import LockedKey

FRUIT = [sys.executable, "-c", "from fruitd.cli import main; main()"]
WORDS = "five small words for ann"


def note(path: Path, words: str) -> Path:
    """A passphrase file of its owner's."""
    path.write_text(words + "\n")
    path.chmod(0o600)
    return path


def at_terminal(folder: Path, typed: list[str], *words: str) -> tuple[int, str]:
    """Run `fruit` on a terminal of its own, typing a line at each prompt; how it ended and what the screen shows."""
    master, slave = pty.openpty()
    command = ["setsid", "--ctty", "--wait", *FRUIT, *words]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FRUIT_")}
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environ
    ) as process:
        os.close(slave)
        screen = ""
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:
            try:
                part = os.read(master, 4096).decode()
            except OSError:  # The last one at the terminal has left.
                break
            screen += part
            if screen.endswith(": ") and typed:
                os.write(master, typed.pop(0).encode() + b"\n")
    os.close(master)
    return process.returncode, screen


def test_a_new_key_is_locked_with_what_is_typed_twice_and_not_shown(tmp_path):
    """If this failed, a key would be locked with a slip of the finger, or the passphrase stand on the screen."""
    code, screen = at_terminal(tmp_path, [WORDS, WORDS], "key", "new", "ann")
    assert code == 0, screen
    assert WORDS not in screen
    key = key_files.read_key(tmp_path / "ann.key")
    assert isinstance(key, LockedKey)
    assert key.unlock(WORDS).public == key_files.read_public_key(tmp_path / "ann.pub")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([WORDS, WORDS + "?"], "differ"),
        (["short"], "guessed quickly"),
        ([""], "guessed quickly"),
        (["\x04"], "no passphrase"),
    ],
)
def test_a_slip_at_the_terminal_writes_nothing(tmp_path, typed, said):
    """If this failed, nobody could ever open the key that was just made."""
    code, screen = at_terminal(tmp_path, typed, "key", "new", "ann")
    assert code == 1
    assert said in screen
    assert "Traceback" not in screen
    assert list(tmp_path.iterdir()) == []


def test_a_locked_key_signs_once_its_passphrase_is_typed(fruit, tmp_path):
    """If this failed, a locked key could not be used at all."""
    note(tmp_path / "note", WORDS)
    assert fruit("key", "new", "ann", "--passphrase-file", "note").code == 0
    found = ("trust", "init", "--swarm", "orchard", "--root-key", "ann.key", "--release-key", "ann.pub")
    code, screen = at_terminal(tmp_path, ["wrong words here"], *found)
    assert code == 1
    assert "ann.key is not opened by this passphrase" in screen
    assert not (tmp_path / "root.fruit").exists()
    code, screen = at_terminal(tmp_path, [WORDS], *found)
    assert code == 0, screen
    assert WORDS not in screen
    assert load_root((tmp_path / "root.fruit").read_bytes()).version == 1


def test_without_a_terminal_the_passphrase_comes_from_a_private_file_only(fruit, tmp_path):
    """If this failed, a script would hang at a prompt, echo a passphrase, or read one that anybody can."""
    for words in (["key", "new", "ann"], ["key", "new", "ann", "--passphrase-file", "note"]):
        note(tmp_path / "note", WORDS).chmod(0o644)
        done = subprocess.run(
            ["setsid", "--wait", *FRUIT, *words],
            input=WORDS,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "--passphrase-file FILE" in done.stderr or "chmod 600" in done.stderr
        assert not (tmp_path / "ann.key").exists()
    note(tmp_path / "note", "short")
    assert "guessed quickly" in fruit("key", "new", "ann", "--passphrase-file", "note").err


def test_the_environment_may_name_the_passphrase_file(fruit, tmp_path, monkeypatch):
    """If this failed, a timer that signs would need the passphrase's file on every command line."""
    monkeypatch.setenv("FRUIT_PASSPHRASE_FILE", str(note(tmp_path / "note", WORDS)))
    assert fruit("key", "new", "ann").code == 0
    assert isinstance(key_files.read_key(tmp_path / "ann.key"), LockedKey)


def test_a_passphrase_is_changed_given_and_taken_away(fruit, tmp_path):
    """If this failed, a passphrase somebody saw could not be changed, or the change would lose the key."""
    old, new = note(tmp_path / "old", WORDS), note(tmp_path / "new", "other small words for ann")
    fruit("key", "new", "ann", "--passphrase-file", old)
    path = tmp_path / "ann.key"
    change = ("key", "passphrase", "ann.key")
    assert fruit(*change, "--passphrase-file", old, "--new-passphrase-file", new).code == 0
    wrong = fruit(*change, "--passphrase-file", old, "--no-passphrase")
    assert wrong.code == 1
    assert wrong.err == "fruit: ann.key is not opened by this passphrase\n"
    assert fruit(*change, "--passphrase-file", new, "--no-passphrase").code == 0
    assert isinstance(key_files.read_key(path), SecretKey)
    assert fruit(*change, "--new-passphrase-file", old).code == 0
    key = key_files.read_key(path)
    assert isinstance(key, LockedKey)
    assert key.unlock(WORDS).public == key_files.read_public_key(tmp_path / "ann.pub")
    assert fruit(*change, "--no-passphrase", "--new-passphrase-file", old).code == 2
    assert fruit("key", "passphrase", "ann.pub", "--no-passphrase").code == 1


def test_show_tells_whose_key_it_is_and_nothing_secret(fruit, tmp_path):
    """If this failed, nobody could check a key before it is trusted, or checking it would publish it."""
    note(tmp_path / "note", WORDS)
    fruit("key", "new", "ann", "--passphrase-file", "note")
    fruit("key", "new", "ben", "--no-passphrase")
    public = key_files.read_public_key(tmp_path / "ann.pub")
    locked = fruit("key", "show", "ann.key")
    assert locked.code == 0
    assert "locked with a passphrase (argon2id, 256.0 MiB, 3 passes)" in locked.out
    assert "NOT locked" in fruit("key", "show", "ben.key").out
    document = json.loads(fruit("key", "show", "ann.key", "--json").out)
    assert document == {
        "schema": 1,
        "kind": "locked",
        "id": public.key_id,
        "name": "ann",
        "public": public.raw.hex(),
        "command": [],
    }
    seed = json.loads((tmp_path / "ben.key").read_text())["seed"]
    for words in ("ben.key", "ben.pub"):
        shown = fruit("key", "show", words).out + fruit("key", "show", words, "--json").out
        assert seed not in shown
        assert key_files.read_public_key(tmp_path / "ben.pub").raw.hex() in shown


def test_a_key_behind_a_command_is_described_once_it_has_signed(fruit, tmp_path):
    """If this failed, a swarm could be founded on a token that cannot sign."""
    program = (
        "import sys; from nacl.signing import SigningKey; "
        "sys.stdout.buffer.write(SigningKey(bytes(range(32))).sign(sys.stdin.buffer.read()).signature)"
    )
    public = SecretKey(bytes(range(32)), "ann").public
    make = ("key", "from-command", "-o", "ann.key", "--public")
    assert fruit(*make, public.raw.hex(), "--", sys.executable, "-c", program).code == 0
    key = key_files.read_key(tmp_path / "ann.key")
    assert isinstance(key, CommandKey)
    assert key.public == public == key_files.read_public_key(tmp_path / "ann.pub")
    assert fruit("key", "show", "ann.key").out.count("kept elsewhere") == 1
    found = fruit("trust", "init", "--swarm", "x", "--root-key", "ann.key", "--release-key", "ann.pub")
    assert found.code == 0
    assert load_root((tmp_path / "root.fruit").read_bytes()).names == {public.raw: "ann"}
    again = fruit(*make, public.raw.hex(), "--", sys.executable, "-c", program)
    assert again.code == 1
    for public_words, command, code, said in [
        ("00" * 32, [sys.executable, "-c", program], 1, "did not make"),
        ("zz", ["true"], 2, "not in hex"),
        ("00" * 31, ["true"], 1, "31"),
        ("00" * 32, ["no-such-program-of-fruit"], 1, "is it installed here"),
        ("00" * 32, ["./sign"], 1, "absolute path"),
    ]:
        answer = fruit("key", "from-command", "-o", "ben.key", "--public", public_words, "--", *command)
        assert (answer.code, said in answer.err) == (code, True), answer
        assert answer.err.count("\n") == 1
        assert not list(tmp_path.glob("ben.*"))
    assert fruit("key", "from-command", "-o", "ben", "--public", "00" * 32, "--", "true").code == 2


@pytest.fixture
def fruit_on_path(tmp_path, monkeypatch):
    """`fruit` as a command, as it is once it is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "fruit"
    script.write_text(f"#!{sys.executable}\nfrom fruitd.cli import main\nmain()\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="needs Debian's openssh-client")
def test_a_swarm_is_founded_with_a_key_that_only_an_ssh_agent_holds(
    fruit, fruit_on_path, tmp_path, monkeypatch
):
    """If this failed, who keeps keys in an agent or behind it in hardware would have to put them on a disk."""
    where = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", where], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            agent.stdout.readline()
            monkeypatch.setenv("SSH_AUTH_SOCK", str(where))
            ssh_key = tmp_path / "id"
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fruit-ann", "-f", ssh_key], check=True
            )
            subprocess.run(["ssh-add", "-q", ssh_key], check=True)
            ssh_key.unlink()
            assert fruit("key", "from-agent", "fruit-ann", "-o", "ann.key").code == 0
            found = fruit(
                "trust", "init", "--swarm", "x", "--root-key", "ann.key", "--release-key", "ann.pub"
            )
            assert found.code == 0, found.err
            assert load_root((tmp_path / "root.fruit").read_bytes()).swarm == "x"
            nobody = fruit("key", "from-agent", "fruit-ben", "-o", "ben.key")
            assert nobody.code == 1
            assert "it holds: fruit-ann" in nobody.err
            subprocess.run(["ssh-add", "-q", "-D"], check=True)
            refused = fruit("trust", "sign", "root.fruit", "--key", "ann.key", "-o", "y.fruit")
            assert refused.code == 0  # It has signed already: nobody is asked.
            found = fruit(
                "trust",
                "init",
                "--swarm",
                "z",
                "--root-key",
                "ann.key",
                "--release-key",
                "ann.pub",
                "-o",
                "z.fruit",
            )
            assert found.code == 1
            assert "does not hold this key" in found.err
        finally:
            agent.terminate()


SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")


@pytest.mark.skipif(
    not (SOFTHSM.exists() and shutil.which("pkcs11-tool")), reason="needs Debian's softhsm2 and opensc"
)
def test_a_pkcs11_token_signs_through_the_command_the_documentation_shows(fruit, tmp_path, monkeypatch):
    """If this failed, the example for hardware tokens would be words only."""
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(
        f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))

    def token(*words: str) -> str:
        command = ["pkcs11-tool", "--module", str(SOFTHSM), "--login", "--pin", "5678", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    slot = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "fruit",
        "--so-pin",
        "1234",
        "--pin",
        "5678",
    ]
    subprocess.run(slot, check=True, capture_output=True)
    made = token("--keypairgen", "--key-type", "EC:edwards25519", "--label", "fruit-ann", "--id", "01")
    point = next(line.split()[-1] for line in made.splitlines() if "EC_POINT:" in line)
    command = [
        "pkcs11-tool",
        "--module",
        SOFTHSM,
        "--login",
        "--pin",
        "5678",
        "--sign",
        "--mechanism",
        "EDDSA",
        "--id",
        "01",
    ]
    answer = fruit("key", "from-command", "-o", "ann.key", "--public", point[-64:], "--", *command)
    assert answer.code == 0, answer.err
    found = fruit("trust", "init", "--swarm", "x", "--root-key", "ann.key", "--release-key", "ann.pub")
    assert found.code == 0, found.err
    assert load_root((tmp_path / "root.fruit").read_bytes()).swarm == "x"
