"""What a run is about: places and their lines, what is spread and by what, and what goes wrong. Frozen, readable from TOML."""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal, get_args

import cattrs
from attrs import evolve, field, frozen
from attrs.validators import ge, gt, in_, le, min_len

from fruitd.errors import UsageError
from simulations.testbed.bound import publisher_copies_at_bound, site_bound_s
from simulations.testbed.faults import Fault, Target

Nat = Literal["none", "forwarded", "cone", "symmetric", "udp-blocked", "double"]
Tool = Literal["fruitd", "nginx", "libtorrent", "libtorrent-lsd", "libtorrent-gateway", "aria2"]
TOOLS: tuple[str, ...] = get_args(Tool)
NODES_MAX = 120
"""Over all sites. Each daemon takes about 70 MiB and a tenth of a core while it fetches."""
SITES_MAX = 40
"""One namespace, two cables and a /24 of their own for each."""
RUNS_MAX = 20
MIB = 1024 * 1024


def _rate(default: float) -> float:
    return field(default=default, validator=[gt(0), le(10_000)])


def _check_name(name: str) -> None:
    # Namespaces and interfaces are named after places.
    if len(name) > 12 or not all(c.isascii() and (c.isalnum() or c == "-") for c in name):
        raise ValueError(f"{name!r} is no name of a place: at most 12 letters, digits and hyphens")


@frozen
class PlacePlan:
    """What stands behind one line: a site, the publisher, or the helper. Rates in Mbit/s, as providers state them."""

    name: str = field(default="", validator=lambda _i, _a, name: _check_name(name))
    nodes: int = field(default=1, validator=[ge(1), le(NODES_MAX)])
    down_mbit_per_s: float = _rate(20.0)
    up_mbit_per_s: float = _rate(5.0)
    lan_mbit_per_s: float = _rate(100.0)
    nat: Nat = field(default="none", validator=in_(get_args(Nat)))
    """`none`: every node has a public address. `forwarded`: translated, each node's ports forwarded to it. `cone`: translated,
    unasked packets dropped, one outer port for each inner one. `symmetric`: another outer port for each destination.
    `udp-blocked`: as `cone`, and no UDP passes. `double`: two translators, one behind the other."""
    loss: float = field(default=0.0, validator=[ge(0), le(0.9)])
    """Share of packets that are lost on the line, in each direction."""
    delay_ms: float = field(default=0.0, validator=[ge(0), le(2000)])
    """One way, on top of what queues make."""
    subnet: str | None = None
    """The LAN's addresses, a private /24; several sites may have the same. None: one of its own. Not with `nat = "none"`."""
    isolated: bool = False
    """Wireless with client isolation: nodes reach the router and not each other."""

    @property
    def down(self) -> float:
        """Bytes/s."""
        return self.down_mbit_per_s * 1e6 / 8

    @property
    def up(self) -> float:
        """Bytes/s."""
        return self.up_mbit_per_s * 1e6 / 8


@frozen
class SitePlan(PlacePlan):
    """One site, or `repeat` sites that are alike."""

    nodes: int = field(default=6, validator=[ge(1), le(NODES_MAX)])
    repeat: int = field(default=1, validator=[ge(1), le(SITES_MAX)])


