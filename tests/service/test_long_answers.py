"""What one user asks for on the control socket keeps nobody else waiting, and stays within bounds."""

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import UsageError
from slurm_power.daemon.control import ControlHandler
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import Decision, Intent, Wanted
from tests.fakes.replies import encode_result
from tests.fakes.store import MemoryStore
from tests.service.support import Lab, fake_slurm


@pytest.fixture
def lab() -> Lab:
    return Lab()


class TestLongAnswers:
    """What one user asks for must not keep slurmctld, or what is to be written, waiting."""

    @staticmethod
    def control(lab: Lab, store: MemoryStore, writer: StoreWriter) -> ControlHandler:
        rounds = Rounds(lab.desk, fake_slurm(lab.site), writer, lab.observer, lab.clock)
        return ControlHandler(lab.desk, rounds, writer, frozenset({0}), lambda: None)

    @pytest.mark.parametrize(("uid", "lines"), [(1001, 2_000), (0, 2_500)])
    def test_a_report_is_made_in_turns_and_bounded(self, lab: Lab, uid: int, lines: int) -> None:
        store = MemoryStore()
        line = Decision(0, "admit", "enforce", job="7", token="t7", uid=1001, account="a")
        store.record([replace(line, at=at) for at in range(2_500)])
        writer = StoreWriter(store)
        turns = 0

        async def ask() -> str:
            nonlocal turns
            answer = asyncio.create_task(
                self.control(lab, store, writer)(Peer(uid, 0, 1), {"op": "report", "limit": 90_000})
            )
            while not answer.done():
                await asyncio.sleep(0)
                turns += 1
            return await answer

        found = json.loads(asyncio.run(ask()))["result"]
        writer.close(10)
        assert len(found["decisions"]) == lines
        assert found["counts"] == {"admit": lines}
        assert turns > 2 * lines // 50  # rows, and their text, a few at a time

    @pytest.mark.parametrize(
        "asked", [{"limit": -1}, {"limit": 0}, {"limit": 1 << 70}, {"limit": "9"}, {"since": "x"}, {"since": 1 << 70},
                  {"since": -1}, {"since": True}, {"would": "no"}]
    )  # fmt: skip
    def test_nobody_gets_past_the_bounds_of_a_report(self, lab: Lab, asked: dict[str, object]) -> None:
        store = MemoryStore()
        writer = StoreWriter(store)
        control = self.control(lab, store, writer)
        try:
            with pytest.raises(UsageError, match=f'"{next(iter(asked))}" is '):
                asyncio.run(control(Peer(1001, 0, 1), {"op": "report", **asked}))
        finally:
            writer.close(10)

    def test_intents_do_not_wait_for_a_report(self, lab: Lab) -> None:
        begun, go_on = threading.Event(), threading.Event()

        class Slow(MemoryStore):
            def decisions(self, **wanted: Unpack[Wanted]) -> Sequence[Decision]:
                begun.set()
                assert go_on.wait(10)
                return ()

        store = Slow()
        writer = StoreWriter(store)

        async def ask() -> None:
            answer = asyncio.create_task(self.control(lab, store, writer)(Peer(0, 0, 1), {"op": "report"}))
            await asyncio.to_thread(begun.wait, 10)
            await asyncio.wrap_future(
                writer.submit_and_wait(lambda s: s.open_intents([Intent("1", "bind", 0)]))
            )
            go_on.set()
            await answer

        asyncio.run(ask())
        writer.close(10)
        assert len(store.pending_intents()) == 1

    @pytest.mark.parametrize(
        "result", [{}, {"a": []}, {"a": [1, {"b": [2, "x\u2028"]}], 'c"': None, "d": {"e": []}, "f": ()}]
    )
    def test_pieces_are_the_same_text(self, result: dict[str, object]) -> None:
        whole = json.dumps({"ok": True, "result": result}, separators=(",", ":"))
        assert encode_result(result) == whole
        with pytest.raises(ValueError, match="JSON"):
            encode_result({"rows": [float("nan")]})
