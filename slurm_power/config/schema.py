"""The site file key by key: what `docs/configuration.md` is made from.

Defaults are written as they would stand in the file. What needs more than one section to judge is in `check.py`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from slurm_power.config.balance import Balance
from slurm_power.config.control import Control
from slurm_power.config.exporter import Metrics
from slurm_power.config.fields import (
    AtLeastOne,
    Capacity,
    Count,
    DatabaseUrl,
    DayHours,
    Demand,
    DemandOrZero,
    Factor,
    HookTimeout,
    Hostlist,
    KeptFor,
    Margin,
    Milli,
    Name,
    Notice,
    Phases,
    PowerFactor,
    Seconds,
    SocketPath,
    Text,
)
from slurm_power.config.preemption import Preemption
from slurm_power.config.reservations import Reservations
from slurm_power.config.section import Section, key
from slurm_power.config.tariff import Sla, Tariff, listed
from slurm_power.config.telemetry import TelemetrySource
from slurm_power.config.thermal import Thermal
from slurm_power.core.policy import Mode, Scope
from slurm_power.core.topology import FeedKind, Lane, Redundancy, Side


class Burst(Section):
    """How bursts of different jobs add up; `burst: sum` stands for `burst: {rule: sum}`."""

    rule: Literal["rss", "sum"] = key(
        "rss", "`rss`: the least of Σb and z·√(Σb²); `sum`: Σb, for the cautious"
    )
    z: Milli = key("2", "the z of `rss`")


class Defaults(Section):
    """What holds where a zone, class or job says nothing else."""

    margin: Margin = key("15%", "part of a zone's limit that is never planned")
    redundancy: Redundancy = key("N", "how a zone uses its feeds")
    burst: Burst = key({}, "how bursts of different jobs add up")
    tier: Text | None = key(
        None,
        "tier of a job whose QOS stands for none; without it `bronze`, or where there is none the lowest",
    )
    max_factor: AtLeastOne = key("1.3", "max of a job that gives only est, as a multiple of est")
    start_grace: Seconds = key(
        "5m", "how long a released job may wait for its nodes before it is placed anew"
    )

    @field_validator("burst", mode="before")
    @classmethod
    def _short_burst(cls, value: Any) -> Any:
        return {"rule": value} if isinstance(value, str) else value


class Breaker(Section):
    """A breaker's rating: volts × amps × (√3 for three phases) × power factor × 80 % may be drawn continuously."""

    volts: Count = Field(description="between phases where there are three, else to neutral")
    amps: Count = Field(description="the rating of the breaker")
    phases: Phases = key("3", "number of phases")
    power_factor: PowerFactor = key("0.95", "W for each VA; 1.0 where the rating is already in W")


class Feed(Section):
    """An element upstream of zones: breaker, PDU, UPS, utility, or a cooling loop. At least `limit` or `breaker`."""

    limit: Capacity | None = key(
        None, "what it may carry continuously; with a breaker the least of the two counts"
    )
    breaker: Breaker | None = key(None, "the breaker that protects it; not for cooling")
    side: Side | None = key(None, "side of a redundant pair; without it that of the parent")
    parent: Name | None = key(None, "the feed that it hangs on")
    margin: Margin = key("0", "part of its limit that is never planned; a breaker's 80 % is margin already")
    kind: FeedKind = key("power", "what it delivers")


class Zone(Section):
    """The nodes behind one power limit, usually a rack. At least one of `limit`, `breaker` and `cooling`."""

    nodes: Hostlist = Field(description="its nodes; a node lies in one zone only")
    limit: Capacity | None = key(None, "what it may draw; the least of limit, breaker and cooling counts")
    breaker: Breaker | None = key(None, "the breaker that protects it")
    cooling: Capacity | None = key(None, "heat that can be taken away from it")
    baseline: DemandOrZero = key("0", "what it draws without jobs: idle nodes, switches, fans")
    margin: Margin | None = key(None, "part of its limit that is never planned; without it `defaults.margin`")
    feeds: tuple[Name, ...] = key(
        (), "the nearest feeds, power and cooling; those further up follow from `parent`"
    )
    redundancy: Redundancy | None = key(
        None,
        "`2N`: either side carries the whole load; `N`: the load is split; without it `defaults.redundancy`",
    )
    lane: Lane = key("mixed", "guaranteed work, interruptible work, or both")
    switch: Text | None = key(None, "network switch; jobs in several zones prefer few switches")


class Partition(Section):
    """What jobs of a Slurm partition may use, and what they draw where they do not say."""

    zones: Hostlist | None = key(None, "zones that its jobs may use; without it those that hold its nodes")
    node_watts: Demand | None = key(None, "rated power of a node: the est of last resort")
    gpu_watts: Demand | None = key(None, "board power of one GPU")
    gpu_factor: Factor = key("1", "part of the board power that a busy GPU draws")
    overhead_watts: DemandOrZero = key("0", "what a node draws beside its GPUs")


