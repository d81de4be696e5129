"""The configuration file: what a node makes of it, and what it says of a mistake."""

from __future__ import annotations

import string
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fruitd.config.tables import CONFIG_BYTES_MAX, Config, load_config, parse_config
from fruitd.errors import UsageError
from swarm.transfer.uplink_rules import Hours

ROOT = Path(__file__).parents[3]
FILE = Path("/etc/fruitd/fruitd.toml")
LEAST = """
[node]
compatible = ["raspberrypi,4-model-b"]
[trust]
root = "root.fruit"
[swarm]
key_file = "/etc/fruitd/swarm.key"
"""
SLOTS = '[slots]\na = "/dev/mmcblk0p2"\nb = "/dev/mmcblk0p3"\n[boot]\nenv = "/boot/fruit.env"\n'


def parse(text: str) -> Config:
    return parse_config(text.encode(), FILE)


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(text)
    words = str(caught.value)
    assert words.startswith(f"{FILE}: ")
    assert "\n" not in words
    return words.removeprefix(f"{FILE}: ")


def test_the_least_file_gives_a_node_that_relays() -> None:
    """A node owner who writes the three things only they know would be asked for more."""
    config = parse(LEAST)
    assert config.node.compatible == ("raspberrypi,4-model-b",)
    assert config.node.name
    assert config.slots is None
    assert (config.swarm.port, config.transfer.port, config.swarm.beacon_port) == (47101, 47102, 47100)
    assert (config.health.sustain_s, config.health.deadline_s) == (300.0, 900.0)
    assert config.api.socket == Path("/run/fruitd/api.sock")
    assert config.api.mode == 0o660


