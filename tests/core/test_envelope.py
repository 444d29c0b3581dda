"""The grammar of power comments: each key, each fault with its place, and what must hold for any text."""

import json
import sys
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.comment_keys import JSON_NAMES, KEYS, Key
from slurm_power.core.envelope import Envelope, Per, Quantity, Resolved, parse_comment, resolve
from slurm_power.core.errors import EnvelopeError
from slurm_power.core.units import MAX_WATTS
from tests.benchmarks.fuzz_envelope import judge

NOW = int(datetime(2026, 4, 20, 12, 0, tzinfo=UTC).timestamp())
SIX_PM = NOW + 6 * 3_600
ARTICLE = (
    '{"jobId": "train-resnet-4471","priority": "gold","estimatedPowerKW": 18.5,"maxPowerKW": 24,'
    '"minRackHeadroomKW": 20,"deadline": "2026-04-20T18:00:00Z","preemptible": false}'
)
ARTICLE_SAYS = Envelope(
    est=Quantity(Fraction(18_500)),
    max=Quantity(Fraction(24_000)),
    headroom=Quantity(Fraction(20_000)),
    tier="gold",
    deadline=SIX_PM,
    preemptible=False,
)


def watts(number: int | str, per: Per = Per.JOB) -> Quantity:
    return Quantity(Fraction(number), per)


def fault(marked: str) -> EnvelopeError:
    """The error for a comment in which `«` stands before the offending text (and is no part of it)."""
    position = marked.index("«")
    comment = marked.replace("«", "")
    with pytest.raises(EnvelopeError) as raised:
        parse_comment(comment, NOW)
    told = raised.value
    assert told.position == position, f"{told} points at {comment[told.position :]!r}"
    assert f"(at character {position + 1})" in str(told)
    assert str(told).isprintable()
    return told


# --- What is accepted ---


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        ("est=18.5kW", Envelope(est=watts(18_500))),
        ("est=18500W", Envelope(est=watts(18_500))),
        ("est=18500", Envelope(est=watts(18_500))),
        ("est=0.4MW", Envelope(est=watts(400_000))),
        ("est=0.0001kW", Envelope(est=watts("1/10"))),
        ("est=2147483647", Envelope(est=watts(MAX_WATTS))),
        ("est=10.2kW/node", Envelope(est=watts(10_200, Per.NODE))),
        ("est=700/gpu", Envelope(est=watts(700, Per.GPU))),
        ("max=24kW", Envelope(max=watts(24_000))),
        ("max=1kW/gpu", Envelope(max=watts(1_000, Per.GPU))),
        ("est=18.5kW,max=18500", Envelope(est=watts(18_500), max=watts(18_500))),
        ("est=10kW/node,max=5kW", Envelope(est=watts(10_000, Per.NODE), max=watts(5_000))),
        ("headroom=20kW", Envelope(headroom=watts(20_000))),
        ("headroom=0", Envelope(headroom=watts(0))),
        ("headroom=2kW/node", Envelope(headroom=watts(2_000, Per.NODE))),
        ("tier=gold", Envelope(tier="gold")),
        ("deadline=2026-04-20T18:00:00Z", Envelope(deadline=SIX_PM)),
        ("deadline=2026-04-20T20:00:00+02:00", Envelope(deadline=SIX_PM)),
        ("deadline=2026-04-20T18:00", Envelope(deadline=SIX_PM)),
        ("deadline=2026-04-21", Envelope(deadline=NOW + 12 * 3_600)),
        ("deadline=now+2hours", Envelope(deadline=NOW + 7_200)),
        ("deadline=now+90", Envelope(deadline=NOW + 90)),
        ("preemptible=yes", Envelope(preemptible=True)),
        ("preemptible=no", Envelope(preemptible=False)),
        ("notice=10m", Envelope(notice_s=600)),
        ("notice=0s", Envelope(notice_s=0)),
        ("profile=resnet-50_v1.5", Envelope(profile="resnet-50_v1.5")),
        ("class=training", Envelope(job_class="training")),
        ("zones=rack07", Envelope(zones="rack07")),
        ("zones=rack[01,03-05]", Envelope(zones="rack[01,03-05]")),
        ("zones=r[1-2]n[3,4],tier=gold", Envelope(zones="r[1-2]n[3,4]", tier="gold")),
        ("reservation=spring", Envelope(reservation="spring")),
        ("partial=yes", Envelope(partial=True)),
        ("partial=no", Envelope(partial=False)),
        ("ckpt=30m", Envelope(ckpt_s=1_800)),
    ],
)
def test_each_key(segment: str, expected: Envelope) -> None:
    assert parse_comment(f"power:{segment}", NOW) == expected


