from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.emulator.i2c import EmulatedI2c, EmulatedMonitor
from hw.errors import ExtraMissingError, PortError, WrongRequestError
from hw.i2c import I2cPort, NoAcknowledgeError, SmbusPort
from hw.monitors.monitor import Monitor, Wiring
from hw.monitors.registers import CHIPS, Kind, bus_v, calibration, shunt_counts, signed
from hw.readings import Quality, Quantity, Reading

MONITOR = "HW_I2C_MONITOR"
ADDRESS = 0x41


class Bench:
    """One monitor on an emulated bus, on a clock of its own."""

    def __init__(
        self, kind: Kind, volts: float = 5.0, amperes: float = 1.0, shunt_ohm: float = 0.05, most: float = 3.0
    ) -> None:
        self.now_s, self.volts, self.amperes = 100.0, volts, amperes
        self.bus = EmulatedI2c()
        self.chip = EmulatedMonitor(
            kind, shunt_ohm, lambda _: self.volts, lambda channel: self.amperes / (channel + 1)
        )
        self.bus.devices[ADDRESS] = self.chip
        self.monitor = Monitor(self.bus, Wiring(kind, ADDRESS, shunt_ohm, most), lambda: self.now_s)

    def read(self) -> list[Reading]:
        self.now_s += 0.2
        return list(self.monitor.read())


def test_the_worked_examples_of_the_data_sheets() -> None:
    """Amperes and watts would be off by a factor: calibration, LSBs or register layouts would not be the chips'."""
    # INA219, SBOS448G 9.2.2: 2 milliohm, 10 A, 12 V supply; the example's LSB of 1 mA is one for 32.768 A.
    ina219 = CHIPS[Kind.INA219]
    found = calibration(ina219, 0.002, 32.768)
    assert found.register == 0x5000
    assert found.current_lsb_a == pytest.approx(0.001)
    assert found.power_lsb_w == pytest.approx(0.020)
    assert shunt_counts(ina219, 0x07D0) * ina219.shunt_lsb_v == pytest.approx(0.020)
    assert bus_v(ina219, 0x5D98) == pytest.approx(11.98)
    assert 0x1766 * found.power_lsb_w == pytest.approx(119.8)
    # INA226, SBOS547A table 1: the same circuit.
    ina226 = CHIPS[Kind.INA226]
    found = calibration(ina226, 0.002, 32.768)
    assert found.register == 0x0A00
    assert found.power_lsb_w == pytest.approx(0.025)
    assert shunt_counts(ina226, 0x1F40) * ina226.shunt_lsb_v == pytest.approx(0.020)
    assert bus_v(ina226, 0x2570) == pytest.approx(11.98)
    assert 0x12B8 * found.power_lsb_w == pytest.approx(119.8)
    # INA3221, SBOS576B: -80 mV is two's complement of 2000 LSBs of 40 microvolts, above three unused bits.
    ina3221 = CHIPS[Kind.INA3221]
    assert shunt_counts(ina3221, -2000 << 3 & 0xFFFF) * ina3221.shunt_lsb_v == pytest.approx(-0.080)
    assert bus_v(ina3221, 1500 << 3) == pytest.approx(12.0)


@given(st.integers(-0x8000, 0x7FFF))
def test_registers_are_twos_complement(value: int) -> None:
    """A current that flows the other way would look like 65 of them."""
    assert signed(value & 0xFFFF) == value


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(("volts", "amperes"), [(5.1, 1.2), (4.7, 0.02), (12.0, -0.8), (0.0, 0.0)])
def test_a_monitor_tells_what_is_there(kind: Kind, volts: float, amperes: float) -> None:
    """Volts, amperes or watts would be wrong, or those of another channel."""
    bench = Bench(kind, volts, amperes)
    bench.read()
    found = bench.read()
    assert len(found) == 3 * CHIPS[kind].channels
    for channel in range(CHIPS[kind].channels):
        v, a, w = found[3 * channel : 3 * channel + 3]
        assert [reading.quality for reading in (v, a, w)] == [Quality.GOOD] * 3
        assert v.value == pytest.approx(volts, abs=0.008)
        assert a.value == pytest.approx(amperes / (channel + 1), abs=0.002)
        assert w.value == pytest.approx(volts * amperes / (channel + 1), abs=0.03)
        assert v.source.startswith(f"{kind.value} 0x41")


@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_is_told_before_the_first_conversion(kind: Kind) -> None:
    """A monitor that was just set up would tell of 0 V, and an update would wait for a supply that is well."""
    bench = Bench(kind)
    for reading in bench.monitor.read():
        assert (reading.value, reading.quality) == (None, Quality.STALE)
    assert {reading.value for reading in bench.monitor.read()} == {None}


@pytest.mark.parametrize("kind", [Kind.INA219, Kind.INA226])
def test_a_monitor_that_lost_its_supply_is_set_up_again(kind: Kind) -> None:
    """It would tell of 0 A for ever: its calibration is gone."""
    bench = Bench(kind)
    bench.read()
    before = bench.read()
    bench.chip.lose_power()
    assert [(again.value, again.quality) for again in bench.read()] == [
        (was.value, Quality.STALE) for was in before
    ]
    assert [reading.quality for reading in bench.read()] == [Quality.GOOD] * 3


