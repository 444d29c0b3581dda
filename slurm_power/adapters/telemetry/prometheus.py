"""Readings from a Prometheus server, by instant queries: each gives one value for each zone, feed or node.

An instant query takes the newest sample of each series, and looks back five minutes for it. Where a target is scraped
without success its series end at once. What else falls silent stays as it was for five minutes: samples with times of
their own, samples that are pushed or federated, or all of them while the server itself does not scrape. Therefore each
query says `lookback_delta`, which a server reads from 2.43 on. An older one, such as Debian 12's 2.42, takes the
parameter without a word and looks back five minutes all the same. So the server is asked once with a `lookback_delta`
that is nonsense; where it does not mind, the log says what helps.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from math import isnan, nan
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from slurm_power.adapters.telemetry.few import few
from slurm_power.adapters.telemetry.parts import total_of_inlets
from slurm_power.adapters.telemetry.phases import doubled
from slurm_power.adapters.telemetry.web import BadStatus, Web, shown
from slurm_power.config.telemetry import Prometheus
from slurm_power.core.errors import TelemetryError
from slurm_power.core.immutable import immutable
from slurm_power.ports import Kind, Quantity, Reading, Told

_log = logging.getLogger("slurm_power.telemetry")
_PATH = "/api/v1/query"
_REMARK = "PromQL"
"""What a warning begins with that speaks of the query and not of its answer."""
_DOMAIN = re.compile(r"[:.]")
_OLD = (
    "%s: does not know lookback_delta, as Prometheus does from 2.43 on: samples may be five minutes old, unless it "
    "runs with --query.lookback-delta=%ss, or the queries say last_over_time(…[%ss])"
)


@immutable
class _Query:
    """One query of the site file; `name` is its key there."""

    name: str
    text: str
    kind: Kind
    quantity: Quantity
    label: str


class _Series(BaseModel):
    metric: dict[str, str]
    value: tuple[float, str]


class _Vector(BaseModel):
    resultType: Literal["vector"]  # noqa: N815 -- Prometheus's name
    result: list[_Series]


class _Error(BaseModel):
    errorType: str  # noqa: N815
    error: str


class PrometheusSource:
    """All queries of one `telemetry` of type `prometheus`."""

    def __init__(self, config: Prometheus) -> None:
        self._config = config
        self._queries = _queries(config)
        self._web = Web(config.url, config.timeout, config.credentials, config.verify)
        self._lookback_known = False

    def read(self) -> Told:
        """What its queries give. One that fails costs its own readings; raises TelemetryError where there are none.

        Each query may take the time-out. How old a sample is the server does not say: `age_s` is 0, and means `stale`
        at most.
        """
        found: list[Reading] = []
        failed: dict[str, list[str]] = {}
        for query in self._queries:
            try:
                readings, trouble = self._readings(query)
            except TelemetryError as error:
                readings, trouble = (), str(error)
            found += readings
            if trouble:
                failed.setdefault(trouble, []).append(query.name)
        told = "; ".join(f"{', '.join(names)}: {trouble}" for trouble, names in failed.items())
        trouble = f"{self._config.place}: {told}" if told else ""
        if trouble and not found:
            raise TelemetryError(trouble)
        self._look_at_lookback()
        return Told(found, trouble)

    def close(self) -> None:
        """No more readings."""
        self._web.close()

    def _readings(self, query: _Query) -> tuple[Sequence[Reading], str]:
        """What a query gives, and why some of its elements are left out. Raises TelemetryError for it as a whole.

        A series that does not say whose it is costs the whole: it may be an inlet of any.
        """
        series: dict[str, list[_Series]] = {}
        for one in self._vector(query):
            series.setdefault(_element(query, one.metric), []).append(one)
        found: list[Reading] = []
        troubles: list[str] = []
        for element, of_element in series.items():
            try:
                found += self._of_element(query, element, of_element)
            except TelemetryError as error:
                troubles.append(str(error))
        return found, few(troubles)

    def _of_element(self, query: _Query, element: str, series: Sequence[_Series]) -> Sequence[Reading]:
        """What the series of an element tell. Raises TelemetryError."""
        if query.quantity is Quantity.TEMPERATURE:
            return [Reading(query.kind, element, query.quantity, _hottest([_number(one) for one in series]))]
        found: dict[tuple[str, str], Reading] = {}
        labels: dict[tuple[str, str], Mapping[str, str]] = {}
        for one in series:
            reading = self._reading(query, element, one)
            place = (reading.phase, reading.part)
            if place in found:
                raise TelemetryError(self._twice(query, element, labels[place], one.metric))
            found[place], labels[place] = reading, one.metric
        self._check_sum(list(found.values()))
        return list(found.values())

    def _reading(self, query: _Query, element: str, series: _Series) -> Reading:
        metric, config = series.metric, self._config
        value = _number(series)
        if query.quantity is Quantity.POWER:
            value *= float(config.scale)
        phase, inlet = (metric.get(label or "", "") for label in (config.phase_label, config.inlet_label))
        return Reading(query.kind, element, query.quantity, value, part=inlet, phase=phase)

    def _twice(self, query: _Query, element: str, one: Mapping[str, str], other: Mapping[str, str]) -> str:
        """Why two series for the same are not summed, and what to do."""
        differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        name = differ[0] if differ else query.label
        kept = [query.label, *filter(None, (self._config.phase_label, self._config.inlet_label))]
        how = "min" if query.quantity is Quantity.BREAKER else "sum"
        return (
            f"several series for '{shown(element)}', which differ in {shown(', '.join(differ))}; they are not summed, "
            f"for a total and its outlets would count twice. "
            f'Filter, for example {{{shown(name)}="{shown(one.get(name, ""))}"}}, '
            f"or aggregate, for example {how} by ({', '.join(kept)}) (…)"
        )

    def _check_sum(self, readings: Sequence[Reading]) -> None:
        """Raises TelemetryError for phases or inlets that stand beside their total."""
        both = doubled(readings)
        if both is not None:
            label = self._config.phase_label
            raise TelemetryError(
                f"of the series for '{shown(both.element)}' some have the label '{label}' and some have not: "
                f'a total and its phases would count twice; filter, for example {{{label}!=""}}'
            )
        total = total_of_inlets(readings)
        if total:
            raise TelemetryError(f"{total}; filter by the label '{self._config.inlet_label}'")

    def _vector(self, query: _Query) -> Sequence[_Series]:
        data = self._data(query)
        kind = data.get("resultType") if isinstance(data, dict) else None
        if kind in ("scalar", "string", "matrix"):
            why = "leave out its range, such as [5m]" if kind == "matrix" else "it has no labels"
            raise TelemetryError(f"it gives a {kind} and not one value for each {query.kind}: {why}")
        try:
            return _Vector.model_validate(data).result
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise TelemetryError(f"the answer is none of Prometheus's: data.{place}: {first['msg']}") from None

    def _data(self, query: _Query) -> Any:
        asked = {
            "query": query.text,
            "lookback_delta": f"{self._config.stale}s",
            "timeout": f"{self._config.timeout}s",
            "partial_response": "false",  # of Thanos, which else leaves out what it cannot reach
        }
        try:
            answer = self._web.json(_PATH, asked)
        except BadStatus as error:
            raise TelemetryError(_told(error.body) or str(error)) from None
        if not isinstance(answer, dict) or "data" not in answer:
            raise TelemetryError("the answer is none of Prometheus's: it has no 'data'")
        lack = _lack(answer.get("warnings"))
        if lack:  # nobody sees of a sum that a part of it is missing
            raise TelemetryError(f"the server warns that its answer is not whole: {shown(lack)}")
        return answer["data"]

    def _look_at_lookback(self) -> None:
        """Once, and never at the cost of readings."""
        if self._lookback_known:
            return
        try:
            self._web.get(_PATH, {"query": "vector(0)", "lookback_delta": "nonsense"})
        except BadStatus as error:
            self._lookback_known = error.status == 400
        except TelemetryError:
            return  # asked again with the next reading
        else:
            self._lookback_known = True
            _log.warning(_OLD, self._config.place, self._config.stale, self._config.stale)


def node_name(label: str) -> str:
    """The node that a label such as `gpu001:9100` or `gpu001.example.org` names; an address stays whole."""
    host = label.rpartition(":")[0].strip("[]")
    for address in (label.strip("[]"), host):
        try:
            ip_address(address)
        except ValueError:
            continue
        return address
    return _DOMAIN.split(label, maxsplit=1)[0]


def _queries(config: Prometheus) -> Sequence[_Query]:
    known = (
        ("zone_watts", config.zone_watts, Kind.ZONE, Quantity.POWER, config.label),
        ("feed_watts", config.feed_watts, Kind.FEED, Quantity.POWER, config.feed_label),
        ("node_watts", config.node_watts, Kind.NODE, Quantity.POWER, config.node_label),
        ("zone_celsius", config.zone_celsius, Kind.ZONE, Quantity.TEMPERATURE, config.label),
        ("feed_breaker", config.feed_breaker, Kind.FEED, Quantity.BREAKER, config.feed_label),
    )
    return [_Query(name, text, kind, quantity, label) for name, text, kind, quantity, label in known if text]


def _element(query: _Query, metric: Mapping[str, str]) -> str:
    name = metric.get(query.label, "")
    if query.kind is Kind.NODE:
        name = node_name(name)
    if not name:
        raise TelemetryError(
            f"the series {_as_text(metric)} has no label '{query.label}' that names the {query.kind}; "
            f"keep it in the query, for example sum by ({query.label}) (…)"
        )
    return name


def _lack(warnings: object) -> str:
    """What a server could not look up, by its warnings; empty for nothing."""
    told = map(str, warnings) if isinstance(warnings, list) else iter(())
    return next((text for text in told if not text.startswith(_REMARK)), "")


def _number(series: _Series) -> float:
    try:
        return float(series.value[1])  # "NaN" and "+Inf" as well
    except ValueError:
        raise TelemetryError(f"'{shown(series.value[1])}' is no number") from None


def _hottest(celsius: Sequence[float]) -> float:
    """What is no number counts where there is nothing else."""
    return max((one for one in celsius if not isnan(one)), default=nan)


def _told(body: bytes) -> str:
    """The text of an error of Prometheus's; empty where it is another's."""
    try:
        answer = _Error.model_validate_json(body)
    except ValidationError:
        return ""
    return shown(f"{answer.errorType}: {answer.error}")


def _as_text(metric: Mapping[str, str]) -> str:
    return "{" + shown(", ".join(f'{name}="{value}"' for name, value in metric.items())) + "}"
