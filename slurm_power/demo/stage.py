"""What the demo shows: a live picture of the racks below the story on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from slurm_power.core.units import format_watts

_BAR = 40
_WIDE = 10_000
"""The width of what is no terminal: no line is broken there."""


class Stage:
    """Prints the story; lines begin with the seconds since the demo began."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = _WIDE
        self._begun = time.monotonic()
        self._live: Live | None = None

    def chapter(self, title: str) -> None:
        """A heading."""
        self._print(Text(f"\n== {title}", style="bold cyan"))

    def tell(self, words: str, style: str = "") -> None:
        """A sentence of the story."""
        self._print(Text(f"{self._clock()} {words}", style=style))

    def command(self, user: str, text: str) -> None:
        """A command that somebody gives."""
        self._print(Text.assemble((f"{self._clock()} {user}$ ", "bold"), text))

    def output(self, text: str) -> None:
        """What a command printed."""
        for line in text.splitlines():
            self._print(Text(f"        {line}", style=_style_of(line)))

    def table(self, table: Table) -> None:
        """A table, and an empty line."""
        self._console.print(table, Text(""))

    def begin_picture(self) -> None:
        """From here on keep a picture of the racks below the story, where there is a terminal."""
        if self._console.is_terminal:
            self._live = Live(Text(""), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    def picture(self, zones: Mapping[str, Any]) -> None:
        """Draw the daemon's zones and the feeds that are nearest to their limits anew."""
        if self._live is not None and zones:
            self._live.update(Group(Text(""), _picture(zones)))

    def end_picture(self) -> None:
        """Take the picture away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _clock(self) -> str:
        return f"{time.monotonic() - self._begun:6.1f}s"

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def plain_table(*headers: str, numbers_from: int = 1) -> Table:
    """A table without a frame; from `numbers_from` on its columns hold numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index >= numbers_from else "left", no_wrap=True)
    return table


def _picture(zones: Mapping[str, Any]) -> Table:
    table = plain_table("RACK", "LANE", "COMMITTED OF USABLE", "COMMITTED", "HEADROOM", "IDLE NODES", numbers_from=3)
    for row in zones["zones"]:
        table.add_row(row["name"], row["lane"], _bar(row), *_watts(row, ("committed_w", "headroom_w")), _idle(row))
    for row in zones["feeds"]:
        if row["license"] is not None:
            table.add_row(row["name"], "feed", _bar(row), *_watts(row, ("committed_w", "headroom_w")), "")
    return table


def _bar(row: Mapping[str, Any]) -> Text:
    usable_w = max(row["usable_w"], 1)
    idle = min(_BAR * row["baseline_w"] // usable_w, _BAR)
    full = min(-(-_BAR * row["committed_w"] // usable_w), _BAR)
    colour = "red" if row["headroom_w"] < 0 else "green"
    return Text.assemble(("█" * idle, "bright_black"), ("█" * (full - idle), colour), ("·" * (_BAR - full), "dim"))


def _watts(row: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    return [format_watts(row[key]) for key in keys]


def _idle(row: Mapping[str, Any]) -> str:
    return f"{row['nodes_idle']} of {row['nodes_up']}"


def _style_of(line: str) -> str:
    for word, style in (("rejected:", "red"), ("held:", "yellow"), ("admitted to", "green")):
        if f"slurm_power: {word}" in line:
            return style
    return "dim" if "slurm_power:" not in line else ""
