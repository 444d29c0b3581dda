"""A verdict with its reasons and what would help, as `explain` and `check` show it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from slurm_power.cli.table import Answer, Column, Columns, Row, Table, fact, text, watts, words

REASONS = Columns(text("code"), text("subject"), watts("asked"), watts("free"), watts("short"), words("text"))
HELPS = Columns(
    text("cure"),
    text("zone"),
    watts("watts"),
    text("at"),
    text("after", "after_job"),
    text("tier"),
    words("text"),
)


def present(
    found: Mapping[str, Any],
    columns: Columns,
    facts: Iterable[str],
    more: Callable[[Mapping[str, Any]], Row] = lambda _: {},
) -> Answer:
    """One sentence, then the facts that are known, the reasons, and what would help; `more` makes columns of it."""
    chosen = columns.pick(facts)
    rows: Sequence[Row] = found["reasons"]
    parts = [Table(REASONS.all, rows, "REASON")] if rows else []
    if found["helps"]:
        parts.append(Table(HELPS.pick(("zone", "watts", "at", "tier", "text")), found["helps"], "FITS"))
    record = {**_record(found), **more(found)}
    known = [column for column in chosen if record.get(column.key) not in (None, "", [])]
    lines = [found["sentence"], "", *(fact(column.name, record[column.key], column.kind) for column in known)]
    return Answer(found, Table(columns.all, [record]), lines, parts=parts)


def _record(found: Mapping[str, Any]) -> Row:
    """The answer as one row: of reasons their codes, of helps their words."""
    return {
        **found,
        "reasons": [reason["code"] for reason in found["reasons"]],
        "helps": "; ".join(help_["text"] for help_ in found["helps"]),
    }


def answer_columns(*own: Column) -> Columns:
    """The columns of an answer with a verdict, after the command's own."""
    return Columns(
        *own,
        text("verdict"),
        text("tier"),
        text("power", "power_class"),
        text("zones"),
        watts("est"),
        watts("max"),
        text("earliest", "earliest_start"),
        text("reasons"),
        words("helps"),
        words("sentence"),
    )
