"""What time, use, restarts, the clock and the site file do to a reservation."""

from typing import Any

import pytest

from slurm_power.core.policy import Mode
from slurm_power.core.reservation import ReservationState
from slurm_power.ports import JobState
from tests.core.recount import differences
from tests.service.bureau import BOB, HOUR, ROOT, START, Bureau
from tests.service.support import SITE, site_of

OPS: dict[str, Any] = {"accounts": ["ops"]}
ACTIVE, DEGRADED, APPROVED = ReservationState.ACTIVE, ReservationState.DEGRADED, ReservationState.APPROVED
WITHOUT_RACK01 = "\n".join(line for line in SITE.splitlines() if "rack01" not in line) + "\n"


def over(bureau: Bureau, name: str = "spring") -> tuple[str, str]:
    """(state, cause) of one that is over, as the database has it."""
    assert bureau.desk.reserved.get(name) is None
    (row,) = bureau.ask(ROOT, op="reservations", names=[name])["reservations"]
    return row["state"], row["cause"]


def test_it_begins_at_its_start_and_expires_at_its_end(bureau: Bureau) -> None:
    bureau.create(start=START + HOUR, grace_s=2 * HOUR)
    bureau.wait(HOUR - 1)
    assert (bureau.the().state, bureau.held()) == (APPROVED, 0)
    bureau.wait(1)
    assert (bureau.the().state, bureau.held()) == (ACTIVE, 15_000)
    bureau.wait(2 * HOUR - 1)
    assert bureau.the().state is ACTIVE
    bureau.wait(1)
    assert over(bureau) == ("expired", "its window has ended")
    assert (bureau.committed(), bureau.reserved_in_slurm()) == (0, {})


