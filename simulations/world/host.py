"""One virtual node: a machine, and the daemon on it, which is the real NodeCore with its effects carried out on virtual time.

What the trio daemon does with threads and sockets happens here as events on the heap. Whatever is planned for a daemon carries
the number of its *life*; a kill or a power cut begins a new life, and what comes for an old one is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from fruitd.daemon.journaled_core import JournaledCore
from fruitd.daemon.steady_time import ADJUST_S_MIN
from fruitd.errors import RetryError
from fruitd.node.core import REVIEWED, NodeCore
from fruitd.node.effects import KeepShare, KeepTorrent, NodeEffect
from fruitd.node.powering import PowerCall
from fruitd.node.standing import without_a_clock_s
from fruitd.power.effects import KeepEnergy, KeepPower, PauseHeartbeat, SwitchBay, UpdateUsed
from fruitd.power.energy import Used
from fruitd.power.seen import BaySeen
from fruitd.updater import effects as ask
from fruitd.updater import events as tell
from fruitd.updater.journal import Journal
from simulations.world.faults import StrikeKind
from simulations.world.firmware import Firmware
from simulations.world.maintainer import CALENDAR_S
from simulations.world.slot_work import SlotWork
from simulations.world.stack import HURRIED_S, SWEEP_S, WorldStack
from simulations.world.surroundings import NodePlan, Surroundings
from swarm import effects as swarm_ask
from swarm.address import Address
from swarm.power import Supply
from swarm.trust.clock import FlooredClock

ENVIRONMENT_S = 0.02
"""Writing the boot environment and flushing it."""
FUSE_S_MAX = 20.0
"""A power cut waits this long for the effect it is to happen at; then it happens anyway."""
BUILT_S = CALENDAR_S - 30 * 86_400.0
"""When the software of a world was built, seconds since 1970."""
WAKEUPS_AT_ONCE_MAX = 100
"""More at one moment is a core that would spin on a real machine."""


@frozen
class Cut:
    """A fault that is to happen at an effect boundary: after `effects_left` more effects, or `FUSE_S_MAX` later."""

    kind: StrikeKind
    effects_left: int
    down_s: float


class Host:
    """A node of the world, as the network, the faults and the checker see it."""

    def __init__(self, world: Surroundings, plan: NodePlan) -> None:
        self.world = world
        self.plan = plan
        self.number = plan.number
        self.machine = world.new_machine(plan)
        self.firmware = Firmware(world, self)
        self.node: NodeCore | None = None
        self.core: JournaledCore | None = None
        """The node's core as the daemon calls it; None while no daemon runs."""
        self.life = 0
        """Counts up whenever a daemon begins or ends."""
        self.refused: dict[tuple[str, str], int] = {}
        self._rng = world.dice.named("host", plan.number)
        self._clock = FlooredClock(BUILT_S)
        self._clock_ahead_s = 0.0
        self._wake_at_s = float("inf")
        self._woken_at_s = 0.0
        self._woken = 0
        self._fuse: Cut | None = None
        self._lit = 0
        self._work: SlotWork | None = None
        self._health_on = False
        self._hung_until_s = float("-inf")
        self.stack: WorldStack | None = None
        """The boards whose bus this node may have."""
        self._paused_until_s = float("-inf")
        self._power_unsaved = False
        self.used: list[Used] = []
        """What its bay drew in each update that is over."""

    # ------------------------------------------------------------------ as the network sees it

    def listening(self) -> bool:
        """Is the daemon running?"""
        return self.core is not None

    def powered(self) -> bool:
        """Is the machine up, with or without a daemon?"""
        return self.machine.active is not None

    def receive(self, data: bytes, source: Address, multicast: bool) -> None:
        """A datagram has come."""
        if self.core is not None and not self._hangs():
            self.carry_out(self.core.on_datagram(data, source, self.steady_s(), multicast=multicast))

    def receive_tunnelled(self, data: bytes, source: Address) -> None:
        """A datagram has come through a tunnel."""
        if self.core is not None and not self._hangs():
            self.carry_out(self.core.on_datagram(data, source, self.steady_s(), tunnelled=True))

    def carries(self, request: bytes, source: Address) -> bool:
        """A stream request has come that would open a tunnel."""
        if self.core is None or self._hangs():
            return False
        _, effects = self.core.answer(request, source, self.steady_s())
        return any(isinstance(effect, swarm_ask.CarryTunnel) for effect in effects)

    def answer(self, request: bytes, source: Address) -> bytes | None:
        """A stream request has come; None where the daemon dies over it."""
        if self.core is None:
            return None
        life = self.life
        reply, effects = self.core.answer(request, source, self.steady_s())
        self.carry_out(effects)
        return reply if life == self.life else None

    # ------------------------------------------------------------------ life and death

    def steady_s(self) -> float:
        """The daemon's steady time: what the calendar clock showed when it started, and what has passed since."""
        return self._clock_ahead_s + self.world.heap.now_s

    def start_daemon(self) -> None:
        """The init system starts the daemon on the running system."""
        assert self.core is None
        assert self._work is None
        self.life += 1
        self._wake_at_s = float("inf")
        self._health_on = False
        self._hung_until_s = float("-inf")
        self._clock = FlooredClock(BUILT_S)
        self._clock_ahead_s = self._clock.now_s(self._system_s()) - self.world.heap.now_s
        now_s = self.steady_s()
        self.node = self.world.new_core(self.plan, self.machine, now_s, self.life)
        self.core = JournaledCore(self.node, self._save, self.steady_s)
        self._work = SlotWork(self)
        self.world.trace.note(self.world.heap.now_s, self.number, "start", f"slot {self.machine.active}")
        self._paused_until_s = float("-inf")
        self.carry_out(self.core.started(self.machine.facts(), now_s))
        self.clock_was_set()
        self.tell_power(lambda part, _: part.looked(Supply(), "", self.steady_s()))
        if self.stack is not None:
            self.later(0.5, self._sweep)

    def stop_daemon(self, *, at_once: bool = True) -> None:
        """The daemon is gone, whatever it was doing. Peers see its connections close `at_once`, or hear nothing more."""
        self.life += 1
        self.machine.disk.waiting.clear()
        self.world.checker.environment(self.number, writing=False)
        self.node = None
        self.core = None
        self.world.network.hang_up(self.number)
        if self._work is not None:
            self._work.close(at_once=at_once)
            self._work = None

    def hang(self, for_s: float) -> None:
        """The daemon does nothing for so long (SIGSTOP, a card that does not answer) and then goes on. What comes meanwhile is
        lost; whoever plans this cuts the node from the network too, since transfers go by themselves here."""
        self._hung_until_s = self.world.heap.now_s + for_s

    def _hangs(self) -> bool:
        return self.world.heap.now_s < self._hung_until_s

    def clock_was_set(self) -> None:
        """The system clock, or its floor, is another than before; the daemon's steady time does not follow it."""
        if self.node is None or self.core is None:
            return
        self._clock.signed_time(self.node.signed_time_s(), without_a_clock_s(self.node.trusted))
        offset_s = self._clock.now_s(self._system_s(), self.steady_s()) - self.steady_s()
        if abs(offset_s - self.node.wall_offset_s) >= ADJUST_S_MIN:
            self.carry_out(self.core.clock_set(offset_s, self.steady_s()))

    def _system_s(self) -> float:
        return self.firmware.clock_ahead_s + self.world.heap.now_s

    def light_fuse(self, cut: Cut) -> None:
        """Plan a fault for an effect boundary soon."""
        if self._fuse is None and self.core is not None:
            self._fuse = cut
            self._lit += 1
            self.world.heap.after(FUSE_S_MAX, self._fuse_ran_out, self._lit)

    def _fuse_ran_out(self, lit: int) -> None:
        if self._fuse is not None and self._lit == lit:
            self._strike(self._fuse)

    def _strike(self, cut: Cut) -> None:
        self._fuse = None
        self.world.trace.note(self.world.heap.now_s, self.number, cut.kind, f"down for {cut.down_s:.1f} s")
        if cut.kind == "full disk":
            self.machine.disk.full = True
            self.world.heap.after(cut.down_s, self._make_room)
        elif cut.kind == "power cut":
            self.firmware.cut_power(cut.down_s)
        elif self.core is not None:
            self.stop_daemon()
            self.firmware.start_daemon_after(cut.down_s)

    def _make_room(self) -> None:
        self.machine.disk.full = False

    # ------------------------------------------------------------------ effects

    def carry_out(self, effects: Iterable[NodeEffect]) -> None:
        """Carry effects out in order. A lit fuse may end the daemon between any two of them."""
        life = self.life
        for effect in effects:
            fuse = self._fuse
            if fuse is not None:
                if fuse.effects_left <= 0:
                    self._strike(fuse)
                    if self.life != life:
                        return
                else:
                    self._fuse = Cut(fuse.kind, fuse.effects_left - 1, fuse.down_s)
            self._carry_out_one(effect)
            if self.life != life:
                return
        self._plan_wakeup()

    def _save(self, journal: Journal) -> None:
        """Make a journal durable, as the daemon's store does; raises `RetryError` on a full disk."""
        if self.machine.disk.full:
            self._note("not saved", f"{journal.state}: {journal.why}")
            raise RetryError("the disk is full")
        self.machine.disk.keep_what_waited()
        self.machine.disk.journal = journal
        self.world.checker.journal_saved(self.number, journal)
        self._note("journal", f"{journal.state}: {journal.why}")

    def _carry_out_one(self, effect: NodeEffect) -> None:
        match effect:
            case swarm_ask.SendDatagram(destination=destination, data=data):
                self.world.network.send(self.number, destination, data, plain=effect.plain)
            case swarm_ask.OpenStream():
                self._open_stream(effect)
            case swarm_ask.OpenTunnel(peer=peer, request=request, first=first):
                self.world.network.open_tunnel(self.number, peer, request, first)
            case swarm_ask.CloseTunnel(peer=peer):
                self.world.network.close_tunnel(self.number, peer)
            case swarm_ask.RecordAccepted(record=record):
                self.world.record_accepted(self.number, record)
                self.machine.disk.keep_record(record)
                self._believes_otherwise(record.kind)
            case swarm_ask.RecordForgotten(kind=kind, key=key):
                self.machine.disk.records.pop((kind, key), None)
                self._believes_otherwise(kind)
            case swarm_ask.Refused(what=what, why=why):
                self.refused[what, why] = self.refused.get((what, why), 0) + 1
                self._note("refused", f"{what}: {why}")
            case KeepTorrent(sha256=sha256, raw=raw):
                if not self.machine.disk.full:
                    self.machine.disk.torrents[sha256] = raw
                self._note("keep", f"torrent {sha256[:16]}")
            case KeepShare(infohash=infohash, path=path):
                self._keep_share(infohash, path)
            case _:
                self._note(type(effect).__name__, _words(effect))
                self._carry_out_update(effect)

    def _carry_out_update(self, effect: NodeEffect) -> None:
        match effect:
            case KeepPower() | KeepEnergy() | UpdateUsed() | PauseHeartbeat() | SwitchBay():
                self._carry_out_power(effect)
            case ask.ArmSlot(slot=slot, infohash=infohash):
                self.world.checker.environment(self.number, writing=True)
                self.later(ENVIRONMENT_S, self._arm, slot, infohash)
            case ask.CommitSlot(slot=slot):
                self.world.checker.environment(self.number, writing=True)
                self.later(ENVIRONMENT_S, self._commit, slot)
            case ask.RestartNode():
                self.stop_daemon()
                self.firmware.restart()
            case ask.WatchHealth(on=on):
                self._watch_health(on)
            case ask.Note(what=what, why=why):
                self.world.noted(self.number, what, why)
            case _:
                assert self._work is not None
                self._work.carry_out(effect)

    def _open_stream(self, effect: swarm_ask.OpenStream) -> None:
        life, token = self.life, effect.token

        def done(reply: bytes | None, why: str) -> None:
            if self.life != life or self.core is None:
                return
            if reply is None:
                self.carry_out(self.core.on_stream_failed(token, why, self.steady_s()))
            else:
                self.carry_out(self.core.on_stream_reply(token, reply, self.steady_s()))

        self.world.network.open_stream(
            self.number, effect.peer, effect.request, effect.timeout_s, done, effect.datagrams_to
        )

    def _believes_otherwise(self, kind: str) -> None:
        if kind in REVIEWED:
            self.later(0.0, self.clock_was_set)

    def _keep_share(self, infohash: str, path: str | None) -> None:
        if self.machine.disk.full:
            return
        self.machine.disk.fresh.pop(path or "", None)  # a parcel is flushed before it is called whole
        if path is None:
            self.machine.disk.shares.pop(infohash, None)
        else:
            self.machine.disk.shares[infohash] = path

    def _arm(self, slot: str, infohash: str) -> None:
        self.machine.arm(slot)
        self.world.checker.environment(self.number, writing=False)
        self.later(ENVIRONMENT_S, self.tell, tell.SlotArmed(infohash))

    def _commit(self, slot: str) -> None:
        self.machine.commit(slot)
        self.world.checker.environment(self.number, writing=False)
        self.world.on_commit(self.number, slot)
        self.later(ENVIRONMENT_S, self.tell, tell.SlotCommitted(slot))

    def _watch_health(self, on: bool) -> None:
        was_on, self._health_on = self._health_on, on
        if on and not was_on:
            self.later(self.world.health_interval_s, self._sample_health)

    def _sample_health(self) -> None:
        if not self._health_on:
            return
        ok = self.world.healthy(self.machine, self._rng)
        self.world.checker.health(self.number, ok)
        life = self.life
        self.tell(tell.Health(ok, "all well" if ok else "the check command failed"))
        if self.life == life and self._health_on:
            self.later(self.world.health_interval_s, self._sample_health)

    # ------------------------------------------------------------------ power

    def has_bus(self) -> bool:
        """Does its daemon have the bus of the stack?"""
        return self.node is not None and self.node.power is not None and self.node.power.own.owns

    def knows_its_bay(self) -> bool:
        """Where it has the bus: does it know where on the stack it sits itself?"""
        owner = self.node.power.owner if self.node is not None and self.node.power is not None else None
        return owner is not None and owner.seating.place_of(self.plan.node_id) is not None

    def beating(self) -> bool:
        """Does its heart beat at this moment?"""
        return self.core is not None and self.world.heap.now_s >= self._paused_until_s

    def tell_power(self, call: PowerCall) -> None:
        """Tell the power part and carry out what follows."""
        if self.core is not None:
            self.carry_out(self.core.tell_power(call, self.steady_s()))

    def _carry_out_power(
        self, effect: KeepPower | KeepEnergy | UpdateUsed | PauseHeartbeat | SwitchBay
    ) -> None:
        match effect:
            case KeepPower(document=document):
                self._power_unsaved = self.machine.disk.full
                if not self._power_unsaved:
                    self.machine.disk.power = document
                    assert self.node is not None
                    assert self.node.power is not None
                    self.node.power.kept(document)
            case KeepEnergy(document=document):
                if not self.machine.disk.full:
                    self.machine.disk.energy = document
            case UpdateUsed(used=used):
                self.used.append(used)
            case PauseHeartbeat(for_s=for_s):
                self._paused_until_s = self.world.heap.now_s + for_s
            case SwitchBay():
                self.later(0.0, self._switch, effect)

    def _sweep(self) -> None:
        assert self.stack is not None
        if self.node is None or self.node.power is None:
            return
        if self.node.power.may_have_bus(self.steady_s()):
            self.stack.sweep(self, self._swept)
        else:
            self.stack.leave(self)
            self.node.power.bus_lost("", self.steady_s())
            self.later(SWEEP_S, self._sweep)

    def _swept(self, bays: list[BaySeen], other_s_ago: float | None, took_s: float) -> None:
        self.later(took_s, self._found, bays, other_s_ago)

    def _found(self, bays: list[BaySeen], other_s_ago: float | None) -> None:
        now_s = self.steady_s()
        life = self.life
        self.tell_power(lambda part, wall_s: part.swept(bays, now_s, wall_s, other_s_ago))
        if self.life != life or self.node is None or self.node.power is None:
            return
        owner = self.node.power.owner
        hurried = owner is not None and (owner.busy_places() or owner.learning is not None)
        self.later(HURRIED_S if hurried else SWEEP_S, self._sweep)

    def _switch(self, effect: SwitchBay) -> None:
        assert self.stack is not None
        error, took_s = "the disk is full", 0.0
        if not self._power_unsaved:
            error, took_s = self.stack.switch(self, effect)
        self.later(took_s, self._switched, effect, error)

    def _switched(self, effect: SwitchBay, error: str) -> None:
        now_s = self.steady_s()
        self.tell_power(lambda part, _: part.switched(effect.place, effect.step, error, now_s))

    # ------------------------------------------------------------------ time

    def tell(self, event: tell.Event) -> None:
        """Hand a fact to the updater and carry out what follows."""
        if self.core is not None:
            self._note(type(event).__name__, _words(event))
            self.carry_out(self.core.update_event(event, self.steady_s()))

    def later(self, delay_s: float, action: object, *args: object) -> None:
        """Do this in a while, if the daemon that asked for it still lives."""
        self.world.heap.after(delay_s, self._if_alive, self.life, action, args)

    def _if_alive(self, life: int, action: object, args: tuple[object, ...]) -> None:
        if self.life != life:
            return
        if self._hangs():
            self.world.heap.at(self._hung_until_s, self._if_alive, life, action, args)
            return
        assert callable(action)
        action(*args)

    def _plan_wakeup(self) -> None:
        if self.core is None:
            return
        due_s = max(self.core.next_wakeup_s() - self._clock_ahead_s, self.world.heap.now_s)
        if due_s < self._wake_at_s:
            self._wake_at_s = due_s
            self.world.heap.at(due_s, self._wake, self.life, due_s)

    def _wake(self, life: int, planned_s: float) -> None:
        if self.life != life or self.core is None or planned_s != self._wake_at_s:
            return
        if self._hangs():
            self._wake_at_s = self._hung_until_s
            self.world.heap.at(self._wake_at_s, self._wake, life, self._wake_at_s)
            return
        self._wake_at_s = float("inf")
        if self.core.next_wakeup_s() > self.steady_s():
            self._plan_wakeup()
            return
        now_s = self.world.heap.now_s
        self._woken = self._woken + 1 if now_s == self._woken_at_s else 0
        self._woken_at_s = now_s
        if self._woken >= WAKEUPS_AT_ONCE_MAX:
            self.world.checker.restless(self.number)
            self.stop_daemon()
            return
        self.carry_out(self.core.on_wakeup(self.steady_s()))

    def _note(self, what: str, detail: str) -> None:
        self.world.trace.note(self.world.heap.now_s, self.number, what, detail)


def _words(value: object) -> str:
    """An effect or event in one line for the trail; the same in every process."""
    match value:
        case tell.Offered(target=target):
            return f"release {target.release}"
        case ask.Note(what=what, why=why):
            return f"{what}: {why}"
    shown = []
    for name in getattr(type(value), "__slots__", ()):
        part = getattr(value, name, None)
        if isinstance(part, str | int | float | bool):
            shown.append(f"{name}={part[:40] if isinstance(part, str) else part}")
        elif isinstance(part, bytes):
            shown.append(f"{name}:{len(part)} bytes")
    return " ".join(shown)
