"""Power comments that are refused: what is wrong, where it stands, and a correct form."""

import pytest

from slurm_power.core.comment_keys import JSON_NAMES, KEYS
from slurm_power.core.envelope import parse_comment
from slurm_power.core.errors import EnvelopeError
from tests.core.envelopes import NOW


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
