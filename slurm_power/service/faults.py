"""Faults with single jobs: what we could not judge, by a defect of ours or of a reader. The others go on meanwhile."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager

_log = logging.getLogger("slurm_power.faults")


class Faults:
    """Jobs with which something went wrong that nobody foresaw, by key, with the words of the error."""

    def __init__(self) -> None:
        self.by_key: dict[str, str] = {}
        self.count = 0
        """How often, since the start."""

    @contextmanager
    def apart(self, key: str) -> Iterator[None]:
        """What is done about one job; an error in it ends that alone, and is logged where it is a new one."""
        try:
            yield
        except Exception as error:  # any: one job's words must not stop observation and admission of all others
            told = f"{type(error).__name__}: {error}"
            self.count += 1
            if self.by_key.get(key) != told:
                self.by_key[key] = told
                _log.exception("job %s cannot be judged; the others go on", key)
        else:
            self.by_key.pop(key, None)

    def keep(self, keys: Collection[str]) -> None:
        """Forget those of jobs that are gone."""
        for key in [key for key in self.by_key if key not in keys]:
            del self.by_key[key]
