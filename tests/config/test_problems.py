from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.config import SiteError, load_site
from slurm_power.core.errors import ConfigError

ZONE = "zones: {z: {nodes: n1, limit: 10kW}}\n"
SIDES = "feeds: {a: {side: A, limit: 9kW}, b: {side: B, limit: 9kW}, u: {limit: 9kW}}\n"


def refused(text: str) -> tuple[ConfigError, ...]:
    """The problems of a text; none where it can be used. Any other error than ours passes through."""
    try:
        load_site(text=text)
    except SiteError as error:
        return error.problems
    return ()


def problems(text: str) -> list[str]:
    with pytest.raises(SiteError) as caught:
        load_site(Path("s.yaml"), text=text)
    return str(caught.value).splitlines()


NOT_YAML = [
    ("", "s.yaml: the file is empty; expected at least a section 'zones'"),
    ("# nothing\n", "s.yaml: the file is empty; expected at least a section 'zones'"),
    ("- a\n", "s.yaml:1: the file is not a mapping; expected keys such as 'zones:' at the top"),
    ("zones\n", "s.yaml:1: the file is not a mapping; expected keys such as 'zones:' at the top"),
]


@pytest.mark.parametrize(("text", "message"), NOT_YAML)
def test_no_mapping_at_the_top(text: str, message: str) -> None:
    assert problems(text) == [message]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("mode: observe\nzones:\n\tz: 1\n", 3, "expected spaces; YAML takes no tabs before a key"),
        ("zones: {z: {nodes: n1\n", 2, "expected keys and values such as"),
        ("mode: observe\nzones: 'a\n", 3, "expected keys and values such as"),
        ("mode: *nowhere\n", 1, "expected keys and values such as"),
        ("mode: observe\n---\nmode: advise\n", 2, "expected keys and values such as"),
    ],
)
def test_what_is_not_yaml(text: str, line: int, expected: str) -> None:
    (message,) = problems(text)
    assert message.startswith(f"s.yaml:{line}: not YAML: ")
    assert expected in message