def test_relative_paths_count_from_the_files_folder() -> None:
    """A demo's folder could not be moved, or a daemon started elsewhere would look in the wrong place."""
    config = parse(LEAST + '[slots]\na = "a.img"\nb = "b.img"\n[boot]\nenv = "env"\n')
    assert config.trust.root == Path("/etc/fruitd/root.fruit")
    assert config.swarm.key_file == Path("/etc/fruitd/swarm.key")
    assert config.slots is not None
    assert config.slots.b == Path("/etc/fruitd/b.img")
    assert config.node.state_dir == Path("/var/lib/fruitd")


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (
            "[swarn]\n",
            "there is no table 'swarn' (did you mean \"swarm\"?); allowed: node, trust, swarm, slots,",
        ),
        (
            "[log]\nlevle = 'info'",
            "[log] has no key 'levle' (did you mean \"level\"?); allowed: level, format",
        ),
        (
            "[log]\nlevel = 'inof'",
            "[log] level is 'inof'; allowed: debug, info, warning, error (did you mean",
        ),
        ("[transfer]\nport = 0", "[transfer] port is 0; allowed: a whole number from 1 to 65535"),
        ("[transfer]\nport = true", "[transfer] port is True; allowed: a whole number"),
        ("[transfer]\nport = '47102'", "[transfer] port is '47102'; allowed: a whole number"),
        ("[transfer]\nport = 47101", "[transfer] port is 47101; allowed: another than [swarm] port"),
        ("[transfer]\nupload_bytes_per_s = -1", "[transfer] upload_bytes_per_s is -1; allowed: a whole"),
        ("[health]\ninterval_s = nan", "[health] interval_s is nan; allowed: 0.05 to 86400 seconds"),
        ("[health]\nsustain_s = 901", "[health] deadline_s is 900; allowed: at least 901"),
        ("[health]\nsamples = 1000", "[health] deadline_s is 900; allowed: at least 10000"),
        ("[health]\ncommand = '/bin/true'", "[health] command is '/bin/true'; allowed: a list such as"),
        ("[health]\ncommand = [1]", "[health] command is [1]; allowed: a list such as"),
        (
            "[update]\nretry_min_s = 60\nretry_max_s = 5",
            "[update] retry_max_s is 5; allowed: at least retry_min_s",
        ),
        ("[api]\nmode = 660", '[api] mode is 660; allowed: permissions in octal as a text, such as "0660"'),
        ("[api]\nmode = '0888'", "[api] mode is '0888'; allowed: permissions"),
        ("[api]\nsocket = '/" + "s" * 107 + "'", "allowed: at most 107 bytes"),
        ("[slots]\na = '/dev/a'\n", "[slots] b is missing; allowed: a path"),
        ("[slots]\na = '/dev/a'\nb = '/dev/b'\n", "table [boot] is missing; a node with [slots] needs it"),
        ("[slots]\na = 'a'\nb = 'a'\n[boot]\nenv = 'e'", "[slots] a and b are the same path; allowed: two"),
        ("[boot]\nbackend = 'lilo'", "[boot] backend is 'lilo'; allowed: auto, file, tryboot, uboot, grub"),
        ("[boot]\nbackend = 'grub'", "[boot] env is missing"),
        ("[boot]\nenv = 'e'\nrestart_command = ['']", "[boot] restart_command is ['']; allowed: a list"),
        ("[log", "not valid TOML"),
    ],
)
def test_each_mistake_is_named_with_what_is_allowed(added: str, words: str) -> None:
    """A wrong value would start a node that does something else than its owner wrote, or say nothing of use."""
    assert words in refusal(LEAST + added)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "contacts",
            '["fruit.example.org"]',
            "[swarm] contacts is 'fruit.example.org'; allowed: \"host:port\"",
        ),
        ("contacts", '["fd00::7:47101"]', '"[fd00::7]:47101"'),
        ("contacts", '["a:0"]', "[swarm] contacts is 'a:0'"),
        ("contacts", '"a:1"', "[swarm] contacts is 'a:1'; allowed: a list of 0 to 256 texts"),
        ("bind", '"eth0"', "[swarm] bind is 'eth0'; allowed: an IP address"),
        ("beacon", "1", "[swarm] beacon is 1; allowed: true or false"),
        ("beacon_group", '"192.168.1.1"', "allowed: an IPv4 multicast group"),
        (
            "beacon_interface",
            '"fd00::1"',
            "[swarm] beacon_interface is 'fd00::1'; allowed: an interface's name",
        ),
        (
            "beacon_interface",
            '"192.168.1"',
            "[swarm] beacon_interface is '192.168.1'; allowed: an interface's name",
        ),
        (
            "beacon_interface",
            '["eth0", 1]',
            "[swarm] beacon_interface is ['eth0', 1]; allowed: an interface's name",
        ),
        ("beacon_interface", '["eth/0"]', 'a list of at most 16 of them, or "" for all'),
        ("beacon_port", "47101", "[swarm] beacon_port is 47101; allowed: another than port"),
    ],
)
def test_each_mistake_in_the_swarm_table(key: str, value: str, words: str) -> None:
    """A node would stay alone and its owner not know why."""
    assert words in refusal(LEAST + f"{key} = {value}\n")


def test_the_same_value_in_its_right_form() -> None:
    """The allowed forms named in the messages would be refused themselves."""
    config = parse(
        LEAST
        + 'contacts = ["fruit.example.org:47101", "[fd00::7]:1", "10.0.0.1:65535"]\nbind = "::"\nbeacon = false\n'
        + 'beacon_interface = "192.168.1.7"\n'
        + SLOTS
        + "[health]\nsustain_s = 2\nsamples = 3\ninterval_s = 0.25\n[api]\nmode = '600'\n"
    )
    assert config.swarm.contacts == ("fruit.example.org:47101", "[fd00::7]:1", "10.0.0.1:65535")
    assert config.swarm.beacon_interface == ("192.168.1.7",)
    assert config.api.mode == 0o600
    assert config.health.sustain_s == 2.0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('""', ()),
        ("[]", ()),
        ('"wlan0"', ("wlan0",)),
        ('["eth0", "10.0.0.7", "enp3s0.100"]', ("eth0", "10.0.0.7", "enp3s0.100")),
    ],
)
def test_interfaces_are_one_or_a_list(written: str, meant: tuple[str, ...]) -> None:
    """A configuration of before, which names one by its address, would be refused; or one with two LANs be impossible."""
    assert parse(LEAST + f"beacon_interface = {written}\n").swarm.beacon_interface == meant


