"""Problems of a site file: gathered while it is read, and raised together."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from slurm_power.core.errors import ConfigError

Path = tuple[str | int, ...]
"""Where in the file something stands: keys and positions from the top."""


class SiteError(ConfigError):
    """A site file that cannot be used: every problem found in it, one a line, in the order of the file."""

    def __init__(self, problems: Sequence[ConfigError]) -> None:
        first = problems[0]
        super().__init__(first.problem, first.file, first.line, first.key, first.expected)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(ConfigError.__str__(problem) for problem in self.problems)


class Problems:
    """Problems and warnings of one file; knows on which line each key stands."""

    def __init__(self, file: str, lines: Mapping[Path, int] | None = None) -> None:
        self.file = file
        self.lines: Mapping[Path, int] = lines or {}
        self.warnings: list[str] = []
        self._found: list[ConfigError] = []

    def add(self, path: Path, problem: str, expected: str = "") -> None:
        """Note a problem at a place; a place that the file does not have stands on its parent's line."""
        self._found.append(ConfigError(problem, self.file, self._line(path), dotted(path), expected))

    def add_at(self, line: int | None, problem: str, expected: str = "", key: str = "") -> None:
        """Note a problem at a line (None: of the file as a whole)."""
        self._found.append(ConfigError(problem, self.file, line, key, expected))

    def warn(self, path: Path, text: str) -> None:
        """Note what is allowed and yet likely not meant."""
        line = self._line(path)
        place = self.file if line is None else f"{self.file}:{line}"
        self.warnings.append(f"{place}: {dotted(path)}: {text}")

    def raise_any(self) -> None:
        """Raises SiteError if there are problems."""
        if self._found:
            raise self.error()

    def error(self) -> SiteError:
        """What was noted, to be raised where going on makes no sense; at least one problem was noted."""
        return SiteError(sorted(self._found, key=lambda found: (found.line or 0, found.key, found.problem)))

    def _line(self, path: Path) -> int | None:
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None


def dotted(path: Path) -> str:
    """A place for people: `zones.rack01.feeds[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def one_of(names: Sequence[str] | Mapping[str, object]) -> str:
    """`a, b or c`, shortened where there are many."""
    known = list(names)
    if len(known) > 12:
        return f"one of {', '.join(known[:10])} and {len(known) - 10} more"
    if len(known) < 2:
        return "".join(known) or "none here, because none is defined"
    return f"{', '.join(known[:-1])} or {known[-1]}"


def nearest(word: str, names: Sequence[str] | Mapping[str, object]) -> str:
    """The name that was most likely meant, as `'rack01' (did you mean it?)`; else what there is."""
    close = get_close_matches(word, list(names), n=1)
    return f"'{close[0]}', if that was meant" if close else one_of(names)
