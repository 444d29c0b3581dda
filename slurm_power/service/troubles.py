"""What is wrong with each source of readings and cuts."""

import logging
from collections.abc import Collection, Mapping


class Troubles:
    """By source that has been asked; the log is told once of each, and of its end."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def note(self, source: str, trouble: str, what: str, log: logging.Logger) -> None:
        """`trouble` is empty where all is well; `what` the log calls it."""
        before = self._known.get(source, "")
        self._known[source] = trouble
        if trouble and trouble != before:
            log.error("%s: %s", what, trouble, extra={"source": source})
        elif before and not trouble:
            log.info("%s is well again", what, extra={"source": source})

    def keep(self, sources: Collection[str]) -> None:
        """All others are asked no more."""
        self._known = {source: trouble for source, trouble in self._known.items() if source in sources}

    @property
    def asked(self) -> Mapping[str, str]:
        """Source → trouble, empty where it is well."""
        return self._known

    @property
    def there(self) -> Mapping[str, str]:
        """Source → trouble of those that have one."""
        return {source: trouble for source, trouble in self._known.items() if trouble}
