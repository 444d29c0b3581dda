"""Which table is used for which version."""

import logging

import pytest

from slurm_power.adapters.slurm.dialect import DIALECTS, dialect_for, read_version
from slurm_power.core.errors import SlurmError, SlurmParseError
from tests.adapters.slurm.replay import VERSIONS, Replay
from tests.adapters.slurm.test_inventory import Answering


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ((22, 5, 8), "22.05"),
        ((23, 2, 0), "23.02"),
        ((23, 11, 10), "23.02"),
        ((24, 5, 0), "24.11"),
        ((24, 11, 5), "24.11"),
        ((25, 11, 2), "24.11"),
        ((26, 5, 5), "26.05"),
    ],
)
def test_families(version: tuple[int, int, int], name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert dialect_for(version).name == name
    assert caplog.records == []


def test_a_version_to_come_is_read_as_the_newest_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert dialect_for((27, 11, 0)) is DIALECTS[-1]
    assert "27.11.0 is newer" in caplog.text


def test_too_old() -> None:
    with pytest.raises(SlurmError, match=r"21\.08\.8 is too old; 22\.05"):
        dialect_for((21, 8, 8))


@pytest.mark.parametrize("name", VERSIONS)
def test_the_version_of_each_capture(name: str) -> None:
    version = read_version(Replay.of(name))
    assert dialect_for(version).name == name == f"{version[0]}.{version[1]:02d}"


def test_an_answer_without_a_version() -> None:
    with pytest.raises(SlurmParseError, match="no version"):
        read_version(Answering("command not found\n"))
