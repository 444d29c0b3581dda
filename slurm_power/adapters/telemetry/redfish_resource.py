"""What a device says of one path in Redfish: properties, links and numbers, with errors that name them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from slurm_power.adapters.telemetry.web import shown
from slurm_power.core.errors import TelemetryError
from slurm_power.core.immutable import immutable

_PATH = re.compile(r"/redfish/[\w.~!$&'()*+,;=:@%/|-]{1,200}", re.ASCII)


def is_path(text: str) -> bool:
    """Whether it cannot lead to another device, or out of what is Redfish's."""
    return _PATH.fullmatch(text) is not None and ".." not in unquote(text).split("/")


@immutable
class Resource:
    """A resource, or a part of one."""

    device: str
    path: str
    body: Mapping[str, Any]
    date: str = ""
    """When the device said so, by its own clock, as it wrote that."""

    @property
    def type(self) -> str:
        """`Circuit`, where it says `#Circuit.v1_9_0.Circuit`."""
        told = self.body.get("@odata.type")
        return shown(told.rpartition(".")[2]) if isinstance(told, str) else ""

    def wrong(self, problem: str) -> TelemetryError:
        """An error that names the resource."""
        return TelemetryError(f"{self.device}{self.path}: {problem}")

    def word(self, name: str) -> str:
        """A property as a word; empty where it is none."""
        value = self.body.get(name)
        return shown(value) if isinstance(value, str) else ""

    def link(self, name: str) -> str:
        """The path to which a property leads; empty where there is none."""
        value = self.body.get(name)
        return "" if value is None else self._path(name, value)

    def members(self) -> Sequence[str]:
        """The paths of the members of a collection."""
        return [self._path("Members", value) for value in self._list("Members")]

    def parts(self, name: str) -> Sequence["Resource"]:
        """The entries of a list, each as a resource of its own."""
        return [
            Resource(self.device, f"{self.path}#/{name}/{number}", entry, self.date)
            for number, entry in enumerate(self._list(name))
            if isinstance(entry, dict)
        ]

    def number(self, *names: str) -> float:
        """A number, also one that makes no sense. What is not told is not zero, but an error."""
        value = self.number_or_none(*names)
        if value is None:
            raise self.wrong(f"{'.'.join(names)} is missing or null")
        return value

    def number_or_none(self, *names: str) -> float | None:
        """The same; None where it is missing or null."""
        value: Any = self.body
        for name in names:
            if value is None:
                return None
            if not isinstance(value, dict):
                raise self.wrong(f"{'.'.join(names)}: what should hold it is no object")
            value = value.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(f"{'.'.join(names)} is no number")
        try:
            return float(value)
        except OverflowError:
            raise self.wrong(f"{'.'.join(names)} is no number that is possible") from None

    def _list(self, name: str) -> Sequence[Any]:
        value = self.body.get(name)
        if not isinstance(value, list):
            raise self.wrong(f"{name} is missing or no list")
        return value

    def _path(self, name: str, link: Any) -> str:
        path = link.get("@odata.id") if isinstance(link, dict) else None
        if not isinstance(path, str):
            raise self.wrong(f"{name} has a link that leads nowhere")
        if not is_path(path):
            raise self.wrong(f"{name} leads to '{shown(path)}', which is no path of the device itself")
        return path
