"""Slurm read, and the desk brought in step with it: jobs and nodes each time, the rest at longer intervals."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from slurm_power.core.errors import SlurmError
from slurm_power.core.policy import Native
from slurm_power.daemon.breath import Breath
from slurm_power.ports import Clock, JobRecord, LicenseRecord, NodeRecord, PartitionRecord, Slurm
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer
from slurm_power.service.recount import READINGS, Recount

_log = logging.getLogger("slurm_power.reading")

_DOUBT_S = 0.5
"""Between two readings of a count of licences that looks off."""
_COUNT_S = 3.0
"""How long who asks for our figures waits for Slurm's beside them, for instance while slurmctld is away."""


class Reader:
    """Reads Slurm into the desk. `partitions_s`, `shares_s`: seconds between readings of partitions, and of fair
    shares.
    """

    def __init__(
        self,
        desk: Desk,
        slurm: Slurm,
        observer: Observer,
        clock: Clock,
        breath: Breath,
        *,
        partitions_s: float,
        shares_s: float,
    ) -> None:
        self.took_s = 0.0
        """How long the last whole reading has taken."""
        self._desk = desk
        self._slurm = slurm
        self._observer = observer
        self._clock = clock
        self._breath = breath
        self._partitions_s = partitions_s
        self._shares_s = shares_s
        self._partitions: Sequence[PartitionRecord] = ()
        self._partitions_at = float("-inf")
        self._shares_at = float("-inf")
        self._nodes: Sequence[NodeRecord] = ()
        self._licenses: frozenset[str] = frozenset()
        self._missing: tuple[str, ...] = ()
        self._private = True
        self._recount = Recount()
        self._counting: asyncio.Task[dict[str, LicenseRecord]] | None = None

    @property
    def miscounts(self) -> Mapping[str, int]:
        """Licence → by how many W Slurm counts more than its jobs hold, or less."""
        return self._recount.found

    async def read(self, begun: float) -> Sequence[JobRecord]:
        """Read Slurm and bring the desk in step; all jobs. `begun` is the monotonic time of now. Raises SlurmError."""
        jobs = await self._snapshot(begun)
        await self._observe(jobs, begun)
        self.took_s = self._clock.monotonic() - begun
        return jobs

    async def read_anew(self) -> None:
        """Read everything, also what is read at longer intervals; again where Slurm's count of licences looks off.

        Raises SlurmError.
        """
        for _ in range(READINGS):
            self._partitions_at = float("-inf")
            await self.read(self._clock.monotonic())
            if not self._recount.doubtful:
                return
            await asyncio.sleep(_DOUBT_S)

    async def look(self) -> None:
        """Read all jobs, and no more than that. Raises SlurmError."""
        begun = self._clock.monotonic()
        jobs = await asyncio.to_thread(self._slurm.jobs)
        await self._observe(jobs, begun)

    async def learn(self, job_id: int) -> None:
        """Read one job, for a gate that cannot wait for the next round. Raises SlurmError."""
        begun = self._clock.monotonic()
        records = await asyncio.to_thread(self._slurm.jobs, [job_id])
        self._observer.observe(records, begun, whole=False)

    async def licenses(self) -> dict[str, LicenseRecord]:
        """Slurm's own count of licences; empty where it cannot be read, or not soon. All wait for one reading."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_licenses())
        counting = self._counting
        await asyncio.wait([counting], timeout=_COUNT_S)
        return counting.result() if counting.done() else {}

    async def _count_licenses(self) -> dict[str, LicenseRecord]:
        return {record.name: record for record in await read_licenses(self._slurm) or ()}

    async def _observe(self, jobs: Sequence[JobRecord], begun: float) -> None:
        await self._breath.in_steps(self._observer.steps(jobs, begun))

    async def _snapshot(self, begun: float) -> Sequence[JobRecord]:
        """All jobs, with the desk told of all else that is due."""
        nodes = await asyncio.to_thread(self._slurm.nodes)
        due = begun - self._partitions_at >= self._partitions_s or self._desk.lost_partition
        if due:
            await self._read_partitions(begun)
        if begun - self._shares_at >= self._shares_s:
            self._desk.fair_shares = await self._fair_shares()
            self._shares_at = begun
        jobs = await asyncio.to_thread(self._slurm.jobs)
        if due:
            await self._compare_licenses(jobs)
        # Taken in together: else a job that has just started is counted on its node, and once more as one to come.
        if due or nodes != self._nodes:
            self._nodes = nodes
            self._desk.survey(nodes, self._partitions, self._licenses)
            self._warn_of_missing()
        return jobs

    async def _read_partitions(self, begun: float) -> None:
        """Partitions, and what else hardly ever changes: the version and what is private."""
        self._desk.lost_partition = False
        self._desk.version = await asyncio.to_thread(self._slurm.version)
        self._partitions = await asyncio.to_thread(self._slurm.partitions)
        self._desk.private_jobs = await self._jobs_are_private()
        self._partitions_at = begun

    async def _jobs_are_private(self) -> bool:
        """PrivateData=jobs; where it cannot be read, as it was last, and before that yes."""
        try:
            self._private = "jobs" in await asyncio.to_thread(self._slurm.private_data)
        except SlurmError as error:
            _log.warning("cannot read PrivateData: %s", error)
        return self._private

    async def _fair_shares(self) -> dict[tuple[str, str], float]:
        """Without them the queue goes on, by age."""
        try:
            return dict(await asyncio.to_thread(self._slurm.fair_shares))
        except SlurmError as error:
            _log.warning("cannot read fair shares: %s", error)
            return {}

    async def _compare_licenses(self, jobs: Sequence[JobRecord]) -> None:
        """Which licences Slurm has, and whether it counts what `jobs` hold of them; as before where it cannot tell."""
        found = await read_licenses(self._slurm)
        if found is None:
            return
        self._licenses = frozenset(record.name for record in found)
        if self._recount.take(jobs, found):
            if self.miscounts:
                _log.warning("Slurm's count of licences is not what its jobs hold", extra={"by_w": self.miscounts})
            else:
                _log.info("Slurm's count of licences is what its jobs hold again")

    def _warn_of_missing(self) -> None:
        """Slurm lacks licences of ours: it does not guard those watts while we are away. Said once."""
        missing = self._desk.binder.missing if self._desk.site.policy.native is Native.LICENSES else ()
        if missing != self._missing:
            self._missing = missing
            if missing:
                extra = {"missing": missing[:20], "count": len(missing)}
                _log.warning("Slurm lacks licences; see `spower render slurm`", extra=extra)


async def read_licenses(slurm: Slurm) -> Sequence[LicenseRecord] | None:
    """Slurm's own count of licences; None, and a line of the log, where it cannot be read."""
    try:
        return await asyncio.to_thread(slurm.licenses)
    except SlurmError as error:
        _log.warning("cannot read licences: %s", error)
        return None
