"""Terms as they come over the socket: each wrong one is named, with what to write instead, and nothing is done."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_power.core.errors import PowerError, UsageError
from slurm_power.core.reservation import Reservation, ReservationState, Terms, WhenShort
from slurm_power.core.window import FOREVER, Window
from slurm_power.service.terms import read_terms
from tests.service.bureau import ALICE, HOUR, ROOT, START, TERMS, Bureau
from tests.service.support import site_of

SITE = site_of()
ZONES = ["rack01", "rack02"]


def read(**changes: Any) -> Terms:
    length = {} if "end" in changes else {"length_s": HOUR}
    return read_terms({**TERMS, **length, **changes}, SITE, START)


def test_what_is_left_out_is_the_sites() -> None:
    found = read()
    assert (found.tier, found.policy, found.grace_s, found.min_w) == ("bronze", WhenShort.WAIT, 900, None)
    assert (found.window, found.any_zone, found.burst_w) == (Window(START, START + HOUR), False, 0)


def test_names_are_sorted_and_told_once_zones_keep_their_order() -> None:
    found = read(accounts=["ops", "research", "ops"], users=["bob", "alice"], zones=["rack02", "rack01", "rack02"])
    assert found.owner.accounts == ("ops", "research")
    assert found.owner.users == ("alice", "bob")
    assert found.zones == ("rack02", "rack01")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "'' cannot be a reservation's name"),
        ({"name": "a b"}, "write for example spring-training"),
        ({"name": "pw_x"}, "not pw_…"),
        ({"name": "spring\n"}, "cannot be a reservation's name"),
        ({"name": "x" * 49}, "at most 48"),
        ({"name": "a:b"}, "cannot be a reservation's name"),
        ({"name": 5}, "name: input should be a valid string"),
        ({"name": "\ud800"}, "name: "),
        ({"zones": []}, "zones: list should have at least 1 item"),
        ({"zones": "rack01"}, "zones: input should be a valid list"),
        ({"zones": ["rack01", 7]}, "zones.1: input should be a valid string"),
        ({"zones": ["rack09", "rack01"]}, "zones: there is no rack09; there are rack01, rack02, rack03"),
        ({"zones": ["rack01"] * 257}, "at most 256"),
        ({"watts_w": 0}, "--watts: input should be greater than or equal to 1"),
        ({"watts_w": 15_000.0}, "--watts: input should be a valid integer"),
        ({"watts_w": "15kW"}, "--watts: input should be a valid integer"),
        ({"watts_w": True}, "--watts: input should be a valid integer"),
        ({"watts_w": 10**30}, "--watts: input should be less than"),
        ({"min_w": 15_001}, "write --min-watts below --watts"),
        ({"min_w": 0}, "--min-watts: "),
        ({"start": START - 61}, "the start is in the past; write --start=now"),
        ({"start": -1}, "start: "),
        ({"start": START + 367 * 86_400}, "begins within a year"),
        ({"length_s": None}, "write --duration=2h"),
        ({"length_s": 0}, "--duration: "),
        ({"end": START}, "the end is not after the start"),
        ({"start": START + 500, "end": START + 500}, "the end is not after the start"),
        ({"length_s": 366 * 86_400 + 1}, "lasts a year at most; write --duration=30d"),
        ({"end": FOREVER}, "lasts a year at most"),
        ({"accounts": []}, "write --accounts=research or --users=alice"),
        ({"accounts": ["re search"]}, "accounts: 're search' is not a name of Slurm's"),
        ({"users": ["alice", ""]}, "users: '' is not a name of Slurm's"),
        ({"users": ["-u"]}, "users: '-u' is not a name of Slurm's"),
        ({"users": ["u"] * 65}, "users: "),
        ({"tier": "platinum"}, "tier: there is no platinum; this site's tiers are "),
        ({"tier": 3}, "tier: input should be a valid string"),
        ({"policy": "grab"}, "policy: input should be 'wait' or 'preempt'"),
        ({"policy": "preempt"}, "policy: tier bronze preempts nobody; write --policy=wait, or a higher --tier"),
        ({"grace_s": -1}, "--grace: "),
        ({"burst_w": 5_000}, "a burst has watts and a length; write --burst=5kW:2m"),
        ({"burst_s": 60}, "write --burst=5kW:2m"),
        ({"any_zone": "yes"}, "any_zone: input should be a valid boolean"),
        ({"colour": "red"}, "colour: extra inputs are not permitted"),
    ],
)
def test_each_wrong_term_says_what_to_write(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as told:
        read(**changes)
    assert says in str(told.value)
    assert "\n" not in str(told.value).replace("spring\n", "")


@pytest.mark.parametrize("late_s", [0, 1, 60])
def test_a_start_that_was_on_its_way_is_now(late_s: int) -> None:
    assert read(start=START - late_s).window == Window(START, START + HOUR)


def test_a_window_is_told_by_its_end_or_its_length_but_not_by_both() -> None:
    assert read(end=START + 60).window.end == START + 60
    with pytest.raises(UsageError, match="write --end or --duration, not both"):
        read(end=START + 60, length_s=HOUR)


class TestAnUpdate:
    terms = read(start=START + HOUR, length_s=2 * HOUR, min_w=10_000, burst_w=1_000, burst_s=60)
    before = Reservation("k3", terms, ReservationState.APPROVED, START, START, 0)

    def test_nothing_given_leaves_all_as_it_was(self) -> None:
        assert read_terms({}, SITE, START, self.before) == self.terms

    def test_a_length_takes_the_place_of_the_end(self) -> None:
        found = read_terms({"length_s": HOUR}, SITE, START, self.before)
        assert found.window == Window(START + HOUR, START + 2 * HOUR)

    def test_what_has_begun_keeps_its_start(self) -> None:
        now = START + HOUR + 100
        assert read_terms({"watts_w": 11_000}, SITE, now, self.before).window == self.terms.window
        for start in (now, now + 60, START + HOUR + 50):
            with pytest.raises(UsageError, match="it has begun already; change its --end"):
                read_terms({"start": start}, SITE, now, self.before)

    def test_what_waits_for_others_to_give_way_may_begin_later_still(self) -> None:
        now = START + HOUR + 100
        planned = replace(self.before, terms=replace(self.terms, tier="silver", policy=WhenShort.PREEMPT))
        assert read_terms({"start": now + 60}, SITE, now, planned).window.start == now + 60
        begun = replace(planned, state=ReservationState.ACTIVE)
        with pytest.raises(UsageError, match="it has begun already"):
            read_terms({"start": now + 60}, SITE, now, begun)

    def test_a_zone_that_there_is_no_more_has_to_be_named_anew(self) -> None:
        site = site_of(
            "mode: enforce\nzones:\n  rack02: {nodes: 'n[04-06]', limit: 30kW}\ntiers: {bronze: {qos: bronze}}\n"
        )
        with pytest.raises(UsageError, match="there is no rack01"):
            read_terms({"watts_w": 11_000}, site, START, self.before)


# -- through the control socket ----------------------------------------------------------------------------------------


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([[], {}, "rack01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELD = st.sampled_from(
    [*TERMS, *("start", "end", "length_s", "min_w", "any_zone"), *("users", "tier", "policy", "grace_s", "burst_w")]
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_rubbish_is_a_usage_error_and_leaves_all_as_it_was(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        bureau = _shared(patch)
        before, rows = _state(bureau), bureau.rows()
        do: object = data.draw(st.sampled_from(["create", "check", "update", "cancel", "approve", None, 5, []]))
        request: dict[str, Any] = {"op": "reservation", "do": do, "dry_run": True}
        name = data.draw(st.sampled_from(["spring", "summer"]) | JSON)
        odd = st.dictionaries(FIELD, JSON, max_size=4).map(lambda odd: {**TERMS, "length_s": 60, **odd})
        terms = data.draw(JSON | odd)
        request |= {"name": name, "terms": terms}
        with contextlib.suppress(PowerError):  # anything else would be a defect
            assert bureau.ask(data.draw(st.sampled_from([ROOT, ALICE, 1999])), **request)["schema"] == 1
        assert _state(bureau) == before
        assert bureau.rows() == rows


_OPENED: list[Bureau] = []


def _shared(patch: pytest.MonkeyPatch) -> Bureau:
    if not _OPENED:
        _OPENED.append(Bureau(patch))
        _OPENED[0].open()
    return _OPENED[0]


def _state(bureau: Bureau) -> object:
    numbers = {name: meter.numbers() for name, meter in bureau.desk.ledger.meters.items()}
    return list(bureau.desk.reserved), numbers, bureau.reserved_in_slurm()


def test_an_unknown_wish_names_those_that_there_are(bureau: Bureau) -> None:
    with pytest.raises(UsageError, match="known: create, check, update, cancel"):
        bureau.change("destroy")
    with pytest.raises(UsageError, match='"terms" says what is reserved'):
        bureau.ask(ROOT, op="reservation", do="create", terms=[1])
    with pytest.raises(UsageError, match='"names" is a list'):
        bureau.ask(ROOT, op="reservations", names="spring")
