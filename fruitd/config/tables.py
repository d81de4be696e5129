"""The configuration of one node: a TOML file read once, at start, into frozen values.

Every key that is not known and every value that cannot be is refused before anything is touched, in one line
that names the file, the table, the key, what was found and what is allowed (docs/configuration.md).
"""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args

import attrs
import cattrs
from attrs import field, frozen
from cattrs.gen import make_dict_structure_fn, override

from fruitd.config import checks
from fruitd.config.power_tables import HeartbeatConfig, RecoveryConfig, StackConfig
from fruitd.errors import UsageError
from swarm.news.record import KEY_BYTES_MAX
from swarm.transfer.uplink_rules import Hours

CONFIG_BYTES_MAX = 64 * 1024
"""A hand-written file is 2 KiB; anything near this is not a configuration."""
NAME_CHARS_MAX = 40
"""A node's name and site travel in every hello and status record, which have to fit a datagram."""
CHANNEL_CHARS_MAX = KEY_BYTES_MAX
"""The channel is the key of its manifest's record."""
RESOURCE_CHARS_MAX = 128
"""The bound of names in a manifest; a longer one could never be offered."""
DAY_S = 86_400.0
RATE_MAX = 10**12
QUOTA_BYTES_MAX = 10**15
PORT = checks.whole(1, 65535)


def _be(check: checks.Check) -> dict[str, checks.Check]:
    """What a key may be, kept beside it. A key without a default has to be in the file."""
    return {"check": check}


def _host_name() -> str:
    """The machine's name, cut to what a hello can carry."""
    name = "".join(c for c in socket.gethostname() if c.isprintable())[:NAME_CHARS_MAX]
    return name or "node"


@frozen
class NodeConfig:
    """`[node]`: who this node is and what it follows."""

    compatible: tuple[str, ...] = field(metadata=_be(checks.words(checks.text(RESOURCE_CHARS_MAX), least=1)))
    """Hardware this node is; it takes images for any of these."""
    name: str = field(factory=_host_name, metadata=_be(checks.text(NAME_CHARS_MAX)))
    site: str = field(default="", metadata=_be(checks.text(NAME_CHARS_MAX, may_be_empty=True)))
    """Nodes of one site reach each other without leaving their LAN; "" where nobody told."""
    state_dir: Path = field(default=Path("/var/lib/fruitd"), metadata=_be(checks.path))
    resource: str = field(
        default="org.fruit-testbed.os/rootfs", metadata=_be(checks.text(RESOURCE_CHARS_MAX))
    )
    token: Path | None = field(default=None, metadata=_be(checks.path))
    """The join token on the card; it may go once the node has its certificate."""
    channel: str = field(default="stable", metadata=_be(checks.text(CHANNEL_CHARS_MAX)))


@frozen
class TrustConfig:
    """`[trust]`: whom this node believes."""

    root: Path = field(metadata=_be(checks.path))


@frozen
class SwarmConfig:
    """`[swarm]`: how this node finds and speaks with others."""

    key_file: Path = field(metadata=_be(checks.path))
    bind: str = field(default="0.0.0.0", metadata=_be(checks.address))  # noqa: S104  nodes are there to be reached
    port: int = field(default=47101, metadata=_be(PORT))
    """UDP and TCP."""
    contacts: tuple[str, ...] = field(default=(), metadata=_be(checks.words(checks.contact)))
    """`host:port`; names are resolved when they are used."""
    beacon: bool = field(default=True, metadata=_be(checks.yes_or_no))
    beacon_interface: tuple[str, ...] = field(default=(), metadata=_be(checks.interfaces))
    """Names or IPv4 addresses; none: every LAN, or the one of `bind`."""
    beacon_group: str = field(default="239.192.70.82", metadata=_be(checks.multicast_group))
    beacon_port: int = field(default=47100, metadata=_be(PORT))


@frozen
class DhtConfig:
    """`[dht]`: the distributed hash table, in which nodes without a LAN to ask find the swarm and its newest manifest."""

    enabled: bool = field(default=True, metadata=_be(checks.yes_or_no))
    open: str = field(default="auto", metadata=_be(checks.one_of("auto", "yes", "no")))
    """Whether others may be told of this node; auto: where anybody can reach it."""


@frozen
class SlotsConfig:
    """`[slots]`: the two root slots. Without them a node relays news and seeds what it publishes."""

    a: Path = field(metadata=_be(checks.slot_place))
    """A path, or `PARTLABEL=` or `PARTUUID=` and a partition's name: use `fruitd.slots.locate.located`."""
    b: Path = field(metadata=_be(checks.slot_place))