def test_missing_tables_and_several_mistakes() -> None:
    """An empty file would be told one thing at a time without saying that there is more."""
    assert refusal("") == "table [node] is missing (and 2 more)"
    missing = refusal("[node]\n[trust]\nroot = 'r'\n[swarm]\nkey_file = 'k'\n")
    assert missing == "[node] compatible is missing; allowed: a list of 1 to 256 texts"
    assert refusal(LEAST.replace("[node]", "[[node]]")).startswith("[node] is [{'compatible'")
    assert refusal("slots = 3\n" + LEAST) == "[slots] is 3; allowed: a table"


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A folder, a missing or a huge file would end in a traceback, or fill the memory."""
    for path, words in [(tmp_path, "Is a directory"), (tmp_path / "no.toml", "No such file or directory")]:
        with pytest.raises(UsageError, match=words):
            load_config(path)
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (CONFIG_BYTES_MAX + 1))
    with pytest.raises(UsageError, match="larger than 65536 bytes"):
        load_config(huge)
    assert "not valid TOML" in refusal("a = " + "[" * 5000)


def test_every_key_is_described_with_its_default() -> None:
    """A key could not be found in docs/configuration.md, or would do something else than is written there."""
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    sections = {part.split("]", 1)[0]: part for part in text.split("\n## [")[1:]}
    full = parse(LEAST + SLOTS + "[keeper]\n")
    assert list(sections) == [table.name for table in attrs.fields(Config)]
    for table, section in sections.items():
        keys = attrs.fields(type(getattr(full, table)))
        rows = [line.split(" | ")[:2] for line in section.splitlines() if line.startswith("| `")]
        assert [row[0] for row in rows] == [f"| `{key.name}`" for key in keys]
        for key, (_, default) in zip(keys, rows, strict=True):
            if default.startswith("`"):
                written = tomllib.loads(f"x = {default.strip('`')}")["x"]
                assert key.metadata["check"](written) == key.default, f"[{table}] {key.name}"
            else:
                words = {"name": "the host name", "token": "(none)", "env": "(needed for file and grub)"}
                assert default == words.get(key.name, "(must be given)")


def test_the_example_loads() -> None:
    """The file an operator begins with would be refused."""
    config = load_config(ROOT / "packaging" / "fruitd.example.toml")
    assert config.slots is not None
    assert config.health.deadline_s >= config.health.sustain_s


WORDS = st.sampled_from([table.name for table in attrs.fields(Config)] + ["a", "port", "root", "name"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(v) for v in value) + "]"
    if isinstance(value, str):
        return "'" + "".join(c for c in value if c.isprintable() and c != "'") + "'"
    return "''" if value is None else repr(value)


@pytest.mark.fuzz
@settings(max_examples=80, deadline=None)
@given(st.dictionaries(WORDS, VALUES, max_size=5) | st.binary(max_size=200))
def test_nothing_but_our_error_escapes(document: dict[str, Any] | bytes) -> None:
    """A file somebody mangled would end the daemon in a traceback, or start it half configured."""
    data = (
        document
        if isinstance(document, bytes)
        else "\n".join(f"{k} = {as_toml(v)}" for k, v in document.items()).encode()
    )
    with pytest.raises(UsageError) as caught:
        parse_config(data, FILE)
    assert "\n" not in str(caught.value)


@pytest.mark.fuzz
@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["node", "swarm", "health", "api", "update", "transfer", "log"]), st.data())
def test_any_value_of_any_key_is_taken_or_refused(table: str, data: st.DataObject) -> None:
    """A value of a wrong kind would get past its check and break the node later, far from the file."""
    cls = type(getattr(parse(LEAST + SLOTS), table))
    key = data.draw(st.sampled_from([k.name for k in attrs.fields(cls)]))
    value = data.draw(VALUES)
    lines = LEAST.replace(f"\n{key} = ", "\n# ").replace(f"[{table}]", f"[{table}]\n{key} = {as_toml(value)}")
    text = lines if f"[{table}]" in LEAST else LEAST + f"[{table}]\n{key} = {as_toml(value)}\n"
    said = ""
    try:
        taken = getattr(getattr(parse(text), table), key)
    except UsageError as error:
        taken, said = "", str(error)
    assert isinstance(taken, str | int | float | tuple | Path | Hours) or (key == "hours" and taken is None)
    assert not said or f"[{table}]" in said
