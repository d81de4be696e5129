"""Signing apart from each other: if these failed, two maintainers could not sign one release without meeting."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fruitd.errors import RefusedError
from fruitd.maintainer import (
    Bundle,
    ReleasePlan,
    build_release,
    detached_signature,
    merge_release,
    sign_release,
)
from fruitd.maintainer.signature_file import SignatureFile
from swarm.news.record import Record
from swarm.trust.key_files import read_secret_key
from swarm.trust.keys import SecretKey
from tests.fruitd.cli_maintainer.conftest import Fruit

KEYS = ("cora", "dan", "eve")


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def desk(built: Path, name: str) -> Path:
    """A copy of the release on somebody's own machine."""
    return Path(shutil.copytree(built / "release-1", built / name / "release-1"))


def signed_by(folder: Path) -> list[str]:
    bundle = Bundle.load(folder)
    return sorted(bundle.root.names[key] for key in bundle.signers())


def test_two_people_sign_at_the_same_time_and_a_small_file_comes_back(built: Path, fruit: Fruit) -> None:
    """If this failed, a release would take as many journeys as it has signers."""
    assert fruit("release", "sign", "release-1", "--key", "cora.key").code == 0
    for name in ("dan", "eve"):
        folder = desk(built, name)
        before = files(folder)
        answer = fruit("release", "sign", folder, "--key", f"{name}.key", "-o", f"{name}.signature")
        assert answer.code == 0, answer.err
        assert "fruit release merge" in answer.out
        assert files(folder) == before, "the folder stays as it was"
        assert len((built / f"{name}.signature").read_bytes()) < 1024
    merged = fruit("release", "merge", "release-1", "eve.signature", "dan.signature")
    assert merged.code == 0, merged.err
    assert "2 new signatures" in merged.out
    assert signed_by(built / "release-1") == ["cora", "dan", "eve"]
    assert fruit("release", "verify", "release-1", "--trust", "root.fruit").code == 0
    again = fruit("release", "merge", "release-1", "eve.signature")
    assert "0 new signatures" in again.out


def test_the_first_signer_too_may_send_only_a_small_file(built: Path, fruit: Fruit) -> None:
    """If this failed, whoever builds without a key could never collect signatures."""
    cora = desk(built, "cora")
    assert fruit("release", "sign", cora, "--key", "cora.key", "-o", "cora.signature").code == 0
    assert fruit("release", "merge", "release-1", "cora.signature").code == 0
    dan = desk(built, "dan")
    assert fruit("release", "sign", dan, "--key", "dan.key").code == 0
    assert fruit("release", "merge", "release-1", dan / "manifest").code == 0
    assert signed_by(built / "release-1") == ["cora", "dan"]
    assert fruit("release", "verify", "release-1", "--trust", "root.fruit").code == 0


def test_a_signature_file_can_be_read_by_people(built: Path, fruit: Fruit) -> None:
    """If this failed, nobody would know what a file that came by mail is about."""
    fruit("release", "sign", "release-1", "--key", "cora.key", "-o", "s")
    document = json.loads((built / "s").read_bytes())
    assert document["signed_by"] == "cora"
    assert document["about"].startswith("org.fruit-testbed.os/rootfs release 1 (1.0) for pi4; manifest ")
    assert fruit("release", "sign", "release-1", "--key", "cora.key", "-o", "s").code == 1, (
        "nothing is overwritten"
    )
    two = fruit("release", "sign", "release-1", "--key", "cora.key", "--key", "dan.key", "-o", "t")
    assert (two.code, (built / "t").exists()) == (2, False)