class Tier(Section):
    """A promise and the QOS that stands for it; tiers are listed from the highest to the lowest."""

    qos: Text | None = key(None, "Slurm's QOS for it; without it the tier's name")
    notice: Notice = key("0s", "time between the warning and a preemption; `never`: not preempted")
    planned_cuts: Literal["avoid", "accept"] = key(
        "avoid",
        "`avoid`: no job of it is started that a planned cut of a limit would end; `accept`: batch jobs are, run until "
        "shortly before the cut begins, and give way then",
    )


class WorkClass(Section):
    """A preset that a job chooses by `class=`; the job's own keys override defaults, never `max` and `hours`."""

    tier: Text | None = key(None, "tier of its jobs")
    max_delay: Seconds | None = key(None, "delay that its jobs tolerate; orders held jobs")
    hours: DayHours | None = key(None, "local hours in which its jobs may start; may run over midnight")
    est: Demand | None = key(None, "est of a job that gives none")
    max: Demand | None = key(None, "the most that the max of one of its jobs may be")
    headroom: Demand | None = key(None, "headroom that must be free before a job of it is placed")
    max_factor: AtLeastOne | None = key(None, "max as a multiple of est; without it `defaults.max_factor`")


class Hook(Section):
    """How slurmctld's hook, the launch gate and the commands reach the daemon."""

    socket: SocketPath = key("/run/slurm_power/hook.sock", "socket for slurmctld's hook and the launch gate")
    control: SocketPath | None = key(
        None, "socket for the commands; without it `control.sock` beside `socket`"
    )
    timeout: HookTimeout = key("100ms", "the longest that a submission waits for the daemon")
    unreachable: Literal["hold"] = key("hold", "what becomes of a submission that gets no answer in time")
    gate_wait: Seconds = key(
        "30s", "how long the launch gate waits before it denies a job that a denial would kill"
    )
    token_ttl: Seconds = key("10s", "how long a claim made at submit counts before its job has been seen")
    rumour_cap: Demand = key(
        "200kW",
        "the most watts that one user may have for submissions that Slurm has not shown yet, or within the last ten "
        "minutes never did; more are held until it has",
    )


class State(Section):
    """The database of promises."""

    url: DatabaseUrl = key(
        "sqlite:////var/lib/slurm_power/state.db", "SQLite, PostgreSQL or MariaDB, as SQLAlchemy writes it"
    )
    keep: KeptFor = key("400d", "how long decisions are kept, a day at least; closed intents a week at most")


class SiteFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = key("enforce", "how far the daemon goes: watch, advise, or act")
    enforce: Scope = key("all", "whose work `mode: enforce` acts on: all, or only work with a reservation")
    native: Literal["licenses", "hres", "none"] = key(
        "licenses", "what Slurm itself counts watts with; `hres` counts with licences in this version"
    )
    timezone: Text | None = key(
        None, "IANA name, for `hours` and for times without an offset; without it the machine's"
    )
    defaults: Defaults = key({}, "what holds where nothing else is said")
    feeds: dict[Name, Feed] = key({}, "elements upstream, by name")
    zones: dict[Name, Zone] = Field(description="zones by name", min_length=1)
    partitions: dict[Text, Partition] = key({}, "Slurm's partitions, by name")
    tiers: dict[Name, Tier] = key(
        {"gold": {"notice": "never"}, "silver": {"notice": "10m"}, "bronze": {"notice": "0s"}},
        "promises by name, from the highest to the lowest",
    )
    classes: dict[Name, WorkClass] = key({}, "kinds of work by name")
    hook: Hook = key({}, "sockets and waits")
    state: State = key({}, "the database")
    reservations: Reservations = key({}, "rules for reservations of power")
    preemption: Preemption = key({}, "bounds on preemption")
    sla: dict[Name, Sla] | None = key(None, "service levels, by tier")
    telemetry: tuple[TelemetrySource, ...] | None = key(None, "sources of measured power")
    thermal: Thermal | None = key(None, "what heat takes away from the limits of zones")
    control: Control = key({}, "how readings are smoothed and judged")
    balance: Balance = key({}, "work that is moved to where measured headroom is")
    metrics: Metrics | None = key(None, "where Prometheus reads what the daemon knows")
    tariff: tuple[Tariff, ...] | None = key(None, "prices for showback: one tariff, or several with `from`")

    @field_validator("tariff", mode="before")
    @classmethod
    def _one_tariff(cls, value: Any) -> Any:
        return listed(value)
