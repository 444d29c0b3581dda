"""A small floor with the daemon's whole loop on it, and everything counted that happens there."""

from itertools import count

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.histogram import Distribution
from slurm_power.core.steps import finish
from slurm_power.daemon.journal import StoreJournal, remembered
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import JobRecord
from slurm_power.ports.metrics import Metric
from slurm_power.service.desk import Desk
from slurm_power.service.launch import launch
from slurm_power.service.metrics import metrics
from slurm_power.service.observe import Observer
from slurm_power.service.outcomes import Outcomes, TellingJournal
from slurm_power.service.pulse import Pulse
from slurm_power.service.runs import Runs
from tests.service.preempt_rig import SITE, Rig

PRICED = SITE + """\
feeds:
  pdu: {side: A, limit: 60kW}
tariff: {currency: EUR, kwh: 0.20, reserved_kwh: 0.05, tiers: {gold: 1.5, bronze: 0.5}, checkpoints: 0.8}
sla: {gold: {max_delay: 30m, error_budget: 50%}, bronze: {max_delay: 10m, error_budget: 10%}}
preemption: {min_run: 1s}
"""


class Watched(Rig):
    """A rig whose outcomes are counted, and whose launches go through the gate."""

    def start(self) -> None:
        self.writer = StoreWriter(self.store)
        tokens = (f"tok{self.clock.instant}.{number}" for number in count(1))
        journal = TellingJournal(StoreJournal(self.writer))
        self.desk = Desk(self.site, self.clock, journal, tokens=tokens)
        self.runs = Runs(self.desk)
        self.desk.watches.add(self.runs)
        self.outcomes = journal.outcomes = Outcomes(self.desk)
        self.outcomes.resume(self.store.reservations(live_only=False))
        observer = Observer(self.desk, remembered(self.store))
        self.rounds = Rounds(self.desk, self.slurm, self.writer, observer, self.clock)
        self.rounds.derating.load(self.store)
        self.rounds.reservations.load(self.store.reservations(live_only=True))
        self.rounds.preemptions.load(self.store)

    def gate(self, record: JobRecord, nodes: str) -> str:
        """What the launch gate says of a start on these nodes."""
        env = {"SLURM_JOB_ID": str(record.job_id), "SLURM_JOB_NODELIST": nodes}
        return launch(self.desk, {**env, "SLURM_JOB_RESTART_COUNT": str(record.restarts)}).verdict

    def metrics(self, pulse: Pulse | None = None) -> dict[str, Metric]:
        """All of them, by name without the beginning that all have."""
        found = finish(metrics(self.desk, self.outcomes, self.runs, pulse or Pulse()))
        assert len({metric.name for metric in found}) == len(found)
        return {metric.name.removeprefix("slurm_power_"): metric for metric in found}

    def values(self, name: str, pulse: Pulse | None = None) -> dict[tuple[str, ...], float]:
        """Labels → value of one metric."""
        return {key: value for key, value in self.metrics(pulse)[name].samples if not isinstance(value, Distribution)}

    def value(self, name: str, *labels: str) -> float:
        return self.values(name)[labels]

    def distribution(self, name: str, *labels: str) -> tuple[int, float]:
        """How many values a histogram has, and their sum."""
        found = dict(self.metrics()[name].samples)[labels]
        assert isinstance(found, Distribution)
        return sum(found.counts), found.total