@pytest.mark.parametrize(
    "comment",
    [
        "power:est=5kW",
        "power:est=5kW my run",
        "my run power:est=5kW",
        "my run;power:est=5kW;ticket=12",
        "my run\tpower:est=5kW\nmore",
        "foo-power:est=9kW power:est=5kW",
        "foo-power:nonsense power:est=5kW",
        '"power:est=9kW power:est=5kW',
        "Power: high power:est=5kW",
        '{"owner": "x power:est=9kW"} power:est=5kW',
        "{my run} power:est=5kW",
        "{[ power:est=5kW",
        'power:{"estimatedPowerKW": 5}',
        'my run power:{"estimatedPowerKW":5.0} and more, est=9kW',
        'power:{"estimatedPowerKW": 5}est=9kW',
        'power:{ "estimatedPowerKW" :\t5e0\n}; power is dear',
        ' \n{"estimatedPowerKW": 0.5e1} \n',
        '{"estimatedPowerKW": 5, "jobId": {"any": ["thing", null]}}',
        '{"estimated\\u0050owerKW": 5}',
        'power:{"estimatedPowerKW": 5, "jobId": "x power:est=9kW Power:est=9kW"}',
        '{"estimatedPowerKW": 5, "jobId": "x power:est=9kW;POWER:est=9kW"}',
    ],
)
def test_where_an_envelope_may_stand(comment: str) -> None:
    assert parse_comment(comment, NOW) == Envelope(est=watts(5_000))


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "  ",
        "my run",
        "powerful",
        "power",
        "power=5kW",
        "est=5kW",
        "foo-power:est=5kW",
        "superpower:est=5kW",
        "(power:est=5kW)",
        "mine,power:est=5kW",
        "Power: high",
        "POWER:12",
        "{}",
        "{",
        "{my run}",
        '{"owner": "alice"}',
        '{"jobId": "train-4471"}',
        '{"priority": "high", "owner": "alice"}',
        '{"note": " power:est=5kW"}',
        '{"note": {"estimatedPowerKW": 5}}',
        '["estimatedPowerKW"]',
        '"power:est=5kW"',
    ],
)
def test_what_is_none_of_ours(comment: str) -> None:
    assert parse_comment(comment, NOW) is None


@pytest.mark.parametrize("form", ["{}", "power:{}", "note;power:{};note", "\n {}  "])
def test_the_article_passes_as_it_stands(form: str) -> None:
    assert parse_comment(form.replace("{}", ARTICLE), NOW) == ARTICLE_SAYS


def test_the_article_is_late_after_its_deadline() -> None:
    with pytest.raises(EnvelopeError, match="already past") as raised:
        parse_comment(ARTICLE, SIX_PM)
    assert ARTICLE[raised.value.position :].startswith('"2026-04-20T18:00:00Z"')
    assert parse_comment(ARTICLE, SIX_PM - 1) == ARTICLE_SAYS


def test_an_object_of_the_form_needs_no_watts() -> None:
    assert parse_comment('{"priority": "gold", "preemptible": true}', NOW) == Envelope(tier="gold", preemptible=True)
    assert parse_comment('power:{"jobId": 7}', NOW) == Envelope()


def test_a_deadline_without_offset_is_in_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert parse_comment("power:deadline=2026-04-20T20:00", NOW, berlin) == Envelope(deadline=SIX_PM)
    assert parse_comment('{"maxPowerKW":1,"deadline":"2026-04-20T20:00"}', NOW, berlin) == Envelope(
        max=watts(1_000), deadline=SIX_PM
    )


