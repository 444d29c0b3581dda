"""What power comments say: each key, where an envelope may stand, and what must hold for any text."""

import json
import sys
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.comment_keys import JSON_NAMES, KEYS, Key
from slurm_power.core.envelope import Envelope, Per, parse_comment
from slurm_power.core.errors import EnvelopeError
from slurm_power.core.units import MAX_WATTS
from tests.benchmarks.fuzz_envelope import judge
from tests.core.envelopes import FULL, FULL_SAYS, NAMES, NOW, SIX_PM, watts, written_comments

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


def test_deep_nesting_in_an_object_of_the_users_own_is_his() -> None:
    assert parse_comment('{"a":' * 100_000, NOW) is None


@pytest.mark.parametrize("form", ["{}", "power:{}", "note;power:{};note", "\n {}  "])
def test_an_object_with_every_name_passes(form: str) -> None:
    assert parse_comment(form.replace("{}", FULL), NOW) == FULL_SAYS


def test_an_object_is_late_after_its_deadline() -> None:
    with pytest.raises(EnvelopeError, match="already past") as raised:
        parse_comment(FULL, SIX_PM)
    assert FULL[raised.value.position :].startswith('"2026-04-20T18:00:00Z"')
    assert parse_comment(FULL, SIX_PM - 1) == FULL_SAYS


def test_an_object_of_the_form_needs_no_watts() -> None:
    assert parse_comment('{"priority": "gold", "preemptible": true}', NOW) == Envelope(tier="gold", preemptible=True)
    assert parse_comment('power:{"jobId": 7}', NOW) == Envelope()


def test_a_deadline_without_offset_is_in_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert parse_comment("power:deadline=2026-04-20T20:00", NOW, berlin) == Envelope(deadline=SIX_PM)
    assert parse_comment('{"maxPowerKW":1,"deadline":"2026-04-20T20:00"}', NOW, berlin) == Envelope(
        max=watts(1_000), deadline=SIX_PM
    )


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


# --- What is written is what is read ---


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


def test_parsing_does_not_depend_on_the_depth_of_the_caller() -> None:
    def deep(levels: int) -> Envelope | None:
        return deep(levels - 1) if levels else parse_comment(FULL, NOW)

    assert deep(sys.getrecursionlimit() // 2) == FULL_SAYS
