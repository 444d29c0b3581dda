"""Time."""

from typing import Protocol


class Clock(Protocol):
    """Time, as the service sees it."""

    def now(self) -> int:
        """The instant, in whole seconds since 1970-01-01 UTC."""

    def exact(self) -> float:
        """The same with its fraction."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for pacing."""