# --- What is refused, and where the error points ---


@pytest.mark.parametrize("head", ["power:", "my run;power:", "é\N{GRINNING FACE} x\tpower:"])
@pytest.mark.parametrize(
    ("body", "key", "words"),
    [
        ("est=«18kX", "est", "'18kX' is not a power"),
        ("est=18,tier=gold,max=«17", "max", "max is less than est"),
        ("est=«-5kW", "est", "negative"),
        ("est=«+5kW", "est", "not a power"),
        ("est=«1e3", "est", "not a power"),
        ("est=«.5kW", "est", "not a power"),
        ("est=«5.kW", "est", "not a power"),
        ("est=«=5kW", "est", "not a power"),
        ("est=«NaN", "est", "not a power"),
        ("est=«５kW", "est", "not a power"),
        ("est=«٥kW", "est", "not a power"),
        ("est=«5kW/", "est", "write /node, /gpu"),
        ("est=«5kW/Node", "est", "'/Node' is not known"),
        ("est=«5kW/rack", "est", "'/rack' is not known"),
        ("est=«/node", "est", "not a power"),
        ("est=«5kWh", "est", "not a power"),
        ("est=«0", "est", "more than nothing"),
        ("est=«0.000kW/gpu", "est", "more than nothing"),
        ("max=«0W", "max", "more than nothing"),
        ("est=«2147483648", "est", "the most that can be counted"),
        ("headroom=«99999999999999kW", "headroom", "the most that can be counted"),
        ("headroom=«-1", "headroom", "negative"),
        ("est=«" + "9" * 100, "est", "not a power"),
        ("est=«" + "9" * 5_000, "est", "too long"),
        ("est=«5\x00kW", "est", "cannot be printed"),
        ("tier=a\x1b«[31mred", "zones", "not closed"),
        ("tier=«\x1bred", "tier", "cannot be printed"),
        ("est=5kW,max=«4kW", "max", "max is less than est"),
        ("max=«4kW/node,est=5kW/node", "max", "max is less than est"),
        ("max=«4.999kW,est=5kW", "max", "max is less than est"),
        ("«EST=5kW", "est", "write 'est'"),
        ("est=5kW,«Max=6kW", "max", "write 'max'"),
        ("«maximum=6kW", "max", "write 'max'"),
        ("«teir=gold", "tier", "write 'tier'"),
        ("«zone=rack01", "zones", "write 'zones'"),
        ("«preempt=yes", "preemptible", "write 'preemptible'"),
        ("«color=blue", "est", "known are est, max, headroom"),
        ("«xyz=", "est", "known are"),
        ("«" + "k" * 3_000 + "=1", "est", "unknown key"),
        ("est=5kW,«est=5kW", "est", "given twice"),
        ("tier=gold,est=5kW,«tier=gold", "tier", "given twice"),
        ("est=«", "est", "'est' has no value"),
        ("tier=«,est=5kW", "tier", "'tier' has no value"),
        ("«", "est", "key=value is missing"),
        ("est=5kW,«", "est", "key=value is missing"),
        ("est=5kW,«,max=6kW", "est", "key=value is missing"),
        ("«est", "est", "'est' is not key=value"),
        ("est=18,«5kW", "est", "a comma outside [] ends the value"),
        ("zones=rack01,«rack03", "zones", "'rack03' is not key=value"),
        ("«=5kW", "est", "a key is missing"),
        ("«power:est=5kW", "est", "unknown key"),
        ("tier=«go/ld", "tier", "not a name"),
        ("tier=«-gold", "tier", "not a name"),
        ("profile=«" + "p" * 65, "profile", "not a name"),
        ("class=«tr%20", "class", "not a name"),
        ("reservation=«naïve", "reservation", "not a name"),
        ("deadline=«tomorrow", "deadline", "not a time"),
        ("deadline=«2026-13-01", "deadline", "not a time"),
        ("deadline=«2026-04-20T12:00:00Z", "deadline", "already past"),
        ("deadline=«now", "deadline", "already past"),
        ("deadline=«now-1hour", "deadline", "not a time"),
        ("deadline=«now+999999999999999weeks", "deadline", "after the year 9999"),
        ("deadline=«now+" + "9" * 100, "deadline", "not a time"),
        ("preemptible=«true", "preemptible", "neither yes nor no"),
        ("preemptible=«Yes", "preemptible", "neither yes nor no"),
        ("partial=«1", "partial", "neither yes nor no"),
        ("notice=«10", "notice", "not a duration"),
        ("notice=«10x", "notice", "not a duration"),
        ("notice=«-10m", "notice", "not a duration"),
        ("notice=«53w", "notice", "more than a year"),
        ("notice=«" + "9" * 40 + "d", "notice", "more than a year"),
        ("ckpt=«0s", "ckpt", "without a pause"),
        ("zones=rack«[01,03", "zones", "not closed"),
        ("zones=rack01«],est=5kW", "zones", "no partner"),
        ("zones=rack[01,«[3]]", "zones", "no partner"),
        ("zones=«rack[]", "zones", "not a hostlist"),
        ("zones=«rack[1-]", "zones", "not a hostlist"),
        ("zones=«rack[a,b]", "zones", "not a hostlist"),
        ("zones=«any:rack1", "zones", "not a hostlist"),
        ("zones=rack«[01, 03],est=5kW", "zones", "not closed"),
    ],
)
def test_faults_of_key_value(head: str, body: str, key: str, words: str) -> None:
    told = fault(head + body)
    assert words in str(told)
    assert told.example in (KEYS[key].example, "power:est=18.5kW,max=24kW")


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("power:est=5kW «power:max=6kW", "a second"),
        ("power:est=5kW;«power:", "a second"),
        ("power:est=5kW\n«power:est=5kW", "a second"),
        ("foo-power:x power:est=5kW x;«power:{", "a second"),
        ('power:{"maxPowerKW": 5} «power:{"maxPowerKW": 5}', "a second"),
        ("power:est=5kW «POWER:max=6kW", "'POWER:' is written 'power:'"),
        ("«Power:EST=5kW", "'Power:' is written 'power:'"),
        ('x «POWER:{"maxPowerKW": 5}', "'POWER:' is written 'power:'"),
        ("loss of power:« see ticket 12", "key=value is missing"),
        ("power:«;est=5kW", "key=value is missing"),
        ('power:{"maxPowerKW": 5}«,tier=gold', "key=value does not follow"),
        ('power:{"maxPowerKW": 5}«power:tier=gold', "key=value does not follow"),
    ],
)
def test_faults_of_the_segment(marked: str, words: str) -> None:
    assert words in str(fault(marked))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("members", "name", "words"),
    [
        ('"estimatedPowerKW": «"18.5"', "estimatedPowerKW", "without quotes"),
        ('"estimatedPowerKW": «"18.5kW"', "estimatedPowerKW", "without quotes"),
        ('"estimatedPowerKW": «null', "estimatedPowerKW", "a number of kW"),
        ('"estimatedPowerKW": «true', "estimatedPowerKW", "a number of kW"),
        ('"estimatedPowerKW": «[1]', "estimatedPowerKW", "a number of kW"),
        ('"estimatedPowerKW": «{"a": 1}', "estimatedPowerKW", "a number of kW"),
        ('"estimatedPowerKW": «-1', "estimatedPowerKW", "negative"),
        ('"estimatedPowerKW": «-1e99', "estimatedPowerKW", "negative"),
        ('"estimatedPowerKW": «0', "estimatedPowerKW", "more than nothing"),
        ('"estimatedPowerKW": «0.0e5', "estimatedPowerKW", "more than nothing"),
        ('"estimatedPowerKW": «NaN', "estimatedPowerKW", "not a number of kW"),
        ('"estimatedPowerKW": «Infinity', "estimatedPowerKW", "not a number of kW"),
        ('"estimatedPowerKW": «-Infinity', "estimatedPowerKW", "not a number of kW"),
        ('"estimatedPowerKW": «1e999', "estimatedPowerKW", "not a number of kW"),
        ('"estimatedPowerKW": «1e999999999', "estimatedPowerKW", "not a number of kW"),
        ('"estimatedPowerKW": «1e-999999999', "estimatedPowerKW", "not a number of kW"),
        ('"estimatedPowerKW": «' + "9" * 10_000, "estimatedPowerKW", "not a number of kW"),
        ('"estimatedPowerKW": «0.' + "1" * 10_000, "estimatedPowerKW", "not a number of kW"),
        ('"estimatedPowerKW": «1e99', "estimatedPowerKW", "most that can be counted"),
        ('"estimatedPowerKW": «2147483.648', "estimatedPowerKW", "most that can be counted"),
        ('"maxPowerKW": «0', "maxPowerKW", "more than nothing"),
        ('"maxPowerKW": «24, "estimatedPowerKW": 24.001', "maxPowerKW", "maxPowerKW is less than estimatedPowerKW"),
        ('"maxPowerKW": 1, "minRackHeadroomKW": «-0.1', "minRackHeadroomKW", "negative"),
        ('"maxPowerKW": 1, "minRackHeadroomKW": «"x"', "minRackHeadroomKW", "a number of kW"),
        ('"maxPowerKW": 1, "priority": «1', "priority", "text in double quotes"),
        ('"maxPowerKW": 1, "priority": «null', "priority", "text in double quotes"),
        ('"maxPowerKW": 1, "priority": «""', "priority", "a value is missing"),
        ('"maxPowerKW": 1, "priority": «"very high"', "priority", "not a name"),
        ('"maxPowerKW": 1, "priority": «"\\ud800"', "priority", "cannot be printed"),
        ('"maxPowerKW": 1, "deadline": «1776708000', "deadline", "text in double quotes"),
        ('"maxPowerKW": 1, "deadline": «"soon"', "deadline", "not a time"),
        ('"maxPowerKW": 1, "deadline": «"2020-01-01"', "deadline", "already past"),
        ('"maxPowerKW": 1, "preemptible": «"no"', "preemptible", "true or false"),
        ('"maxPowerKW": 1, "preemptible": «0', "preemptible", "true or false"),
        ('"maxPowerKW": 1, «"maxPowerKW": 1', "maxPowerKW", "given twice"),
        ('"jobId": 1, "maxPowerKW": 1, «"jobId": 1', "jobId", "given twice"),
        ('"maxPowerKW": 1, «"owner": "alice"', "estimatedPowerKW", "unknown key 'owner'; known are"),
        ('«"maxPowerKw": 1', "maxPowerKW", "write 'maxPowerKW'"),
        ('"maxPowerKW": 1, «"est": 1', "estimatedPowerKW", "write 'estimatedPowerKW'"),
        ('"maxPowerKW": 1, «"Priority": "gold"', "priority", "write 'priority'"),
        ('"maxPowerKW": 1, «"a\\u0000b": 1', "estimatedPowerKW", "unknown key 'a\\x00b'"),
        ('"maxPowerKW": 1, «"": 1', "estimatedPowerKW", "unknown key ''"),
        ('"maxPowerKW": «' + "[" * 100_000, None, "nested too deeply"),
        ('"maxPowerKW": 1, "jobId": «' + '{"a":' * 100_000, None, "nested too deeply"),
        ("«maxPowerKW: 1", None, "a name in double quotes"),
        ("«'maxPowerKW': 1", None, "a name in double quotes"),
        ('"maxPowerKW" «1', None, "':' is missing"),
        ('"maxPowerKW": «,', None, "Expecting value"),
        ('"maxPowerKW": 18«kW', None, "',' or '}' is missing"),
        ('"maxPowerKW": 1 «"priority": "gold"', None, "',' or '}' is missing"),
        ('"maxPowerKW": 1, «', None, "a name in double quotes"),
        ('"maxPowerKW": 1, "priority": «"gold', None, "Unterminated string"),
        ('"maxPowerKW": 1, "priority": "go«\n"', None, "Invalid control character"),
    ],
)
def test_faults_of_json(whole: bool, members: str, name: str | None, words: str) -> None:
    told = fault(f"{{{members}}}" if whole else f"my run;power:{{{members}}}")
    assert words in str(told)
    if name is not None:
        assert told.example == JSON_NAMES[name].example


