"""A store in memory, which passes the same contract suite as the real ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slurm_power.adapters.store.schema import to_json
from slurm_power.ports import Decision, Intent, StoredJob


def _through_json(value: object) -> Any:
    """What comes back from a database that stores JSON."""
    return json.loads(to_json(value))


class MemoryStore:
    """`ports.Store` in dictionaries. `result_of` shows tests how an intent ended."""

    def __init__(self) -> None:
        self._jobs: dict[str, StoredJob] = {}
        self._decisions: list[Decision] = []
        self._intents: dict[int, Intent] = {}
        self._results: dict[int, str] = {}
        self._opened = 0
        self._settings: dict[str, str] = {}
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
            replace(line, zones=tuple(line.zones), reasons=tuple(_through_json(line.reasons))) for line in decisions
        ]

    def decisions(
        self,
        *,
        job: str | None = None,
        uid: int | None = None,
        since: int = 0,
        until: int | None = None,
        limit: int = 1_000,
    ) -> Sequence[Decision]:
        found = [
            line
            for line in self._decisions
            if line.at >= since
            and (until is None or line.at < until)
            and job in (None, line.job)
            and uid in (None, line.uid)
        ]
        found.sort(key=lambda line: line.at)
        return found[max(0, len(found) - limit) :]

    def names(self, tokens: Sequence[str]) -> Mapping[str, str]:
        found = [line for line in self._decisions if line.token in tokens and line.job != line.token]
        return {line.token: line.job for line in sorted(found, key=lambda line: line.job, reverse=True)}

    def prune(self, *, decisions: int, intents: int, limit: int) -> int:
        lines = sorted((line for line in self._decisions if line.at < decisions), key=lambda line: line.at)[:limit]
        closed = [key for key, each in self._intents.items() if key in self._results and each.at < intents][:limit]
        gone = {id(line) for line in lines}
        self._decisions = [line for line in self._decisions if id(line) not in gone]
        for key in closed:
            del self._intents[key], self._results[key]
        return max(len(lines), len(closed))

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

    def setting(self, name: str) -> str | None:
        return self._settings.get(name)

    def set_setting(self, name: str, value: str | None) -> None:
        if value is None:
            self._settings.pop(name, None)
        else:
            self._settings[name] = value

    def close(self) -> None:
        self.closed = True
