"""Whose word on the mode holds: that of `spower mode`, until the mode in the site file changes."""

import json
from dataclasses import dataclass

from slurm_power.core.policy import Mode


@dataclass(frozen=True, slots=True)
class Choice:
    """A mode that `spower mode` has set."""

    mode: Mode
    file: Mode
    """The site file's mode at that time; once that has changed, the choice no longer holds."""
    uid: int
    at: int

    def stored(self) -> str:
        """The setting to keep it as."""
        return json.dumps({"mode": self.mode, "file": self.file, "uid": self.uid, "at": self.at})


@dataclass(frozen=True, slots=True)
class Settled:
    """The choice that still holds, if any, and what is to be said where one no longer does."""

    choice: Choice | None = None
    warning: str = ""


def settle(choice: Choice | None, file: Mode) -> Settled:
    """What holds now that the site file's mode is `file`."""
    if choice is None or choice.file is file:
        return Settled(choice)
    since = f"the site file's mode was {choice.file} when `spower mode {choice.mode}` was given, and is {file} now"
    return Settled(None, f"{since}: the site file's mode holds")


def settle_stored(stored: str | None, file: Mode) -> Settled:
    """The same for a choice as it was stored."""
    if stored is None:
        return Settled()
    try:
        told = json.loads(stored)
        choice = Choice(Mode(told["mode"]), Mode(told["file"]), int(told["uid"]), int(told["at"]))
    except (ValueError, TypeError, KeyError):
        return Settled(None, f"the stored mode {stored[:100]!r} is not understood: the site file's mode, {file}, holds")
    return settle(choice, file)
