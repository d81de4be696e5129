"""Certificates and RSA: who counts as a signer, until when, and what is refused."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("cryptography", reason="needs the extra x509")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bep35.bencode import decode, encode
from bep35.errors import Bep35Error, CertificateError, KeyFileError, SignatureError, UnknownSignerError
from bep35.torrent import Torrent, parse
from bep35.verdicts import Trust, Verdict, judge
from bep35.x509.certificate import Certificate, read_certificate, read_certificates
from bep35.x509.rsa import read_rsa_key, sign_with_certificate, verify_with_certificates
from tests.bep35.certificates import (
    CA,
    END_S,
    NOW_S,
    START_S,
    certificate,
    der,
    named,
    pem,
    private_key,
    signs,
    usage,
)

ALICE, ROOT = "com.example.alice", "com.example"
RAW = (Path(__file__).parents[1] / "vectors" / "bep35" / "v1-unsigned.torrent").read_bytes()


def root(**options: Any) -> Certificate:
    return certificate(ROOT, **{"extensions": CA, **options})


def leaf(**options: Any) -> Certificate:
    return certificate(ALICE, **{"issuer": ROOT, **options})


def signed(by: Certificate, **options: Any) -> Torrent:
    return parse(sign_with_certificate(RAW, by, signs(ALICE), {"release": 1}, **options))


def verdict(torrent: Torrent, *, at_s: int = NOW_S, **given: Any) -> str:
    """How the signature under Alice's name verifies, or why it does not."""
    given = {"given": [], "roots": [], **given}
    try:
        found = verify_with_certificates(torrent, ALICE, at_s=at_s, **given)
    except UnknownSignerError:
        return "unknown"
    except SignatureError as error:
        return str(error)
    assert found.stated["release"] == 1
    return found.algorithm


def test_a_certificate_that_a_root_issued_counts() -> None:
    """A signer with a certificate could sign nothing."""
    assert verdict(signed(leaf()), roots=[root()]) == "rsa-sha256"
    assert verdict(signed(leaf()), given=[leaf()]) == "rsa-sha256"
    assert verdict(signed(leaf())) == "unknown"
    assert verdict(signed(leaf()), roots=[certificate("com.other", extensions=CA)]) == "unknown"


def test_a_self_signed_certificate_stays_out_and_has_to_be_given() -> None:
    """Every torrent would carry what whoever trusts it has already; or an embedded one would vouch for itself."""
    mine = certificate(ALICE)
    assert signed(mine).signatures[ALICE].certificate is None
    assert signed(leaf()).signatures[ALICE].certificate == leaf().der
    assert verdict(signed(mine), given=[mine]) == "rsa-sha256"
    assert verdict(signed(mine)) == "unknown"
    embedded = signed(mine, embed=True)
    assert embedded.signatures[ALICE].certificate == mine.der
    assert verdict(embedded) == "unknown"
    assert verdict(embedded, given=[mine]) == "rsa-sha256"
    assert signed(leaf(), embed=False).signatures[ALICE].certificate is None


def test_a_renewed_certificate_of_the_same_key_counts_for_old_torrents() -> None:
    """Renewing a certificate would mean signing everything anew."""
    torrent = signed(leaf(end_s=NOW_S - 1))
    assert "is valid from" in verdict(torrent, roots=[root()])
    assert verdict(torrent, given=[leaf()]) == "rsa-sha256"


def test_a_given_signer_issues_no_others() -> None:
    """One signer could make as many signers as a threshold asks for."""
    bob = certificate("com.example.bob")
    made_by_bob = certificate(ALICE, issuer="com.example.bob")
    assert verdict(signed(made_by_bob), given=[bob]) == "unknown"
    assert "it is no CA" in verdict(signed(made_by_bob), roots=[bob])
    authority = certificate("com.example.bob", extensions=CA)
    assert verdict(signed(made_by_bob), given=[authority]) == "unknown"
    assert verdict(signed(made_by_bob), roots=[authority]) == "rsa-sha256"


def test_a_chain_of_three_is_too_long() -> None:
    """Whoever a root trusted would be trusted to trust others: BEP-35 does not allow it yet."""
    middle = certificate("com.example.middle", issuer=ROOT, extensions=CA)
    far = certificate(ALICE, issuer="com.example.middle")
    assert verdict(signed(far), roots=[root()]) == "unknown"
    assert verdict(signed(far), roots=[root(), middle]) == "rsa-sha256"


def test_certificates_count_in_their_time_only() -> None:
    """A certificate that ran out, or is not meant to count yet, would count."""
    torrent = signed(leaf())
    for at_s, good in [(START_S - 1, False), (START_S, True), (END_S, True), (END_S + 1, False)]:
        assert (verdict(torrent, roots=[root()], at_s=at_s) == "rsa-sha256") is good
        assert (verdict(torrent, given=[leaf()], at_s=at_s) == "rsa-sha256") is good
    assert "is valid from" in verdict(torrent, roots=[root(end_s=NOW_S - 1)])
    assert "not on second" in verdict(torrent, given=[leaf()], at_s=2**62)