def test_two_first_signers_are_told_to_agree(built: Path, fruit: Fruit) -> None:
    """If this failed, half of the signatures would be lost without a word, or a manifest would have two contents."""
    for name in ("cora", "dan"):
        fruit("release", "sign", desk(built, name), "--key", f"{name}.key", "-o", f"{name}.signature")
    before = files(built / "release-1")
    answer = fruit("release", "merge", "release-1", "cora.signature", "dan.signature")
    assert answer.code == 1
    assert "cora and dan have each signed as the first" in answer.err
    assert files(built / "release-1") == before
    assert fruit("release", "merge", "release-1", "cora.signature").code == 0
    late = fruit("release", "merge", "release-1", "dan.signature")
    assert late.code == 1
    assert "other content" in late.err
    fruit("release", "sign", "release-1", "--key", "dan.key")
    assert signed_by(built / "release-1") == ["cora", "dan"]


def test_a_signature_without_the_first_one_says_what_is_missing(signed: Path, fruit: Fruit) -> None:
    """If this failed, people would search for a fault in a file that is good."""
    fruit("release", "sign", "release-1", "--key", "eve.key", "-o", "eve.signature")
    folder = signed / "release-1"
    build_release(
        signed / "image",
        signed / "again",
        ReleasePlan(
            "org.fruit-testbed.os/rootfs", 1, "1.0", ("pi4",), sequence=Bundle.load(folder).plan.sequence
        ),
        (signed / "root.fruit").read_bytes(),
        now_s=Bundle.load(folder).plan.issued_at_s,
    )
    answer = fruit("release", "merge", "again", "eve.signature")
    assert answer.code == 1
    assert "nobody has signed the torrent yet" in answer.err
    assert fruit("release", "merge", "again", "eve.signature", "release-1").code == 0
    assert signed_by(signed / "again") == ["cora", "dan", "eve"]


def other_release(built: Path, fruit: Fruit) -> Path:
    fruit("release", "build", "image", "--resource", "org.x/y", "--version", "2", "--trust", "root.fruit",
        "--release", 2, "--compatible", "pi4", "-o", "other", "--key", "eve.key")  # fmt: skip
    return built / "other"


def test_signatures_under_something_else_are_refused_and_change_nothing(signed: Path, fruit: Fruit) -> None:
    """If this failed, a signature could be carried to a release that its signer never saw."""
    folder = other_release(signed, fruit)
    fruit("release", "sign", folder, "--key", "dan.key", "-o", "dan.signature")
    fruit("release", "sign", "release-1", "--key", "eve.key", "-o", "good")
    forged = SignatureFile.decode((signed / "good").read_bytes())
    (signed / "forged").write_bytes(attrs.evolve(forged, signature=bytes(64)).encode())
    mallory = read_secret_key(signed / "mallory.key").public.raw
    (signed / "stranger").write_bytes(attrs.evolve(forged, public_key=mallory).encode())
    record = Record.decode((signed / "release-1/manifest").read_bytes())
    (signed / "raised").write_bytes(attrs.evolve(record, sequence=record.sequence + 1).encode())
    (signed / "noise").write_bytes(b"noise")
    (signed / "empty").write_bytes(b"{}")
    before = files(signed / "release-1")
    for other, said in {
        "dan.signature": "other content",
        "other": "other content",
        "other/manifest": "other content",
        "raised": "other content",
        "forged": "does not verify",
        "stranger": "no release key",
        "noise": "record",
        "empty": "not of type",
        "missing": "cannot be read",
        "image": "larger than",
        ".": "holds no release",
    }.items():
        answer = fruit("release", "merge", "release-1", "good", other)
        assert (answer.code, said in answer.err) == (1, True), (other, answer.err)
        assert answer.err.count("\n") == 1
        assert files(signed / "release-1") == before, "not even the good one beside it"


def test_a_forged_first_signature_is_refused(built: Path, fruit: Fruit) -> None:
    """If this failed, a folder would be spoilt by whoever answers first."""
    fruit("release", "sign", "release-1", "--key", "cora.key", "-o", "good")
    good = SignatureFile.decode((built / "good").read_bytes())
    (built / "forged").write_bytes(attrs.evolve(good, torrent_signature=bytes(64)).encode())
    before = files(built / "release-1")
    answer = fruit("release", "merge", "release-1", "forged")
    assert answer.code == 1
    assert "its signature does not verify" in answer.err
    assert files(built / "release-1") == before
    folder = other_release(built, fruit)
    assert "another release" in fruit("release", "merge", "release-1", folder).err
    assert files(built / "release-1") == before


