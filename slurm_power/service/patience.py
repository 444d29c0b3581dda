"""Zones and feeds for which victims are looked for again only later, and of which somebody has been told."""

from collections.abc import Container, Iterable


class Patience:
    """What was put off, until when, and what was told, both by element. Instants are seconds since 1970-01-01 UTC."""

    def __init__(self) -> None:
        self._not_before: dict[str, int] = {}
        self._told: set[str] = set()

    def put_off(self, elements: Iterable[str], until: int) -> None:
        """No victims are looked for before this instant."""
        self._not_before.update(dict.fromkeys(elements, until))

    def waits(self, element: str, now: int) -> bool:
        """Whether no victims are to be looked for yet."""
        return self._not_before.get(element, 0) > now

    def untold(self, elements: Iterable[str]) -> list[str]:
        """Those of whom nobody has been told yet that too few may be preempted; from here on somebody has."""
        found = sorted(set(elements) - self._told)
        self._told.update(found)
        return found

    def hurry(self) -> None:
        """Nothing is put off any more; what was told stays so."""
        self._not_before.clear()

    def forget(self, element: str) -> None:
        """This one is due, and told anew."""
        self._not_before.pop(element, None)
        self._told.discard(element)

    def forget_all(self) -> None:
        """All are due, and told anew."""
        self._not_before.clear()
        self._told.clear()

    def forget_all_but(self, elements: Container[str]) -> None:
        """The same of all others."""
        self._not_before = {name: until for name, until in self._not_before.items() if name in elements}
        self._told = {name for name in self._told if name in elements}