@frozen
class Plan:
    """Everything a run depends on."""

    sites: tuple[SitePlan, ...] = field(validator=min_len(1))
    name: str = "testbed"
    image_mib: int = field(default=32, validator=[ge(1), le(4096)])
    """Random bytes, so that nothing can be compressed."""
    piece_kib: int = field(default=64, validator=in_((16, 32, 64, 128, 256, 512, 1024)))
    """Of the rivals' torrents; fruitd's own are as its releases have them."""
    seed: int = 1
    """Of the image's bytes."""
    publisher: PlacePlan = PlacePlan(up_mbit_per_s=10.0, down_mbit_per_s=100.0)
    helper: PlacePlan | None = None
    """A reachable node without slots, and without the image: fruitd only."""
    tools: tuple[Tool, ...] = field(default=("fruitd",), validator=min_len(1))
    runs: int = field(default=1, validator=[ge(1), le(RUNS_MAX)])
    """Of each tool, one after the other."""
    restarts: bool = False
    """Whether nodes go on to restart into what they fetched, which costs their neighbours the time they are away. The default
    measures the spread alone: an armed node stays up."""
    site_names: bool = True
    """Whether nodes are configured with the name of their site."""
    faults: tuple[Fault, ...] = ()
    meet_s_max: float = field(default=120.0, validator=gt(0))
    """For all to start and find each other, before the clock starts."""
    settle_s: float = field(default=0.0, validator=[ge(0), le(3600)])
    """After that, and before the clock starts: nodes of a real fleet have met long before a release comes."""
    spread_s_max: float = field(default=600.0, validator=gt(0))
    """A run ends here with what there is; whoever has no copy then is named."""

    def __attrs_post_init__(self) -> None:
        """Refuse what contradicts itself, in words."""
        places = self.places()
        names = [place.name for place in places]
        for wrong, why in (
            (len(self.expanded_sites()) > SITES_MAX, f"more than {SITES_MAX} sites"),
            (sum(s.nodes for s in self.expanded_sites()) > NODES_MAX, f"more than {NODES_MAX} nodes"),
            (len(set(names)) < len(names), f"two places have the same name: {', '.join(names)}"),
            (self.publisher.nodes != 1, "the publisher is one node"),
            (self.helper is not None and self.helper.nodes != 1, "the helper is one node"),
            (
                self.helper is not None and self.helper.nat != "none",
                "the helper has to be reachable: nat = none",
            ),
            (
                self.publisher.nat not in ("none", "forwarded") and self.helper is None,
                "nobody reaches a publisher behind a translator: add [helper], or forward its ports",
            ),
        ):
            if wrong:
                raise UsageError(f"testbed {self.name!r}: {why}")
        for place in places:
            _check_subnet(place)
        for fault in self.faults:
            self._check_fault(fault)

    def expanded_sites(self) -> tuple[SitePlan, ...]:
        """Each site once; those without a name are s1, s2 and so on, repeated ones numbered."""
        sites: list[SitePlan] = []
        for plan in self.sites:
            for number in range(plan.repeat):
                own = plan.name or f"s{len(sites) + 1}"
                name = f"{own}-{number + 1}" if plan.name and plan.repeat > 1 else own
                sites.append(evolve(plan, name=name, repeat=1))
        return tuple(sites)

    def places(self) -> tuple[PlacePlan, ...]:
        """Publisher, helper, sites: everything that has a line."""
        helper = () if self.helper is None else (evolve(self.helper, name="helper"),)
        return (evolve(self.publisher, name="publisher"), *helper, *self.expanded_sites())

    @property
    def image_bytes(self) -> int:
        """Size of the image."""
        return self.image_mib * MIB

    @property
    def bound_s(self) -> float:
        """See `site_bound_s`."""
        return site_bound_s(self.image_bytes, self.publisher.up, *self._rates())

    @property
    def publisher_copies_at_bound(self) -> float:
        """See there."""
        return publisher_copies_at_bound(self.image_bytes, self.publisher.up, *self._rates())

    def _rates(self) -> tuple[list[float], list[float]]:
        sites = self.expanded_sites()
        return [site.down for site in sites], [site.up for site in sites]

    def _check_fault(self, fault: Fault) -> None:
        places = {place.name: place.nodes for place in self.places()}
        named = [fault.target, *([fault.other] if fault.other else [])]
        for target in named:
            if target.place not in places:
                raise UsageError(f"fault {fault.do} {target}: there is no place {target.place!r}")
            if target.node is not None and target.node > places[target.place]:
                raise UsageError(
                    f"fault {fault.do} {target}: {target.place} has {places[target.place]} nodes"
                )
        if fault.when is not None and fault.when.site not in {s.name for s in self.expanded_sites()}:
            raise UsageError(f"fault {fault.do} {fault.target}: there is no site {fault.when.site!r}")


def _check_subnet(place: PlacePlan) -> None:
    if place.subnet is None:
        return
    try:
        network = IPv4Network(place.subnet)
    except ValueError as error:
        raise UsageError(f"{place.name}: subnet {place.subnet!r}: {error}") from error
    if network.prefixlen != 24 or not network.is_private:
        raise UsageError(f"{place.name}: subnet {place.subnet} is no private /24, such as 192.168.1.0/24")
    if place.nat == "none":
        raise UsageError(f"{place.name}: with nat = none every node has a public address; leave subnet out")


def load_plan(path: Path) -> Plan:
    """Read a plan from a TOML file; `UsageError` names the file and what is wrong in it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    return decode_plan(table, str(path))


def decode_plan(table: dict[str, object], where: str) -> Plan:
    """A plan from what TOML gives; nothing unknown is passed over."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(Target, lambda value, _: Target.parse(value))
    try:
        return converter.structure(table, Plan)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError) as error:
        found = cattrs.transform_error(error, format_exception=_in_words)
        raise UsageError(f"{where}: {'; '.join(found)}") from error


def _in_words(error: BaseException, kind: type | None) -> str:
    """What a check of ours or of attrs said, which cattrs would call an invalid value."""
    if isinstance(error, UsageError) or (type(error) is ValueError and error.args):
        return str(error.args[0])
    return cattrs.v.format_exception(error, kind)
