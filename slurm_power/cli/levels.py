"""`spower report --sla` and `--holders`: promises kept by tier, and who owns which watts until when."""

from collections.abc import Mapping
from typing import Any

from slurm_power.cli.table import Answer, Columns, Row, Table, count, numbers, share, text, watts, words
from slurm_power.cli.usage import ZONES

LEVELS = Columns(
    text("tier"),
    count("max_delay", "max_delay_s"),
    count("max_shortfall", "max_shortfall_s"),
    count("max_burst_shortfall", "max_burst_shortfall_s"),
    count("min_run", "min_run_s"),
    share("budget", "error_budget"),
    count("runs"),
    count("missed"),
    share("missed_part"),
    text("kept"),
    numbers("causes"),
)
HOLDERS = Columns(
    text("zone"),
    text("kind"),
    text("name"),
    text("state"),
    text("accounts"),
    text("users"),
    watts("watts"),
    watts("used"),
    text("since"),
    text("until"),
    text("returns", "returns_at"),
    words("otherwise"),
)


def present_levels(found: Mapping[str, Any]) -> Answer:
    """How each tier's promise was kept."""
    lead = [f"From {found['since']} to {found['until']}."]
    table = Table(LEVELS.all, found["tiers"])
    return Answer(found, table, lead, parts=[table])


def present_holders(found: Mapping[str, Any]) -> Answer:
    """Who owns which watts, until when, and what becomes of them if nobody uses them."""
    rows: list[Row] = found["holders"]
    lead = () if rows else ("Nobody holds watts.",)
    parts = [Table(HOLDERS.all, rows)] if rows else []
    parts.append(Table(ZONES.all, found["zones"]))
    return Answer(found, Table(HOLDERS.all, rows), lead, parts=parts)