def test_any_of_two_roots_of_one_name_may_have_issued() -> None:
    """A root could not be renewed: of old and new, the wrong one would be asked."""
    other = certificate(ROOT, key=private_key("another root"), extensions=CA)
    torrent = signed(leaf())
    assert "whose key did not sign it" in verdict(torrent, roots=[other])
    assert verdict(torrent, roots=[other, root()]) == "rsa-sha256"


ALIEN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ([usage(digital_signature=True)], ""),
        ([usage(key_encipherment=True)], "not meant for signatures"),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)], ""),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), True)], ""),
        (
            [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)],
            "other things than signing code",
        ),
        ([ALIEN], "critical extension that is not handled: 1.2.3.4"),
        ([(ALIEN[0], False)], ""),
    ],
)
@pytest.mark.parametrize("as_given", [True, False], ids=["given", "issued"])
def test_a_certificate_is_used_as_it_says(extensions: Any, why: str, as_given: bool) -> None:
    """The certificate of a web server, from the same authority, could sign releases."""
    mine = leaf(extensions=extensions)
    trusted = {"given": [mine]} if as_given else {"roots": [root()]}
    found = verdict(signed(mine), **trusted)
    assert found == "rsa-sha256" if not why else why in found


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ([*CA, usage(key_cert_sign=True)], ""),
        ([*CA, usage(digital_signature=True)], "may not issue others (its key usage)"),
        ([], "it is no CA"),
        ([(x509.BasicConstraints(ca=False, path_length=None), True)], "it is no CA"),
        ([*CA, ALIEN], "critical extension"),
    ],
)
def test_a_root_issues_only_if_it_may(extensions: Any, why: str) -> None:
    """Any certificate given as a root by mistake could make signers."""
    found = verdict(signed(leaf()), roots=[root(extensions=extensions)])
    assert found == "rsa-sha256" if not why else why in found


def test_a_name_is_not_borrowed() -> None:
    """Whoever has a certificate could sign in anybody's name."""
    other = certificate("com.example.mallory", key=private_key(ALICE), issuer=ROOT)
    torrent = parse(sign_with_certificate(RAW, other, signs(ALICE), {"release": 1}))
    entries: Any = decode(torrent.raw)
    entries[b"signatures"] = {ALICE: entries[b"signatures"][b"com.example.mallory"]}
    assert "names another signer" in verdict(parse(encode(entries)), roots=[root()])


def test_a_strangers_certificate_does_not_hide_the_given_one() -> None:
    """Somebody could put a certificate into a torrent and make a good signature look unknown or bad."""
    entries: Any = decode(signed(leaf(), embed=False).raw)
    strangers = [
        b"garbage",
        certificate("com.example.mallory").der,
        certificate(ALICE, key=private_key("mallory"), issuer="com.unknown").der,
        certificate(ALICE, key=private_key("mallory"), issuer=ROOT, issuer_key=private_key(ROOT)).der,
    ]
    for stranger in strangers:
        entries[b"signatures"][ALICE.encode()][b"certificate"] = stranger
        assert verdict(parse(encode(entries)), given=[leaf()], roots=[root()]) == "rsa-sha256"


def test_old_signatures_count_only_where_asked_for() -> None:
    """Whoever can pay for a collision of SHA-1 could have a harmless torrent signed and spread another."""
    entries: Any = decode(RAW)
    made = private_key(ALICE).sign(parse(RAW).info_raw, padding.PKCS1v15(), hashes.SHA1())
    entries[b"signatures"] = {ALICE: {b"signature": made, b"certificate": leaf().der}}
    torrent = parse(encode(entries))
    with pytest.raises(SignatureError, match="SHA-1, which counts only where it is asked for"):
        verify_with_certificates(torrent, ALICE, given=[], roots=[root()], at_s=NOW_S)
    old = verify_with_certificates(torrent, ALICE, given=[], roots=[root()], at_s=NOW_S, allow_sha1=True)
    assert (old.algorithm, old.stated) == ("rsa-sha1", {})


def sha1_leaf() -> Certificate:
    """`leaf`, its issuer's signature remade with SHA-1: programs of today no longer make such."""
    template = leaf().parsed
    sha256_rsa, sha1_rsa = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    body = template.tbs_certificate_bytes.replace(sha256_rsa, sha1_rsa)
    signature = private_key(ROOT).sign(body, padding.PKCS1v15(), hashes.SHA1())
    whole = leaf().der.replace(template.tbs_certificate_bytes, body).replace(template.signature, signature)
    return read_certificate(whole.replace(sha256_rsa, sha1_rsa))


