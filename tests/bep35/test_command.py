"""`python -m bep35`: what it prints, and how it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bep35 import metainfo, signing
from bep35.__main__ import main
from bep35.bencode import decode, encode

STATEMENT = ["--resource", "org.fruit-testbed.os/rootfs", "--release", "2", "--version", "1.1.0"]
STATEMENT += ["--compatible", "raspberrypi,3-model-b", "--compatible", "raspberrypi,4-model-b"]


@pytest.fixture
def folder(vectors: Path, tmp_path: Path) -> Path:
    """The vectors, copied so that they can be written, the secret key kept secret."""
    for path in vectors.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "secret.json").chmod(0o600)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(folder)
    return lambda *arguments: main(arguments)


def test_sign_makes_the_vector(
    run: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command would sign something else than the library."""
    code = run("sign", "unsigned.torrent", "--key", "secret.json", *STATEMENT, "-o", "new.torrent")
    assert code == 0
    assert (folder / "new.torrent").read_bytes() == (folder / "signed.torrent").read_bytes()
    assert capsys.readouterr().out.startswith("new.torrent is signed by org.fruit-testbed.release.")


def test_sign_replaces_the_file_whole(run: Callable[..., int], folder: Path) -> None:
    """A torrent would lose its permissions, or scraps would be left beside it."""
    (folder / "unsigned.torrent").chmod(0o640)
    before = set(folder.iterdir())
    assert run("sign", "unsigned.torrent", "--key", "secret.json", *STATEMENT) == 0
    assert (folder / "unsigned.torrent").read_bytes() == (folder / "signed.torrent").read_bytes()
    assert (folder / "unsigned.torrent").stat().st_mode & 0o777 == 0o640
    assert set(folder.iterdir()) == before


def test_sign_states_only_what_was_given(run: Callable[..., int], folder: Path) -> None:
    """Empty claims would be signed."""
    assert run("sign", "unsigned.torrent", "--key", "secret.json", "--signer", "com.example") == 0
    entry = metainfo.parse((folder / "unsigned.torrent").read_bytes()).signatures["com.example"]
    assert signing.stated(entry.info) == {"alg": "ed25519"}


def test_verify_prints_what_is_signed(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """A script could not tell which release was verified."""
    assert run("verify", "signed.torrent", "--key", "public.json", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"signer", "public", "infohash", "info"}
    assert answer["info"]["release"] == 2
    assert run("verify", "signed.torrent", "--key", "public.json") == 0
    assert '"org.fruit-testbed.os/rootfs"' in capsys.readouterr().out


def test_show_prints_what_a_torrent_says(
    run: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An operator could not look into a torrent."""
    assert run("show", "signed.torrent", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    torrent = metainfo.parse((folder / "signed.torrent").read_bytes())
    assert shown["name"] == "rootfs-2.img"
    assert shown["length_bytes"] == 600_007
    assert shown["piece_count"] == 3
    assert shown["infohash"] == torrent.infohash.hex()
    assert [s["signer"] for s in shown["signatures"]] == list(torrent.signatures)
    assert run("show", "signed.torrent") == 0
    assert "not verified" in capsys.readouterr().out


def test_show_obeys_no_stranger(
    run: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A forged torrent could write to an operator's terminal what it likes."""
    value = decode((folder / "unsigned.torrent").read_bytes())
    assert isinstance(value, dict)
    entries = {
        "com.example": {"info": {"\x1b[2J": "\x1b[31mtrusted\r"}, "signature": b"s"},
        "com.other": {"info": {"binary": b"\xff"}, "signature": b"s"},
    }
    (folder / "forged.torrent").write_bytes(encode({**value, b"signatures": entries}))
    assert run("show", "forged.torrent") == 0
    out = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in out)
    assert "com.other" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "unsigned.torrent", "--key", "public.json"), "torrent is not signed by"),
        (("verify", "signed.torrent", "--key", "SPEC.md"), "SPEC.md is not a key file"),
        (("verify", "SPEC.md", "--key", "public.json"), "expected a dictionary at byte 0"),
        (("show", "absent.torrent"), "absent.torrent: No such file"),
        (("show", "."), "Is a directory"),
        (("show", "/dev/zero"), "limit is"),
        (("sign", "unsigned.torrent", "--key", "public.json"), "signing needs the secret key file"),
        (("sign", "unsigned.torrent", "--key", "secret.json", "--release", str(2**63)), "64 bits"),
        (("sign", "unsigned.torrent", "--key", "secret.json", "--signer", "a b"), "signer id"),
        (("sign", "unsigned.torrent", "--key", "secret.json", "-o", "no/where"), "No such file"),
    ],
)
def test_a_refusal_is_one_line_and_code_1(
    arguments: tuple[str, ...],
    message: str,
    run: Callable[..., int],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A script would take a refusal for success, or a person would meet a stack trace."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("bep35: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("arguments", [(), ("paint",), ("sign", "a"), ("verify",), ("show", "a", "--no")])
def test_wrong_usage_is_code_2(arguments: tuple[str, ...]) -> None:
    """A script could not tell a typing mistake from a bad torrent."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2


def test_help_shows_an_example_that_works(folder: Path) -> None:
    """A newcomer could not start from the help."""
    command = [sys.executable, "-m", "bep35"]
    text = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    example = text.split("example:\n")[1].replace("\\\n", " ").splitlines()
    shutil.copy(folder / "unsigned.torrent", folder / "rootfs-2.torrent")
    shutil.copy(folder / "secret.json", folder / "alice.secret.json")
    shutil.copy(folder / "public.json", folder / "alice.public.json")
    lines = [line.split()[3:] for line in example if "python -m bep35" in line]
    assert [line[0] for line in lines] == ["sign", "verify", "show"]
    for line in lines:
        done = subprocess.run([*command, *line], cwd=folder, capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
