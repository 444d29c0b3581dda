"""The facility's file: what it may say, and what becomes of everything else that could be there."""

import os
from fractions import Fraction
from pathlib import Path

import pytest

from slurm_power.adapters.signal_file import EXAMPLE, SignalFile
from slurm_power.core.errors import SignalError
from slurm_power.ports import AskedCut

FIVE_PM = 1_795_798_800
"""2026-11-27T17:00:00Z."""


def read(path: Path, text: str | bytes) -> tuple[AskedCut, ...]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return tuple(SignalFile(path).read().cuts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signal.json"


def test_what_it_asks_for(path: Path) -> None:
    assert read(path, EXAMPLE) == (AskedCut("ups-a", "grid event", None, FIVE_PM, None, Fraction(25)),)
    assert read(path, '{"cuts": []}') == ()
    wanted = '{"cuts": [{"element": "r1", "limit": "30kW", "reason": "x", "start": "2026-11-27T18:00:00+01:00"}]}'
    assert read(path, wanted) == (AskedCut("r1", "x", FIVE_PM, None, 30_000, None),)
    assert read(path, '{"cuts": [{"element": "r1", "limit": 500, "reason": "x"}]}')[0].limit_w == 500
    assert read(path, '{"cuts": [{"element": "r1", "percent": 0.1, "reason": "x"}]}')[0].percent == Fraction(1, 10)


def test_when_it_was_written(path: Path) -> None:
    read(path, EXAMPLE)
    os.utime(path, (1_000, 2_000))
    assert SignalFile(path).read().written_at == 2_000


CUT = '{{"cuts": [{{"element": "r1", "reason": "x", {}}}]}}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Invalid JSON"),
        ("{", "Invalid JSON"),
        ("[]", "object"),
        ("{}", "cuts: Field required"),
        (b"\xff\xfe", "Invalid JSON"),
        ('{"cuts": [1]}', "cuts.0"),
        ('{"cuts": [{"percent": 5, "reason": "x"}]}', "cuts.0.element: Field required"),
        ('{"cuts": [{"element": "r1", "percent": 5}]}', "cuts.0.reason: Field required"),
        (CUT.format('"percent": 0'), "greater than 0"),
        (CUT.format('"percent": -5'), "is no percentage"),
        (CUT.format('"percent": 100.5'), "is no percentage"),
        (CUT.format('"percent": NaN'), "cuts.0.percent"),
        (CUT.format('"percent": "NaN"'), "cuts.0.percent"),
        (CUT.format('"percent": "1/0"'), "cuts.0.percent"),
        (CUT.format('"percent": "1e999999999"'), "cuts.0.percent"),
        (CUT.format('"percent": 1e999'), "cuts.0.percent"),
        (CUT.format('"limit": 5').replace('"x"', '"a\\nb"'), "'reason' is a line of text"),
        (CUT.format('"percent": true'), "is not a number"),
        (CUT.format('"limit": -1'), "greater than or equal to 0"),
        (CUT.format('"limit": 1.5'), "cuts.0.limit"),
        (CUT.format('"limit": "much"'), "cuts.0.limit"),
        (CUT.format('"limit": "-5kW"'), "cuts.0.limit"),
        (CUT.format('"limit": 5, "percent": 5'), "and not both"),
        (CUT.format('"end": "2026-11-27T17:00:00Z"'), "and not both"),
        (CUT.format('"limit": 5, "end": "2026-11-27T17:00:00"'), "a time says its zone"),
        (CUT.format('"limit": 5, "start": "2026-11-27T17:00:00Z", "end": "2026-11-27T17:00:00Z"'), "after its start"),
        (CUT.format('"limit": 5, "untill": "2026-11-27T17:00:00Z"'), "untill"),
        ('{"cuts": [], "caps": []}', "caps"),
        ('{"cuts": [' + ",".join([CUT.format('"limit": 5')[10:-2]] * 1_001) + "]}", "1000"),
        (b" " * (1 << 20) + b" ", "is longer than"),
    ],
)
def test_what_makes_no_sense_is_named(path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(SignalError) as caught:
        read(path, text)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_hundred_megabytes_are_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(SignalError, match="is longer than"):
        SignalFile(path).read()


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    places = ((tmp_path, "cannot be read|no plain file"), (pipe, "no plain file"), (tmp_path / "none", "No such"))
    for there, says in places:
        with pytest.raises(SignalError, match=says):
            SignalFile(there).read()
