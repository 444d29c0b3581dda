"""What is yet to be shed: the breaches of now, less what those give back who have been told to go."""

from slurm_power.service.overdrawn import Breach, Overdrawn


def test_whoever_has_been_told_to_go_counts_as_gone_for_a_while() -> None:
    one = Overdrawn()
    one.find({"a": Breach(8_000)}, now=100)
    assert one.due(100) == {"a": 8_000}
    one.gives("p", {"a": 5_000}, goes_at=700, until=760)
    assert one.due(101) == {"a": 3_000}
    one.find({"a": Breach(4_000)}, now=102)
    assert one.due(102) == {}
    assert one.due(760) == {"a": 4_000}


def test_in_an_emergency_only_those_count_who_have_gone() -> None:
    """Who has notice helps nobody before a breaker trips."""
    one = Overdrawn()
    one.find({"a": Breach(8_000)}, now=100)
    one.gives("silver", {"a": 8_000}, goes_at=700, until=760)
    assert one.due(101) == {}
    one.find({"a": Breach(9_000, emergency=True)}, now=102)
    assert one.due(102) == {"a": 9_000}
    one.gives("bronze", {"a": 6_000}, goes_at=102, until=162)
    assert one.due(103) == {"a": 3_000}


def test_silence_calls_nobody_off_and_has_nobody_go() -> None:
    one = Overdrawn()
    one.find({"a": Breach(8_000)}, now=100)
    one.find({}, blind={"a"}, now=101)
    assert ("a" in one, one.over_w("a"), one.due(101)) == (True, 8_000, {})
    one.find({}, now=102)
    assert ("a" in one, one.over_w("a")) == (False, 0)
