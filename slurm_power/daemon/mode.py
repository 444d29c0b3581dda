"""Whose word on the mode holds: that of `spower mode`, until the mode in the site file changes."""

import json
import logging
from dataclasses import dataclass

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.policy import Mode
from slurm_power.ports import Clock, Decision, Rule, Store
from slurm_power.service.desk import Desk

_log = logging.getLogger("slurm_power.mode")
_SETTING = "mode"


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

    def mode(self, file: Mode) -> Mode:
        """What is in force where the site file's mode is `file`."""
        return file if self.choice is None else self.choice.mode


class ModeKeeper:
    """Keeps the desk's mode, and remembers in the database who has set it."""

    def __init__(self, desk: Desk, writer: StoreWriter, clock: Clock) -> None:
        self.choice: Choice | None = None
        """The mode that `spower mode` has set and that holds still."""
        self._desk = desk
        self._writer = writer
        self._clock = clock

    def load(self, store: Store) -> None:
        """At a start: the mode that was stored, unless the site file's has changed since. Raises StoreError."""
        self._hold(stored_mode(store, self._file))

    def follow(self, before: Mode) -> None:
        """The desk has another site file; `before` is the mode that it had till then."""
        self._hold(settle(self.choice, self._file))
        if self._desk.mode is not before:
            self._record(before, "site file")

    async def set(self, mode: Mode, uid: int) -> None:
        """Change the mode, durably first. It holds from here on, whatever a round is waiting for. Raises StoreError."""
        choice = Choice(mode, self._file, uid, self._clock.now())
        await self._writer.durable(lambda store: store.set_setting(_SETTING, choice.stored()))
        self.choice, before = choice, self._desk.mode
        self._desk.mode = mode
        self._record(before, "spower mode", uid)

    @property
    def _file(self) -> Mode:
        return self._desk.site.policy.mode

    def _hold(self, settled: Settled) -> None:
        self.choice = settled.choice
        self._desk.mode = settled.mode(self._file)
        if settled.warning:
            _log.warning("%s", settled.warning)
            self._writer.put(lambda store: store.set_setting(_SETTING, None))

    def _record(self, before: Mode, where: str, uid: int | None = None) -> None:
        """A line of the audit log about the mode that holds from now on; `uid`: who has set it."""
        mode = self._desk.mode
        self._desk.journal.record(
            Decision(
                at=self._clock.now(),
                uid=uid or 0,
                action="mode",
                mode=mode,
                actor=uid,
                cause=f"{where}: {mode} after {before}",
                rule=Rule.MODE,
            )
        )


def stored_mode(store: Store, file: Mode) -> Settled:
    """What holds by the database, with nothing changed there. Raises StoreError."""
    return settle_stored(store.setting(_SETTING), file)


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
