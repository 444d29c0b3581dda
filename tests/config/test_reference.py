from pathlib import Path

import yaml

from slurm_power.config import load_site, reference
from slurm_power.config.schema import SiteFile
from slurm_power.config.validate import keys_at

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_published_reference_is_that_of_the_schema() -> None:
    """To mend it, print(reference(), end="") into docs/configuration.md."""
    assert DOCS.read_text() == reference()


def test_every_key_has_a_row_with_a_type_and_a_meaning() -> None:
    rows = [
        line.replace("\\|", "¦").split("|") for line in reference().splitlines() if line.startswith("| `")
    ]
    assert all(kind.strip() and meaning.strip() for _, _, kind, _, meaning, _ in rows)
    assert {name.strip() for _, name, *_ in rows} >= {f"`{name}`" for name in SiteFile.model_fields}


def test_the_defaults_in_the_reference_are_those_that_hold() -> None:
    """A file that spells every default out means the same as one that says nothing."""
    section, data = "", yaml.safe_load("zones: {z: {nodes: n1, limit: 10kW}}")
    for line in reference().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        cells = [cell.strip().strip("`") for cell in line.split("|")] if line.startswith("| `") else []
        if section in ("Top level", "defaults", "defaults.burst", "hook", "state") and cells and cells[3]:
            here = data
            for step in section.split(".") if section != "Top level" else ():
                here = here.setdefault(step, {})
            if cells[3] not in ("required",) and cells[1] != "tiers":
                here[cells[1]] = cells[3]
    assert data["defaults"]["burst"] == {"rule": "rss", "z": "2"}
    spelt, silent = (
        load_site(text=yaml.safe_dump(data)),
        load_site(text="zones: {z: {nodes: n1, limit: 10kW}}"),
    )
    assert (spelt.policy, spelt.hook, spelt.state_url, spelt.keep_s) == (
        silent.policy, silent.hook, silent.state_url, silent.keep_s,
    )


def test_keys_at_a_place() -> None:
    assert "margin" in set(keys_at(("zones", "any")))
    assert set(keys_at(("feeds", "f", "breaker"))) == {"volts", "amps", "phases", "power_factor"}
    assert {"oid", "zone_watts", "path"} < set(keys_at(("telemetry", 3)))
    assert list(keys_at(("mode",))) == []
    assert list(keys_at(("nowhere", "x"))) == []
