from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from slurm_power.config import Site, load_site
from slurm_power.config.site import local_timezone
from slurm_power.core.policy import BurstRule, Hours, Mode, Native, Scope
from slurm_power.core.service_level import Promise
from slurm_power.core.topology import FeedKind, Lane, Redundancy, Side, Tap
from slurm_power.core.window import FOREVER

EXAMPLE = Path(__file__).parents[2] / "etc" / "slurm_power.yaml"

DESIGN = """\
mode: enforce                     # observe | advise | enforce
enforce: all                      # all | reserved
native: licenses                  # licenses | hres | none
defaults: {margin: 15%, redundancy: N, burst: {rule: rss, z: 2}, tier: bronze, max_factor: 1.3}
feeds:
  ups-a:  {side: A, limit: 400kW}
  ups-b:  {side: B, limit: 400kW}
  pdu-a1: {side: A, parent: ups-a, breaker: {volts: 415, amps: 100, phases: 3}}
  pdu-b1: {side: B, parent: ups-b, breaker: {volts: 415, amps: 100, phases: 3}}
zones:
  rack01: {nodes: "gpu[001-004]", feeds: [pdu-a1, pdu-b1], redundancy: 2N, limit: 55kW, baseline: 2kW, lane: hot, cooling: 60kW}
  rack02: {nodes: "gpu[005-008]", feeds: [pdu-a1, pdu-b1], redundancy: 2N, limit: 55kW, baseline: 2kW, lane: cold}
partitions:                       # default: the zones that hold the partition's nodes
  train: {zones: "rack[01-02]", node_watts: 10200W, gpu_watts: 700W}
tiers:
  gold:   {qos: gold, notice: never}
  silver: {qos: silver, notice: 10m}
  bronze: {qos: bronze, notice: 0s}
classes:                          # presets chosen by class=; a flag in the comment overrides a default, never a limit
  training:    {tier: silver, max_delay: 12h}
  interactive: {tier: silver, max_delay: 5m, max: 20kW}
  overnight:   {tier: bronze, hours: "20:00-06:00"}
  urgent:      {tier: gold, max_delay: 30m}
hook:    {socket: /run/slurm_power/hook.sock, timeout: 100ms, unreachable: hold}
state:   {url: "sqlite:////var/lib/slurm_power/state.db"}
reservations: {grace: 15m, max_share: 60%, approval: none, score: {half_life: 30d, floor: 0.4}}
sla:     {gold: {max_delay: 30m, error_budget: 1%}, silver: {max_delay: 6h, error_budget: 5%}}
telemetry:                        # any number; each says what it measures, how often, and when it is stale
  - {type: prometheus, url: "http://127.0.0.1:9090", every: 5s, stale: 30s, zone_watts: 'sum by (rack) (pdu_power_watts{level="total"})', label: rack}
  - {type: redfish, url: "https://pdu-a1", verify: /etc/ssl/site.pem, credentials: /etc/slurm_power/secrets/pdu-a1, feed: pdu-a1, every: 5s, stale: 30s}
  - {type: snmp, host: pdu-b1, version: 3, credentials: /etc/slurm_power/secrets/pdu-b1, feed: pdu-b1, oid: rPDU2DeviceStatusPower, scale: 10, every: 10s, stale: 60s}
  - {type: slurm, every: 30s, stale: 120s}
  - {type: file, path: /run/facility/signal.json, every: 5s, stale: 60s}
tariff:  {currency: EUR, kwh: 0.21, reserved_kwh: 0.05, tiers: {gold: 1.5, silver: 1.0, bronze: 0.6}}
"""  # noqa: E501 (as a site would write it)

SMALL = "zones: {z: {nodes: n1, limit: 10kW}}\n"


def site(text: str) -> Site:
    return load_site(text=text)


