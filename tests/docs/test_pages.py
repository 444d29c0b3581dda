"""Pages and examples that are made from code are what the code makes, and links lead somewhere."""

import re
import tomllib
from pathlib import Path

import pytest

from slurm_power import __version__
from slurm_power.core.giving_way import Step
from slurm_power.core.lifecycle import Event
from slurm_power.core.reservation import ReservationEvent
from tests.docs import preemptions
from tests.docs.made import ROOT, made
from tests.docs.states import WHEN

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
MODULE = re.compile(r"`((?:core|config|service|adapters|daemon|cli|sandbox|lua)/[\w./]+\.(?:py|lua))`")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(("path", "text"), made().items(), ids=lambda part: getattr(part, "name", ""))
def test_what_is_made_from_code_is_up_to_date(path: Path, text: str) -> None:
    """To mend it: python -m tests.docs.made"""
    assert path.read_text() == text


def test_every_event_is_explained() -> None:
    assert set(WHEN) == {*Event, *ReservationEvent}
    assert set(preemptions.WHEN) == set(Step)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    found = LINK.findall(path.read_text())
    assert [link for link in found if not (path.parent / link).exists()] == []


def test_the_modules_that_the_architecture_names_are_there() -> None:
    named = MODULE.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(named) > 20
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "slurm_power"))]
    assert missing == []


def test_the_architecture_gives_the_ranges_of_versions_that_hold() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert [one for one in project["dependencies"] if f"`{one}`" not in page] == []


def test_the_protocol_has_every_question_that_the_control_socket_answers() -> None:
    source = (ROOT / "slurm_power" / "daemon" / "control.py").read_text()
    answered = re.findall(r'"(\w+)": (?:self\._\1|(?:overriding|reserving|metered|derating)\.\w+),', source)
    _, control = (ROOT / "docs" / "protocol.md").read_text().split("## Control")
    assert re.findall(r"^\| `(\w+)` \|", control, re.MULTILINE) == answered != []


def test_the_changelog_knows_the_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