class Liar:
    """A key that is kept elsewhere, and answers with a signature of something else."""

    def __init__(self, key: SecretKey, answers_well: int) -> None:
        self.public, self._key, self._left = key.public, key, answers_well

    def sign(self, message: bytes) -> bytes:
        self._left -= 1
        return self._key.sign(message if self._left >= 0 else b"something else")


@pytest.mark.parametrize("answers_well", [0, 1])
def test_a_key_elsewhere_that_signs_something_else_leaves_the_folder_as_it_was(
    built: Path, answers_well: int
) -> None:
    """If this failed, a fault in somebody's token would show only when nodes refuse the release."""
    folder = built / "release-1"
    before = files(folder)
    cora = read_secret_key(built / "cora.key")
    for sign in (sign_release, detached_signature):
        with pytest.raises(RefusedError):
            sign(folder, Liar(cora, answers_well))
        assert files(folder) == before
    sign_release(folder, cora)
    before = files(folder)
    sign_release(folder, Liar(cora, 0))  # is not even asked again
    assert files(folder) == before


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A release that nobody has signed, and everything that three people could send back."""
    from tests.fruitd.maintainer.makers import CHAIN, CORA, DAN, EVE

    base = tmp_path_factory.mktemp("desks")
    (base / "image").write_bytes(b"image" * 1000)
    plan = ReleasePlan("org.x/y", 1, "1", ("pi4",), anyway="no file system")
    build_release(base / "image", base / "unsigned", plan, CHAIN.encode(), now_s=1.8e9)
    sent = {"first": base / "first.signature"}
    sent["first"].write_bytes(detached_signature(base / "unsigned", CORA).encode())
    folder = Path(shutil.copytree(base / "unsigned", base / "cora"))
    sign_release(folder, CORA)
    sent["cora"] = folder
    by_name: dict[str, SecretKey] = {"dan": DAN, "eve": EVE}
    for name, key in by_name.items():
        sent[f"{name}.signature"] = base / f"{name}.signature"
        sent[f"{name}.signature"].write_bytes(detached_signature(folder, key).encode())
        sent[name] = Path(shutil.copytree(folder, base / name))
        sign_release(sent[name], key)
        sent[f"{name}/manifest"] = sent[name] / "manifest"
    return base / "unsigned", sent


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_and_any_repetition_give_the_same_bytes(
    desks: tuple[Path, dict[str, Path]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """If this failed, two people who collect signatures would hold two different manifests of one release."""
    unsigned, sent = desks
    chosen = data.draw(st.lists(st.sampled_from(sorted(sent)), min_size=1, max_size=8))
    first = data.draw(st.sampled_from(["first", "cora"]))
    folder = tmp_path_factory.mktemp("merged") / "release"
    shutil.copytree(unsigned, folder)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(chosen)), max_size=2)))
    merge_release(folder, [sent[first], *(sent[name] for name in chosen[: cuts[0] if cuts else None])])
    for start, end in itertools.pairwise([*cuts, len(chosen)]):
        merge_release(folder, [sent[name] for name in chosen[start:end]])
    signers = {"cora"} | {name.split(".")[0].split("/")[0] for name in chosen} - {"first"}
    assert set(signed_by(folder)) == signers
    straight = Path(shutil.copytree(unsigned, folder.with_name("straight")))
    merge_release(straight, [sent["first"]])
    for name in sorted(signers - {"cora"}):
        merge_release(straight, [sent[name]])
    assert files(folder) == files(straight)
    shutil.rmtree(folder.parent)