def test_the_object_as_the_whole_comment_leaves_no_room() -> None:
    assert "not the whole comment" in str(fault('{"maxPowerKW": 5} «my run'))
    assert "not the whole comment" in str(fault('{"maxPowerKW": 5}«}'))
    assert "says nothing" in str(fault("power:«{}"))
    assert "missing" in str(fault('{"maxPowerKW": 5«'))


def test_deep_nesting_in_an_object_of_the_users_own_is_his() -> None:
    assert parse_comment('{"a":' * 100_000, NOW) is None


@pytest.mark.parametrize("key", [*KEYS.values(), *JSON_NAMES.values()])
def test_every_example_is_correct(key: Key) -> None:
    assert parse_comment(key.example, NOW) is not None


# --- For any text ---


PIECES = st.sampled_from(
    [
        *KEYS,
        *JSON_NAMES,
        *(f'"{name}":' for name in JSON_NAMES),
        *"=,;:/[]{}\"' \t\n\\-+.0123456789eEkWMn\x00\x1b\ud800é５",
        "power:",
        " power:",
        "power:est=5kW",
        "18.5kW",
        "/node",
        "/gpu",
        "now+2hours",
        "2026-04-20T18:00:00Z",
        "yes",
        "no",
        "true",
        "false",
        "null",
        "NaN",
        "1e999",
        "rack[01,03-05]",
        "10m",
    ]
)
ANY_TEXT = st.one_of(
    st.text(),
    st.lists(PIECES, max_size=24).map("".join),
    st.lists(PIECES, max_size=24).map(lambda pieces: "power:" + "".join(pieces)),
    st.lists(PIECES, max_size=24).map(lambda pieces: "{" + "".join(pieces)),
)


