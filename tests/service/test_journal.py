"""What the daemon remembers of holds when it starts."""

from slurm_power.daemon.journal import remembered
from slurm_power.ports import HoldKind, Intent, StoredJob
from tests.fakes.store import MemoryStore


def stored(token: str, hold: HoldKind | None) -> StoredJob:
    return StoredJob(token, 1, 1001, "research", "gold", 1, 1, 0, "g", 0, hold)


def test_holds_are_remembered_by_key() -> None:
    store = MemoryStore()
    store.save_jobs([stored("a", HoldKind.POWER), stored("b.3", HoldKind.BOTH), stored("c", None)])
    assert remembered(store) == {"a": HoldKind.POWER, "b.3": HoldKind.BOTH}


def test_a_release_that_was_cut_off_was_of_a_hold_of_ours() -> None:
    store = MemoryStore()
    opened = store.open_intents(
        [
            Intent("7_[1,2]", "bind", 0, {"keys": ["n.1", "n.2"]}),
            Intent("8", "hold", 0, {"keys": ["h"]}),
            Intent("9", "bind", 0, {"keys": ["done"]}),
            Intent("10", "bind", 0, {}),
        ]
    )
    store.close_intents([intent.id for intent in opened if intent.target == "9" and intent.id], "done")
    assert remembered(store) == {"n.1": HoldKind.POWER, "n.2": HoldKind.POWER}


def test_what_is_stored_of_a_job_goes_before_an_intent() -> None:
    store = MemoryStore()
    store.save_jobs([stored("a", HoldKind.BOTH)])
    store.open_intents([Intent("1", "bind", 0, {"keys": ["a"]})])
    assert remembered(store) == {"a": HoldKind.BOTH}
