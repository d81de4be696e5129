"""`python -m bep35`: what it prints, and how it ends."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bep35 import key_file, metainfo, signing
from bep35.__main__ import main
from bep35.bencode import decode, encode
from bep35.torrent import parse
from bep35.verdicts import Trust, judge, valid_keys

STATEMENT = ["--resource", "org.fruit-testbed.os/rootfs", "--release", "2", "--version", "1.1.0"]
STATEMENT += ["--compatible", "raspberrypi,3-model-b", "--compatible", "raspberrypi,4-model-b"]


@pytest.fixture
def folder(vectors: Path, tmp_path: Path) -> Path:
    """The vectors, copied so that they can be written, the secret key kept secret."""
    for path in vectors.iterdir():
        shutil.copy(path, tmp_path)
    for path in (*tmp_path.glob("*secret.json"), *tmp_path.glob("*.key.pem")):
        path.chmod(0o600)
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


SHOWN = {
    "schema",
    "kind",
    "name",
    "infohash_v1",
    "infohash_v2",
    "length_bytes",
    "piece_bytes",
    "files",
    "sha256",
    "size_bytes",
    "signatures",
}
OF_SIGNATURE = {"signer", "verdict", "why", "algorithm", "key_sha256", "info", "certificate"}


def test_verify_prints_what_is_signed(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """A script could not tell which release was verified."""
    assert run("verify", "signed.torrent", "--key", "public.json", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == SHOWN | {"threshold", "valid_keys", "verified"}
    assert (answer["threshold"], answer["valid_keys"], answer["verified"]) == (1, 1, True)
    (signature,) = answer["signatures"]
    assert set(signature) == OF_SIGNATURE
    assert (signature["verdict"], signature["info"]["release"]) == ("valid", 2)
    assert run("verify", "signed.torrent", "--key", "public.json") == 0
    assert '"org.fruit-testbed.os/rootfs"' in capsys.readouterr().out


def test_show_prints_what_a_torrent_says(
    run: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An operator could not look into a torrent."""
    assert run("show", "signed.torrent", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    torrent = metainfo.parse((folder / "signed.torrent").read_bytes())
    assert set(shown) == SHOWN
    assert (shown["kind"], shown["name"], shown["length_bytes"]) == ("v2", "rootfs-2.img", 600_007)
    assert (shown["infohash_v1"], shown["infohash_v2"]) == (None, torrent.infohash.hex())
    assert shown["files"] == [
        {"path": ["rootfs-2.img"], "length_bytes": 600_007, "pieces_root": torrent.pieces_root.hex()}
    ]
    assert [(s["signer"], s["verdict"]) for s in shown["signatures"]] == [
        (signer_id, "unknown") for signer_id in torrent.signatures
    ]
    assert run("show", "signed.torrent") == 0
    assert "no key is given" in capsys.readouterr().out
    assert run("show", "signed.torrent", "--key", "public.json") == 0
    assert ": valid\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["v1-signed", "v2-folder-signed", "hybrid-signed", "sha1"])
def test_every_kind_can_be_shown(
    name: str, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """An operator could not look into an ordinary torrent."""
    assert run("show", f"{name}.torrent", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    kind = "v1" if name == "sha1" else name.split("-")[0]
    assert shown["kind"] == kind
    assert (shown["infohash_v1"] is None) == (kind == "v2")
    assert (shown["infohash_v2"] is None) == (kind == "v1")
    assert len(shown["files"]) == 4
    assert run("show", f"{name}.torrent") == 0
    out = capsys.readouterr().out
    assert "more/b.bin" in out
    assert ("com.example.alice" in out) == (name == "sha1")


def test_a_threshold_counts_keys(
    run: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One key under two names would pass for two maintainers, or a forged signature would block the good ones."""
    two = ("--key", "public.json", "--key", "second-public.json", "--threshold", "2")
    assert run("verify", "two-signers.torrent", *two) == 0
    assert capsys.readouterr().out.count(": valid") == 2
    assert run("verify", "two-signers-tampered.torrent", *two) == 1
    assert "1 of the 2 keys needed have signed: " in capsys.readouterr().err
    assert run("verify", "two-signers-tampered.torrent", *two[:4]) == 0
    assert run("verify", "signed.torrent", *two) == 1
    assert "torrent is not signed by" in capsys.readouterr().err
    once = (folder / "signed.torrent").read_bytes()
    key = key_file.read_secret(folder / "secret.json")
    twice = signing.sign(once, "com.example.alias", key, {})
    torrent = parse(twice)
    (name,) = set(torrent.signatures) - {"com.example.alias"}
    public = bytes(key.verify_key)
    findings = judge(torrent, Trust(at_s=0, keys={name: public, "com.example.alias": public}))
    assert [found.verdict.value for found in findings] == ["valid", "valid"]
    assert valid_keys(findings) == {hashlib.sha256(public).digest()}


def test_refusals_in_json_say_who_and_why(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A script would know that something is wrong, and not with whom."""
    both = ("--key", "public.json", "--key", "second-public.json", "--threshold", "2", "--json")
    assert run("verify", "two-signers-tampered.torrent", *both) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["verified"], answer["valid_keys"]) == (False, 1)
    assert sorted(s["verdict"] for s in answer["signatures"]) == ["invalid", "valid"]
    assert all((s["why"] == "") == (s["verdict"] == "valid") for s in answer["signatures"])


def test_certificates_from_the_command_line(
    run: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signers with certificates would have to write a program."""
    pytest.importorskip("cryptography", reason="needs the extra x509")
    statement = ("--release", "2", "--version", "1.1.0")
    mine = ("--key", "leaf.key.pem", "--certificate", "leaf.crt.pem")
    assert run("sign", "v1-unsigned.torrent", *mine, *statement, "-o", "new.torrent") == 0
    assert (folder / "new.torrent").read_bytes() == (folder / "x509-leaf.torrent").read_bytes()
    assert "signed by com.example.alice" in capsys.readouterr().out
    at = ("--at", "2027-01-15")
    assert run("verify", "new.torrent", "--root", "root.crt.pem", *at, "--json") == 0
    (signature,) = json.loads(capsys.readouterr().out)["signatures"]
    assert signature["algorithm"] == "rsa-sha256"
    assert signature["certificate"]["subject"] == "CN=com.example.alice,O=Example Studio"
    assert signature["certificate"]["valid_to"].startswith("2046-")
    assert run("verify", "new.torrent", "--certificate", "leaf.crt.pem", *at) == 0
    assert "valid_to" in capsys.readouterr().out
    assert run("verify", "new.torrent", "--root", "other-root.crt.pem", *at) == 1
    assert "did not sign it" in capsys.readouterr().err
    assert run("verify", "new.torrent", "--root", "root.crt.pem", "--at", "1") == 1
    assert "not on 1970-01-01" in capsys.readouterr().err
    assert run("verify", "sha1.torrent", "--root", "root.crt.pem", *at) == 1
    assert "SHA-1" in capsys.readouterr().err
    assert run("verify", "sha1.torrent", "--root", "root.crt.pem", *at, "--allow-sha1") == 0
    capsys.readouterr()
    assert run("sign", "v1-unsigned.torrent", *mine, "--embed", "no", "-o", "bare.torrent") == 0
    assert len((folder / "bare.torrent").read_bytes()) < 800
    for arguments, why in [
        (mine[:2], "--certificate FILE"),
        ((*mine, "--signer", "com.example.bob"), "names the signer 'com.example.alice'"),
        (("--key", "self.key.pem", *mine[2:]), "not that of the certificate"),
        ((*mine, "--passphrase-file", "secret.json"), "has no passphrase"),
        ((*mine[:2], "--certificate", "SPEC.md"), "not an X.509 certificate"),
    ]:
        assert run("sign", "v1-unsigned.torrent", *arguments) == 1
        assert why in capsys.readouterr().err
    (folder / "leaf.key.pem").chmod(0o644)
    assert run("sign", "v1-unsigned.torrent", *mine) == 1
    assert "chmod 600" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("paint",),
        ("sign", "a"),
        ("verify",),
        ("show", "a", "--no"),
        ("verify", "a"),
        ("verify", "a", "--key", "k", "--threshold", "0"),
        ("verify", "a", "--root", "r", "--signer", "com.example"),
        ("show", "a", "--at", "tomorrow"),
    ],
)
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
    shutil.copy(folder / "v1-unsigned.torrent", folder / "film.torrent")
    shutil.copy(folder / "leaf.key.pem", folder / "alice.key.pem")
    shutil.copy(folder / "leaf.crt.pem", folder / "alice.crt.pem")
    shutil.copy(folder / "root.crt.pem", folder / "studio.crt.pem")
    lines = [line.split()[3:] for line in example if "python -m bep35" in line]
    assert [line[0] for line in lines] == ["sign", "verify", "show", "sign", "verify"]
    for line in lines:
        done = subprocess.run([*command, *line], cwd=folder, capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