@given(ANY_TEXT)
def test_any_text_is_an_envelope_nothing_or_a_fault_with_its_place(comment: str) -> None:
    judge(comment, NOW)


@given(ANY_TEXT)
def test_text_that_has_no_sign_of_ours_is_never_refused(text: str) -> None:
    comment = text.replace(":", "").replace("{", "")
    assert parse_comment(comment, NOW) is None


# --- What is written is what is read: a generator of its own, which knows nothing of the parser ---


NAMES = st.text("abcXYZ019_.-", max_size=20).map(lambda tail: f"n{tail}")
USERS_TEXT = st.text(st.characters(exclude_characters=":{", codec="utf-8"), max_size=20)


@st.composite
def written_watts(draw: st.DrawFn, *, lowest: int = 1) -> tuple[str, Fraction]:
    """Milliwatts in one of the ways to write them."""
    milliwatts = draw(st.integers(lowest, lowest + 10**9))
    unit, scale = draw(st.sampled_from([("kW", 6), ("W", 3), ("", 3), ("MW", 9)]))
    digits = str(milliwatts).rjust(scale + 1, "0")
    number = f"{digits[:-scale]}.{digits[-scale:]}"
    if draw(st.booleans()):
        number = number.rstrip("0").rstrip(".")
    return number + unit, Fraction(milliwatts, 1_000)


