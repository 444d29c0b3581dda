"""The section `preemption` of the site file."""

import pytest

from slurm_power.config import load_site
from slurm_power.core.errors import ConfigError

ZONES = "zones: {a: {nodes: n1, limit: 1kW}}\n"


def test_defaults() -> None:
    found = load_site(text=ZONES).preemption
    assert (found.per_hour, found.min_run, found.warn_signal) == (60, 600, "URG")


def test_every_key() -> None:
    found = load_site(text=f"{ZONES}preemption: {{per_hour: 5, min_run: 1h, warn_signal: RTMIN+1}}\n").preemption
    assert (found.per_hour, found.min_run, found.warn_signal) == (5, 3_600, "RTMIN+1")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("per_hour: 0", "whole number"),
        ("min_run: soon", "duration"),
        ("warn_signal: usr1", "name of a signal such as USR1"),
        ("warn_signal: 'USR1; reboot'", "name of a signal such as USR1"),
        ("victims: bronze", "victims"),
    ],
)
def test_what_is_wrong_is_told(section: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_site(text=f"{ZONES}preemption: {{{section}}}\n")
    assert said in str(error.value)
