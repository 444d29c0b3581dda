"""A store in memory, which passes the same contract suite as the real ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from slurm_power.adapters.store import StoreDataError
from slurm_power.adapters.store.schema import to_json
from slurm_power.core.showback import Month
from slurm_power.core.usage import SUMS
from slurm_power.ports import (
    LINES,
    PART_MARKS,
    USAGE_THROUGH,
    Decision,
    Intent,
    StoredDraw,
    StoredJob,
    StoredProfile,
    StoredReservation,
    Usage,
    Wanted,
)


def _through_json(value: object) -> Any:
    """What comes back from a database that stores JSON."""
    return json.loads(to_json(value))


def takes(wanted: Wanted, line: Decision, tokens: set[str]) -> bool:
    """Whether a line is wanted; `tokens` are those of the wanted job's lines."""
    until, viewer, job = wanted.get("until"), wanted.get("viewer"), wanted.get("job")
    return (
        line.at >= wanted.get("since", 0)
        and (until is None or line.at < until)
        and (job is None or is_called(line, job) or (line.job == line.token and line.token in tokens))
        and wanted.get("uid") in (None, line.uid)
        and wanted.get("account", line.account) == line.account
        and wanted.get("reservation", line.reservation) == line.reservation
        and ("zone" not in wanted or wanted["zone"] in {*line.zones, *(each.get("subject") for each in line.reasons)})
        and (not wanted.get("actions") or line.action in wanted["actions"])
        and (not wanted.get("of_jobs") or line.job != "")
        and (viewer is None or viewer.may_see(line))
    )


def is_called(line: Decision, job: str) -> bool:
    """Whether the line is about that job, or a part of it."""
    return line.job == job or (job.isdecimal() and line.job.startswith(tuple(f"{job}{mark}" for mark in PART_MARKS)))


def _sums(sums: dict[str, int]) -> Any:
    return sums


