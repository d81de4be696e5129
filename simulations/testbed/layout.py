"""Names and addresses of a run's network, from its plan. Pure."""

from __future__ import annotations

from attrs import frozen

from simulations.testbed.faults import Target
from simulations.testbed.plan import PlacePlan, Plan

CONTROL_PORT = 20_000
"""Node n of a place has the ports 20010 + 10 n and the one after it: no two of a site the same, so that a translator can keep
them."""
LAN_LENGTH = 24


@frozen
class Host:
    """A node's place in the network."""

    place: str
    number: int
    """From 1."""
    namespace: str
    address: str
    """On its LAN."""
    public: str
    """Where the others reach it, if they do: its own address, or its translator's."""

    @property
    def name(self) -> str:
        """`s1/2`."""
        return f"{self.place}/{self.number}"

    @property
    def control_port(self) -> int:
        """UDP and TCP."""
        return CONTROL_PORT + 10 * self.number

    @property
    def transfer_port(self) -> int:
        """TCP, and UDP for uTP."""
        return self.control_port + 1


@frozen
class Line:
    """A place's router and its line to the world."""

    plan: PlacePlan
    number: int
    router: str
    """Namespace of the router; `carrier` and `delay` are further ones on the way to the world, where there are any."""
    carrier: str | None
    delay: str | None
    gateway: str
    """The router's address on the LAN."""
    hosts: tuple[Host, ...]

    @property
    def world_port(self) -> str:
        """Interface of the world's namespace that leads here: what it sends goes into the place."""
        return f"to{self.number}"

    @property
    def world_address(self) -> str:
        """The world's end of the line."""
        return f"12.0.{self.number}.1"

    @property
    def outer_address(self) -> str:
        """This end of the line, as the world sees it."""
        return f"12.0.{self.number}.2"

    @property
    def routed(self) -> str | None:
        """The LAN as the world has to know it; None where it is translated."""
        return f"{self.gateway.rpartition('.')[0]}.0/{LAN_LENGTH}" if self.plan.nat == "none" else None

    @property
    def namespaces(self) -> tuple[str, ...]:
        """All of this place."""
        between = [name for name in (self.carrier, self.delay) if name is not None]
        return (self.router, *between, *(host.namespace for host in self.hosts))


@frozen
class Layout:
    """All of it. Public addresses are of ranges that nobody keeps for private use, since nodes look at that."""

    world: str
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, plan: Plan, prefix: str) -> Layout:
        """Names begin with `prefix`, which is what keeps runs side by side apart."""
        return cls(
            f"{prefix}-world", tuple(_line(p, n, prefix) for n, p in enumerate(plan.places(), start=1))
        )

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every one, the world's first."""
        return (self.world, *(name for line in self.lines for name in line.namespaces))

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All nodes, in the order of the plan: publisher, helper, sites."""
        return tuple(host for line in self.lines for host in line.hosts)

    def line(self, place: str) -> Line:
        """The line of a place that there is."""
        return next(line for line in self.lines if line.plan.name == place)

    def host(self, target: Target) -> Host:
        """The node that a target with a number names."""
        assert target.node is not None
        return self.line(target.place).hosts[target.node - 1]


def _line(plan: PlacePlan, number: int, prefix: str) -> Line:
    base = f"{prefix}-{plan.name}"
    public = plan.nat == "none"
    own = f"11.0.{number}" if public else f"10.0.{number}"
    lan = own if plan.subnet is None else plan.subnet.rpartition(".")[0]
    outer = f"12.0.{number}.2"
    hosts = tuple(
        Host(plan.name, n, f"{base}-n{n}", f"{lan}.{n + 1}", f"{lan}.{n + 1}" if public else outer)
        for n in range(1, plan.nodes + 1)
    )
    carrier = f"{base}-c" if plan.nat == "double" else None
    delay = f"{base}-d" if plan.delay_ms else None
    return Line(plan, number, f"{base}-r", carrier, delay, f"{lan}.1", hosts)
