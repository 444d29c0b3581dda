import pytest

from slurm_power.cli.drawing import draw
from slurm_power.cli.table import (
    Columns,
    Kind,
    Table,
    count,
    fact,
    parsable,
    plain,
    shown,
    text,
    watts,
    words,
)
from slurm_power.core.errors import UsageError

COLUMNS = Columns(text("name"), watts("limit"), watts("slurm", "license_used"), count("jobs"), words("note"))


def names(wanted: str) -> list[str]:
    return [column.name for column in COLUMNS.pick(wanted.split(","))]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("name", ["name"]),
        ("jobs,name", ["jobs", "name"]),
        (" Name , LIMIT ", ["name", "limit"]),
        ("limit_w,license_used", ["limit", "slurm"]),
        ("all", ["name", "limit", "slurm", "jobs", "note"]),
        ("note,all", ["note", "name", "limit", "slurm", "jobs"]),
        ("name,name", ["name"]),
    ],
)
def test_columns_go_by_name_or_field_in_the_order_given_each_once(wanted: str, found: list[str]) -> None:
    assert names(wanted) == found


@pytest.mark.parametrize("wanted", ["nmae", "", "name,", "name;limit"])
def test_an_unknown_column_is_told_with_those_that_there_are(wanted: str) -> None:
    with pytest.raises(
        UsageError, match=r"there is no column '.*'; there are name, limit, slurm, jobs, note, and all"
    ):
        names(wanted)


@pytest.mark.parametrize(
    ("value", "kind", "people", "programs"),
    [
        (46_433, Kind.WATTS, "46.433kW", "46433"),
        (-23_372, Kind.WATTS, "-23.372kW", "-23372"),
        (0, Kind.WATTS, "0W", "0"),
        (None, Kind.WATTS, "-", ""),
        (3, Kind.COUNT, "3", "3"),
        (0, Kind.COUNT, "0", "0"),
        ("", Kind.TEXT, "-", ""),
        ([], Kind.TEXT, "-", ""),
        (["rack01", "rack02"], Kind.TEXT, "rack01,rack02", "rack01,rack02"),
        (True, Kind.TEXT, "yes", "yes"),
        (False, Kind.TEXT, "no", "no"),
        ("a|b", Kind.TEXT, "a|b", "a?b"),
        ("a\nb\x1b[2J", Kind.TEXT, "a?b?[2J", "a?b?[2J"),
        ("[red]x[/]", Kind.TEXT, "[red]x[/]", "[red]x[/]"),
    ],
)
def test_values_for_people_and_for_programs(value: object, kind: Kind, people: str, programs: str) -> None:
    assert shown(value, kind) == people
    assert parsable(value) == programs


def test_bytes_that_are_no_text_do_not_reach_the_terminal() -> None:
    assert plain("caf\udce9 ≤ é") == "caf? ≤ é"


def test_a_fact_is_one_line() -> None:
    assert fact("last_good", 5_000, Kind.WATTS) == "last good       5kW"


ROWS = [
    {
        "name": "rack01",
        "limit_w": 55_000,
        "license_used": None,
        "jobs": 12,
        "note": "[bold]as it is[/bold] :smile:",
    },
    {"name": "r2", "limit_w": -1, "license_used": 7, "jobs": 0, "note": ""},
]
DRAWN = """\
ZONE    LIMIT  SLURM  JOBS  NOTE
rack01   55kW      -    12  [bold]as it is[/bold] :smile:
r2        -1W     7W     0  -
"""


def test_a_table_has_no_box_numbers_to_the_right_and_text_as_it_was_written() -> None:
    assert draw(Table(COLUMNS.all, ROWS, "ZONE"), header=True) == DRAWN


def test_without_header_columns_are_as_wide_as_their_cells() -> None:
    assert draw(Table(COLUMNS.pick(["name", "jobs"]), ROWS), header=False) == "rack01  12\nr2       0\n"


def test_a_table_without_rows_shows_its_header() -> None:
    assert draw(Table(COLUMNS.pick(["name", "jobs"]), []), header=True) == "NAME  JOBS\n"


def test_what_is_no_terminal_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    long = "word " * 200 + "end"
    drawn = draw(Table(COLUMNS.all, [{**ROWS[1], "note": long}]), header=True)
    assert drawn.splitlines()[1].endswith(long)
    assert len(drawn.splitlines()) == 2
    assert "\x1b" not in drawn
