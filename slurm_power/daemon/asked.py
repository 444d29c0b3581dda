"""What a request on the control socket asks for, checked: fields of the wrong kind are the asker's fault."""

from collections.abc import Mapping
from typing import Any

from slurm_power.core.errors import UsageError
from slurm_power.core.window import FOREVER
from slurm_power.ports import Viewer, Wanted

_MOST_UID = (1 << 32) - 1
_MOST_ACTIONS = 100


def whole(request: Mapping[str, Any], name: str, usual: int, bounds: tuple[int, int]) -> int:
    """A whole number within bounds; `usual` where the request has none. Raises UsageError."""
    value = request.get(name, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not bounds[0] <= value <= bounds[1]:
        raise UsageError(f'"{name}" is a whole number from {bounds[0]} to {bounds[1]}')
    return value


def wanted_lines(request: Mapping[str, Any], viewer: Viewer | None, usual: int, most: int) -> Wanted:
    """Which lines of the audit log an `audit` asks for: at most `most` of them. Raises UsageError."""
    wanted: Wanted = {
        "since": whole(request, "since", 0, (0, FOREVER)),
        "limit": min(whole(request, "limit", usual, (1, FOREVER)), most),
        "viewer": viewer,
    }
    if "until" in request:
        wanted["until"] = whole(request, "until", 0, (0, FOREVER))
    if "uid" in request:
        wanted["uid"] = whole(request, "uid", 0, (0, _MOST_UID))
    if "job" in request:
        wanted["job"] = name_in(request, "job")
    if "account" in request:
        wanted["account"] = name_in(request, "account")
    if "zone" in request:
        wanted["zone"] = name_in(request, "zone")
    if "reservation" in request:
        wanted["reservation"] = name_in(request, "reservation")
    if "actions" in request:
        wanted["actions"] = _texts(request, "actions")
    return wanted


def name_in(request: Mapping[str, Any], name: str) -> str:
    """A text that is not empty. Raises UsageError."""
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise UsageError(f'"{name}" is a name')
    return value


def _texts(request: Mapping[str, Any], name: str) -> list[str]:
    value = request[name]
    if not isinstance(value, list) or len(value) > _MOST_ACTIONS or not all(isinstance(each, str) for each in value):
        raise UsageError(f'"{name}" is a list of {_MOST_ACTIONS} names at most')
    return value