@frozen
class BootConfig:
    """`[boot]`: how a slot is chosen at the next boot."""

    backend: str = field(
        default="auto", metadata=_be(checks.one_of("auto", "file", "tryboot", "uboot", "grub"))
    )
    env: Path | None = field(default=None, metadata=_be(checks.path))
    """The boot environment of `file`; GRUB's environment block of `grub`."""
    fw_env_config: Path = field(default=Path("/etc/fw_env.config"), metadata=_be(checks.path))
    """Where `fw_printenv` reads the places of U-Boot's environment from."""
    autoboot: Path = field(default=Path("/dev/mmcblk0p1"), metadata=_be(checks.path))
    """The FAT partition with the Raspberry Pi's autoboot.txt, not mounted; or the folder where it is mounted."""
    trial_flag: str = field(default="auto", metadata=_be(checks.one_of("auto", "mailbox", "argument")))
    """How the Raspberry Pi's firmware is told of a trial."""
    restart_command: tuple[str, ...] = field(default=(), metadata=_be(checks.command))
    """What restarts the machine; empty: the daemon ends and its boot chooser goes on."""


@frozen
class KeeperConfig:
    """`[keeper]`: the daemon runs as a user of its own, and a process beside it alone may write slots and boot environment."""

    user: str = field(default="fruitd", metadata=_be(checks.text(32)))
    """Whom the daemon runs as. Its main group reads the slots, and may write one while it is lent."""
    socket: Path = field(default=Path("/run/fruitd-keeper/socket"), metadata=_be(checks.socket_path))
    state_dir: Path = field(default=Path("/var/lib/fruitd-keeper"), metadata=_be(checks.path))
    """What the keeper knows of the slots; the daemon's user must not be able to write there."""


@frozen
class HealthConfig:
    """`[health]`: when a system on trial is well enough to keep. Defaults are for real hardware."""

    command: tuple[str, ...] = field(default=(), metadata=_be(checks.command))
    """Exit code 0 means healthy; empty: a node that runs and keeps its daemon alive is healthy."""
    interval_s: float = field(default=10.0, metadata=_be(checks.seconds(0.05, DAY_S)))
    sustain_s: float = field(default=300.0, metadata=_be(checks.seconds(0, DAY_S)))
    """Health without a break for so long commits the slot."""
    samples: int = field(default=10, metadata=_be(checks.whole(1, 100_000)))
    """And at least so many good samples in a row."""
    fail_after: int = field(default=3, metadata=_be(checks.whole(1, 100_000)))
    """So many bad samples in a row end the trial at once."""
    deadline_s: float = field(default=900.0, metadata=_be(checks.seconds(0.1, DAY_S)))
    """A trial that is not committed by then is rolled back."""
    timeout_s: float = field(default=10.0, metadata=_be(checks.seconds(0.05, DAY_S)))
    """A health command that takes longer counts as a bad sample."""
    checks_dir: Path = field(default=Path("/etc/fruitd/health.d"), metadata=_be(checks.path))
    """More commands, run in the order of their names."""
    units: tuple[str, ...] = field(default=(), metadata=_be(checks.words(checks.text(RESOURCE_CHARS_MAX))))
    """Units of systemd that have to run."""
    outage_s: float = field(default=3600.0, metadata=_be(checks.seconds(0, 7 * DAY_S)))
    """So long a trial may stand still because of a network outage that the release may not be to blame for."""
    watchdog: str = field(default="auto", metadata=_be(checks.watchdog))
    """The device that is held during a trial; "auto": /dev/watchdog, where the daemon restarts the machine."""
    watchdog_s: float = field(default=15.0, metadata=_be(checks.seconds(1, 3600)))
    """The watchdog restarts a machine that was silent for so long; the Raspberry Pi's knows at most 15."""


@frozen
class UpdateConfig:
    """`[update]`: how often a release is tried, and how soon again."""

    max_attempts: int = field(default=2, metadata=_be(checks.whole(1, 100)))
    """Trial boots of one release that end badly or do not come up; counted across reboots and power cuts."""
    cut_offs_max: int = field(default=5, metadata=_be(checks.whole(1, 100)))
    """Trial boots of one release that may be cut off while all was well."""
    retry_min_s: float = field(default=5.0, metadata=_be(checks.seconds(0.05, DAY_S)))
    retry_max_s: float = field(default=900.0, metadata=_be(checks.seconds(0.05, 7 * DAY_S)))