@st.composite
def written_comments(draw: st.DrawFn) -> tuple[str, Envelope]:
    """A comment and what it says."""
    said: dict[str, Any] = {}
    written: list[str] = []
    pers = [("", Per.JOB), ("/node", Per.NODE), ("/gpu", Per.GPU)]

    def quantity(key: str, lowest: int) -> None:
        text, amount = draw(written_watts(lowest=lowest))
        suffix, per = draw(st.sampled_from(pers))
        said[key] = Quantity(amount, per)
        written.append(f"{key}={text}{suffix}")

    if draw(st.booleans()):
        quantity("est", 1)
    if draw(st.booleans()):
        quantity("headroom", 0)
    if draw(st.booleans()):
        est = said.get("est")
        quantity("max", ceil(est.watts * 1_000) if isinstance(est, Quantity) else 1)
    for key, where in {
        "tier": "tier",
        "profile": "profile",
        "class": "job_class",
        "reservation": "reservation",
    }.items():
        if draw(st.booleans()):
            said[where] = draw(NAMES)
            written.append(f"{key}={said[where]}")
    for key in ("preemptible", "partial"):
        if draw(st.booleans()):
            said[key] = draw(st.booleans())
            written.append(f"{key}={'yes' if said[key] else 'no'}")
    for key, where in {"notice": "notice_s", "ckpt": "ckpt_s"}.items():
        if draw(st.booleans()):
            number = draw(st.integers(1, 365))
            unit, seconds = draw(st.sampled_from([("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]))
            said[where] = number * seconds
            written.append(f"{key}={number}{unit}")
    if draw(st.booleans()):
        deadline = draw(st.integers(NOW + 1, NOW + 10**9))
        said["deadline"] = deadline
        written.append(f"deadline={datetime.fromtimestamp(deadline, UTC).isoformat()}")
    if draw(st.booleans()):
        numbers = draw(st.lists(st.integers(0, 99), min_size=1, max_size=4))
        said["zones"] = f"{draw(NAMES)}[{','.join(f'{n:02d}' for n in numbers)}]"
        written.append(f"zones={said['zones']}")
    if not written:
        quantity("est", 1)
    before, after = draw(USERS_TEXT), draw(USERS_TEXT)
    head = before + draw(st.sampled_from([" ", ";", "\t"])) if before else ""
    tail = draw(st.sampled_from([" ", ";", "\n"])) + after if after else ""
    body = ",".join(draw(st.permutations(written)))
    return f"{head}power:{body}{tail}", Envelope(**said)


@given(written_comments())
def test_what_is_written_is_what_is_read(case: tuple[str, Envelope]) -> None:
    comment, expected = case
    found = parse_comment(comment, NOW)
    assert found is not None
    assert found == expected
    for quantity in (found.est, found.max, found.headroom):
        if quantity is not None:
            assert comment[quantity.at - 1] == "="


@given(
    est=st.integers(1, 10**9),
    more=st.integers(0, 10**9),
    headroom=st.integers(0, 10**9),
    priority=NAMES,
    preemptible=st.booleans(),
    indent=st.sampled_from([None, 2]),
    order=st.randoms(use_true_random=False),
)
def test_json_of_any_writer(
    est: int, more: int, headroom: int, priority: str, preemptible: bool, indent: int | None, order: Random
) -> None:
    says = {
        "estimatedPowerKW": est / 1_000,
        "maxPowerKW": (est + more) / 1_000,
        "minRackHeadroomKW": headroom / 1_000,
        "priority": priority,
        "preemptible": preemptible,
        "jobId": "x",
    }
    names = sorted(says)
    order.shuffle(names)
    text = json.dumps({name: says[name] for name in names}, indent=indent)
    expected = Envelope(watts(est), watts(est + more), watts(headroom), tier=priority, preemptible=preemptible)
    assert parse_comment(text, NOW) == expected
    assert parse_comment(f"mine power:{text};mine too", NOW) == expected


# --- Multiplied ---


def resolved(segment: str, factor: int = 1_300, estimate: int | None = None) -> Resolved:
    """For 2 nodes with 16 GPUs in all."""
    envelope = parse_comment(f"power:{segment}", NOW)
    assert envelope is not None
    return resolve(envelope, 2, 16, factor, estimate)


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        ("est=18.5kW,max=24kW", Resolved(18_500, 24_000, None)),
        ("est=18.5kW", Resolved(18_500, 24_050, None)),
        ("est=1W", Resolved(1, 2, None)),
        ("est=0.1W", Resolved(1, 1, None)),
        ("est=10.2kW/node", Resolved(20_400, 26_520, None)),
        ("est=0.6W/gpu", Resolved(10, 13, None)),  # 9.6 and 12.48: rounded once, and only here
        ("est=700/gpu,max=1kW/gpu", Resolved(11_200, 16_000, None)),
        ("est=700/gpu,max=10kW/node", Resolved(11_200, 20_000, None)),
        ("est=5kW/node,max=10kW", Resolved(10_000, 10_000, None)),
        ("max=24kW", Resolved(24_000, 24_000, None)),
        ("max=12kW/node,headroom=1.5W/node", Resolved(24_000, 24_000, 3)),
        ("est=1kW,headroom=0", Resolved(1_000, 1_300, 0)),
        ("est=1kW,headroom=0.3W", Resolved(1_000, 1_300, 1)),
    ],
)
def test_resolve(segment: str, expected: Resolved) -> None:
    assert resolved(segment) == expected


def test_resolve_without_watts_takes_the_callers_estimate() -> None:
    assert resolved("tier=gold", estimate=9_999) == Resolved(9_999, 12_999, None)
    assert resolved("est=1kW", estimate=9_999) == Resolved(1_000, 1_300, None)
    assert resolved("max=1kW", estimate=9_999) == Resolved(1_000, 1_000, None)
    for estimate in (None, 0, -1):
        with pytest.raises(ValueError, match="positive estimate"):
            resolved("tier=gold", estimate=estimate)


def test_a_factor_below_one_does_not_put_max_below_est() -> None:
    assert resolved("est=1kW", factor=500) == Resolved(1_000, 1_000, None)


@pytest.mark.parametrize(
    ("marked", "nodes", "gpus", "words"),
    [
        ("power:est=10kW/node,max=«15kW", 2, 0, "max is 15kW, less than est, 20kW"),
        ("power:max=«15kW,est=1kW/gpu", 2, 16, "max is 15kW, less than est, 16kW"),
        ("power:est=«700/gpu", 2, 0, "est is per GPU, and this job asks for no GPUs"),
        ("power:est=5kW,max=«1kW/gpu", 1, 0, "max is per GPU"),
        ("power:est=5kW,headroom=«1kW/gpu", 1, 0, "headroom is per GPU"),
        ("power:est=«2000MW/node", 2, 0, "est comes to 4000000kW"),
        ("power:est=5kW,max=«2000MW/node", 2, 0, "max comes to 4000000kW"),
        ("power:est=5kW,headroom=«2000MW/node", 2, 0, "headroom comes to 4000000kW"),
        ("x power:est=«2000MW", 1, 0, "max comes to 2600000kW"),
    ],
)
def test_faults_of_multiplication(marked: str, nodes: int, gpus: int, words: str) -> None:
    comment = marked.replace("«", "")
    envelope = parse_comment(comment, NOW)
    assert envelope is not None
    with pytest.raises(EnvelopeError) as raised:
        resolve(envelope, nodes, gpus, 1_300)
    assert words in str(raised.value)
    assert raised.value.position == marked.index("«")
    assert parse_comment(raised.value.example, NOW) is not None


@given(written_comments(), st.integers(1, 100), st.integers(1, 800), st.integers(1_000, 3_000))
def test_resolved_watts_cover_what_was_asked(case: tuple[str, Envelope], nodes: int, gpus: int, factor: int) -> None:
    envelope = case[1]
    try:
        found = resolve(envelope, nodes, gpus, factor, 5_000)
    except EnvelopeError:
        return
    assert 0 < found.est_w <= found.max_w <= MAX_WATTS
    counts = {Per.JOB: 1, Per.NODE: nodes, Per.GPU: gpus}
    for asked, got in ((envelope.est, found.est_w), (envelope.max, found.max_w), (envelope.headroom, found.headroom_w)):
        if asked is not None:
            assert got is not None
            assert 0 <= got - asked.watts * counts[asked.per] < 1


def test_parsing_does_not_depend_on_the_depth_of_the_caller() -> None:
    def deep(levels: int) -> Envelope | None:
        return deep(levels - 1) if levels else parse_comment(ARTICLE, NOW)

    assert deep(sys.getrecursionlimit() // 2) == ARTICLE_SAYS
