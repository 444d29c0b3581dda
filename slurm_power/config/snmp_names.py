"""Objects of SNMP by name or number. The names are those of well-known PDUs, from their makers' MIBs."""

import re
from dataclasses import dataclass
from fractions import Fraction

from slurm_power.config.problems import nearest
from slurm_power.config.section import wrong
from slurm_power.core.immutable import immutable

Oid = tuple[int, ...]

_NUMBER = re.compile(r"\.?(\d+(?:\.\d+)+)", re.ASCII)
_NAME = re.compile(r"(?:[\w-]+::)?(?P<name>[A-Za-z][\w-]*)(?P<row>(?:\.\d+)*)", re.ASCII)
_MOST_NUMBERS, _MOST_DIGITS, _LARGEST = 128, 10, (1 << 32) - 1
_EXAMPLE = "a number such as 1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"


@dataclass(frozen=True, slots=True)
class Known:
    """An object that has a name here.

    unit: what one unit of it is. scale: what the site file has to say to come to W, J or °C; None: see `unit`.
    rows: whether it is a column of a table. alike: whether its rows may be added up, all of one kind and none the
    total of others; else the site file has to name a row.
    """

    oid: Oid
    unit: str
    scale: Fraction | None
    rows: bool = True
    alike: bool = True


@immutable
class Object:
    """One that is to be read. `column`: all its rows; else this instance alone. `scale`: as in Known."""

    label: str
    oid: Oid
    column: bool = False
    scale: Fraction | None = None

    def row(self, oid: Oid) -> str:
        """The name of one of its rows."""
        return ".".join([self.label, *map(str, oid[len(self.oid) :])])


def find_object(text: str) -> Object:
    """The object that a site file names: `rPDU2DeviceStatusPower`, `PowerNet-MIB::rPDU2PhaseStatusPower.2`, `1.3.6.1…`.

    Raises, as validators do, for a name that is not known, and for a column whose rows cannot be added up.
    """
    text = text.strip()
    numeric = _NUMBER.fullmatch(text)
    if numeric is not None:
        return _by_number(text, _numbers(numeric[1]))
    named = _NAME.fullmatch(text)
    known = NAMES.get(named["name"]) if named is not None else None
    if named is None or known is None:
        raise wrong(f"'{text}' is no object that is known by name", f"{nearest(text, NAMES)}, or {_EXAMPLE}")
    row = _numbers(named["row"].removeprefix("."))
    return _known(text, known, row)


def _by_number(text: str, oid: Oid) -> Object:
    if oid[0] > 2 or (oid[0] < 2 and oid[1] > 39):
        raise wrong(f"'{text}' is no object identifier", _EXAMPLE)
    for known in NAMES.values():
        if oid[: len(known.oid)] == known.oid:
            return _known(text, known, oid[len(known.oid) :])
    return Object(text, oid)


def _known(text: str, known: Known, row: Oid) -> Object:
    if row:
        return Object(text, known.oid + row, scale=known.scale)
    if not known.rows:
        return Object(text, (*known.oid, 0), scale=known.scale)
    if not known.alike:
        raise wrong(f"the rows of '{text}' do not add up ({known.unit})", f"one of them, such as {text}.1.1")
    return Object(text, known.oid, column=True, scale=known.scale)


def _numbers(text: str) -> Oid:
    parts = text.split(".") if text else []
    if len(parts) > _MOST_NUMBERS or any(len(part) > _MOST_DIGITS or int(part) > _LARGEST for part in parts):
        raise wrong(f"'{text}' is no object identifier", _EXAMPLE)
    return tuple(map(int, parts))


def _oid(maker: str) -> Oid:
    """The number below `enterprises`."""
    return (1, 3, 6, 1, 4, 1, *map(int, maker.split(".")))


_WATT = Fraction(1)
_TEN_WATTS = Fraction(10)
_WATT_HOUR = Fraction(3_600)
_TENTH_KWH = Fraction(360_000)