class TestGrace:
    def test_unused_its_watts_are_everybodys_and_it_is_released_in_the_end(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.wait(899)
        assert (bureau.the().state, bureau.held()) == (ACTIVE, 15_000)
        bureau.wait(1)
        assert (bureau.the().state, bureau.held(), bureau.committed()) == (DEGRADED, 0, 0)
        bureau.wait(2 * HOUR)
        assert over(bureau)[0] == "released"

    def test_it_runs_from_the_last_use(self, bureau: Bureau) -> None:
        bureau.open(length_s=8 * HOUR)
        job = bureau.sbatch(minutes=60)
        bureau.wait(1)
        bureau.wait(HOUR - 1)
        assert bureau.slurm.job(job.job_id).state is JobState.RUNNING
        bureau.wait(2)
        assert bureau.slurm.job(job.job_id).state is JobState.ENDED
        bureau.wait(896)
        assert bureau.the().state is ACTIVE
        bureau.wait(10)
        assert bureau.the().state is DEGRADED

    def test_used_again_it_is_kept_again(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.wait(900)
        bureau.sbatch()
        bureau.round()
        assert (bureau.the().state, bureau.committed()) == (ACTIVE, 15_000)
        bureau.round()
        assert bureau.held() == 10_000

    def test_but_only_when_all_of_its_watts_are_free(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.wait(900)
        other = bureau.sbatch("power:est=14kW,max=14kW,zones=rack01", BOB, account="ops")
        bureau.wait(1)
        assert bureau.slurm.job(other.job_id).state is JobState.RUNNING
        mine = bureau.sbatch("power:est=12kW,max=12kW,reservation=spring", minutes=100)
        bureau.wait(1)
        assert bureau.slurm.job(mine.job_id).state is JobState.RUNNING
        assert (bureau.the().state, bureau.committed()) == (DEGRADED, 26_000)
        bureau.slurm.finish(other.job_id)
        bureau.wait(1)
        assert (bureau.the().state, bureau.committed()) == (ACTIVE, 15_000)

    def test_a_restart_does_not_shorten_it(self, bureau: Bureau) -> None:
        """A job ends while nobody looks, and the last use before that was never written down."""
        bureau.open(length_s=8 * HOUR)
        bureau.sbatch(minutes=60)
        bureau.wait(1)
        bureau.wait(HOUR - 1)
        bureau.clock.instant += 60
        bureau.slurm.tick(bureau.clock.instant)
        bureau.restart()
        assert bureau.the().state is ACTIVE
        bureau.wait(899)
        assert bureau.the().state is ACTIVE
        bureau.wait(2)
        assert bureau.the().state is DEGRADED


class TestFirstCall:
    def test_the_owners_job_goes_before_older_and_higher_ones(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.wait(900)
        first = bureau.sbatch("power:est=24kW,max=24kW,zones=rack01", BOB, account="ops")
        bureau.wait(1)
        gold = bureau.sbatch("power:est=24kW,max=24kW,zones=rack01", BOB, account="ops", qos="gold")
        mine = bureau.sbatch("power:est=12kW,max=12kW,reservation=spring")
        bureau.wait(1)
        assert bureau.desk.shadow.head is not None
        assert bureau.desk.shadow.head.reservation == "spring"
        assert {charge.zone for claim in bureau.desk.ledger.bookings() for charge in claim.charges} == {"rack01"}
        bureau.slurm.finish(first.job_id)
        bureau.wait(2)
        assert bureau.slurm.job(mine.job_id).state is JobState.RUNNING
        assert bureau.slurm.job(gold.job_id).priority == 0

    def test_one_of_higher_tier_that_comes_meanwhile_does_not_overtake(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.wait(900)
        bureau.sbatch("power:est=12kW,max=12kW,zones=rack01", BOB, account="ops", minutes=30)
        bureau.wait(1)
        bureau.sbatch("power:est=15kW,max=15kW,reservation=spring")
        bureau.wait(1)
        gold = "power:est=12kW,max=12kW,zones=rack01"
        assert bureau.submit(gold, BOB, account="ops", qos="gold", time_limit=600).verdict == "hold"
        assert bureau.submit(gold, BOB, account="ops", qos="gold", time_limit=20).verdict == "admit"


class TestARestart:
    """Slurm, the database and the ledger agree afterwards, wherever it happens."""

    @pytest.mark.parametrize("at", ["approved", "active", "used", "degraded", "released in Slurm", "held"])
    def test_at_every_point(self, bureau: Bureau, at: str) -> None:
        if at == "approved":
            bureau.create(start=START + HOUR)
            expected = (APPROVED, 0, 0)
        else:
            bureau.open()
            expected = (ACTIVE, 15_000, 15_000)
        if at == "used":
            bureau.sbatch()
            bureau.wait(1)
            expected = (ACTIVE, 15_000, 10_000)
        elif at == "degraded":
            bureau.wait(900)
            expected = (DEGRADED, 0, 0)
        elif at == "released in Slurm":
            for node in ("n01", "n02", "n03"):
                bureau.slurm.set_node(node, up=False)
            bureau.sbatch()  # admitted, and waits for a node
            bureau.round()
            expected = (ACTIVE, 15_000, 10_000)
        elif at == "held":
            bureau.sbatch("power:est=12kW,max=12kW,reservation=spring")
            bureau.sbatch("power:est=12kW,max=12kW,reservation=spring")
            bureau.wait(1)
            expected = (ACTIVE, 15_000, 3_000)
        for _ in range(2):
            found = (bureau.the().state, bureau.committed(), bureau.held())
            assert found == expected
            assert not differences(bureau.desk.ledger)
            bureau.restart()
        written = len(bureau.slurm.written)
        bureau.round()
        assert len(bureau.slurm.written) == written

    def test_while_it_was_away_its_window_opened_and_closed(self, bureau: Bureau) -> None:
        bureau.create(start=START + 60, length_s=60)
        bureau.clock.instant += HOUR
        bureau.slurm.tick(bureau.clock.instant)
        bureau.restart()
        bureau.round()
        assert over(bureau)[0] == "expired"

    def test_a_job_that_cannot_be_read_still_draws(self, bureau: Bureau) -> None:
        """Its class has gone from the site file, so that only its admission record tells what it draws."""
        bureau.open()
        job = bureau.sbatch("power:class=lean,reservation=spring")
        bureau.wait(1)
        assert bureau.slurm.job(job.job_id).state is JobState.RUNNING
        bureau.site = site_of(SITE.replace("  lean:        {est: 2kW}\n", ""))
        bureau.desk.change_site(bureau.site)
        bureau.round()
        assert bureau.committed() == 15_000
        bureau.restart()
        bureau.slurm.user_update(str(job.job_id), Comment="power:class=lean,reservation=spring;x")
        bureau.round()
        assert bureau.committed() == 15_000


class TestTheSiteFile:
    @pytest.mark.parametrize("begun", [False, True])
    def test_a_zone_that_goes_ends_it(self, bureau: Bureau, begun: bool) -> None:
        bureau.create(start=START if begun else START + HOUR)
        bureau.create(name="other", zones=["rack02"], watts_w=1_000)
        bureau.round()
        bureau.rounds.change_site(site_of(WITHOUT_RACK01))
        bureau.round()
        assert over(bureau) == ("missed", "zone rack01 is no longer in the site file")
        assert bureau.rows() == {"other": "active"}
        assert bureau.committed("rack02") == 1_000
        assert bureau.reserved_in_slurm().keys() == {"pw_rack02_research"}

    def test_a_zone_that_went_while_the_daemon_was_away(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.create(name="other", zones=["rack02"], watts_w=1_000)
        bureau.site = site_of(WITHOUT_RACK01)
        bureau.restart()
        assert over(bureau) == ("missed", "zone rack01 is no longer in the site file")
        assert bureau.rows() == {"other": "active"}
        assert ("missed", "spring") in [
            (line["action"], line["reservation"]) for line in bureau.ask(ROOT, op="audit")["lines"]
        ]

    def test_its_jobs_run_on_where_a_zone_has_gone(self, bureau: Bureau) -> None:
        bureau.create(zones=["rack01", "rack02"], watts_w=20_000)
        bureau.round()
        bureau.sbatch("power:est=5kW,reservation=spring,zones=rack02")
        bureau.wait(1)
        bureau.rounds.change_site(site_of(WITHOUT_RACK01))
        bureau.wait(1)
        assert bureau.committed("rack02") == 5_000

    def test_a_reload_keeps_what_is_kept(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.sbatch()
        bureau.wait(1)
        bureau.rounds.change_site(site_of(SITE.replace("limit: 52kW", "limit: 51kW")))
        for _ in range(2):
            assert bureau.committed() == 15_000
            bureau.round()


class TestTheClock:
    """It ran a day ahead, and is set right: what has begun by it goes on, with the jobs in it."""

    def ahead(self, bureau: Bureau, burst_w: int) -> None:
        bureau.create(start=START + HOUR, length_s=48 * HOUR, burst_w=burst_w, burst_s=60 if burst_w else 0)
        bureau.clock.instant = START + 25 * HOUR
        bureau.round()
        bureau.round()
        assert bureau.the().state is ACTIVE

    @pytest.mark.parametrize("burst_w", [0, 3_000])
    def test_with_a_job_in_it(self, bureau: Bureau, burst_w: int) -> None:
        self.ahead(bureau, burst_w)
        bureau.sbatch("power:est=5kW,max=6kW,reservation=spring")
        bureau.round()
        bureau.clock.instant = START + 60
        bureau.round()
        bureau.round()
        assert (bureau.the().state, bureau.committed()) == (ACTIVE, 15_000)
        assert not differences(bureau.desk.ledger)

    def test_its_grace_runs_by_the_right_clock(self, bureau: Bureau) -> None:
        self.ahead(bureau, 0)
        bureau.clock.instant = START + 60
        bureau.round()
        assert bureau.the().since == START + 60
        assert bureau.the().state is ACTIVE
        bureau.wait(2 * HOUR)
        assert bureau.the().state is DEGRADED


class TestModes:
    @pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.ADVISE])
    def test_slurm_holds_nothing_for_us_unless_we_enforce(self, bureau: Bureau, mode: Mode) -> None:
        bureau.open()
        assert bureau.held() == 15_000
        bureau.run(bureau.rounds.mode.set(mode, ROOT))
        bureau.round()
        assert bureau.reserved_in_slurm() == {}
        assert (bureau.the().state, bureau.committed()) == (ACTIVE, 15_000)
        bureau.run(bureau.rounds.mode.set(Mode.ENFORCE, ROOT))
        bureau.round()
        assert bureau.held() == 15_000

    def test_in_scope_reserved_only_work_within_is_acted_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bureau = Bureau(monkeypatch, site_of(SITE.replace("enforce: all", "enforce: reserved")))
        bureau.open()
        assert bureau.submit("power:est=26kW,zones=rack01", BOB, account="ops").verdict == "pass"
        assert bureau.submit("power:est=9kW,reservation=spring").verdict == "admit"
        assert bureau.submit("power:est=9kW,reservation=spring").verdict == "hold"
        assert bureau.submit("power:est=9kW,reservation=spring", BOB, account="ops").verdict == "reject"
        bureau.close()


def test_a_defect_with_one_does_not_keep_others_from_their_turn(
    bureau: Bureau, monkeypatch: pytest.MonkeyPatch
) -> None:
    bureau.create(name="bad", watts_w=1_000, start=START + 60)
    bureau.create(name="good", watts_w=1_000, start=START + 60)
    used_w = type(bureau.desk.reserved).used_w

    def broken(reserved: Any, one: Any) -> dict[str, int]:
        if one.name == "bad":
            raise RuntimeError("defect")
        return used_w(reserved, one)

    monkeypatch.setattr(type(bureau.desk.reserved), "used_w", broken)
    bureau.clock.instant += 60
    bureau.desk.now()
    bureau.run(bureau.rounds.reservations.tick())
    assert (bureau.the("good").state, bureau.the("bad").state) == (ACTIVE, APPROVED)
