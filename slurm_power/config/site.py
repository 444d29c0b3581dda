"""The site as the rest of the product sees it: `load_site` and its result."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from slurm_power.config import check
from slurm_power.config.balance import Balance
from slurm_power.config.control import Control
from slurm_power.config.document import read_document
from slurm_power.config.exporter import Metrics
from slurm_power.config.floor import build_topology
from slurm_power.config.preemption import Preemption
from slurm_power.config.problems import Problems
from slurm_power.config.reservations import Reservations
from slurm_power.config.schema import Hook, SiteFile
from slurm_power.config.tariff import Sla
from slurm_power.config.telemetry import TelemetrySource
from slurm_power.config.thermal import Thermal
from slurm_power.config.validate import read_site_file
from slurm_power.core.policy import BurstRule, Native, PartitionPolicy, Policy, Tier, WorkClass
from slurm_power.core.showback import Tariff
from slurm_power.core.topology import Topology

DEFAULT_PATH = Path("/etc/slurm/slurm_power.yaml")
PATH_VARIABLE = "SLURM_POWER_CONF"
_LOCAL = Path("/etc/localtime")


@dataclass(frozen=True, slots=True)
class HookSettings:
    """How the hook, the launch gate and the commands reach the daemon."""

    socket: Path
    control: Path
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Site:
    """A site file that was read and found right."""

    path: Path
    topology: Topology
    policy: Policy
    hook: HookSettings
    state_url: str
    keep_s: int
    """How long decisions are kept, in seconds."""
    timezone: tzinfo
    reservations: Reservations
    preemption: Preemption
    control: Control
    balance: Balance
    thermal: Thermal | None = None
    warnings: tuple[str, ...] = ()
    sla: Mapping[str, Sla] | None = None
    telemetry: tuple[TelemetrySource, ...] | None = None
    metrics: Metrics | None = None
    tariffs: tuple[Tariff, ...] = ()
    """By their beginning."""


def site_path(path: Path | None = None) -> Path:
    """Which file is meant: the one given, else $SLURM_POWER_CONF, else /etc/slurm/slurm_power.yaml."""
    return path or Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)


def load_site(path: Path | None = None, *, text: str | None = None) -> Site:
    """Read a site file, or `text` in its place. Raises ConfigError (a SiteError) that names all problems found."""
    where = site_path(path)
    problems = Problems(str(where))
    content = _read(where, problems) if text is None else text
    file = read_site_file(content, problems)
    check.references(file, problems)
    problems.raise_any()
    topology = build_topology(file, problems)
    zone = _timezone(file.timezone, problems)
    problems.raise_any()
    check.warn_of_hres(file, problems)
    return Site(
        path=where,
        topology=topology,
        policy=_policy(file),
        hook=_hook(file.hook),
        state_url=file.state.url,
        keep_s=file.state.keep,
        timezone=zone,
        warnings=tuple(problems.warnings),
        reservations=file.reservations,
        preemption=file.preemption,
        control=file.control,
        balance=file.balance,
        thermal=file.thermal,
        sla=file.sla,
        telemetry=file.telemetry,
        metrics=file.metrics,
        tariffs=tuple(sorted((one.prices(zone) for one in file.tariff or ()), key=lambda one: one.start)),
    )


def control_socket(path: Path | None = None) -> Path:
    """Where the commands reach the daemon. Only the section `hook` is judged: while somebody mends the rest of the
    file, the daemon must still be within reach.

    Where nobody named a file and the usual one cannot be read, it is the usual socket. Raises ConfigError.
    """
    where = site_path(path)
    named = path is not None or os.environ.get(PATH_VARIABLE)
    if not named and not os.access(where, os.R_OK):
        return _hook(Hook.model_validate({})).control
    problems = Problems(str(where))
    data = read_document(_read(where, problems), problems)
    try:
        return _hook(Hook.model_validate(data.get("hook", {}))).control
    except ValidationError:
        return load_site(where).hook.control  # raises, and says where the problems are


def _hook(section: Hook) -> HookSettings:
    socket = Path(section.socket)
    control = Path(section.control) if section.control else socket.with_name("control.sock")
    return HookSettings(socket, control, section.timeout)


def _read(path: Path, problems: Problems) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        expected = f"a site file there, or ${PATH_VARIABLE} that names one"
        problems.add_at(None, f"cannot be read: {error.strerror}", expected)
    else:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            problems.add_at(line, "is not text in UTF-8", "UTF-8")
    raise problems.error()


def _policy(file: SiteFile) -> Policy:
    defaults, hook = file.defaults, file.hook
    return Policy(
        mode=file.mode,
        scope=file.enforce,
        native=Native.NONE if file.native == "none" else Native.LICENSES,
        burst=BurstRule(rss=defaults.burst.rule == "rss", z_milli=defaults.burst.z),
        default_tier=check.default_tier(file),
        max_factor_milli=defaults.max_factor,
        tiers={
            name: Tier(name, tier.qos or name, tier.notice, rank, tier.planned_cuts == "accept")
            for rank, (name, tier) in enumerate(file.tiers.items())
        },
        classes={
            name: WorkClass(
                name=name,
                tier=preset.tier,
                max_delay_s=preset.max_delay,
                hours=preset.hours,
                est_w=preset.est,
                max_w=preset.max,
                headroom_w=preset.headroom,
                max_factor_milli=preset.max_factor,
            )
            for name, preset in file.classes.items()
        },
        partitions={
            name: PartitionPolicy(
                name=name,
                zones=partition.zones,
                node_w=partition.node_watts,
                gpu_w=partition.gpu_watts,
                gpu_factor_milli=partition.gpu_factor,
                overhead_w=partition.overhead_watts,
            )
            for name, partition in file.partitions.items()
        },
        token_ttl_s=hook.token_ttl,
        rumour_cap_w=hook.rumour_cap,
        start_grace_s=defaults.start_grace,
        gate_wait_s=hook.gate_wait,
    )


def _timezone(name: str | None, problems: Problems) -> tzinfo:
    if name is None:
        return local_timezone()
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # an unknown name (ZoneInfoNotFoundError), that of a directory, `..`
        problems.add(
            ("timezone",), f"'{name}' is no time zone of this machine", "an IANA name such as Europe/Berlin"
        )
        return UTC


def local_timezone() -> tzinfo:
    """The machine's own zone with its changes over the year: $TZ, else /etc/localtime, else UTC."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with _LOCAL.open("rb") as stream:
            return ZoneInfo.from_file(stream, key="localtime")
    except (KeyError, OSError, ValueError):  # as above
        return UTC
