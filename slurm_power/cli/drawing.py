"""Tables for people, drawn by rich: no boxes; colours and limits of width only where there is a terminal."""

import sys

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Drawing
from rich.text import Text

from slurm_power.cli.table import Column, Kind, Table, shown

_GAP = 2
_LEAST_WORDS = 24
"""Sentences are broken over lines, but into no less than so many characters."""
_BEYOND = 100_000
"""Width of what is no terminal: nothing is cut or broken there."""


def draw(table: Table, header: bool) -> str:
    """The table as text. On a narrow terminal sentences are broken over lines; numbers and names never are."""
    drawing = Drawing(
        box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=header, header_style="bold"
    )
    least = 0
    for index, column in enumerate(table.columns):
        title = table.title if table.title and not index else column.title
        cells = [shown(row.get(column.key), column.kind) for row in table.rows]
        width = max(map(cell_len, [title if header else "", *cells]))
        if column.kind is Kind.WORDS:
            width = min(width, _LEAST_WORDS)
        _add(drawing, column, title, width)
        least += width + _GAP
    for row in table.rows:
        drawing.add_row(*(_cell(row.get(column.key), column.kind) for column in table.columns))
    return _printed(drawing, least)


def _add(drawing: Drawing, column: Column, title: str, width: int) -> None:
    number = column.kind in (Kind.WATTS, Kind.COUNT, Kind.DURATION, Kind.ENERGY, Kind.SHARE)
    words = column.kind is Kind.WORDS
    drawing.add_column(
        title, justify="right" if number else "left", no_wrap=not words, overflow="fold", min_width=width
    )


def _cell(value: object, kind: Kind) -> Text:
    alarm = kind is Kind.WATTS and isinstance(value, int) and value < 0
    return Text(shown(value, kind), style="bold red" if alarm else "")


def _printed(drawing: Drawing, least: int) -> str:
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, force_terminal=terminal, highlight=False)
    console.width = max(console.width, least) if terminal else _BEYOND
    with console.capture() as captured:
        console.print(drawing)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
