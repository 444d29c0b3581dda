"""Every example of the site file on a page can be loaded, once the elements that it names are there."""

import re
import textwrap
from collections.abc import Iterator

import pytest
import yaml

from slurm_power.config import load_site
from slurm_power.config.schema import SiteFile
from slurm_power.config.telemetry import Prometheus
from tests.docs.made import ROOT

PAGE = ROOT / "docs" / "operations.md"
FEEDS = ("pdu-a1", "pdu-b1", "a1")
FLOOR = {
    "feeds": {name: {"limit": "100kW"} for name in FEEDS},
    "zones": {f"rack0{n}": {"nodes": f"gpu00{n}", "limit": "40kW", "feeds": list(FEEDS)} for n in (1, 2, 7)},
}
SOURCE = {"type": "prometheus", "url": "http://127.0.0.1:9090", "every": "15s", "stale": "60s"}


def blocks(page: str) -> Iterator[str]:
    """What is indented by four, up to the next empty line, and what stands between fences."""
    yield from re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for found in re.findall(r"(?<=\n\n)(?: {4}.*\n)+", page):
        yield textwrap.dedent(found)


def sections(page: str) -> Iterator[dict[str, object]]:
    """The examples of sections of the site file; of single sources, and of single keys of one, the section around."""
    for block in blocks(page):
        try:
            found = yaml.load(block, yaml.BaseLoader)
        except yaml.YAMLError:
            continue
        if isinstance(found, dict) and found.keys() <= SiteFile.model_fields.keys():
            yield found
        elif isinstance(found, dict) and found.keys() <= Prometheus.model_fields.keys():
            yield {"telemetry": [SOURCE | found]}
        elif isinstance(found, list) and all(isinstance(one, dict) and "type" in one for one in found):
            yield {"telemetry": found}


EXAMPLES = list(sections(PAGE.read_text()))


def test_examples_are_found() -> None:
    assert {key for one in EXAMPLES for key in one} == {"balance", "metrics", "tariff", "telemetry", "thermal", "tiers"}
    wholes = re.findall(r"^ *telemetry:", PAGE.read_text(), re.MULTILINE)
    assert sum("telemetry" in one for one in EXAMPLES) == len(wholes) + 2


@pytest.mark.parametrize("example", EXAMPLES, ids=" ".join)
def test_examples_can_be_loaded(example: dict[str, object]) -> None:
    assert load_site(text=yaml.safe_dump(FLOOR | example)).warnings == ()
