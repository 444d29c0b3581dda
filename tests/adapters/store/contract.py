"""What every store must do, whatever is behind it."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm_power.adapters.store import StoreDataError
from slurm_power.core.units import MAX_WATTS
from slurm_power.ports import Decision, HoldKind, Store, StoredDraw, Viewer, Wanted
from tests.adapters.store.samples import MONTH, intent, job, learnt, line, reserved, used
from tests.fakes.store import MemoryStore

_ODD_TEXTS = ("nul \x00 in it", "not UTF-8 \udcff", "\\u0000", "back\\slash", "é 漢 🔌", "a" * 70_000)

_LINES = st.builds(
    Decision,
    at=st.integers(0, 5),
    job=st.sampled_from(["", "t1", "t2", "7", "7_1", "7_[2-3]", "7+1", "71"]),
    token=st.sampled_from(["", "t1", "t2"]),
    uid=st.sampled_from([1, 2]),
    account=st.sampled_from(["", "a", "b"]),
    action=st.sampled_from(["admit", "hold"]),
    mode=st.just("enforce"),
    zones=st.sampled_from([(), ("z",), ("z", "zz"), ("zz", "z-1"), ("Z",)]),
    reservation=st.sampled_from(["", "r"]),
    reasons=st.sampled_from([(), ({"code": "gate", "subject": "z"},), ({"subject": "zz"}, {"subject": 'a"z"'})]),
)
_WANTED: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "since": st.integers(0, 5),
        "until": st.integers(0, 5) | st.none(),
        "job": st.sampled_from(["", "t1", "7", "7_1", "71"]),
        "tokens": st.sampled_from([[], ["t1"], ["t1", "t2", "t3"]]),
        "uid": st.sampled_from([1, None]),
        "account": st.sampled_from(["a", ""]),
        "zone": st.sampled_from(["z", "zz", "Z"]),
        "reservation": st.sampled_from(["r", ""]),
        "actions": st.sampled_from([[], ["hold"], ["hold", "admit"]]),
        "of_jobs": st.booleans(),
        "viewer": st.none() | st.builds(Viewer, st.sampled_from([1, 3]), st.sampled_from([(), ("a",)]), st.booleans()),
        "limit": st.integers(0, 4),
    },
)


class StoreContract:
    """Needs a fixture `store`, which is empty."""

    def test_empty(self, store: Store) -> None:
        assert (list(store.jobs()), list(store.decisions()), list(store.pending_intents())) == ([], [], [])
        assert store.setting("mode") is None

    def test_nothing_is_nothing(self, store: Store) -> None:
        store.save_jobs([])
        store.drop_jobs([])
        store.record([])
        store.close_intents([], "done")
        store.save_reservations([])
        store.save_profiles([])
        assert (list(store.open_intents([])), list(store.profiles(10))) == ([], [])
        assert (list(store.reservations(live_only=False)), list(store.usage())) == ([], [])
        assert (list(store.jobs()), list(store.decisions()), list(store.pending_intents())) == ([], [], [])

    def test_jobs_come_back_by_token(self, store: Store) -> None:
        jobs = [job("b"), job("B", job_id=None), replace(job("a"), hold=None, uid=4_294_967_294), job("_", est_w=0)]
        store.save_jobs(jobs)
        assert list(store.jobs()) == sorted(jobs, key=lambda each: each.token)

    @pytest.mark.parametrize("hold", [None, *HoldKind])
    def test_holds(self, store: Store, hold: HoldKind | None) -> None:
        store.save_jobs([replace(job("a"), hold=hold)])
        assert [each.hold for each in store.jobs()] == [hold]

    def test_a_later_save_replaces(self, store: Store) -> None:
        store.save_jobs([job("a"), job("b")])
        store.save_jobs([job("a", est_w=1), job("a", est_w=2, job_id=None)])
        assert list(store.jobs()) == [job("a", est_w=2, job_id=None), job("b")]

    def test_dropped_jobs_are_gone(self, store: Store) -> None:
        store.save_jobs([job("a"), job("b"), job("A")])
        store.drop_jobs(["a", "never seen"])
        assert [each.token for each in store.jobs()] == ["A", "b"]

    def test_many_jobs(self, store: Store) -> None:
        jobs = [job(f"t{number:04}") for number in range(1_200)]
        store.save_jobs(jobs)
        assert list(store.jobs()) == jobs
        store.drop_jobs([each.token for each in jobs[1:]])
        assert list(store.jobs()) == jobs[:1]

    def test_largest_watts(self, store: Store) -> None:
        most = replace(job("a"), est_w=MAX_WATTS, max_w=8 * MAX_WATTS, headroom_w=MAX_WATTS)
        store.save_jobs([most])
        assert list(store.jobs()) == [most]

    def test_lines_come_oldest_first(self, store: Store) -> None:
        lines = [line(30), line(10, action="hold"), line(20), line(20, action="release")]
        store.record(lines[:1])
        store.record(lines[1:])
        assert [(each.at, each.action) for each in store.decisions()] == [
            (10, "hold"), (20, "admit"), (20, "release"), (30, "admit"),
        ]  # fmt: skip
        assert store.decisions()[-1] == lines[0]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"job": "812"}, [10, 30, 40]),
            ({"job": "81"}, []),
            ({"since": 20}, [20, 30, 40]),
            ({"until": 30}, [10, 20]),
            ({"since": 20, "until": 40}, [20, 30]),
            ({"limit": 2}, [30, 40]),
            ({"limit": 0}, []),
            ({"job": "812", "until": 40, "limit": 1}, [30]),
            ({"uid": 1_000}, [10, 20, 30]),
            ({"uid": 1_000, "limit": 1}, [30]),
            ({"uid": 4_294_967_294, "since": 20}, [40]),
            ({"uid": 0}, []),
        ],
    )
    def test_lines_are_found(self, store: Store, query: dict[str, object], expected: list[int]) -> None:
        others = replace(line(40), uid=4_294_967_294)
        store.record([line(10), line(20, job_id="a-token"), line(30), others])
        assert [each.at for each in store.decisions(**query)] == expected  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({"job": "812"}, [1, 2, 3, 4, 5]),
            ({"job": "812_3"}, [1, 4]),
            ({"job": "81"}, []),
            ({"job": "813"}, [6]),
            ({"job": "train"}, [1]),
            ({"job": "813", "tokens": ["train", "one"]}, [1, 6]),
            ({"job": "4711", "tokens": ["train"]}, [1]),
            ({"job": ""}, [7, 8]),
            ({"account": "research"}, [1, 2, 3, 4, 5]),
            ({"account": "Research"}, []),
            ({"zone": "rack01"}, [1, 2, 3, 4]),
            ({"zone": "rack02"}, [1, 2, 3, 4, 5]),
            ({"zone": "rack07"}, [1, 2, 3, 4, 5, 6, 7, 8]),
            ({"zone": "said"}, []),
            ({"zone": "rack0"}, []),
            ({"zone": "RACK01"}, [6]),
            ({"zone": "rack_1"}, []),
            ({"zone": "rack%"}, []),
            ({"actions": ["deny"]}, [3]),
            ({"actions": ["deny", "mode"]}, [3, 8]),
            ({"actions": []}, [1, 2, 3, 4, 5, 6, 7, 8]),
            ({"reservation": "nightly"}, [5, 7]),
            ({"reservation": ""}, [1, 2, 3, 4, 6, 8]),
            ({"of_jobs": True}, [1, 2, 3, 4, 5, 6]),
            ({"of_jobs": True, "limit": 2}, [5, 6]),
            ({"zone": "rack01", "actions": ["admit"], "since": 2, "until": 4}, [2]),
            ({"viewer": Viewer(1_000)}, [1, 2, 3, 4, 5, 6]),
            ({"viewer": Viewer(1_000, private=True)}, [1, 2, 3, 4, 5]),
            ({"viewer": Viewer(1_000, ("ops",))}, [1, 2, 3, 4, 5, 6, 7]),
            ({"viewer": Viewer(1_000, ("ops",), private=True)}, [1, 2, 3, 4, 5, 7]),
            ({"viewer": Viewer(1_001, private=True)}, [6, 7]),
            ({"viewer": Viewer(7, private=True)}, []),
            ({"viewer": Viewer(7), "limit": 1}, [6]),
        ],
    )
    def test_lines_are_found_by_what_they_are_about(self, store: Store, wanted: Wanted, expected: list[int]) -> None:
        theirs = replace(line(6, "813"), token="other", uid=1_001, account="ops", zones=("RACK01",))
        store.record(
            [
                replace(line(1, "train"), token="train"),
                replace(line(2, "812_[0-9]"), token="train"),
                replace(line(3, "812+1", "deny"), token="two"),
                replace(line(4, "812_3", "hold"), token="train"),
                replace(
                    line(5, "812"),
                    token="one",
                    zones=("rack02",),
                    reservation="nightly",
                    reasons=({"subject": "rack07", "text": 'so "subject":"said"'},),
                ),
                theirs,
                replace(theirs, at=7, job="", token="", zones=(), reservation="nightly"),
                replace(line(8, "", "mode"), token="", uid=0, account="", zones=(), actor=0),
            ]
        )
        assert [each.at for each in store.decisions(**wanted)] == expected

    def test_lines_come_back_whole(self, store: Store) -> None:
        full = replace(
            line(1),
            reservation="nightly",
            actor=4_294_967_294,
            cause="spower mode observe, said \\é\x00",
            rule="launch_gate",
            numbers={"est_w": 18_500, "big_w": 1 << 60},
        )
        bare = Decision(2, "end", "enforce", job="813")
        store.record([full, bare])
        assert list(store.decisions()) == [full, bare]

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_what_is_wanted_is_what_the_fake_finds(self, store: Store, data: st.DataObject) -> None:
        store.prune(decisions=1 << 40, intents=0, limit=100)
        oracle = MemoryStore()
        lines = data.draw(st.lists(_LINES, max_size=12))
        store.record(lines)
        oracle.record(lines)
        wanted = data.draw(_WANTED)
        assert list(store.decisions(**wanted)) == list(oracle.decisions(**wanted))

    def test_the_audit_log_only_grows(self, store: Store) -> None:
        """Whatever else is done to the store, the lines in it stay as they are; `prune` alone takes old ones out."""
        lines = [line(at) for at in (10, 20)]
        store.record(lines)
        store.save_jobs([job("Zk3")])
        store.drop_jobs(["Zk3"])
        store.close_intents([each.id or 0 for each in store.open_intents([intent("812")])], "done")
        store.save_reservations([reserved("r1", "nightly"), reserved("r1", "nightly", live=False)])
        store.add_usage([used(3_600)], 7_200)
        store.prune_usage(1 << 40, 10)
        store.close_month(MONTH)
        list(store.months())
        store.save_profiles([learnt(1)])
        list(store.profiles(10))
        store.replace_draws([StoredDraw("k", 1, {})])
        list(store.draws())
        store.set_setting("mode", "observe")
        store.set_setting("mode", None)
        store.record([line(20, action="release")])
        store.prune(decisions=10, intents=1 << 40, limit=100, profiles=1 << 40)
        assert list(store.decisions()) == [*lines, line(20, action="release")]
        tried = {name for name in dir(Store) if not name.startswith("_")}
        assert tried == {
            "save_jobs", "drop_jobs", "jobs", "record", "decisions", "names", "prune", "open_intents", "close_intents",
            "pending_intents", "save_reservations", "reservations", "add_usage", "usage", "prune_usage", "close_month",
            "months", "save_profiles", "profiles", "replace_draws", "draws", "setting", "set_setting", "close",
        }, "a new method: let this test call it"  # fmt: skip

    def test_reservations_come_back(self, store: Store) -> None:
        past = reserved("b", "nightly", live=False, start=10)
        daily = reserved("c", "daily", detail={"zones": ["rack01"], "least_w": None})
        rows = [reserved("a", "nightly", start=20), past, daily]
        store.save_reservations(rows)
        assert list(store.reservations(live_only=False)) == [rows[2], past, rows[0]]
        assert list(store.reservations(live_only=True)) == [rows[2], rows[0]]
        store.save_reservations(rows)
        assert list(store.reservations(live_only=False)) == [rows[2], past, rows[0]]

    def test_a_later_save_replaces_a_reservation(self, store: Store) -> None:
        store.save_reservations([reserved("a", "nightly"), reserved("a", "nightly", state="active")])
        assert [each.state for each in store.reservations(live_only=True)] == ["active"]
        ended = reserved("a", "nightly", state="expired", live=False)
        store.save_reservations([ended])
        assert (list(store.reservations(live_only=True)), list(store.reservations(live_only=False))) == ([], [ended])

    def test_two_live_reservations_of_one_name_are_refused(self, store: Store) -> None:
        first = reserved("a", "nightly")
        store.save_reservations([first])
        for rows in (
            [reserved("b", "nightly")],
            [reserved("c", "other"), reserved("b", "nightly")],
            [reserved("c", "other"), reserved("d", "other")],
        ):
            with pytest.raises(StoreDataError):
                store.save_reservations(rows)
        assert list(store.reservations(live_only=False)) == [first]
        store.save_reservations([reserved("b", "Nightly")])

    def test_a_name_is_free_again_after_its_reservation(self, store: Store) -> None:
        store.save_reservations([reserved("z", "nightly")])
        store.save_reservations([reserved("a", "nightly"), reserved("z", "nightly", live=False)])
        store.save_reservations([reserved("z", "nightly"), reserved("a", "nightly", live=False)])
        assert [each.id for each in store.reservations(live_only=True)] == ["z"]

    def test_names_of_tokens(self, store: Store) -> None:
        store.record(
            [
                replace(line(10, job_id="early"), token="early"),
                replace(line(20, job_id="812"), token="early"),
                replace(line(20, job_id="813_2"), token="array"),
                replace(line(30, job_id="813_2"), token="array"),
                replace(line(10, job_id="never"), token="never"),
                replace(line(10, job_id="814"), token="EARLY"),
                replace(line(10, job_id="odd \udcff"), token="back\\slash"),
            ]
        )
        asked = ["early", "array", "never", "unheard", "EARLY", "back\\slash"]
        names = {"early": "812", "array": "813_2", "EARLY": "814", "back\\slash": "odd \udcff"}
        assert store.names(asked) == names
        assert store.names([]) == {}
        assert store.names([f"t{number}" for number in range(1_200)] + ["early"]) == {"early": "812"}

    def test_what_is_old_is_deleted_in_pieces(self, store: Store) -> None:
        store.record([line(at) for at in (40, 10, 30, 20, 20, 50)])
        assert store.prune(decisions=40, intents=0, limit=3) == 3
        assert [each.at for each in store.decisions()] == [30, 40, 50]
        assert store.prune(decisions=40, intents=0, limit=3) == 1
        assert store.prune(decisions=40, intents=0, limit=3) == 0
        assert [each.at for each in store.decisions()] == [40, 50]

    def test_open_intents_are_never_too_old(self, store: Store) -> None:
        opened = store.open_intents([replace(intent(str(at)), at=at) for at in (10, 20, 30, 40)])
        store.close_intents([each.id or 0 for each in opened if each.at != 20], "done")
        assert store.prune(decisions=100, intents=40, limit=500) == 2
        assert list(store.pending_intents()) == [opened[1]]
        store.close_intents([opened[1].id or 0], "late")
        assert store.prune(decisions=100, intents=40, limit=500) == 1
        assert store.prune(decisions=100, intents=100, limit=500) == 1
        again = store.open_intents([intent("new")])
        assert list(store.pending_intents()) == list(again)

    def test_many_are_deleted(self, store: Store) -> None:
        store.record([line(at) for at in range(1_300)])
        assert store.prune(decisions=1_250, intents=0, limit=1_200) == 1_200
        assert store.prune(decisions=1_250, intents=0, limit=1_200) == 50
        assert [each.at for each in store.decisions()] == list(range(1_250, 1_300))

    def test_intents_stay_open_until_closed(self, store: Store) -> None:
        intents = [intent("812"), intent("813", "hold"), intent("812_[3-9]")]
        opened = store.open_intents(intents)
        assert [replace(each, id=None) for each in opened] == intents
        ids = [each.id for each in opened if each.id is not None]
        assert len(set(ids)) == 3
        assert list(store.pending_intents()) == list(opened)
        store.close_intents([ids[0], ids[2], 999_999], "done")
        assert list(store.pending_intents()) == [opened[1]]
        store.close_intents(ids, "late")
        assert list(store.pending_intents()) == []

    def test_intents_of_two_calls_have_ids_of_their_own(self, store: Store) -> None:
        first = store.open_intents([intent("1")])
        store.close_intents([each.id or 0 for each in first], "done")
        second = store.open_intents([intent("2")])
        assert first[0].id != second[0].id
        assert list(store.pending_intents()) == list(second)

    def test_many_intents_keep_their_order(self, store: Store) -> None:
        targets = [str(number) for number in range(1_200)]
        opened = store.open_intents([intent(target) for target in targets])
        assert [each.target for each in opened] == targets
        assert list(store.pending_intents()) == sorted(opened, key=lambda each: each.id or 0)
        assert {each.id: each.target for each in store.pending_intents()} == {each.id: each.target for each in opened}
        store.close_intents([each.id or 0 for each in opened], "done")
        assert list(store.pending_intents()) == []

    def test_settings(self, store: Store) -> None:
        store.set_setting("mode", "observe")
        store.set_setting("Mode", "other")
        store.set_setting("mode", "enforce")
        store.set_setting("empty", "")
        assert (store.setting("mode"), store.setting("Mode"), store.setting("empty")) == ("enforce", "other", "")
        store.set_setting("mode", None)
        store.set_setting("mode", None)
        assert (store.setting("mode"), store.setting("Mode")) == (None, "other")

    def test_detail_comes_back_as_json_has_it(self, store: Store) -> None:
        detail = MappingProxyType({"tuple": (1, 2), "inner": MappingProxyType({"a": 1}), "big": 1 << 60})
        store.save_jobs([replace(job("a"), detail=detail)])
        assert store.jobs()[0].detail == {"tuple": [1, 2], "inner": {"a": 1}, "big": 1 << 60}
        store.record([replace(line(1), reasons=(detail,))])
        assert store.decisions()[0].reasons == (store.jobs()[0].detail,)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=st.text(st.characters(), max_size=200))
    def test_any_text_survives(self, store: Store, text: str) -> None:
        odd = replace(job("a", group=text), account=text, detail={text: text})
        store.save_jobs([odd])
        assert list(store.jobs()) == [odd]
        written = store.open_intents([replace(intent(text), detail={"text": text})])
        assert written[0] in list(store.pending_intents())
        store.set_setting("text", text)
        assert store.setting("text") == text

    @pytest.mark.parametrize("text", _ODD_TEXTS)
    def test_odd_texts(self, store: Store, text: str) -> None:
        store.save_jobs([replace(job("a", group=text), detail={"name": text})])
        assert (store.jobs()[0].group, store.jobs()[0].detail) == (text, {"name": text})

    @pytest.mark.parametrize("bad", [float("nan"), {1, 2}, object()])
    def test_what_json_cannot_say_is_refused_whole(self, store: Store, bad: object) -> None:
        with pytest.raises(Exception, match="JSON"):
            store.save_jobs([job("a"), replace(job("b"), detail={"bad": bad})])
        assert list(store.jobs()) == []
        with pytest.raises(Exception, match="JSON"):
            store.open_intents([intent("1"), replace(intent("2"), detail={"bad": bad})])
        assert list(store.pending_intents()) == []