def test_the_whole_file() -> None:
    loaded = site(DESIGN)
    policy = loaded.policy
    assert (policy.mode, policy.scope, policy.native) == (Mode.ENFORCE, Scope.ALL, Native.LICENSES)
    assert policy.burst == BurstRule(rss=True, z_milli=2_000)
    assert (policy.default_tier, policy.max_factor_milli) == ("bronze", 1_300)
    assert [(tier.qos, tier.notice_s, tier.rank) for tier in policy.tiers.values()] == [
        ("gold", None, 0),
        ("silver", 600, 1),
        ("bronze", 0, 2),
    ]
    assert policy.classes["overnight"].hours == Hours(20 * 3_600, 6 * 3_600)
    assert policy.classes["interactive"].max_w == 20_000
    assert policy.classes["training"].max_delay_s == 12 * 3_600
    train = policy.partitions["train"]
    assert (train.zones, train.node_w, train.gpu_w) == (("rack01", "rack02"), 10_200, 700)
    zone = loaded.topology.zones["rack01"]
    assert zone.nodes == ("gpu001", "gpu002", "gpu003", "gpu004")
    assert (zone.lane, zone.redundancy, zone.baseline_w, zone.margin) == (
        Lane.HOT,
        Redundancy.TWO_N,
        2_000,
        Fraction(15, 100),
    )
    assert loaded.topology.taps["rack01"] == tuple(
        Tap(f, 1, 1) for f in ("pdu-a1", "pdu-b1", "ups-a", "ups-b")
    )
    assert loaded.topology.feeds["pdu-a1"].side is Side.A
    assert loaded.state_url == "sqlite:////var/lib/slurm_power/state.db"
    assert loaded.keep_s == 400 * 86_400
    assert (loaded.hook.socket, loaded.hook.control, loaded.hook.timeout_ms) == (
        Path("/run/slurm_power/hook.sock"),
        Path("/run/slurm_power/control.sock"),
        100,
    )


def test_later_sections_are_typed() -> None:
    loaded = site(DESIGN)
    assert not [text for text in loaded.warnings if "an effect" in text]
    assert loaded.reservations.score.half_life == 30 * 86_400
    assert loaded.reservations.max_share == Fraction(6, 10)
    assert loaded.sla is not None
    assert loaded.sla["gold"].error_budget == Fraction(1, 100)
    assert loaded.telemetry is not None
    assert [source.type for source in loaded.telemetry] == ["prometheus", "redfish", "snmp", "slurm", "file"]
    [tariff] = loaded.tariffs
    assert (tariff.start, tariff.currency, tariff.kwh) == (0, "EUR", Fraction(21, 100))
    assert (tariff.tiers["bronze"], tariff.yielding) == (Fraction(6, 10), Fraction(1))


def test_tariffs_that_hold_from_a_day_on() -> None:
    """In the order of their days, which begin at midnight on the site's clock."""
    loaded = site(
        SMALL
        + "timezone: Europe/Berlin\n"
        + "tariff:\n"
        + "  - {from: 2026-07-01, currency: EUR, kwh: 0.3, checkpoints: 0.8}\n"
        + "  - {currency: EUR, kwh: 0.2}\n"
    )
    assert [(one.start, one.kwh, one.yielding) for one in loaded.tariffs] == [
        (0, Fraction(1, 5), 1),
        (1_782_856_800, Fraction(3, 10), Fraction(4, 5)),
    ]


def test_what_a_tier_is_promised() -> None:
    """What is left out is not promised; a shortfall may be promised away altogether."""
    loaded = site(
        SMALL
        + "tiers: {gold: {qos: gold, notice: never}, bronze: {qos: bronze, notice: 0s}}\n"
        + "sla:\n"
        + "  gold: {max_delay: 5m, error_budget: 1%, max_shortfall: 0s, max_burst_shortfall: 10m}\n"
        + "  bronze: {max_delay: 1h, error_budget: 10%, min_run: 30m}\n"
    )
    assert loaded.sla is not None
    gold, bronze = loaded.sla["gold"], loaded.sla["bronze"]
    assert gold.promise(gives_way=False) == Promise(300, 0, 600, FOREVER)
    assert gold.promise(gives_way=True) == Promise(300, 0, 600, 0)
    assert bronze.promise(gives_way=True) == Promise(3_600, FOREVER, FOREVER, 1_800)


def test_the_example_needs_no_warning() -> None:
    assert load_site(EXAMPLE).warnings == ()


def test_the_example_with_its_later_sections_switched_on() -> None:
    text = EXAMPLE.read_text()
    head, _, tail = text.partition("without this section.\n#\n")
    later = "".join(line.removeprefix("# ") + "\n" for line in tail.splitlines())
    assert len(site(head + later).telemetry or ()) == 3


def test_defaults() -> None:
    loaded = site(SMALL)
    zone = loaded.topology.zones["z"]
    assert (zone.limit_w, zone.margin, zone.redundancy, zone.lane) == (
        10_000,
        Fraction(15, 100),
        Redundancy.N,
        Lane.MIXED,
    )
    policy = loaded.policy
    assert (policy.default_tier, list(policy.tiers)) == ("bronze", ["gold", "silver", "bronze"])
    assert (policy.token_ttl_s, policy.rumour_cap_w, policy.gate_wait_s, policy.start_grace_s) == (
        10,
        200_000,
        30,
        300,
    )
    assert loaded.warnings == ()
    assert (loaded.sla, loaded.telemetry, loaded.tariffs) == (None, None, ())
    rules = loaded.reservations
    assert (rules.grace, rules.max_share, rules.approval) == (900, Fraction(6, 10), "none")


