"""Default envelopes, constraint expressions, requests, the life of a job, reasons as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.constraint import suiting
from slurm_power.core.estimate import default_est_w
from slurm_power.core.lifecycle import CLAIMING, TRANSITIONS, Event, State, follow
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.policy import PartitionPolicy
from slurm_power.core.reasons import Code, Cure, Help, Reason
from slurm_power.core.window import FOREVER
from tests.core.floors import NOW, request

H100 = PartitionPolicy("train", node_w=10_200, gpu_w=700, gpu_factor_milli=900, overhead_w=2_000)
RATED = PartitionPolicy("cpu", node_w=1_000)


class TestDefaultEnvelope:
    @pytest.mark.parametrize(
        ("policy", "ask", "share_milli", "est_w"),
        [
            (H100, NodeAsk(nodes=1, gpus=8), 1_000, 8 * 630 + 2_000),
            (H100, NodeAsk(nodes=4, gpus=8), 1_000, 4 * (8 * 630 + 2_000)),
            (
                PartitionPolicy("p", gpu_w=333, gpu_factor_milli=950),
                NodeAsk(gpus=1),
                125,
                317,
            ),  # 316.35 rounds up
            (H100, NodeAsk(nodes=2), 250, 5_100),  # no GPU asked: the share of the nodes' rating
            (RATED, NodeAsk(nodes=3, gpus=2), 1_000, 3_000),
            (RATED, NodeAsk(), 1, 1),
            (RATED, NodeAsk(), 333, 333),
            (
                PartitionPolicy("p"),
                NodeAsk(nodes=2),
                500,
                12_000,
            ),  # what the zone could give each of its nodes
            (PartitionPolicy("p", node_w=0), NodeAsk(), 1_000, 1),  # never zero
        ],
    )
    def test_boards_then_rating_then_zone(
        self, policy: PartitionPolicy, ask: NodeAsk, share_milli: int, est_w: int
    ) -> None:
        assert default_est_w(policy, ask, share_milli, 12_000) == est_w


class TestConstraint:
    NODES = (frozenset({"h100", "ib"}), frozenset({"a100"}))

    @pytest.mark.parametrize(
        ("expression", "could"),
        [
            ("", True),
            ("h100", True),
            ("v100", False),
            ("h100&ib", True),
            ("h100,ib", True),
            ("h100&a100", False),  # no node has both
            ("v100|a100", True),
            ("v100|(h100&ib)", True),
            ("(v100|h100)&ib", True),
            ("(v100|a100)&ib", False),
            ("[h100*2&a100*1]", True),  # each term is about nodes of its own
            ("h100*2&a100*1", True),
            ("[h100*2&v100*1]", False),
            ("v100*2", False),
            ("[v100|a100]", True),
            ("ib&[h100*1&a100*1]", True),
            (" h100 & ib ", True),
            ("H100", False),
            ("(h100", True),
            ("v100&", False),
            ("&", True),  # cannot be read: Slurm decides
            ("v100 x", True),
            ("(" * 5_000, True),
        ],
    )
    def test_whether_some_nodes_could_run_it(self, expression: str, could: bool) -> None:
        assert (suiting(expression, self.NODES) > 0) is could

    @pytest.mark.parametrize(
        ("expression", "count"),
        [
            ("h100", 2),
            ("h100|a100", 3),
            ("h100&ib", 1),
            ("a100&ib", 0),
            ("[h100*2&a100*1]", 3),  # each term is about nodes of its own
            ("&", 3),  # cannot be read
        ],
    )
    def test_how_many_nodes_would_do(self, expression: str, count: int) -> None:
        nodes = [frozenset({"h100", "ib"}), frozenset({"h100"}), frozenset({"a100"})]
        assert suiting(expression, nodes) == count

    @given(
        names=st.lists(st.sampled_from("abc"), min_size=1, max_size=6),
        operators=st.lists(st.sampled_from("&|"), min_size=6, max_size=6),
        features=st.frozensets(st.sampled_from("abc")),
    )
    def test_yes_wherever_slurm_reading_from_left_to_right_says_yes(
        self, names: list[str], operators: list[str], features: frozenset[str]
    ) -> None:
        expression, value = names[0], names[0] in features
        for operator, name in zip(operators, names[1:], strict=False):
            expression += operator + name
            value = (value and name in features) if operator == "&" else (value or name in features)
        assert suiting(expression, [features]) or not value


class TestRequest:
    @pytest.mark.parametrize(
        ("est_w", "max_w", "bursty"), [(1_000, 1_300, False), (1_000, 1_301, True), (1, 1, False)]
    )
    def test_bursty_is_more_than_130_percent(self, est_w: int, max_w: int, bursty: bool) -> None:
        assert request(est_w, max_w).bursty is bursty

    def test_another_number_of_tasks_scales_it(self) -> None:
        three = request(3_000, 3_900, copies=3)
        assert (three.with_copies(2).est_w, three.with_copies(2).max_w, three.with_copies(2).ask.copies) == (
            2_000,
            2_600,
            2,
        )
        assert three.with_copies(1).with_copies(3) == three

    def test_the_window_without_a_limit_never_ends(self) -> None:
        assert request().window(NOW).end == FOREVER
        assert request(hours=2).window(NOW).end == NOW + 7_200


class TestLife:
    def test_a_submission_to_its_end(self) -> None:
        state = State.WAITING
        for event, expected in (
            (Event.BIND, State.BINDING),
            (Event.BOUND, State.ADMITTED),
            (Event.LAUNCH, State.RUNNING),
            (Event.REQUEUE, State.WAITING),
        ):
            state = follow(state, event)
            assert state is expected

    def test_the_facts_of_slurm_lead_on_from_every_state(self) -> None:
        """A job may be found running, let go, or held again, whatever we thought of it."""
        for state in State:
            assert follow(state, Event.LAUNCH) is State.RUNNING
            assert follow(state, Event.FREE) is State.FREE
            if state is not State.PARKED:
                assert follow(state, Event.PARK) is State.PARKED
            if state is not State.BINDING:
                assert follow(state, Event.WAIT) is State.WAITING

    def test_only_a_binding_leads_from_the_queue_to_watts_without_a_launch(self) -> None:
        found = {
            (state, event)
            for (state, event), to in TRANSITIONS.items()
            if to in CLAIMING and state not in CLAIMING
        }
        assert {pair for pair in found if pair[1] is not Event.LAUNCH} == {(State.WAITING, Event.BIND)}

    def test_every_state_can_be_reached_and_left(self) -> None:
        assert set(TRANSITIONS.values()) == set(State)
        assert {state for state, _ in TRANSITIONS} == set(State)

    def test_a_step_that_there_is_not(self) -> None:
        with pytest.raises(ValueError, match="a job that is waiting cannot bound"):
            follow(State.WAITING, Event.BOUND)


class TestReasons:
    def test_numbers_in_the_text_and_in_json(self) -> None:
        reason = Reason(Code.ZONE_POWER, "rack09", 18_500, 16_000)
        assert reason.text == "zone rack09 is short of power: asked 18.5kW, free 16kW, short by 2.5kW"
        assert reason.as_json() == {
            "code": "zone_power",
            "subject": "rack09",
            "asked_w": 18_500,
            "free_w": 16_000,
            "short_w": 2_500,
            "text": reason.text,
        }

    def test_every_code_has_a_text(self) -> None:
        for code in Code:
            text = Reason(code, "it", 2_000, -500, "so and so").text
            assert text
            assert "{" not in text

    def test_free_may_be_negative_after_a_cut(self) -> None:
        assert Reason(Code.FEED_POWER, "a", 1_000, -500).text.endswith(
            "asked 1kW, free -500W, short by 1.5kW"
        )

    @pytest.mark.parametrize(
        ("found", "text"),
        [
            (Help(Cure.FEWER_WATTS, "rack09", 16_000), "fits rack09 at 16kW"),
            (
                Help(Cure.LATER, "r9", at=NOW, after_job="812"),
                "fits r9 at 2027-01-15T08:00:00Z when job 812 ends",
            ),
            (Help(Cure.LATER, "r9", at=NOW), "fits r9 at 2027-01-15T08:00:00Z"),
            (Help(Cure.OTHER_TIER, "rack09", tier="bronze"), "fits rack09 now as bronze"),
        ],
    )
    def test_helps(self, found: Help, text: str) -> None:
        assert found.text == text
        assert found.as_json()["text"] == text
