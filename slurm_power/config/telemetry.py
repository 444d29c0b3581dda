"""Sources of telemetry. This version acts on those of type `file`; the others are read and checked."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from slurm_power.config.fields import (
    Decimal,
    FilePath,
    Name,
    Seconds,
    Text,
    Url,
)
from slurm_power.config.section import Section, key


class _Source(Section):
    every: Seconds = Field(description="how often it is read")
    stale: Seconds = Field(description="age at which a reading no longer counts")

    @model_validator(mode="after")
    def _stale_later(self) -> Self:
        if self.stale <= self.every:
            raise _wrong("'stale' is not longer than 'every'", "for example every: 5s, stale: 30s")
        return self


class _Metered(_Source):
    zone: Name | None = key(None, "the zone that it measures")
    feed: Name | None = key(None, "the feed that it measures")

    @model_validator(mode="after")
    def _one_element(self) -> Self:
        if (self.zone is None) == (self.feed is None):
            raise _wrong("it measures not exactly one element", "either 'zone' or 'feed'")
        return self


class Prometheus(_Source):
    """Queries to a Prometheus server."""

    type: Literal["prometheus"] = Field(description="`prometheus`")
    url: Url = Field(description="the server")
    zone_watts: Text = Field(description="query that gives watts by zone")
    label: Text = key("zone", "label that names the zone")


class Redfish(_Metered):
    """A PDU or chassis that speaks Redfish."""

    type: Literal["redfish"] = Field(description="`redfish`")
    url: Url = Field(description="the device")
    credentials: FilePath | None = key(None, "file with user and password")
    verify: FilePath | None = key(None, "file with the certificates to trust; without it the system's")


class Snmp(_Metered):
    """A PDU that speaks SNMP."""

    type: Literal["snmp"] = Field(description="`snmp`")
    host: Text = Field(description="the device")
    version: Literal["2c", "3"] = key("3", "version of SNMP")
    credentials: FilePath | None = key(None, "file with the community, or user and keys")
    oid: Text = Field(description="the object to read, by name or number")
    scale: Decimal = key("1", "watts for each unit of the object")


class SlurmEnergy(_Source):
    """Slurm's own energy plugins."""

    type: Literal["slurm"] = Field(description="`slurm`")


class SignalFile(_Source):
    """A file in which the facility asks for cuts."""

    type: Literal["file"] = Field(description="`file`")
    path: FilePath = Field(description="the file")


TelemetrySource = Annotated[
    Prometheus | Redfish | Snmp | SlurmEnergy | SignalFile,
    Field(discriminator="type"),
]


def _wrong(problem: str, expected: str) -> PydanticCustomError:
    return PydanticCustomError("site", "{problem}", {"problem": problem, "expected": expected})