@frozen
class TransferConfig:
    """`[transfer]`: how image bytes move. 0 means without limit."""

    port: int = field(default=47102, metadata=_be(PORT))
    upload_bytes_per_s: int = field(default=0, metadata=_be(checks.whole(0, RATE_MAX)))
    download_bytes_per_s: int = field(default=0, metadata=_be(checks.whole(0, RATE_MAX)))
    """Over the uplink, both; never within the site."""
    lan_upload_bytes_per_s: int = field(default=0, metadata=_be(checks.whole(0, RATE_MAX)))
    """To nodes of this site."""
    hours: Hours | None = field(default=None, metadata=_be(checks.hours))
    """When images may cross the uplink, in local time, such as "22:00-06:00"; "": at any time."""
    monthly_quota_bytes: int = field(default=0, metadata=_be(checks.whole(0, QUOTA_BYTES_MAX)))
    """Over the uplink in a calendar month, both directions together."""
    metered: bool = field(default=False, metadata=_be(checks.yes_or_no))
    """The uplink costs by the byte: never for images."""
    on_battery: bool = field(default=False, metadata=_be(checks.yes_or_no))
    """Use the uplink for images also while the machine runs on a battery."""
    map_ports: bool = field(default=False, metadata=_be(checks.yes_or_no))
    """Ask the router to let strangers in to both ports: UPnP, NAT-PMP, PCP."""
    connections_max: int = field(default=20, metadata=_be(checks.whole(2, 1000)))
    parcel_cache_bytes: int = field(default=256 * 1024**2, metadata=_be(checks.whole(0, RATE_MAX)))
    """What parcels may take on the data partition; 0: no parcel is used."""
    relay_images: bool = field(default=False, metadata=_be(checks.yes_or_no))
    """Fetch images for sites that cannot reach each other, into that room, and give them on."""


@frozen
class ApiConfig:
    """`[api]`: the Unix socket of the `fruit` command. Whoever may write to it may command this node."""

    socket: Path = field(default=Path("/run/fruitd/api.sock"), metadata=_be(checks.socket_path))
    mode: int = field(default=0o660, metadata=_be(checks.file_mode))


@frozen
class LogConfig:
    """`[log]`: what is written on standard error, and how."""

    level: str = field(default="info", metadata=_be(checks.one_of("debug", "info", "warning", "error")))
    format: str = field(default="auto", metadata=_be(checks.one_of("auto", "json", "text")))


@frozen
class Config:
    """All of it. Paths are absolute: relative ones in the file count from the file's own folder."""

    node: NodeConfig
    trust: TrustConfig
    swarm: SwarmConfig
    slots: SlotsConfig | None = None
    boot: BootConfig | None = None
    keeper: KeeperConfig | None = None
    health: HealthConfig = field(factory=HealthConfig)
    update: UpdateConfig = field(factory=UpdateConfig)
    transfer: TransferConfig = field(factory=TransferConfig)
    dht: DhtConfig = field(factory=DhtConfig)
    api: ApiConfig = field(factory=ApiConfig)
    log: LogConfig = field(factory=LogConfig)
    stack: StackConfig = field(factory=StackConfig)
    recovery: RecoveryConfig = field(factory=RecoveryConfig)
    heartbeat: HeartbeatConfig = field(factory=HeartbeatConfig)


def load_config(file: Path) -> Config:
    """Read the configuration file; `UsageError` with one line for a person if it cannot be used."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from error
    return parse_config(data, file)


def parse_config(data: bytes, file: Path) -> Config:
    """Decode a configuration; `file` is named in errors, and relative paths count from its folder."""
    if len(data) > CONFIG_BYTES_MAX:
        raise UsageError(f"{file}: larger than {CONFIG_BYTES_MAX} bytes, this is no configuration")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 errors are both ValueError
        raise UsageError(f"{file}: not valid TOML: {_one_line(error)}") from error
    problems = _table_problems(document)
    if not problems:
        try:
            config = _converter().structure(document, Config)
        except cattrs.ClassValidationError as error:
            problems = list(_problems(error, Config, ""))
        else:
            problems = _contradictions(config)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UsageError(f"{file}: {problems[0]}{more}")
    return _resolved(config, file.absolute().parent)


def _table_class(annotation: Any) -> type:
    """The class of a table, of `X` or of `X | None`."""
    if isinstance(annotation, UnionType):
        annotation = next(a for a in get_args(annotation) if a is not NoneType)
    assert isinstance(annotation, type)
    return annotation


def _table_problems(document: dict[str, Any]) -> list[str]:
    """What is wrong with the file's outline: tables that are none."""
    names = {table.name for table in attrs.fields(Config)}
    return [
        f"[{name}] is {checks.shown(value)}; allowed: a table"
        for name, value in document.items()
        if name in names and not isinstance(value, dict)
    ]


