"""A daemon on the small floor with all that reservations need: its rounds and control verbs, Slurm and a store in
memory, and people with rights. It can be stopped and started anew on the same Slurm and store.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreDataError, StoreWriter
from slurm_power.config import Site
from slurm_power.core.reservation import Reservation
from slurm_power.daemon import control, reservations
from slurm_power.daemon.control import ControlHandler
from slurm_power.daemon.journal import StoreJournal, remembered
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import AdminLevel, JobRecord, PrivilegeRecord
from slurm_power.service.desk import Desk, Reply
from slurm_power.service.launch import entry_of, launch
from slurm_power.service.observe import Observer
from slurm_power.service.submit import submit
from tests.fakes.store import MemoryStore
from tests.service.support import START, FakeClock, fake_slurm, job, site_of, tokens

ROOT, ALICE, BOB, CAROL, DORA, EVE, OTTO = 0, 1001, 1002, 1003, 1004, 1005, 1006
NAMES = {ROOT: "root", ALICE: "alice", BOB: "bob", CAROL: "carol", DORA: "dora", EVE: "eve", OTTO: "otto"}
PEOPLE = (
    PrivilegeRecord("root", AdminLevel.ADMIN, (), ("root",)),
    PrivilegeRecord("alice", AdminLevel.NONE, ("research",), ("research",)),
    PrivilegeRecord("bob", AdminLevel.NONE, (), ("research",)),
    PrivilegeRecord("carol", AdminLevel.NONE, ("ops",), ("ops", "research")),
    PrivilegeRecord("dora", AdminLevel.ADMIN, (), ("ops",)),
    PrivilegeRecord("otto", AdminLevel.OPERATOR, (), ("ops",)),
)
"""alice coordinates research, carol ops; bob is of research; dora administers, otto operates; eve is nobody."""
HOUR = 3_600
TERMS: Mapping[str, Any] = {"name": "spring", "zones": ["rack01"], "watts_w": 15_000, "accounts": ["research"]}


class BrokenStore(MemoryStore):
    """A store that refuses reservations while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False

    def save_reservations(self, reservations: Any) -> None:
        if self.refuses:
            raise StoreDataError("the disk is full of moss")
        super().save_reservations(reservations)