def test_defaults_of_the_site_reach_zones_and_policy() -> None:
    loaded = site(
        "defaults: {margin: 20%, burst: sum, max_factor: 1.5, tier: low, start_grace: 2m}\n"
        "tiers: {high: {notice: never}, low: {qos: cheap}}\n"
        "partitions: {p: {gpu_watts: 700, gpu_factor: 0.85, overhead_watts: 1.5kW}}\n"
        "classes: {c: {est: 10kW, max: 12kW, headroom: 1kW, max_factor: 1.2}}\n"
        "hook: {socket: /s/hook.sock, control: /c/own.sock, gate_wait: 1m, token_ttl: 20s, rumour_cap: 50kW}\n"
        "zones: {a: {nodes: n1, limit: 10kW}, b: {nodes: n2, limit: 10kW, margin: 0}}\n"
    )
    assert loaded.topology.zones["a"].margin == Fraction(1, 5)
    assert loaded.topology.zones["b"].margin == 0
    policy = loaded.policy
    assert policy.burst == BurstRule(rss=False)
    assert (policy.max_factor_milli, policy.default_tier, policy.start_grace_s) == (1_500, "low", 120)
    assert policy.tiers["low"].qos == "cheap"
    assert policy.tiers["high"].qos == "high"
    partition = policy.partitions["p"]
    assert (partition.zones, partition.gpu_factor_milli, partition.overhead_w) == (None, 850, 1_500)
    preset = policy.classes["c"]
    assert (preset.est_w, preset.max_w, preset.headroom_w, preset.max_factor_milli) == (
        10_000,
        12_000,
        1_000,
        1_200,
    )
    assert loaded.hook.control == Path("/c/own.sock")
    assert (policy.gate_wait_s, policy.token_ttl_s, policy.rumour_cap_w) == (60, 20, 50_000)


def test_the_lowest_tier_is_the_default_where_there_is_no_bronze() -> None:
    assert site(SMALL + "tiers: {first: {}, second: {}}").policy.default_tier == "second"


@pytest.mark.parametrize(
    ("zone", "limit_w"),
    [
        ("limit: 18.5kW", 18_500),
        ("limit: 55kW, cooling: 40kW", 40_000),
        ("cooling: 30kW", 30_000),
        ("limit: 99kW, breaker: {volts: 415, amps: 60}", 32_777),  # 34.5 kVA × 0.95
        ("breaker: {volts: 415, amps: 60, power_factor: 1.0}", 34_502),
        ("breaker: {volts: 230, amps: 32, phases: 1, power_factor: 1}", 5_888),
        ("limit: 0.0335MW", 33_500),
        ("limit: 1000.9W", 1_000),
    ],
)
def test_a_zones_limit_is_the_least_of_what_bounds_it(zone: str, limit_w: int) -> None:
    assert site(f"zones: {{z: {{nodes: n1, {zone}}}}}").topology.zones["z"].limit_w == limit_w


def test_demand_rounds_up() -> None:
    text = "zones: {z: {nodes: n1, limit: 10kW, baseline: 0.5W}}\nclasses: {c: {est: 100.1W}}"
    assert site(text).topology.zones["z"].baseline_w == 1
    assert site(text).policy.classes["c"].est_w == 101


FEEDS = """\
feeds:
  a1: {side: A, limit: 20kW}
  a2: {side: A, limit: 15kW}
  b1: {side: B, limit: 30kW}
  cdu: {kind: cooling, limit: 5kW}
"""


@pytest.mark.parametrize(
    ("redundancy", "feeds", "limit_w", "warning"),
    [
        (
            "2N",
            "[a1, b1, cdu]",
            20_000,
            "is wider than side A carries alone; its limit is 20kW instead of 50kW",
        ),
        (
            "2N",
            "[a1, a2, b1]",
            30_000,
            "is wider than side B carries alone; its limit is 30kW instead of 50kW",
        ),
        ("N", "[a1, b1]", 50_000, None),
        (
            "N",
            "[a1, a2]",
            50_000,
            "its limit 50kW is wider than its feeds together, 35kW; the feeds are what bounds it",
        ),
        ("N", "[cdu]", 50_000, None),
    ],
)
def test_a_zone_wider_than_its_feeds(redundancy: str, feeds: str, limit_w: int, warning: str | None) -> None:
    text = f"{FEEDS}zones: {{z: {{nodes: n1, limit: 50kW, redundancy: {redundancy}, feeds: {feeds}}}}}"
    loaded = load_site(Path("here.yaml"), text=text)
    assert loaded.topology.zones["z"].limit_w == limit_w
    own = [text for text in loaded.warnings if "zones.z" in text]
    assert own == ([f"here.yaml:6: zones.z: {warning}"] if warning else [])


