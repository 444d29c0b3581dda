"""The machine's own clock."""

import time


class SystemClock:
    """`ports.Clock` over the operating system."""

    def now(self) -> int:
        """The instant, in whole seconds since 1970-01-01 UTC."""
        return int(time.time())

    def exact(self) -> float:
        """The same with its fraction."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards, for pacing."""
        return time.monotonic()
