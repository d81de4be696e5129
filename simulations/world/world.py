"""A whole run: nodes, sites, releases and faults of a scenario on one heap of events, from one seed.

First everything the scenario holds happens; then the faults stop, and the world goes on until all has converged or the time
for it is over. Loss, duplicates and reordering are no faults but the climate: they stay.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from fruitd.node.offer import PublishedParcel
from fruitd.updater.settings import UpdateSettings
from simulations.world.checker import Bounds, Checker
from simulations.world.convergence import Convergence
from simulations.world.fabric import WorldFabric
from simulations.world.faults import Separation, Strike, separations, strikes
from simulations.world.heap import Dice, Heap
from simulations.world.host import Cut, Host
from simulations.world.images import Behaviour, Image, first_image, next_image
from simulations.world.liar import Liar
from simulations.world.maintainer import (
    CALENDAR_S,
    FAST_FORWARD,
    HARDWARE,
    OTHER_HARDWARE,
    Maintainer,
    Published,
)
from simulations.world.network import Network, Weather
from simulations.world.operator import Operator
from simulations.world.report import ReleaseReport, Report, Spread, spread
from simulations.world.scenario import ReleasePlan, Scenario
from simulations.world.stack import BROWN_OUT_S, WorldStack, stack_places, stack_settings
from simulations.world.surroundings import CONTROL_PORT, NodePlan, Surroundings
from simulations.world.trace import Trace
from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.trust.keys import SecretKey
from swarm.trust.times import TIME_S_MAX

LOOK_EVERY_S = 5.0
"""How often convergence is looked at once the faults have stopped."""
PUBLISH_AGAIN_S = 2.0
"""A maintainer whose command failed tries again."""
QUICK = UpdateSettings(
    retry_min_s=2.0,
    retry_max_s=60.0,
    health_interval_s=1.0,
    health_sustain_s=8.0,
    health_samples=5,
    trial_deadline_s=60.0,
    restart_patience_s=20.0,
)


class World:
    """One run of one scenario from one seed."""

    def __init__(
        self, scenario: Scenario, seed: int, *, keep_trail: bool = False, only_node: int | None = None
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.heap = Heap()
        self.trace = Trace(keep=keep_trail, only_node=only_node)
        dice = Dice(seed)
        self._rng = dice.named("world")
        settings = QUICK if scenario.quick else UpdateSettings()
        self.checker = Checker(
            self.heap,
            Bounds(
                settings.max_attempts,
                settings.cut_offs_max,
                settings.health_sustain_s,
                settings.health_samples,
            ),
        )
        weather = Weather(
            loss=scenario.loss,
            duplicate=scenario.duplicate,
            reorder=scenario.reorder,
            wan_delay_s_min=min(0.01, scenario.wan_delay_s_max),
            wan_delay_s_max=scenario.wan_delay_s_max,
        )
        self.network = Network(self.heap, dice, self.trace, weather)
        self.surroundings = Surroundings(
            heap=self.heap,
            dice=dice,
            trace=self.trace,
            network=self.network,
            checker=self.checker,
            fabric=WorldFabric(
                self.heap,
                self.network,
                dice,
                lan_bytes_per_s=scenario.lan_bytes_per_s,
                wan_bytes_per_s=scenario.wan_bytes_per_s,
                run_bytes=scenario.run_bytes,
                dials_back=scenario.dials_back,
            ),
            maintainer=Maintainer(dice),
            update_settings=settings,
            factory=first_image(dice.named("factory image"), scenario.image_blocks),
            health_hiccups=scenario.health_hiccups,
        )
        self._newest_image: Image = self.surroundings.factory
        self._image_rng = dice.named("images")
        self._separations: dict[Separation, None] = {}
        self.published_at_s: dict[int, float] = {}
        self._counted: dict[int, frozenset[int]] = {}
        self._heard_s: dict[int, dict[int, float]] = {}
        self._installed_s: dict[int, dict[int, float]] = {}
        self.struck: list[Strike] = []
        self.hosts: list[Host] = []
        """The honest ones; a host's number is its place here."""
        self.liars: list[Liar] = []
        self._places = stack_places(scenario) if scenario.stack_boards else {}
        self._new_nodes(dice)
        self.stack = self._new_stack()
        self.operator: Operator | None = None
        """Whoever switches bays of the stack."""
        self.convergence = Convergence(self)
        self.surroundings.on_record = self._record_accepted
        self.surroundings.on_commit = self._committed
        self._plan_events(dice)

    # ------------------------------------------------------------------ making it

    def _new_nodes(self, dice: Dice) -> None:
        scenario = self.scenario
        for site in range(scenario.sites):
            last = scenario.sites - site
            self.network.add_site(
                translated=last <= scenario.translated_sites,
                symmetric=last <= scenario.symmetric_sites,
                shut_in=last <= scenario.shut_in_sites,
            )
        for number, site in enumerate(_places(scenario, dice)):
            plan = self._plan_of(dice, number, site)
            node: Host | Liar
            if number < scenario.nodes - scenario.liars:
                node = Host(self.surroundings, plan)
                self.hosts.append(node)
            else:
                node = Liar(self.surroundings, plan)
                self.liars.append(node)
            address = self.network.attach(number, site, CONTROL_PORT, node)
            if number < scenario.contacts:
                self.surroundings.contacts += (address,)

    def _plan_of(self, dice: Dice, number: int, site: int) -> NodePlan:
        scenario = self.scenario
        other = scenario.nodes - scenario.liars - scenario.late_nodes - scenario.other_hardware <= number
        other = other and number < scenario.nodes - scenario.liars - scenario.late_nodes
        other = other or (number < scenario.stack_owners and scenario.stack_boards > 0)
        other = other or number < scenario.helpers
        owners = [_identity(dice, n).node_id for n in range(scenario.stack_owners)]
        return NodePlan(
            number=number,
            site=site,
            hardware=frozenset({OTHER_HARDWARE if other else HARDWARE}),
            identity=_identity(dice, number),
            site_name=f"site-{site}" if scenario.site_names_told else "",
            power=stack_settings(scenario, self._places, number, owners),
            slots=number >= scenario.helpers,
            relay_images=scenario.relay_images and number < scenario.helpers,
        )

    def _new_stack(self) -> WorldStack | None:
        if not self.scenario.stack_boards:
            return None
        stack = WorldStack(self.heap, self.checker, self.hosts, self._places, self.scenario, self.seed)
        for host in self.hosts[: self.scenario.stack_owners]:
            host.stack = stack
        for one, place in self._places.items():
            self.hosts[one].firmware.fed = False
            for other, there in self._places.items():
                if there == place.mate:
                    self.checker.share_a_board(one, other)
        return stack

    def _plan_events(self, dice: Dice) -> None:
        scenario, heap = self.scenario, self.heap
        rng = dice.named("starts")
        late = range(len(self.hosts) - scenario.late_nodes, len(self.hosts))
        if self.stack is not None:
            heap.at(0.0, self.stack.start)
            self._plan_stack(self.stack, dice.named("stack"))
        for host in self.hosts:
            at_s = scenario.faults_s if host.number in late else rng.uniform(0.0, scenario.start_spread_s)
            heap.at(at_s, host.firmware.switch_on)
        for liar in self.liars:
            heap.at(rng.uniform(0.0, scenario.start_spread_s), liar.switch_on)
        for number, plan in enumerate(scenario.releases, start=1):
            heap.at(plan.at_s, self._release, number, plan)
        if scenario.theft is not None:
            heap.at(scenario.theft.at_s, self._abuse)
            heap.at(scenario.theft.rotated_at_s, self._rotate)
        may_be_struck = [h.number for h in self.hosts if h.number not in late]
        for strike in strikes(scenario, dice.named("strikes"), may_be_struck):
            heap.at(strike.at_s, self._strike, strike)
        sites = [host.plan.site for host in self.hosts] + [liar.plan.site for liar in self.liars]
        for separation in separations(scenario, dice.named("separations"), sites):
            heap.at(separation.begin_s, self._separate, separation, True)
            heap.at(separation.end_s, self._separate, separation, False)

    def _plan_stack(self, stack: WorldStack, rng: random.Random) -> None:
        scenario, heap = self.scenario, self.heap
        for _ in range(scenario.stack_brown_outs):
            heap.at(rng.uniform(0.0, scenario.faults_s - max(BROWN_OUT_S)), stack.brown_out)
        for _ in range(scenario.stack_owner_hangs):
            heap.at(rng.uniform(60.0, scenario.faults_s), stack.owner_hangs_now)
        self.operator = Operator(self.surroundings, self.hosts, stack, rng)
        nodes = [number for number in self._places if number >= scenario.stack_owners]
        for _ in range(scenario.stack_orders):
            heap.at(rng.uniform(60.0, scenario.faults_s), self.operator.order_something, rng.choice(nodes))

    # ------------------------------------------------------------------ what happens

    def _release(self, number: int, plan: ReleasePlan) -> None:
        image = next_image(self._image_rng, self._newest_image, plan.changed, plan.behaviour)
        if plan.behaviour is Behaviour.GOOD:
            self._newest_image = image
        hardware = (OTHER_HARDWARE,) if plan.other_hardware else (HARDWARE,)
        now_s = CALENDAR_S + self.heap.now_s
        published = self.surroundings.maintainer.sign(number, image, hardware, now_s, self._parcels_from())
        self.surroundings.publish(published)
        self.trace.note(self.heap.now_s, -1, "release", f"{number} ({plan.behaviour})")
        self._publish(published, plan)

    def _parcels_from(self) -> list[Image | None]:
        """The releases before this one, the newest last, and nothing."""
        count = self.scenario.parcels
        return [None, *(p.image for p in self.surroundings.published[-count:])] if count else []

    def _abuse(self) -> None:
        """Whoever stole the release keys signs the highest release there can be, from the far future."""
        plan = ReleasePlan(self.heap.now_s)
        self.surroundings.maintainer.push_ahead()
        image = next_image(self._image_rng, self._newest_image, plan.changed, plan.behaviour)
        published = self.surroundings.maintainer.sign(FAST_FORWARD, image, (HARDWARE,), TIME_S_MAX)
        self.surroundings.publish(published)
        self.trace.note(self.heap.now_s, -1, "abuse", f"release {published.release}")
        self._publish(published, plan)

    def _rotate(self) -> None:
        """The maintainers publish the next trust root through their node; tried again until the node has taken it."""
        root = self.surroundings.rotate()
        self.trace.note(self.heap.now_s, -1, "rotation", f"root {root.sequence}")
        self._publish_record(root)

    def _publish_record(self, record: Record) -> None:
        host = self.hosts[0]
        if (record.kind, record.key) in host.machine.disk.records:
            return
        if host.core is not None:
            host.carry_out(host.core.offer(record, host.steady_s())[1])
        self.heap.after(PUBLISH_AGAIN_S, self._publish_record, record)

    def _publish(self, published: Published, plan: ReleasePlan) -> None:
        """The maintainer's command, at the publisher's node; tried again until the node has taken it."""
        host = self.hosts[plan.publisher]
        held = None if host.node is None else host.node.store.get("manifest", published.manifest.key)
        taken = held is not None and held.record == published.manifest
        shared = published.path in host.machine.disk.shares.values()
        if (taken and shared) or self.surroundings.published[-1] is not published:
            return
        if host.core is not None:
            if published.release not in self.published_at_s:
                self._count_from_now(published)
            host.machine.disk.files[published.path] = published.image.blocks
            for parcel in published.parcels:
                host.machine.disk.files[parcel.path] = parcel.content.blocks
            parcels = [PublishedParcel(parcel.torrent, parcel.path) for parcel in published.parcels]
            try:
                effects = host.core.publish(
                    published.manifest, published.torrent, published.path, host.steady_s(), parcels
                )
            except RefusedError as error:
                self.trace.note(self.heap.now_s, host.number, "refused", str(error))
            else:
                host.carry_out(effects)
        self.heap.after(PUBLISH_AGAIN_S, self._publish, published, plan)

    def _count_from_now(self, published: Published) -> None:
        self.published_at_s[published.release] = self.heap.now_s
        self._counted[published.release] = frozenset(
            host.number for host in self.hosts if host.core is not None
        )

    def _strike(self, strike: Strike) -> None:
        host = self.hosts[strike.node]
        if host.core is not None:
            self.struck.append(strike)
            host.light_fuse(Cut(strike.kind, strike.effects, strike.down_s))

    def _separate(self, separation: Separation, begins: bool) -> None:
        if begins:
            self._separations[separation] = None
        else:
            self._separations.pop(separation, None)
        self.trace.note(self.heap.now_s, -1, "cut", "begins" if begins else "ends")
        sides: dict[int, tuple[int, ...]] = {}
        for at_work in self._separations:
            for node, side in at_work.sides:
                sides[node] = (*sides.get(node, ()), side)
        self.network.set_sides(sides)

    def _record_accepted(self, node: int, record: Record) -> None:
        self.convergence.record_accepted(node, record)
        if record.kind == "manifest":
            self._heard_s.setdefault(record.sequence, {}).setdefault(node, self.heap.now_s)

    def _committed(self, node: int, slot: str) -> None:
        blocks = tuple(self.hosts[node].machine.slots[slot].blocks)
        for published in self.surroundings.published:
            if published.image.blocks == blocks:
                self._installed_s.setdefault(published.release, {}).setdefault(node, self.heap.now_s)
        if self.scenario.publisher_leaves and self.surroundings.published:
            self._publisher_may_leave(node, blocks)

    def _publisher_may_leave(self, node: int, blocks: tuple[int, ...]) -> None:
        plan = self.scenario.releases[-1]
        newest = self.surroundings.published[-1]
        is_last = newest.release == len(self.scenario.releases)
        holds = newest.image.blocks == blocks and not self.network.is_translated(node)
        if is_last and node != plan.publisher and holds:
            self.hosts[plan.publisher].firmware.switch_off()

    # ------------------------------------------------------------------ running it

    def run(self, until_s: float | None = None, tell: Callable[[float], None] | None = None) -> Report:
        """Run to the end, or to `until_s` for a look at the middle. `tell` hears the virtual time now and then."""
        faults_s = self.scenario.faults_s
        end_s = faults_s + self.scenario.settle_s if until_s is None else until_s
        settled_at_s = None
        next_s = LOOK_EVERY_S
        while self.heap.now_s < end_s and not self.checker.violations:
            self.heap.run_until(min(next_s, end_s), stop=self.checker.has_violations)
            next_s += LOOK_EVERY_S
            if tell is not None:
                tell(self.heap.now_s)
            if self.heap.now_s > faults_s and until_s is None and not self.convergence.lacking():
                settled_at_s = self.heap.now_s
                break
        return self._report(settled_at_s, finished=until_s is None)

    def _report(self, settled_at_s: float | None, *, finished: bool) -> Report:
        lasted_s = max(self.heap.now_s, 1e-9)
        traffic = self.network.traffic.values()
        control = sum(t.sent_bytes + t.received_bytes for t in traffic) / len(traffic) / lasted_s
        refused: dict[tuple[str, str], int] = {}
        for host in self.hosts:
            for cause, count in host.refused.items():
                refused[cause] = refused.get(cause, 0) + count
        return Report(
            scenario=self.scenario.name,
            seed=self.seed,
            nodes=self.scenario.nodes,
            sites=self.scenario.sites,
            virtual_s=self.heap.now_s,
            settled_at_s=settled_at_s,
            events=self.heap.happened,
            trace=self.trace.hexdigest(),
            releases=tuple(map(self._release_report, self.surroundings.published)),
            control_bytes_per_node_s=control,
            image_bytes=self.surroundings.fabric.moved_bytes,
            image_bytes_between_sites=self.surroundings.fabric.moved_between_sites_bytes,
            strikes=len(self.struck),
            refused=tuple(sorted((what, why, count) for (what, why), count in refused.items())),
            violations=tuple(map(str, self.checker.violations)),
            unsettled=tuple(self.convergence.lacking()) if finished and settled_at_s is None else (),
        )

    def _release_report(self, published: Published) -> ReleaseReport:
        number = published.release
        begin_s = self.published_at_s.get(number, 0.0)
        counted = self._counted.get(number, frozenset())
        return ReleaseReport(
            release=number,
            behaviour=str(published.image.behaviour),
            published_at_s=begin_s,
            manifest=_spread(self._heard_s.get(published.manifest.sequence, {}), counted, begin_s),
            installed=_spread(
                self._installed_s.get(number, {}),
                frozenset(n for n in counted if self.hosts[n].plan.hardware & set(published.compatible)),
                begin_s,
            ),
        )


def _identity(dice: Dice, number: int) -> SecretKey:
    return SecretKey(dice.bytes_for("identity", number), "identity")


def _spread(reached_s: dict[int, float], counted: frozenset[int], begin_s: float) -> Spread:
    return spread([at_s - begin_s for node, at_s in reached_s.items() if node in counted], len(counted))


def _places(scenario: Scenario, dice: Dice) -> Sequence[int]:
    """Which site each node is in: the contacts and the publishers in site 0, each site at least one node."""
    fixed = max([scenario.contacts, *(r.publisher + 1 for r in scenario.releases)])
    fixed = min(fixed, scenario.nodes - scenario.sites + 1)
    rest = [n % scenario.sites for n in range(1, scenario.nodes - fixed + 1)]
    dice.named("places").shuffle(rest)
    return [0] * fixed + rest