def test_certificates_made_with_sha1_count_only_where_asked_for() -> None:
    """A forged certificate would count as a root's."""
    torrent = signed(sha1_leaf())
    assert "is signed with SHA-1" in verdict(torrent, roots=[root()])
    assert verdict(torrent, roots=[root()], allow_sha1=True) == "rsa-sha256"


def test_algorithms_do_not_stand_in_for_each_other() -> None:
    """A signature would be checked in another way than its signer stated."""
    entries: Any = decode(signed(leaf()).raw)
    message = parse(RAW).info_raw
    for alg, algorithm in [(b"rsa-sha256", hashes.SHA1()), (b"rsa-sha256", hashes.SHA512())]:
        info = encode({"alg": alg, "release": 1})
        made = private_key(ALICE).sign(message + info, padding.PKCS1v15(), algorithm)
        entries[b"signatures"][ALICE.encode()].update({b"info": decode(info), b"signature": made})
        refused = verdict(parse(encode(entries)), roots=[root()], allow_sha1=True)
        assert "does not verify" in refused
    for alg in (b"ed25519", b"rsa-sha1", b"", 7):
        info = encode({"alg": alg, "release": 1})
        made = private_key(ALICE).sign(message + info, padding.PKCS1v15(), hashes.SHA256())
        entries[b"signatures"][ALICE.encode()].update({b"info": decode(info), b"signature": made})
        assert "not stated to be rsa-sha256" in verdict(parse(encode(entries)), roots=[root()])
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    info = encode({"alg": "rsa-sha256", "release": 1})
    made = private_key(ALICE).sign(message + info, pss, hashes.SHA256())
    entries[b"signatures"][ALICE.encode()].update({b"info": decode(info), b"signature": made})
    assert "does not verify" in verdict(parse(encode(entries)), roots=[root()])


def test_no_byte_that_counts_can_change_unseen() -> None:
    """What an RSA signature, or the certificate's own, covers could be changed."""
    torrent = signed(leaf())
    embedded = torrent.signatures[ALICE]
    after_info = torrent.raw.index(torrent.info_raw) + len(torrent.info_raw)
    for at in range(torrent.raw.index(torrent.info_raw), torrent.raw.index(b"9:x-unknown")):
        if after_info <= at < torrent.raw.index(b"10:signatures"):
            continue
        changed = bytearray(torrent.raw)
        changed[at] ^= 0x01
        try:
            other = parse(bytes(changed))
            if verdict(other, roots=[root()]) != "rsa-sha256":
                continue
        except Bep35Error:
            continue
        # DER leaves a bit string's end some freedom: then the same certificate is written in another way.
        entry = other.signatures[ALICE]
        assert entry.certificate is not None
        assert (
            read_certificate(entry.certificate).parsed.tbs_certificate_bytes
            == leaf().parsed.tbs_certificate_bytes
        )
        assert entry.signature == embedded.signature
        assert (other.info_raw, entry.info_raw) == (torrent.info_raw, embedded.info_raw)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: der("weak", key=private_key("weak", 1024)), "1024 bits"),
        (lambda: der("curve", key=ec.generate_private_key(ec.SECP256R1())), "not RSA"),
        (lambda: der("odd", key=rsa.generate_private_key(3, 2048)), ""),
        (lambda: der(named()), "common name"),
        (lambda: der(named("a", "b"), key=private_key(ALICE)), "common name"),
        (lambda: leaf().der + b"\0", "not an X.509 certificate"),
        (lambda: leaf().der[:-1], "not an X.509 certificate"),
        (lambda: b"", "not an X.509 certificate"),
        (lambda: bytes(16 * 1024 + 1), "limit is"),
        (lambda: named("a").public_bytes(), "not an X.509 certificate"),
    ],
)
def test_certificates_beyond_the_bounds_are_refused(make: Any, why: str) -> None:
    """A weak key would be believed, or a monster would be computed with."""
    if not why:
        assert read_certificate(make()).key_bits == 2048
        return
    with pytest.raises(CertificateError, match=why):
        read_certificate(make())


def test_files_of_certificates() -> None:
    """A signer's certificate would have to be converted by hand first."""
    pems = b"".join(one.parsed.public_bytes(serialization.Encoding.PEM) for one in (leaf(), root()))
    assert read_certificates(b"Alice's:\n" + pems) == (leaf(), root())
    assert read_certificates(leaf().der) == (leaf(),)
    for wrong in (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"-----BEGIN"):
        with pytest.raises(CertificateError, match="no certificates in PEM"):
            read_certificates(wrong)
    with pytest.raises(CertificateError, match="limit is 64"):
        read_certificates(leaf().parsed.public_bytes(serialization.Encoding.PEM) * 65)
    with pytest.raises(CertificateError, match="more than"):
        read_certificates(bytes(300_000))