@cache
def _converter() -> cattrs.Converter:
    """A converter that coerces nothing, forbids unknown keys and lets each key's check decide."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    attrs.resolve_types(Config, globals())
    for table in attrs.fields(Config):
        cls = _table_class(table.type)
        overrides = {f.name: override(struct_hook=_hook(f.metadata["check"])) for f in attrs.fields(cls)}
        options: dict[str, Any] = {"_cattrs_forbid_extra_keys": True, **overrides}
        converter.register_structure_hook(cls, make_dict_structure_fn(cls, converter, **options))
    return converter


def _hook(check: checks.Check) -> Callable[[Any, Any], Any]:
    return lambda value, _: check(value)


def _problems(error: cattrs.ClassValidationError, cls: type, table: str) -> list[str]:
    """One line for each thing cattrs found wrong in `cls`, in the order of the file's keys."""
    found: list[str] = []
    noted, bare = error.group_exceptions()
    for exception, note in noted:
        if isinstance(exception, cattrs.ClassValidationError):
            found += _problems(exception, _table_class(getattr(attrs.fields(cls), note.name).type), note.name)
        elif isinstance(exception, KeyError):
            found.append(_missing(note.name, cls, table))
        else:
            found.append(f"[{table}] {note.name} {exception}")
    for exception in bare:
        if isinstance(exception, cattrs.ForbiddenExtraKeysError):
            found += [_unknown(name, cls, table) for name in sorted(exception.extra_fields)]
        else:
            found.append(f"[{table}] {_one_line(exception)}")
    return found


def _missing(name: str, cls: type, table: str) -> str:
    if not table:
        return f"table [{name}] is missing"
    try:
        getattr(attrs.fields(cls), name).metadata["check"](None)
    except ValueError as error:
        return f"[{table}] {name} is missing; {str(error).partition('; ')[2]}"
    raise AssertionError(f"[{table}] {name} may be nothing, and has no default")


def _unknown(name: str, cls: type, table: str) -> str:
    known = [key.name for key in attrs.fields(cls)]
    what = (
        f"[{table}] has no key {checks.shown(name)}" if table else f"there is no table {checks.shown(name)}"
    )
    return f"{what}{checks.did_you_mean(name, known)}; allowed: {', '.join(known)}"


def _contradictions(config: Config) -> list[str]:
    """Values that are each allowed, but not together."""
    slots, health, update, swarm = config.slots, config.health, config.update, config.swarm
    found = []
    if slots is not None and slots.a == slots.b:
        found.append("[slots] a and b are the same path; allowed: two different ones")
    if slots is not None and config.boot is None:
        found.append("table [boot] is missing; a node with [slots] needs it to start what it installed")
    if config.keeper is not None and slots is None:
        found.append(
            "table [slots] is missing; without slots there is nothing to keep, and [keeper] has to go too"
        )
    if config.boot is not None and config.boot.backend in ("file", "grub") and config.boot.env is None:
        found.append(
            f'[boot] env is missing; backend = "{config.boot.backend}" needs the path of its environment'
        )
    least_s = max(health.sustain_s, health.samples * health.interval_s)
    if least_s > health.deadline_s:
        found.append(
            f"[health] deadline_s is {health.deadline_s:g}; allowed: at least {least_s:g},"
            " the larger of sustain_s and samples x interval_s"
        )
    if update.retry_min_s > update.retry_max_s:
        found.append(
            f"[update] retry_max_s is {update.retry_max_s:g};"
            f" allowed: at least retry_min_s, {update.retry_min_s:g}"
        )
    stack = config.stack
    if not stack.name and (stack.port or stack.bay is not None):
        found.append("[stack] name is missing; a node with a bay or a bus of a stack needs its name")
    if len(dict(stack.bays)) < len(stack.bays):
        found.append("[stack] bays names a bay twice; allowed: each once")
    if config.transfer.port == swarm.port:
        found.append(f"[transfer] port is {swarm.port}; allowed: another than [swarm] port, both are TCP")
    if swarm.beacon and swarm.beacon_port == swarm.port:
        found.append(f"[swarm] beacon_port is {swarm.port}; allowed: another than port, both are UDP")
    return found


def _resolved(config: Config, folder: Path) -> Config:
    """The same with every path made absolute."""
    tables = {}
    for name, table in attrs.asdict(config, recurse=False).items():
        if table is not None:
            values = attrs.asdict(table, recurse=False).items()
            tables[name] = attrs.evolve(table, **{k: folder / v for k, v in values if isinstance(v, Path)})
    return attrs.evolve(config, **tables)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
