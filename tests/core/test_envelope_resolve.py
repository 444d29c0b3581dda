"""Envelopes multiplied: the watts of a whole job by its nodes and GPUs, rounded once, never less than was asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.envelope import Envelope, Per, Resolved, parse_comment, resolve
from slurm_power.core.errors import EnvelopeError
from slurm_power.core.units import MAX_WATTS
from tests.core.envelopes import NOW, written_comments


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