def test_odd_certificates_put_no_words_of_theirs_on_the_terminal() -> None:
    """Whoever makes a torrent would write lines of his choice into a node's log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        country = x509.NameAttribute(NameOID.COUNTRY_NAME, "two letters are usual", _validate=False)
        odd = der(x509.Name([country, x509.NameAttribute(NameOID.COMMON_NAME, "odd")]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_certificate(odd).signer_id == "odd"
        assert len(read_certificates(ssl.DER_cert_to_PEM_cert(odd).encode())) == 1


def test_private_keys() -> None:
    """A key would be used that is not the signer's, or a passphrase asked for in vain."""
    locked = pem(private_key(ALICE), b"correct horse")
    assert read_rsa_key(locked, b"correct horse")(b"m") == signs(ALICE)(b"m")
    for data, passphrase, why in [
        (locked, None, "needs its passphrase"),
        (locked, b"wrong", "another passphrase"),
        (pem(private_key(ALICE)), b"any", "has no passphrase"),
        (pem(ed25519.Ed25519PrivateKey.generate()), None, "not RSA"),
        (b"-----BEGIN PRIVATE KEY-----\n", None, "can be read"),
        (bytes(40_000), None, "larger than"),
    ]:
        with pytest.raises(KeyFileError, match=why):
            read_rsa_key(data, passphrase)
    with pytest.raises(SignatureError, match="not that of the certificate"):
        sign_with_certificate(RAW, leaf(), signs("somebody else"), {})
    assert "PRIVATE" not in repr(signs(ALICE))


def test_verdicts_of_a_mixed_torrent() -> None:
    """A threshold over people with keys and people with certificates could not be counted."""
    torrent = signed(leaf())
    for certificates, roots, expected in [
        ((), (), Verdict.UNKNOWN),
        ((leaf().der,), (), Verdict.VALID),
        ((), (root().der,), Verdict.VALID),
        ((), (root(end_s=NOW_S - 1).der,), Verdict.INVALID),
    ]:
        (found,) = judge(torrent, Trust(at_s=NOW_S, certificates=certificates, roots=roots))
        assert found.verdict is expected
        assert (found.key_sha256 == leaf().key_sha256) is (expected is Verdict.VALID)
    with pytest.raises(CertificateError):
        judge(torrent, Trust(at_s=NOW_S, roots=(b"garbage",)))
    spki = (
        private_key(ALICE)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    assert leaf().key_sha256 == hashlib.sha256(spki).digest()


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=5).filter(lambda k: k != "alg"), st.text(max_size=9)
    )
)
def test_what_is_stated_comes_back(info: dict[str, str]) -> None:
    """A reader would read another statement than the signer made."""
    if any("\ud800" <= sign <= "\udfff" for text in info.values() for sign in text):
        return
    torrent = parse(sign_with_certificate(RAW, leaf(), signs(ALICE), info))
    found = verify_with_certificates(torrent, ALICE, given=[], roots=[root()], at_s=NOW_S)
    assert found.stated == {"alg": "rsa-sha256", **info}
    assert torrent.info_raw == parse(RAW).info_raw


def run_without_cryptography(program: str) -> str:
    """What a Python without the extra prints."""
    hide = "import sys, importlib.util as u; real = u.find_spec\n"
    hide += "u.find_spec = lambda n, *a: None if n == 'cryptography' else real(n, *a)\n"
    hide += "sys.modules['cryptography'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", hide + program], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_without_the_extra_only_certificates_are_missing() -> None:
    """Nodes would need 10 MiB more for something they never use; or whoever lacks it would not be told what."""
    program = """
import bep35.__main__, bep35.verdicts as v
from bep35.errors import ExtraMissingError
from bep35.torrent import parse
torrent = parse(open(%r, 'rb').read())
(found,) = v.judge(torrent, v.Trust(at_s=0))
print(found.verdict.value)
try:
    v.judge(torrent, v.Trust(at_s=0, roots=(b'x',)))
except ExtraMissingError as error:
    print(error)
print(bep35.__main__.main(['show', %r]))
"""
    path = str(Path(__file__).parents[1] / "vectors" / "bep35" / "x509-leaf.torrent")
    out = run_without_cryptography(program % (path, path))
    assert out.startswith("unknown\n")
    assert out.count("pip install 'fruitd[x509]'") == 2
    assert out.endswith("0\n")


def test_ed25519_does_not_load_the_extra() -> None:
    """Every node would carry an X.509 library in memory."""
    program = "import sys, bep35.signing, bep35.torrent, bep35.verdicts, swarm.trust.trusted_set\n"
    program += "print(sorted(name for name in sys.modules if name.split('.')[0] == 'cryptography'))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
