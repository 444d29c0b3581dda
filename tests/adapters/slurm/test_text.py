"""Single values as Slurm prints them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.slurm.text import (
    count_gpus,
    fold_tasks,
    gpu_types,
    instant,
    job_gpus,
    limit_s,
    lines,
    number,
    plain,
)


@pytest.mark.parametrize(
    ("tres", "gpus"),
    [
        ("cpu=4,mem=400M,node=1,billing=4,gres/gpu=2", 2),
        ("cpu=4,gres/gpu=8,gres/gpu:a100=8", 8),
        ("gres/gpu:a100=4,gres/gpu:h100=2", 6),
        ("gres:gpu:4", 4),
        ("gres:gpu:a100:2", 2),
        ("gres/gpu:3", 3),
        ("gres:gpu", 1),
        ("gpu:a100", 1),
        ("gpu:1080ti:2", 2),
        ("gpu:8(S:0-1)", 8),
        ("gpu:h100:4(IDX:0-1,3),gpu:l4:2(IDX:4-5)", 6),
        ("gpu:1K", 1_024),
        ("gres:gpumem:80", None),
        ("cpu=4,mem=1G", None),
        ("N/A", None),
        ("(null)", None),
        ("", None),
    ],
)
def test_gpus(tres: str, gpus: int | None) -> None:
    assert count_gpus(tres) == gpus


@pytest.mark.parametrize(
    ("tres", "asked", "gpus"),
    [
        ("cpu=8,gres/gpu=6", ("gres:gpu:99", "", "", ""), 6),
        ("cpu=8", ("gres:gpu:6", "N/A", "N/A", "N/A"), 6),
        ("cpu=8", ("N/A", "gres:gpu:4", "N/A", "N/A"), 8),
        ("cpu=8", ("N/A", "N/A", "gres/gpu=2", "N/A"), 6),
        ("cpu=8", ("N/A", "N/A", "N/A", "gres:gpu:1"), 2),
        ("cpu=8", ("N/A", "N/A", "N/A", "N/A"), 0),
    ],
)
def test_gpus_of_a_job_on_two_nodes_with_three_tasks(tres: str, asked: tuple[str, str, str, str], gpus: int) -> None:
    assert job_gpus(tres, asked, 2, 3) == gpus


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:00:00", 3_600),
        ("30:00", 1_800),
        ("0:45", 45),
        ("7-00:00:00", 604_800),
        ("UNLIMITED", None),
        ("NOT_SET", None),
        ("INVALID", None),
        ("NONE", None),
        ("", None),
    ],
)
def test_limits(text: str, seconds: int | None) -> None:
    assert limit_s(text) == seconds


def test_nothing_said() -> None:
    assert [instant(text) for text in ("N/A", "Unknown", "NONE", "1795439013")] == [None, None, None, 1_795_439_013]
    assert [number(text) for text in ("N/A", "0", "17", "²", "")] == [None, 0, 17, None, None]
    assert [plain(text) for text in ("(null)", "N/A", "", "x")] == ["", "", "", "x"]


@given(st.sets(st.integers(0, 200)))
def test_folded_tasks_name_the_same_tasks(tasks: set[int]) -> None:
    named: list[int] = []
    for part in filter(None, fold_tasks(tasks).split(",")):
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(tasks)


@pytest.mark.parametrize(
    ("gres", "types"),
    [
        ("", ()),
        ("gpu:8(S:0-1)", ()),
        ("gpu", ()),
        ("gpu:h100:4(S:0-1)", (("h100", 4),)),
        ("nvme:2,gpu:h100:4(S:0),gpu:a100:2(S:1),gpu:h100:2", (("a100", 2), ("h100", 6))),
        ("gpu:1g.10gb:7", (("1g.10gb", 7),)),
        ("gpu:a100", (("a100", 1),)),
    ],
)
def test_types_of_gpus(gres: str, types: tuple[tuple[str, int], ...]) -> None:
    assert gpu_types(gres) == types


@given(st.text(st.sampled_from("ab\n\r\x0b\x85\u2028")))
def test_lines_end_at_newlines_alone(text: str) -> None:
    wanted = text.split("\n")
    assert list(lines(text)) == (wanted if wanted[-1] else wanted[:-1])