def test_a_feed_wider_than_its_parent_and_one_without_zones() -> None:
    loaded = load_site(
        Path("f.yaml"),
        text="feeds:\n  up: {limit: 10kW}\n  down: {limit: 20kW, parent: up}\n  spare: {limit: 1kW}\n"
        "zones: {z: {nodes: n1, limit: 5kW, feeds: [down]}}",
    )
    assert loaded.warnings == (
        "f.yaml:3: feeds.down: its limit 20kW is wider than its parent up, 10kW",
        "f.yaml:4: feeds.spare: no zone hangs on it",
    )


def test_a_feed_takes_its_side_from_above() -> None:
    loaded = site(
        "feeds: {ups: {side: B, limit: 9kW}, rpp: {parent: ups, limit: 9kW},"
        " pdu: {parent: rpp, limit: 9kW, margin: 5%}}\n"
        "zones: {z: {nodes: n1, limit: 5kW, feeds: [pdu]}}"
    )
    assert {feed.side for feed in loaded.topology.feeds.values()} == {Side.B}
    assert loaded.topology.feeds["pdu"].margin == Fraction(5, 100)


def test_a_cooling_loop_is_a_tree_of_its_own() -> None:
    loaded = site(
        "feeds: {plant: {kind: cooling, limit: 90kW}, cdu: {kind: cooling, parent: plant, limit: 40kW},"
        " a: {side: A, limit: 9kW}, b: {side: B, limit: 9kW}}\n"
        "zones: {z: {nodes: n1, limit: 5kW, redundancy: 2N, feeds: [a, b, cdu]}}"
    )
    assert loaded.topology.feeds["cdu"].kind is FeedKind.COOLING
    assert loaded.topology.taps["z"] == tuple(Tap(name, 1, 1) for name in ("a", "b", "cdu", "plant"))


def test_native_hres_counts_with_licences_and_says_so() -> None:
    loaded = load_site(Path("s.yaml"), text=f"native: hres\n{SMALL}")
    assert loaded.policy.native is Native.LICENSES
    assert loaded.warnings == (
        "s.yaml:1: native: hres is read and checked, but has no effect in this version: licences count",
    )
    assert site(f"native: none\n{SMALL}").policy.native is Native.NONE


def test_scalars_mean_what_they_look_like() -> None:
    """YAML 1.1 would read 20:00 as 1200, `no` as false and 0x10 as 16."""
    loaded = site(
        "tiers: {on: {qos: no, notice: 10m}, 0x10: {}}\n"
        "classes: {c: {tier: on, hours: 20:00-06:00}}\n"
        "zones: {1e3: {nodes: n1, limit: 010kW}}\n"
    )
    assert loaded.policy.tiers["on"].qos == "no"
    assert list(loaded.policy.tiers) == ["on", "0x10"]
    assert loaded.topology.zones["1e3"].limit_w == 10_000


def test_anchors_and_merges() -> None:
    loaded = site(
        "zones:\n"
        "  a: &rack {nodes: n1, limit: 10kW, breaker: &b {volts: 230, amps: 16, phases: 1}, lane: hot}\n"
        "  b: {<<: *rack, nodes: n2, lane: cold}\n"
        "  c: {<<: [{lane: cold}, *rack], nodes: n3}\n"
        "  d: {nodes: n4, breaker: *b}\n"
    )
    zones = loaded.topology.zones
    assert [zone.lane for zone in zones.values()] == [Lane.HOT, Lane.COLD, Lane.COLD, Lane.MIXED]
    assert {zone.limit_w for zone in zones.values()} == {2_796}
    assert [zone.nodes for zone in zones.values()] == [("n1",), ("n2",), ("n3",), ("n4",)]


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(SMALL)
    monkeypatch.setenv("SLURM_POWER_CONF", str(file))
    assert load_site().path == file
    other = tmp_path / "other.yaml"
    other.write_text(SMALL)
    assert load_site(other).path == other
    monkeypatch.delenv("SLURM_POWER_CONF")
    assert load_site(text=SMALL).path == Path("/etc/slurm/slurm_power.yaml")


def test_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert site(f"timezone: Europe/Berlin\n{SMALL}").timezone == ZoneInfo("Europe/Berlin")
    monkeypatch.setenv("TZ", "America/New_York")
    assert site(SMALL).timezone == ZoneInfo("America/New_York")
    monkeypatch.setenv("TZ", "Nowhere/AtAll")
    assert local_timezone() is UTC
    monkeypatch.delenv("TZ")
    local = local_timezone()
    summer = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert summer.astimezone(local).utcoffset() == summer.astimezone().utcoffset()
