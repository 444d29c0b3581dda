"""Sources of telemetry: what each measures, how often it is read, and when its readings no longer count."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from slurm_power.config.fields import (
    CountOrZero,
    FilePath,
    Hostlist,
    Name,
    Scale,
    Seconds,
    SecretsPath,
    Text,
    Url,
)
from slurm_power.config.section import Section, key, wrong
from slurm_power.config.snmp_names import find_object


class _Source(Section):
    every: Seconds = Field(description="how often it is read")
    stale: Seconds = Field(description="age at which a reading no longer counts")
    timeout: Seconds = key("2s", "how long one reading may take")

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.stale <= self.every:
            raise wrong("'stale' is not longer than 'every'", "for example every: 5s, stale: 30s")
        if "timeout" in self.model_fields_set and self.timeout > self.every:
            raise wrong("'timeout' is longer than 'every'", "for example every: 5s, timeout: 2s")
        return self


class _Web(_Source):
    url: Url = Field(description="where it is asked")
    credentials: FilePath | None = key(
        None, "file with `user: …` and `password: …`, or with `token: …`; only its owner may read it"
    )
    verify: FilePath | None = key(None, "file with the certificates to trust; without it the system's")

    @property
    def place(self) -> str:
        """Where it reads."""
        return self.url


class _Metered(_Source):
    zone: Name | None = key(None, "the zone that it measures")
    feed: Name | None = key(None, "the feed that it measures")
    node: Name | None = key(None, "the node that it measures")
    inlet: Name | None = key(
        None, "which inlet of the element it measures, where that has several: it draws the sum of all its inlets"
    )

    @model_validator(mode="after")
    def _one_element(self) -> Self:
        if sum(element is not None for element in (self.zone, self.feed, self.node)) != 1:
            raise wrong("it measures not exactly one element", "one of 'zone', 'feed' and 'node'")
        return self


class Prometheus(_Web):
    """Queries to a Prometheus server, 2.38 or later. Each gives one value for each zone, feed or node."""

    type: Literal["prometheus"] = Field(description="`prometheus`")
    zone_watts: Text | None = key(None, "query that gives power by zone")
    feed_watts: Text | None = key(None, "query that gives power by feed")
    node_watts: Text | None = key(None, "query that gives power by node")
    zone_celsius: Text | None = key(None, "query that gives inlet temperatures by zone, in °C; the highest counts")
    feed_breaker: Text | None = key(None, "query that gives breakers by feed: 1 closed, 0 open")
    zones: Hostlist | None = key(None, "the zones that its query for power is to tell of; without it all")
    feeds: Hostlist | None = key(None, "the feeds that it is to tell of; without it those that it has told of")
    label: Text = key("zone", "label that names the zone")
    feed_label: Text = key("feed", "label that names the feed")
    node_label: Text = key("node", "label that names the node; what follows a colon or dot is left out")
    phase_label: Text | None = key(None, "label that names the phase, where each is measured for itself")
    inlet_label: Text | None = key(None, "label that names the inlet, where an element has several")
    scale: Scale = key("1", "watts for each unit of the queries for power")

    @model_validator(mode="after")
    def _asks(self) -> Self:
        asked = (self.zone_watts, self.feed_watts, self.node_watts, self.zone_celsius, self.feed_breaker)
        if not any(asked):
            raise wrong("it has no query", "for example zone_watts: 'sum by (zone) (pdu_power_watts)'")
        return self


class Redfish(_Web, _Metered):
    """A PDU, chassis or server that speaks Redfish."""

    type: Literal["redfish"] = Field(description="`redfish`")
    resource: Text | None = key(
        None,
        "path of the resource to read, such as /redfish/v1/PowerEquipment/RackPDUs/1/Metrics; without it the only PDU, "
        "else the only chassis of the device",
    )
    celsius: Literal["inlet", "no"] = key(
        "inlet", "whether the temperature that it tells is that of a zone's inlet, as `thermal` takes it; else `no`"
    )

    @model_validator(mode="after")
    def _a_resource(self) -> Self:
        if self.resource is not None and not self.resource.startswith("/redfish/"):
            raise wrong("'resource' is no path of Redfish", "for example /redfish/v1/Chassis/1/EnvironmentMetrics")
        return self


def _found(text: str) -> str:
    find_object(text)
    return text


SnmpObject = Annotated[Text, AfterValidator(_found)]


class Snmp(_Metered):
    """A PDU that speaks SNMP."""

    type: Literal["snmp"] = Field(description="`snmp`")
    host: Text = Field(description="the device, `host` or `host:port`")
    version: Literal["2c", "3"] = key("3", "version of SNMP")
    credentials: SecretsPath = Field(
        description="file with `community: …`, or `user: …` with `auth: …`, `auth_protocol: …`, `priv: …`, "
        "`priv_protocol: …`; only its owner may read it",
    )
    oid: SnmpObject | None = key(None, "the object with its power, by name or number")
    phases: tuple[SnmpObject, ...] = key((), "instead of `oid`: one object for each phase, of which the fullest counts")
    energy: SnmpObject | None = key(None, "instead of `oid`: an object that counts energy")
    scale: Scale = key("1", "watts (or joules, with `energy`) for each unit of the object")
    celsius: SnmpObject | None = key(None, "the object with the temperature of a zone's inlet")
    celsius_scale: Scale = key("1", "°C for each unit of that object")
    breaker: SnmpObject | None = key(None, "the object with the state of the breaker of a zone or feed")
    closed: CountOrZero = key("1", "the value of that object while the breaker is closed")
    retries: CountOrZero = key("1", "how often a question without answer is asked again")

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if sum((self.oid is not None, bool(self.phases), self.energy is not None)) > 1:
            raise wrong("it has more than one of 'oid', 'phases' and 'energy'", "one of them")
        if len(self.phases) not in (0, 3):
            raise wrong("'phases' are three", "one object for each of L1, L2 and L3")
        if not any((self.oid, self.phases, self.energy, self.celsius, self.breaker)):
            raise wrong("it has no object to read", "for example oid: rPDU2DeviceStatusPower, scale: 10")
        return self

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.celsius is not None and self.zone is None:
            raise wrong("temperatures count for zones alone", "'celsius' beside a zone, for example zone: rack01")
        if self.breaker is not None and self.node is not None:
            raise wrong(
                "breakers count for zones and feeds alone", "'breaker' beside one of them, for example feed: pdu-a1"
            )
        return self

    @property
    def place(self) -> str:
        """Where it reads."""
        return self.host


class SlurmEnergy(_Source):
    """What Slurm's own energy plugins measure of nodes."""

    type: Literal["slurm"] = Field(description="`slurm`")

    @property
    def place(self) -> str:
        """Where it reads."""
        return "slurm"


class SignalFile(_Source):
    """A file in which the facility asks for cuts, and may drop readings."""

    type: Literal["file"] = Field(description="`file`")
    path: FilePath = Field(description="the file")

    @property
    def place(self) -> str:
        """Where it reads."""
        return self.path


class SignalUrl(_Web):
    """The same, fetched over HTTP."""

    type: Literal["http"] = Field(description="`http`")


Signal = SignalFile | SignalUrl
TelemetrySource = Annotated[
    Prometheus | Redfish | Snmp | SlurmEnergy | SignalFile | SignalUrl,
    Field(discriminator="type"),
]