def test_a_character_that_yaml_forbids() -> None:
    (message,) = problems("mode: obs\x01erve\n")
    assert message.startswith("s.yaml")
    assert "not YAML" in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nowhere\.yaml: cannot be read: No such file or directory; expected"
    ):
        load_site(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_site(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("mode: observe\n# Büro\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: is not text in UTF-8; expected UTF-8"):
        load_site(latin)


SCHEMA = [
    ("mode: on\n" + ZONE, "s.yaml:1: mode: 'on' is unknown; expected observe, advise or enforce"),
    ("native: lic\n" + ZONE, "s.yaml:1: native: 'lic' is unknown; expected licenses, hres or none"),
    ("zone: {}\n" + ZONE, "s.yaml:1: zone: is no key here; expected 'zones', if that was meant"),
    (
        "zones:\n  z:\n    nodes: n1\n    limit: 1kW\n    basline: 1\n",
        "s.yaml:5: zones.z.basline: is no key here; expected 'baseline', if that was meant",
    ),
    ("mode: observe\n", "s.yaml: zones: is missing"),
    ("zones: {}\n", "s.yaml:1: zones: is empty; expected at least one entry"),
    ("zones: [a]\n", "s.yaml:1: zones: is not a mapping; expected names, each with its keys and values"),
    ("zones: {z: 1}\n", "s.yaml:1: zones.z: is not a mapping; expected keys and values"),
    ("zones: {z: {limit: 1kW}}\n", "s.yaml:1: zones.z.nodes: is missing"),
    (
        "zones: {z: {nodes: n1, limit: 10 horses}}\n",
        "s.yaml:1: zones.z.limit: '10 horses' is not a power; expected a power such as 18.5kW, 18500W or 18500",
    ),
    ("zones: {z: {nodes: n1, limit: -5kW}}\n", "'-5kW' is not a power"),
    ("zones: {z: {nodes: n1, limit: 0}}\n", "zones.z.limit: '0' is nothing"),
    ("zones: {z: {nodes: n1, limit: 3000MW}}\n", "'3000MW' is more than 2147483.647kW"),
    ("zones: {z: {nodes: n1, limit: [1]}}\n", "zones.z.limit: is a list or a mapping; expected a power"),
    ("zones: {z: {nodes: , limit: 1kW}}\n", "zones.z.nodes: has no value; expected a hostlist"),
    ("zones: {z: {nodes: 'n[1-', limit: 1kW}}\n", "zones.z.nodes: 'n[1-' is not a hostlist"),
    ("zones: {z: {nodes: 'n[5-1]', limit: 1kW}}\n", "zones.z.nodes: 'n[5-1]' is not a hostlist"),
    ("zones: {z: {nodes: 'n[1-99999999]', limit: 1kW}}\n", "is not a hostlist"),
    ("zones: {z: {nodes: '@all', limit: 1kW}}\n", "zones.z.nodes: '@all' is not a hostlist"),
    ("zones: {z: {nodes: 'a b', limit: 1kW}}\n", "zones.z.nodes: 'a b' is not a hostlist"),
    (
        "zones: {z: {nodes: n1, limit: 1kW, margin: 100%}}\n",
        "zones.z.margin: '100%' leaves nothing; expected a share",
    ),
    ("zones: {z: {nodes: n1, limit: 1kW, margin: 150%}}\n", "zones.z.margin: '150%' is more than the whole"),
    ("zones: {z: {nodes: n1, limit: 1kW, lane: warm}}\n", "'warm' is unknown; expected hot, cold or mixed"),
    ("zones: {z: {nodes: n1, limit: 1kW, redundancy: 3N}}\n", "'3N' is unknown; expected N or 2N"),
    (
        "zones: {z: {nodes: n1, limit: 1kW, feeds: a}}\n",
        "zones.z.feeds: is not a list; expected a list such as",
    ),
    (
        "zones: {rack 1: {nodes: n1, limit: 1kW}}\n",
        "zones.rack 1: 'rack 1' is not a name; expected 1 to 64 letters",
    ),
    ("zones: {räck: {nodes: n1, limit: 1kW}}\n", "zones.räck: 'räck' is not a name"),
    ("feeds: {a*: {limit: 1kW}}\n" + ZONE, "feeds.a*: 'a*' is not a name"),
    ("feeds: {a: {breaker: {volts: 400}}}\n" + ZONE, "s.yaml:1: feeds.a.breaker.amps: is missing"),
    (
        "feeds: {a: {breaker: {volts: 400, amps: 0}}}\n" + ZONE,
        "feeds.a.breaker.amps: '0' is not a whole number",
    ),
    (
        "feeds: {a: {breaker: {volts: 4, amps: 1, phases: 2}}}\n" + ZONE,
        "'2' is not a number of phases; expected 1 or 3",
    ),
    (
        "feeds: {a: {breaker: {volts: 4, amps: 1, power_factor: 1.2}}}\n" + ZONE,
        "feeds.a.breaker.power_factor: 1.2 is not above 0 and at most 1; expected a number such as 0.95",
    ),
    (
        "defaults: {max_factor: 0.9}\n" + ZONE,
        "defaults.max_factor: 0.9 is out of range; expected a number from 1",
    ),
    ("defaults: {burst: max}\n" + ZONE, "defaults.burst: 'max' is unknown; expected rss or sum"),
    (
        "tiers: {gold: {notice: soon}}\n" + ZONE,
        "tiers.gold.notice: 'soon' is not a duration; expected a duration",
    ),
    (
        "classes: {c: {hours: 8-20}}\n" + ZONE,
        "classes.c.hours: '8-20' is not a span of the day; expected a span",
    ),
    (
        "classes: {c: {hours: '08:00-08:00'}}\n" + ZONE,
        "classes.c.hours: '08:00-08:00' is not a span of the day",
    ),
    ("classes: {c: {hours: '08:60-09:00'}}\n" + ZONE, "is not a span of the day"),
    ("classes: {c: {hours: '24:00-09:00'}}\n" + ZONE, "is not a span of the day"),
    ("hook: {timeout: 10s}\n" + ZONE, "hook.timeout: '10s' is not between 1ms and 2s"),
    ("hook: {socket: run/hook.sock}\n" + ZONE, "hook.socket: 'run/hook.sock' is not an absolute path"),
    (f"hook: {{socket: /{'x' * 107}}}\n" + ZONE, "hook.socket: the path is longer than 107 bytes"),
    ("hook: {unreachable: admit}\n" + ZONE, "hook.unreachable: 'admit' is unknown; expected hold"),
    (
        "state: {url: /var/lib/x.db}\n" + ZONE,
        "state.url: '/var/lib/x.db' is not a database URL; expected a URL such",
    ),
    (
        "timezone: Mars/Base\n" + ZONE,
        "timezone: 'Mars/Base' is no time zone of this machine; expected an IANA name",
    ),
    ("timezone: ../passwd\n" + ZONE, "timezone: '../passwd' is no time zone of this machine"),
    (
        "telemetry: [{type: modbus, every: 5s, stale: 9s}]\n" + ZONE,
        "telemetry[0].type: 'modbus' is unknown; expected",
    ),
    (
        "telemetry: [{every: 5s, stale: 9s}]\n" + ZONE,
        "telemetry[0]: has no 'type'; expected type: prometheus, redfish, snmp, slurm, file or http",
    ),
    (
        "telemetry:\n  - {type: slurm, every: 5s, stale: 9s}\n  - {type: slurm, evry: 5s, every: 1s, stale: 9s}\n"
        + ZONE,
        "s.yaml:3: telemetry[1].evry: is no key here; expected 'every', if that was meant",
    ),
    (
        "telemetry: [{type: slurm, every: 9s, stale: 9s}]\n" + ZONE,
        "telemetry[0]: 'stale' is not longer than 'every'",
    ),
    (
        "telemetry: [{type: redfish, url: 'http://p', every: 5s, stale: 9s}]\n" + ZONE,
        "telemetry[0]: it measures not exactly one element; expected one of 'zone', 'feed' and 'node'",
    ),
    ("tariff: {currency: EUR, kwh: -1}\n" + ZONE, "tariff.kwh: '-1' is not a number"),
    ("tariff: [{currency: EUR, kwh: -1}]\n" + ZONE, "tariff[0].kwh: '-1' is not a number"),
    ("tariff: {currency: EUR, kwh: 1, from: soon}\n" + ZONE, "tariff.from: 'soon' is not a day"),
    ("tariff: {currency: EUR, kwh: 1, form: 2026-01-01}\n" + ZONE, "tariff.form: is no key here; expected 'from'"),
    (
        "tariff: [{currency: EUR, kwh: 1}, {currency: EUR, kwh: 2}]\n" + ZONE,
        "tariff[1].from: holds from the same day as number 1 of the list",
    ),
]


@pytest.mark.parametrize(("text", "message"), SCHEMA)
def test_each_section_alone(text: str, message: str) -> None:
    (found,) = problems(text)
    assert message in found
    assert found.startswith("s.yaml")


RELATIONS = [
    (
        "zones: {z: {nodes: n1}}\n",
        "s.yaml:1: zones.z: has no limit; expected 'limit', 'breaker' or 'cooling'",
    ),
    ("feeds: {f: {}}\n" + ZONE, "s.yaml:1: feeds.f: has no limit; expected 'limit' or 'breaker'"),
    (
        "zones:\n  a: {nodes: 'n[1-3]', limit: 1kW}\n  b: {nodes: 'n[2-4]', limit: 1kW}\n",
        "s.yaml:3: zones.b.nodes: n[2-3] is in zone a already; expected each node in one zone",
    ),
    (
        "feeds:\n  a: {parent: b, limit: 1kW}\n  b: {parent: c, limit: 1kW}\n  c: {parent: a, limit: 1kW}\n"
        + ZONE,
        "s.yaml:2: feeds.a.parent: goes round in a circle: a → b → c → a; expected a tree",
    ),
    ("feeds: {a: {parent: a, limit: 1kW}}\n" + ZONE, "feeds.a.parent: goes round in a circle: a → a"),
    (
        "feeds: {ups-a: {limit: 1kW}, pdu: {parent: upsa, limit: 1kW}}\n" + ZONE,
        "feeds.pdu.parent: there is no feed 'upsa'; expected 'ups-a', if that was meant",
    ),
    (
        "feeds: {a: {limit: 1kW}}\nzones:\n  z:\n    nodes: n1\n    limit: 1kW\n    feeds:\n    - a\n    - b9\n",
        "s.yaml:8: zones.z.feeds[1]: there is no feed 'b9'; expected a",
    ),
    (
        "zones: {z: {nodes: n1, limit: 1kW, feeds: [a]}}",
        "there is no feed 'a'; expected none here, because none is",
    ),
    (
        ZONE + "partitions: {p: {zones: 'z,rack7'}}\n",
        "s.yaml:2: partitions.p.zones: there is no zone 'rack7'; expected z",
    ),
    (
        ZONE + "classes: {c: {tier: siver}}\n",
        "classes.c.tier: there is no tier 'siver'; expected 'silver', if that",
    ),
    (
        ZONE + "defaults: {tier: x9}\n",
        "defaults.tier: there is no tier 'x9'; expected gold, silver or bronze",
    ),
    (ZONE + "tiers: {}\n", "s.yaml:2: tiers: is empty; expected at least one tier"),
    (
        ZONE + "tiers: {a: {qos: x, notice: never, planned_cuts: accept}}\n",
        "tiers.a.planned_cuts: is 'accept', and its jobs are never preempted: no cut could end them; "
        "expected 'notice: 0s', say, or 'planned_cuts: avoid'",
    ),
    (
        ZONE + "preemption: {after_cut: wait}\ntiers: {a: {qos: x, planned_cuts: accept}}\n",
        "tiers.a.planned_cuts: is 'accept', and 'preemption.after_cut' is not 'preempt': no cut would end its jobs",
    ),
    (
        ZONE + "tiers: {a: {planned_cuts: accept}, b: {}}\n",
        "tiers.b.planned_cuts: is 'avoid', and tier a above it accepts them: the lowest tier gives way first",
    ),
    (ZONE + "tiers: {a: {qos: x}, b: {qos: x}}\n", "tiers.b.qos: 'x' stands for tier a already"),
    (
        ZONE + "classes: {c: {est: 2kW, max: 1kW}}\n",
        "classes.c.max: is less than est; expected max at least est",
    ),
    (ZONE + "feeds: {z: {limit: 1kW}}\n", "zones.z: a feed has this name too; expected another name"),
    (
        SIDES + "zones: {z: {nodes: n1, limit: 1kW, redundancy: 2N}}\n",
        "s.yaml:2: zones.z.redundancy: 2N without a power feed on side A or B; expected feeds on side A and on side B",
    ),
    (
        SIDES + "zones: {z: {nodes: n1, limit: 1kW, redundancy: 2N, feeds: [a]}}\n",
        "2N without a power feed on side B",
    ),
    (
        SIDES + "zones: {z: {nodes: n1, limit: 1kW, redundancy: 2N, feeds: [a, b, u]}}\n",
        "2N needs to know the side of u; expected 'side: A' or 'side: B' there or on a parent",
    ),
    (
        SIDES + "zones: {z: {nodes: n1, limit: 1kW, feeds: [a, b, a]}}\n",
        "zones.z.feeds[2]: 'a' is named twice",
    ),
    (
        "feeds: {u: {limit: 9kW}, r: {parent: u, limit: 9kW}, p: {parent: r, limit: 9kW}}\n"
        "zones: {z: {nodes: n1, limit: 1kW, feeds: [u, p]}}\n",
        "s.yaml:2: zones.z.feeds[0]: 'u' is above 'p'; expected the nearest feeds only",
    ),
    (
        "feeds: {u: {side: A, limit: 9kW}, m: {parent: u, limit: 9kW}, p: {side: B, parent: m, limit: 9kW}}\n"
        + ZONE,
        "s.yaml:1: feeds.p.side: is B, and its parent m is on A; expected A",
    ),
    (
        "feeds: {u: {limit: 9kW}, c: {kind: cooling, parent: u, limit: 9kW}}\n" + ZONE,
        "feeds.c.parent: 'u' delivers power; expected a feed of kind cooling",
    ),
    (
        "feeds: {c: {kind: cooling, limit: 9kW, breaker: {volts: 9, amps: 9}}}\n" + ZONE,
        "feeds.c.breaker: a cooling feed has no breaker",
    ),
    (
        "zones: {z: {nodes: n1, limit: 10kW, baseline: 8501}}\n",
        "zones.z.baseline: 8.501kW is more than the zone's usable 8.5kW; expected less than limit × (1 − margin)",
    ),
    (
        "feeds: {f: {limit: 3kW}}\nzones:\n  a: {nodes: n1, limit: 9kW, baseline: 2kW, feeds: [f]}\n"
        "  b: {nodes: n2, limit: 9kW, baseline: 2kW, feeds: [f]}\n",
        "s.yaml:1: feeds.f: the baselines below it, 4kW, are more than its usable 3kW",
    ),
    (ZONE + "sla: {iron: {max_delay: 5m, error_budget: 1%}}\n", "sla.iron: there is no tier 'iron'"),
    (
        ZONE + "tiers: {gold: {qos: gold}}\nsla: {gold: {max_delay: 5m, error_budget: 1%, min_run: 0s}}\n",
        "sla.gold.min_run: '0s' is nothing",
    ),
    (
        ZONE + "tariff: {currency: EUR, kwh: 1, tiers: {iron: 1}}\n",
        "tariff.tiers.iron: there is no tier 'iron'",
    ),
    (
        ZONE + "telemetry:\n- {type: redfish, url: 'http://p', zone: y, every: 5s, stale: 9s}\n",
        "s.yaml:3: telemetry[0].zone: there is no zone 'y'; expected z",
    ),
]


@pytest.mark.parametrize(("text", "message"), RELATIONS)
def test_rules_between_sections(text: str, message: str) -> None:
    (found,) = problems(text)
    assert message in found


DOCUMENT = [
    ("mode: observe\nmode: advise\n" + ZONE, "s.yaml:2: mode: the key is given twice, first in line 1"),
    (
        "zones:\n  z: {nodes: n1, limit: 1kW}\n  y: {nodes: n2, limit: 1kW}\n  z: {nodes: n3, limit: 1kW}\n",
        "s.yaml:4: zones.z: the key is given twice, first in line 2; expected each key once",
    ),
    ("? [a, b]\n: 1\n" + ZONE, "s.yaml:1: a key that is not a word; expected a name such as rack01"),
    (ZONE + "feeds: &f {a: *f}\n", "s.yaml:2: feeds.a: an anchor that contains itself"),
    ("zones: {z: {<<: 5, nodes: n1, limit: 1kW}}\n", "s.yaml:1: zones.z: '<<' merges mappings only"),
]


@pytest.mark.parametrize(("text", "message"), DOCUMENT)
def test_rules_of_the_document(text: str, message: str) -> None:
    assert any(message in found for found in problems(text))


def test_all_problems_at_once_in_the_order_of_the_file() -> None:
    text = (
        "mode: off\n"
        "feeds:\n"
        "  a: {side: C, limit: 1kW}\n"
        "mode: observe\n"
        "zones:\n"
        "  z: {nodes: 'n[', limit: x}\n"
        "colour: red\n"
    )
    with pytest.raises(SiteError) as caught:
        load_site(Path("s.yaml"), text=text)
    assert [(found.line, found.key) for found in caught.value.problems] == [
        (1, "mode"),
        (3, "feeds.a.side"),
        (4, "mode"),
        (6, "zones.z.limit"),
        (6, "zones.z.nodes"),
        (7, "colour"),
    ]
    assert len(str(caught.value).splitlines()) == 6
    assert caught.value.exit_code == 2
    assert (caught.value.file, caught.value.line, caught.value.key) == ("s.yaml", 1, "mode")


def test_rules_between_sections_are_told_together() -> None:
    text = "zones:\n  a: {nodes: n1}\n  b: {nodes: n1, feeds: [x]}\nclasses: {c: {tier: y}}\n"
    assert [found.split(": ")[1] for found in problems(text)] == [
        "zones.a",
        "zones.b",
        "zones.b.feeds[0]",
        "zones.b.nodes",
        "classes.c.tier",
    ]


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    refused(text)


_WORDS = """
    mode enforce native timezone defaults feeds zones partitions tiers classes hook state reservations sla telemetry
    tariff margin burst limit breaker side parent nodes baseline redundancy lane type every stale
"""
_VALUES = "A B N 2N 10kW 15% 5m 'n[1-3]' a never rss hot ~ power cooling 400 /x/y 08:00-09:00"
_KEYS = st.sampled_from(_WORDS.split())
_SCALARS = st.sampled_from(_VALUES.split())
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(_KEYS | st.just("a"), inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(_KEYS, _TREES), max_size=5))
def test_any_shape_is_read_or_refused_with_a_line(pairs: list[tuple[str, str]]) -> None:
    text = ZONE + "".join(f"{key}: {value}\n" for key, value in pairs)
    assert all(found.line is not None and found.key for found in refused(text))


@pytest.mark.parametrize("text", ["23h", "0", "-1d", "soon", "[]"])
def test_decisions_are_kept_a_day_at_least(text: str) -> None:
    (message,) = problems(f"{ZONE}state: {{keep: {text}}}\n")
    assert message.startswith("s.yaml:2: state.keep: ")
    assert message.endswith("; expected a duration from 1d on such as 400d")
