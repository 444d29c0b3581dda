"""The collector of garbage and what lives long: it keeps the hook waiting while it looks through all of that."""

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from slurm_power.daemon.main import spare_survivors


class Knot:
    """An object in a cycle with itself, which only the collector can take away."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    callbacks = list(gc.callbacks)
    was_on = gc.isenabled()
    gc.disable()  # it comes when the test says so
    yield
    gc.callbacks[:] = callbacks
    gc.unfreeze()
    if was_on:
        gc.enable()


def looked_through(thing: object) -> bool:
    return any(thing is other for other in gc.get_objects())


def test_what_is_there_is_looked_through_no_more() -> None:
    thing = Knot()
    assert looked_through(thing)
    spare_survivors()
    assert not looked_through(thing)


def test_nor_is_what_survives_a_full_collection_later() -> None:
    spare_survivors()
    thing = Knot()
    gc.collect(0)
    gc.collect(1)
    assert looked_through(thing), "young objects are what it is there for"
    gc.collect()
    assert not looked_through(thing)


def test_garbage_of_later_goes_as_ever() -> None:
    spare_survivors()
    thing = ref(Knot())
    assert thing() is not None
    gc.collect()
    assert thing() is None


def test_what_is_spared_goes_with_its_last_reference() -> None:
    thing = Knot()
    gone = ref(thing)
    spare_survivors()
    thing.self = None  # type: ignore[assignment]
    del thing
    assert gone() is None