@pytest.mark.parametrize("kind", list(Kind))
def test_a_monitor_at_its_limit_is_out_of_range(kind: Kind) -> None:
    """A short circuit would be told of as the largest current that can be measured."""
    bench = Bench(kind, amperes=20.0)
    bench.read()
    v, a, w = bench.read()[:3]
    assert [v.quality, a.quality, w.quality] == [Quality.GOOD, Quality.OUT_OF_RANGE, Quality.OUT_OF_RANGE]


@pytest.mark.parametrize("kind", [Kind.INA219, Kind.INA226])
def test_an_overflow_of_the_calculation_is_out_of_range(kind: Kind) -> None:
    """A current beyond what was expected would be told of as a smaller one: the data sheets call it meaningless."""
    bench = Bench(kind, amperes=1.5, most=1.0, shunt_ohm=0.05)
    bench.read()
    assert bench.read()[1].quality is Quality.OUT_OF_RANGE


def test_a_monitor_that_does_not_answer_is_stale_and_a_stuck_bus_is_no_exception() -> None:
    """A loose wire would end the daemon's readings."""
    bench = Bench(Kind.INA226)
    bench.read()
    good = bench.read()
    del bench.bus.devices[ADDRESS]
    assert bench.read() == [reading.grown_stale() for reading in good]
    bench.bus.broken = True
    assert {reading.quality for reading in bench.read()} == {Quality.STALE}


def test_another_chip_is_not_taken_for_this_one() -> None:
    """Voltages of an INA3221 would be read as those of an INA226."""
    bench = Bench(Kind.INA3221)
    bench.monitor.identify()
    with pytest.raises(WrongRequestError, match="calls itself"):
        Monitor(bench.bus, Wiring(Kind.INA226, ADDRESS)).identify()
    with pytest.raises(NoAcknowledgeError):
        Monitor(bench.bus, Wiring(Kind.INA226, 0x44)).identify()


@pytest.mark.parametrize(
    "wiring",
    [
        lambda: Wiring(Kind.INA219, 0x03),
        lambda: Wiring(Kind.INA219, 0x80),
        lambda: Wiring(Kind.INA219, ADDRESS, shunt_ohm=0.0),
        lambda: Wiring(Kind.INA3221, ADDRESS, shunt_ohm=-1.0),
        lambda: Wiring(Kind.INA226, ADDRESS, shunt_ohm=0.001, amperes_max=0.001),
        lambda: Wiring(Kind.INA226, ADDRESS, shunt_ohm=float("nan")),
    ],
)
def test_wirings_that_cannot_be(wiring: Callable[[], Wiring]) -> None:
    """A typing error in a configuration would be written to a chip's registers."""
    with pytest.raises(WrongRequestError):
        Monitor(EmulatedI2c(), wiring())


def test_smbus2_speaks_through_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes would be swapped, or a missing device would raise something that nobody handles."""
    import smbus2

    seen: list[tuple[int, int, bytes]] = []

    class Bus:
        def __init__(self, bus: int) -> None:
            if bus == 9:
                raise FileNotFoundError(2, "no such bus")

        def i2c_rdwr(self, *messages: smbus2.i2c_msg) -> None:
            for message in messages:
                if message.addr == 0x50:
                    raise OSError(121, "Remote I/O error")
                if message.addr == 0x51:
                    raise OSError(110, "timed out")
                seen.append((message.addr, message.flags, bytes(message)))

        def close(self) -> None:
            """Nothing held."""

    monkeypatch.setattr(smbus2, "SMBus", Bus)
    port: I2cPort = SmbusPort(1)
    assert port.transfer(0x40, b"\x02", 2) == b"\0\0"
    assert seen == [(0x40, 0, b"\x02"), (0x40, 1, b"\0\0")]
    with pytest.raises(NoAcknowledgeError):
        port.transfer(0x50, b"\x02", 2)
    with pytest.raises(PortError) as timed_out:
        port.transfer(0x51, b"", 2)
    assert not isinstance(timed_out.value, NoAcknowledgeError)
    with pytest.raises(PortError, match="I2C bus 9"):
        SmbusPort(9)
    port.close()


def test_without_smbus2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person would see a traceback about a module they never heard of."""
    monkeypatch.setitem(__import__("sys").modules, "smbus2", None)
    with pytest.raises(ExtraMissingError, match=r"fruitd\[pi\]"):
        SmbusPort(1)


def test_a_real_monitor() -> None:
    """What the data sheets say would not be what the chips do. HW_I2C_MONITOR is like 1:ina219:0x40:0.1:3.2."""
    if MONITOR not in os.environ:
        pytest.skip(f"{MONITOR} names no monitor")
    bus, kind, address, *rest = os.environ[MONITOR].split(":")
    monitor = Monitor(SmbusPort(int(bus)), Wiring(Kind(kind), int(address, 0), *map(float, rest)))
    monitor.identify()
    monitor.read()
    __import__("time").sleep(0.2)  # a real chip converts on a real clock
    volts = monitor.read()[0]
    assert volts.quantity is Quantity.RAIL_VOLTAGE
    assert volts.good