class Bureau:
    """Slurm, a store, and the daemon that is running on them."""

    def __init__(
        self, patch: pytest.MonkeyPatch, site: Site | None = None, *, version: tuple[int, int, int] = (24, 11, 5)
    ) -> None:
        for module in (control, reservations):
            patch.setattr(module, "user_of", lambda uid: NAMES.get(uid, str(uid)))
        self.site = site or site_of(mode="enforce")
        self.clock = FakeClock()
        self.store = BrokenStore()
        self.slurm = fake_slurm(self.site, privileges=PEOPLE, version=version, prolog=self._prolog)
        self._tokens = tokens()
        self._runner = asyncio.Runner()
        self.start()

    def start(self) -> None:
        """A daemon, and its first round."""
        self.writer = StoreWriter(self.store)
        self.desk = Desk(self.site, self.clock, StoreJournal(self.writer), tokens=self._unlike())
        self.observer = Observer(self.desk, remembered(self.store))
        self.rounds = Rounds(self.desk, self.slurm, self.writer, self.observer, self.clock)
        self.rounds.reservations.load(self.store.reservations(live_only=True))
        self.verbs = ControlHandler(self.desk, self.rounds, self.writer, frozenset({ROOT}), lambda: None)
        self.round()

    def restart(self) -> None:
        """The daemon dies and comes back."""
        self.writer.close(10)
        self.start()

    def close(self) -> None:
        self.writer.close(10)
        self._runner.close()

    def _unlike(self) -> Any:
        """Tokens of which the first eight letters differ: a reservation's id."""
        return (f"{int(token[3:]):08d}" for token in self._tokens)

    # -- what happens ---------------------------------------------------------------------------------------------

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    def round(self) -> None:
        """One round, and what Slurm makes of it."""
        self.run(self.rounds.round())
        self.slurm.schedule()
        assert not self.desk.faults.count, self.desk.faults.by_key

    def wait(self, seconds: int) -> None:
        """Time passes, then there are two rounds."""
        self.clock.instant += seconds
        self.slurm.tick(self.clock.instant)
        self.round()
        self.round()

    def ask(self, uid: int, **request: Any) -> dict[str, Any]:
        """A question on the control socket; raises what it is answered with."""
        told = json.loads(json.dumps(request))
        found = json.loads(self.run(self.verbs(Peer(uid, uid, 1), told)))
        assert found["ok"] is True
        return dict(found["result"])

    def change(self, do: str, uid: int = ROOT, terms: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return self.ask(uid, op="reservation", do=do, **({"terms": terms} if terms is not None else {}), **more)

    def create(self, uid: int = ROOT, **terms: Any) -> dict[str, Any]:
        """The usual reservation, of 15 kW in rack01 for research from now on for 2 hours, but for `terms`."""
        return self.change("create", uid, {**TERMS, "length_s": 2 * HOUR, **terms})

    def open(self, **terms: Any) -> Reservation:
        """The same, and it is open."""
        assert self.create(**terms)["verdict"] == "fits"
        self.round()
        return self.the(terms.get("name", "spring"))

    def update(self, uid: int = ROOT, name: str = "spring", **terms: Any) -> dict[str, Any]:
        return self.change("update", uid, terms, name=name)

    def the(self, name: str = "spring") -> Reservation:
        found = self.desk.reserved.get(name)
        assert found is not None
        return found

    def submit(self, comment: str = "power:est=5kW,reservation=spring", uid: int = ALICE, **fields: Any) -> Reply:
        """What the hook is told; nothing comes of it in Slurm."""
        return submit(self.desk, job(comment, user_id=uid, user_name=NAMES[uid], **fields))

    def sbatch(
        self,
        comment: str = "power:est=5kW,reservation=spring",
        uid: int = ALICE,
        *,
        account: str = "research",
        minutes: int = 60,
        array: str = "",
        nodes: int = 1,
        **fields: Any,
    ) -> JobRecord:
        """A job that the hook lets into Slurm."""
        hook = {"array_inx": array} if array else {}
        reply = self.submit(comment, uid, account=account, time_limit=minutes, min_nodes=nodes, **hook, **fields)
        assert reply.verdict in ("admit", "hold"), reply.message
        told: dict[str, Any] = {
            key: value for key, value in reply.fields.items() if key in ("licenses", "features", "admin_comment")
        }
        return self.slurm.submit(
            held=reply.verdict == "hold",
            uid=uid,
            user=NAMES[uid],
            account=account,
            name="train",
            comment=comment,
            node_count=int(reply.fields.get("min_nodes", nodes)),
            cpus=nodes,
            time_limit_s=minutes * 60,
            array=array,
            batch=True,
            requeue=True,
            qos="bronze",
            reservation=str(fields.get("reservation", "")),
            **told,
        )

    def _prolog(self, record: JobRecord) -> bool:
        env = {
            "SLURM_JOB_ID": str(record.job_id),
            "SLURM_JOB_NODELIST": record.node_list,
            "SLURM_JOB_RESTART_COUNT": str(record.restarts),
        }
        if record.array_task_id is not None:
            env |= {"SLURM_ARRAY_JOB_ID": str(record.array_job_id), "SLURM_ARRAY_TASK_ID": str(record.array_task_id)}
        if entry_of(self.desk, env) is None:
            self.observer.observe([self.slurm.job(record.job_id)], self.clock.monotonic(), whole=False)
        return launch(self.desk, env).verdict == "allow"

    # -- what there is ----------------------------------------------------------------------------------------------

    def committed(self, element: str = "rack01") -> int:
        """Watts of claims there, without the baseline."""
        return self.desk.ledger.meters[element].claimed_w

    def held(self, licence: str = "pw_rack01") -> int:
        """What Slurm's reservations count of a licence."""
        return next(record.reserved for record in self.slurm.licenses() if record.name == licence)

    def reserved_in_slurm(self) -> dict[str, dict[str, int]]:
        return {one.name: dict(one.licenses) for one in self.slurm.reservations()}

    def rows(self) -> dict[str, str]:
        """Name → state of the reservations that are live in the database."""
        self.writer.submit_and_wait(lambda _: None).result(10)
        return {row.name: row.state for row in self.store.reservations(live_only=True)}


__all__ = ["ALICE", "BOB", "CAROL", "DORA", "EVE", "HOUR", "OTTO", "ROOT", "START", "TERMS", "Bureau"]
