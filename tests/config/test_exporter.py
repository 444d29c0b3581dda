"""The section `metrics`: where metrics are served."""

import pytest

from slurm_power.config import load_site
from slurm_power.core.errors import ConfigError

SITE = "zones: {z: {nodes: n1, limit: 10kW}}\n"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("{}", ("127.0.0.1", 9777)),
        ('{listen: "10.0.0.7:9100"}', ("10.0.0.7", 9100)),
        ('{listen: "[::1]:9777"}', ("::1", 9777)),
        ('{listen: " 0.0.0.0:1 "}', ("0.0.0.0", 1)),
    ],
)
def test_addresses(written: str, address: tuple[str, int]) -> None:
    metrics = load_site(text=f"{SITE}metrics: {written}").metrics
    assert metrics is not None
    assert metrics.listen == address


@pytest.mark.parametrize(
    "written",
    ["9777", "localhost:9777", '"127.0.0.1:0"', '"127.0.0.1:65536"', '"[127.0.0.1]:1"', '"::1:1"', '"1.2.3:1"', "[a]"],
)
def test_what_is_no_address(written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_site(text=f"{SITE}metrics: {{listen: {written}}}")
    assert ":2: metrics.listen: " in str(caught.value)
    assert "expected an IP address and a port such as 127.0.0.1:9777 or [::1]:9777" in str(caught.value)


def test_without_the_section_nothing_is_served() -> None:
    assert load_site(text=SITE).metrics is None
