"""The maps in the packages' docstrings name each of their modules once, and no other."""

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

_LINE = re.compile(r"^    (?:(?!  ).)*? {2,}(?P<modules>.*)$")


@pytest.mark.parametrize("package", ["core", "service", "daemon"])
def test_every_module_has_its_place(package: str) -> None:
    found = importlib.import_module(f"slurm_power.{package}")
    assert found.__doc__ is not None
    assert found.__file__ is not None
    lines = (_LINE.match(line) for line in found.__doc__.splitlines())
    named = Counter(name for line in lines if line is not None for name in line["modules"].split())
    there = Counter(path.stem for path in Path(found.__file__).parent.glob("*.py") if path.stem != "__init__")
    assert named == there
