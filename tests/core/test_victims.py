"""The choice of victims: every rule of the order, and any small case against all sets that there are."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_power.core.offer import Candidate, Offer
from slurm_power.core.steps import finish
from slurm_power.core.victims import choose, highest_touched, price
from tests.core.floors import claim


def offer(
    id: str,
    watts: int,
    gives: tuple[int, ...] | None = None,
    *,
    rank: int = 2,
    lost_s: int = 0,
    started: int = 0,
    job_id: int = 0,
) -> Offer:
    one = Candidate(claim(id, "z", watts), rank, started, job_id, lost_s=lost_s)
    return Offer(one, watts, (watts,) if gives is None else gives)


def ids(victims: Iterable[Candidate] | None) -> list[str] | None:
    return None if victims is None else sorted(victim.id for victim in victims)


GOLD, SILVER, BRONZE = 0, 1, 2


class TestOrder:
    @pytest.mark.parametrize(
        ("what", "offers", "short", "gone"),
        [
            ("nothing is short", [offer("a", 5)], (0,), []),
            ("there is more than enough", [offer("a", 5)], (-3,), []),
            ("not even all suffice", [offer("a", 5), offer("b", 4)], (10,), None),
            ("nobody gives what is short", [offer("a", 5, (5, 0))], (0, 1), None),
            ("all are needed", [offer("a", 5), offer("b", 5)], (10,), ["a", "b"]),
            ("least watts", [offer("a", 9), offer("b", 7), offer("c", 8)], (7,), ["b"]),
            ("two small ones cost less", [offer("a", 9), offer("b", 4), offer("c", 4)], (8,), ["b", "c"]),
            (
                "the lower tier goes though it costs more watts",
                [offer("a", 5, rank=SILVER), offer("b", 9, rank=BRONZE)],
                (5,),
                ["b"],
            ),
            (
                "… and more jobs",
                [offer("a", 8, rank=SILVER), *(offer(f"b{k}", 2, rank=BRONZE) for k in range(4))],
                (8,),
                ["b0", "b1", "b2", "b3"],
            ),
            (
                "a higher tier gives as little as it has to, though it costs the lower more",
                [offer("a", 4, rank=SILVER), offer("b", 6, rank=SILVER), offer("c", 7), offer("d", 3)],
                (14,),
                ["a", "c", "d"],
            ),
            (
                "of the lower tier only those go who are needed beside the higher",
                [offer("a", 10, rank=SILVER), offer("b", 4), offer("c", 3)],
                (13,),
                ["a", "c"],
            ),
            (
                "a tier that gives nothing of it is left alone",
                [offer("a", 4, (4, 0)), offer("b", 4, (4, 4), rank=SILVER)],
                (0, 4),
                ["b"],
            ),
            (
                "three tiers",
                [offer("a", 4, rank=GOLD), offer("b", 4, rank=SILVER), offer("c", 4)],
                (9,),
                ["a", "b", "c"],
            ),
            ("of equal watts fewer jobs", [offer("a", 4), offer("b", 4), offer("c", 8)], (8,), ["c"]),
            ("then the least work lost", [offer("a", 8, lost_s=9), offer("b", 8, lost_s=7)], (8,), ["b"]),
            (
                "work lost goes before youth",
                [offer("a", 8, lost_s=9, started=99), offer("b", 8, lost_s=7, started=1)],
                (8,),
                ["b"],
            ),
            (
                "… summed over the set",
                [offer("a", 5, lost_s=3), offer("b", 3, lost_s=3), offer("c", 4, lost_s=2), offer("d", 4, lost_s=3)],
                (8,),
                ["c", "d"],
            ),
            (
                "sets that are equal in all else go by job ids",
                [offer("a", 5, job_id=3), offer("b", 3, job_id=4), offer("c", 4, job_id=1), offer("d", 4, job_id=2)],
                (8,),
                ["c", "d"],
            ),
            ("then the youngest", [offer("a", 8, started=10), offer("b", 8, started=20)], (8,), ["b"]),
            ("then by job id", [offer("x", 8, job_id=12), offer("y", 8, job_id=9)], (8,), ["y"]),
            ("then by id", [offer("9_2", 8, job_id=9), offer("9_1", 8, job_id=9)], (8,), ["9_1"]),
            (
                "fewer watts go before fewer jobs",
                [offer("a", 4), offer("b", 4), offer("c", 9)],
                (8,),
                ["a", "b"],
            ),
            (
                "fewer jobs go before less work lost",
                [offer("a", 4), offer("b", 4), offer("c", 8, lost_s=99)],
                (8,),
                ["c"],
            ),
            (
                "watts elsewhere count as lost too",
                [offer("a", 20, (8,)), offer("b", 9, (9,))],
                (8,),
                ["b"],
            ),
            (
                "two things are short: one for both",
                [offer("a", 6, (6, 0)), offer("b", 6, (0, 6)), offer("c", 7, (5, 5))],
                (5, 5),
                ["c"],
            ),
            (
                "… or one for each",
                [offer("a", 6, (6, 0)), offer("b", 6, (0, 6)), offer("c", 13, (5, 5))],
                (5, 5),
                ["a", "b"],
            ),
        ],
    )
    def test_rule(
        self, what: str, offers: list[Offer], short: tuple[int, ...], gone: list[str] | None
    ) -> None:
        assert ids(finish(choose(short, offers))) == gone
        assert ids(finish(choose(short, offers[::-1]))) == gone

    def test_victims_come_lowest_tier_first_then_by_job_id(self) -> None:
        offers = [offer("a", 4, rank=SILVER, job_id=1), offer("b", 4, job_id=3), offer("c", 4, job_id=2)]
        victims = finish(choose((12,), offers))
        assert victims is not None
        assert [victim.id for victim in victims] == ["c", "b", "a"]

    def test_highest_tier_that_is_touched(self) -> None:
        offers = [offer("a", 4, rank=SILVER), offer("b", 4), offer("c", 4, rank=GOLD)]
        assert [highest_touched((watts,), offers) for watts in (0, 4, 5, 9, 13)] == [None, BRONZE, SILVER, GOLD, None]

    def test_price_compares_the_highest_tier_first(self) -> None:
        silver = offer("a", 1, rank=SILVER).candidate
        bronze = offer("b", 99, lost_s=5, started=7).candidate
        assert price([bronze], (BRONZE, SILVER)) == ((0, 0, 0, 0), (99, 1, 5, -7))
        assert price([bronze], (BRONZE, SILVER)) < price([silver], (BRONZE, SILVER))


# -- any case --------------------------------------------------------------------------------------------------------


def suffices(short: Sequence[int], offers: Iterable[Offer]) -> bool:
    chosen = list(offers)
    return all(sum(one.gives[k] for one in chosen) >= amount for k, amount in enumerate(short))


def key(offers: Sequence[Offer]) -> tuple[int, int, int, int, list[tuple[int, str]]]:
    every = [one.candidate for one in offers]
    return (
        sum(one.watts for one in offers),
        len(offers),
        sum(one.lost_s for one in every),
        -sum(one.started for one in every),
        sorted((one.job_id, one.id) for one in every),
    )


def brute(short: Sequence[int], offers: Sequence[Offer]) -> list[str] | None:
    """The order of the docstring, by trying every set."""
    ranks = sorted({one.candidate.rank for one in offers}, reverse=True)
    allowed = next(
        (
            ranks[:count]
            for count in range(len(ranks) + 1)
            if suffices(short, [one for one in offers if one.candidate.rank in ranks[:count]])
        ),
        None,
    )
    if allowed is None:
        return None
    chosen: list[Offer] = []
    for rank in sorted(allowed):
        tier = [one for one in offers if one.candidate.rank == rank]
        lower = [one for one in offers if one.candidate.rank in allowed and one.candidate.rank > rank]
        sets = [list(some) for size in range(len(tier) + 1) for some in combinations(tier, size)]
        enough: list[Sequence[Offer]] = [some for some in sets if suffices(short, [*chosen, *some, *lower])]
        best = min(enough, key=key)
        chosen += best
    return sorted(one.candidate.id for one in chosen)


@st.composite
def cases(draw: st.DrawFn, most: int) -> tuple[tuple[int, ...], list[Offer]]:
    """Few different numbers, so that ties are common; some give several things, some only a share of their watts."""
    dimensions = draw(st.integers(1, 3))
    offers = []
    for number in range(draw(st.integers(0, most))):
        watts = draw(st.integers(1, 12))
        share = st.sampled_from([0, watts, -(-watts // 2), 3])
        gives = tuple(draw(share) for _ in range(dimensions))
        offers.append(
            offer(
                f"j{number}",
                watts,
                gives,
                rank=draw(st.sampled_from([BRONZE, BRONZE, SILVER, GOLD])),
                lost_s=draw(st.integers(0, 2)),
                started=draw(st.integers(0, 2)),
                job_id=draw(st.integers(0, 3)),
            )
        )
    total = [sum(one.gives[k] for one in offers) for k in range(dimensions)]
    return tuple(draw(st.integers(-1, amount + 1)) for amount in total), offers


@settings(max_examples=300, deadline=None)
@given(case=cases(9))
def test_few_candidates_are_chosen_as_by_trying_all_sets(case: tuple[tuple[int, ...], list[Offer]]) -> None:
    short, offers = case
    assert ids(finish(choose(short, offers))) == brute(short, offers)


def many(chance: Random) -> tuple[tuple[int, ...], list[Offer]]:
    """So many candidates that not all sets can be looked at; half of them stand where more is short."""
    offers = []
    for number in range(chance.randint(20, 150)):
        nodes, here = chance.choice((1, 2, 8)), chance.random() < 0.5
        watts = nodes * chance.randrange(700, 10_200)
        gives = (watts, watts if here else 0, -(-watts // 2) if here else watts, nodes if here else 0)
        rank = chance.choice((BRONZE, BRONZE, BRONZE, SILVER))
        offers.append(offer(f"j{number}", watts, gives, rank=rank, lost_s=chance.randrange(9), job_id=number))
    total = [sum(one.gives[k] for one in offers) for k in range(4)]
    return tuple(int(amount * chance.uniform(0, 0.9)) for amount in total), offers


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_any_choice_suffices_spares_whom_it_can_and_does_not_depend_on_the_order(seed: int) -> None:
    chance = Random(seed)
    short, offers = many(chance)
    victims = finish(choose(short, offers))
    assert victims is not None
    gone = {victim.id for victim in victims}
    chosen = [one for one in offers if one.candidate.id in gone]
    assert suffices(short, chosen)
    for one in chosen:
        assert not suffices(short, [other for other in chosen if other is not one])
    highest = min((victim.rank for victim in victims), default=None)
    if highest is not None:
        assert not suffices(short, [one for one in offers if one.candidate.rank > highest])
    assert highest_touched(short, offers) == highest
    chance.shuffle(offers)
    assert finish(choose(short, offers)) == victims