# What is missing here is so because its unit depends on a setting of the device (temperatures that may be in °F), or
# because its MIB does not tell one.
NAMES: dict[str, Known] = {
    # APC and Schneider, PowerNet-MIB. Models without the measurement show -1.
    "rPDU2DeviceStatusPower": Known(_oid("318.1.1.26.4.3.1.5"), "0.01 kW", _TEN_WATTS),
    "rPDU2PhaseStatusPower": Known(_oid("318.1.1.26.6.3.1.7"), "0.01 kW", _TEN_WATTS),
    "rPDU2DeviceStatusEnergy": Known(_oid("318.1.1.26.4.3.1.9"), "0.1 kWh", _TENTH_KWH),
    "rPDU2SensorTempHumidityStatusTempC": Known(_oid("318.1.1.26.10.2.2.1.8"), "0.1 °C", Fraction(1, 10)),
    "rPDUIdentDevicePowerWatts": Known(_oid("318.1.1.12.1.16"), "W", _WATT, rows=False),
    # Raritan and Legrand, PDU2-MIB: rows by PDU, inlet (outlet, protector), perhaps pole, and what is measured. 5 is
    # active power, 8 active energy, 15 whether a protector has tripped (state 0: open, 1: closed). The …DecimalDigits
    # of the same row tell by which power of ten a value is multiplied: for power usually none.
    "measurementsInletSensorValue": Known(
        _oid("13742.6.5.2.3.1.4"), "row 1.1.5: W, 1.1.8: Wh, if inletSensorDecimalDigits is 0", None, alike=False
    ),
    "measurementsInletPoleSensorValue": Known(
        _oid("13742.6.5.2.4.1.4"), "row 1.1.2.5: W of pole 2, if inletPoleSensorDecimalDigits is 0", None, alike=False
    ),
    "measurementsOutletSensorValue": Known(
        _oid("13742.6.5.4.3.1.4"), "row 1.7.5: W of outlet 7, if outletSensorDecimalDigits is 0", None, alike=False
    ),
    "measurementsOverCurrentProtectorSensorState": Known(
        _oid("13742.6.5.3.3.1.3"), "row 1.3.15: 1 while protector 3 is closed", None, alike=False
    ),
    # Server Technology, Sentry4-MIB (PRO) and Sentry3-MIB (CDU). -1: not available.
    "st4InputCordActivePower": Known(_oid("1718.4.1.3.3.1.3"), "W", _WATT),
    "st4InputCordEnergy": Known(_oid("1718.4.1.3.3.1.10"), "0.1 kWh", _TENTH_KWH),
    "st4PhaseActivePower": Known(_oid("1718.4.1.5.3.1.8"), "W", _WATT),
    "st4OutletActivePower": Known(_oid("1718.4.1.8.3.1.7"), "W", _WATT),
    "systemTotalPower": Known(_oid("1718.3.1.6"), "W", _WATT, rows=False),
    "towerActivePower": Known(_oid("1718.3.2.1.1.11"), "W", _WATT),
    "infeedPower": Known(_oid("1718.3.2.2.1.12"), "W", _WATT),
    # Eaton, EATON-EPDU-MIB. inputWatts has a row for each phase, and on some models one for their total. A breaker is
    # on: 1, off: 2; groups that are none show 0.
    "inputTotalWatts": Known(_oid("534.6.6.7.3.5.1.4"), "W", _WATT),
    "inputTotalWh": Known(_oid("534.6.6.7.3.5.1.5"), "Wh", _WATT_HOUR),
    "inputWatts": Known(_oid("534.6.6.7.3.4.1.4"), "W", _WATT, alike=False),
    "outletWatts": Known(_oid("534.6.6.7.6.5.1.3"), "W", _WATT),
    "groupBreakerStatus": Known(_oid("534.6.6.7.5.1.1.5"), "1 while it is closed", None, alike=False),
    # Vertiv and Geist, VERTIV-V5-MIB.
    "pduTotalRealPower": Known(_oid("21239.5.2.3.1.1.9"), "W", _WATT),
    "pduTotalEnergy": Known(_oid("21239.5.2.3.1.1.12"), "Wh", _WATT_HOUR),
    "pduPhaseRealPower": Known(_oid("21239.5.2.3.2.1.12"), "W", _WATT),
    "pduOutletMeterRealPower": Known(_oid("21239.5.2.3.6.1.12"), "W", _WATT),
    # CyberPower, CPS-MIB.
    "ePDU2DeviceStatusPowerLoad": Known(_oid("3808.1.1.6.3.4.1.18"), "W", _WATT),
    "ePDU2DeviceStatusEnergy": Known(_oid("3808.1.1.6.3.4.1.9"), "0.1 kWh", _TENTH_KWH),
    "ePDU2PhaseStatusPower": Known(_oid("3808.1.1.6.4.4.1.7"), "W", _WATT),
    "ePDU2OutletMeteredStatusActivePower": Known(_oid("3808.1.1.6.6.2.4.1.7"), "W", _WATT),
    # nVent Enlogic, ENLOGIC-PDU-MIB. Its phases are there twice where they are wired as a delta: rows 1 to 3, 4 to 6.
    "pduUnitStatusActivePower": Known(_oid("38446.1.2.4.1.4"), "W", _WATT),
    "pduUnitStatusEnergy": Known(_oid("38446.1.2.4.1.9"), "0.1 kWh", _TENTH_KWH),
    "pduInputPhaseStatusActivePower": Known(_oid("38446.1.3.4.1.7"), "W", _WATT, alike=False),
    # Panduit, PANDUIT-MIB (generation 5).
    "pdug5InputPowerWatts": Known(_oid("19536.10.1.2.1.1.5"), "W", _WATT),
    "pdug5InputPhasePowerWatts": Known(_oid("19536.10.1.2.2.1.20"), "W", _WATT),
}