class MemoryStore:
    """`ports.Store` in dictionaries. `result_of` shows tests how an intent ended."""

    def __init__(self) -> None:
        self._jobs: dict[str, StoredJob] = {}
        self._decisions: list[Decision] = []
        self._intents: dict[int, Intent] = {}
        self._results: dict[int, str] = {}
        self._opened = 0
        self._settings: dict[str, str] = {}
        self._reservations: dict[str, StoredReservation] = {}
        self._usage: dict[tuple[object, ...], Usage] = {}
        self._months: dict[str, Month] = {}
        self._profiles: dict[tuple[object, ...], StoredProfile] = {}
        self._draws: list[StoredDraw] = []
        self.closed = False

    def save_jobs(self, jobs: Sequence[StoredJob]) -> None:
        stored = {job.token: replace(job, detail=_through_json(job.detail)) for job in jobs}
        self._jobs.update(stored)

    def drop_jobs(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            self._jobs.pop(token, None)

    def jobs(self) -> Sequence[StoredJob]:
        return [self._jobs[token] for token in sorted(self._jobs)]

    def record(self, decisions: Sequence[Decision]) -> None:
        self._decisions += [
            replace(
                line,
                zones=tuple(line.zones),
                reasons=tuple(_through_json(line.reasons)),
                numbers=_through_json(line.numbers),
            )
            for line in decisions
        ]

    def decisions(self, **wanted: Unpack[Wanted]) -> Sequence[Decision]:
        named = {line.token for line in self._decisions if "job" in wanted and is_called(line, wanted["job"])}
        tokens = named | set(wanted.get("tokens", ()))
        found = [line for line in self._decisions if takes(wanted, line, tokens)]
        found.sort(key=lambda line: line.at)
        return found[max(0, len(found) - wanted.get("limit", LINES)) :]

    def names(self, tokens: Sequence[str]) -> Mapping[str, str]:
        found = [line for line in self._decisions if line.token in tokens and line.job != line.token]
        return {line.token: line.job for line in sorted(found, key=lambda line: line.job, reverse=True)}

    def prune(self, *, decisions: int, intents: int, limit: int, profiles: int = 0) -> int:
        lines = sorted((line for line in self._decisions if line.at < decisions), key=lambda line: line.at)[:limit]
        closed = [key for key, each in self._intents.items() if key in self._results and each.at < intents][:limit]
        gone = {id(line) for line in lines}
        self._decisions = [line for line in self._decisions if id(line) not in gone]
        for key in closed:
            del self._intents[key], self._results[key]
        by_age = sorted(self._profiles.items(), key=lambda item: item[1].seen_at)
        unseen = [key for key, each in by_age if each.seen_at < profiles][:limit]
        for old in unseen:
            del self._profiles[old]
        return max(len(lines), len(closed), len(unseen))

    def open_intents(self, intents: Sequence[Intent]) -> Sequence[Intent]:
        first = self._opened + 1
        self._opened += len(intents)
        opened = [
            replace(intent, detail=_through_json(intent.detail), id=first + index)
            for index, intent in enumerate(intents)
        ]
        self._intents.update((first + index, intent) for index, intent in enumerate(opened))
        return opened

    def close_intents(self, ids: Sequence[int], result: str) -> None:
        for known in self._intents.keys() & set(ids):
            self._results.setdefault(known, result)

    def pending_intents(self) -> Sequence[Intent]:
        return [intent for key, intent in sorted(self._intents.items()) if key not in self._results]

    def result_of(self, intent_id: int) -> str | None:
        return self._results.get(intent_id)

    def save_reservations(self, reservations: Sequence[StoredReservation]) -> None:
        saved = {each.id: replace(each, detail=_through_json(each.detail)) for each in reservations}
        after = self._reservations | saved
        names = [each.name for each in after.values() if each.live]
        if len(names) > len(set(names)):
            raise StoreDataError("two live reservations of one name")
        self._reservations = after

    def reservations(self, live_only: bool) -> Sequence[StoredReservation]:
        found = [each for each in self._reservations.values() if each.live or not live_only]
        return sorted(found, key=lambda each: (each.name, each.start, each.id))

    def add_usage(self, rows: Sequence[Usage], through: int) -> bool:
        before = self.setting(USAGE_THROUGH)
        if before is not None and int(before) >= through:
            return False
        for row in rows:
            key = (row.hour, row.reservation, row.account, row.uid, row.tier)
            had = self._usage.get(key, replace(row, **_sums(dict.fromkeys(SUMS, 0))))
            self._usage[key] = replace(row, **_sums({name: getattr(had, name) + getattr(row, name) for name in SUMS}))
        self._settings[USAGE_THROUGH] = str(through)
        return True

    def usage(
        self,
        *,
        since: int = 0,
        until: int | None = None,
        account: str | None = None,
        uid: int | None = None,
        reservation: str | None = None,
    ) -> Sequence[Usage]:
        found = [
            row
            for row in self._usage.values()
            if since <= row.hour
            and (until is None or row.hour < until)
            and account in (None, row.account)
            and uid in (None, row.uid)
            and reservation in (None, row.reservation)
        ]
        return sorted(found, key=lambda row: (row.hour, row.reservation, row.account, row.uid, row.tier))

    def prune_usage(self, before: int, limit: int) -> int:
        hours = sorted({row.hour for row in self._usage.values() if row.hour < before})[:limit]
        self._usage = {key: row for key, row in self._usage.items() if row.hour not in hours}
        return len(hours)

    def close_month(self, month: Month) -> bool:
        return self._months.setdefault(month.name, month) is month

    def months(self) -> Sequence[Month]:
        return sorted(self._months.values(), key=lambda month: (month.window.start, month.name))

    def replace_draws(self, draws: Sequence[StoredDraw]) -> None:
        self._draws = [replace(each, detail=_through_json(each.detail)) for each in draws]

    def draws(self) -> Sequence[StoredDraw]:
        return sorted(self._draws, key=lambda each: each.key)

    def save_profiles(self, profiles: Sequence[StoredProfile]) -> None:
        saved = [replace(each, detail=_through_json(each.detail)) for each in profiles]
        self._profiles.update(((each.account, each.name, each.partition, each.gpus), each) for each in saved)

    def profiles(self, limit: int) -> Sequence[StoredProfile]:
        found = sorted(self._profiles.values(), key=lambda each: each.seen_at)
        return found[max(0, len(found) - limit) :]

    def setting(self, name: str) -> str | None:
        return self._settings.get(name)

    def set_setting(self, name: str, value: str | None) -> None:
        if value is None:
            self._settings.pop(name, None)
        else:
            self._settings[name] = value

    def close(self) -> None:
        self.closed = True
