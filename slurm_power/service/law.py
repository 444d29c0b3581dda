"""Who may preempt whom, and how: what sacctmgr says of the QOS, and nothing of our own."""

from collections.abc import Mapping, Sequence
from dataclasses import field

from slurm_power.core.giving_way import Means
from slurm_power.core.immutable import immutable
from slurm_power.ports import JobRecord, PreemptionRecord, QosRecord

_NOT_OURS = frozenset({"gang", "within", "priority"})
"""Words of a PreemptMode that say nothing of what becomes of the victim."""


@immutable
class Law:
    """The QOS as they were last read, and the cluster's own words where a QOS has none."""

    qos: Mapping[str, QosRecord]
    cluster: PreemptionRecord
    modes: dict[str, frozenset[str]] = field(default_factory=dict, compare=False)
    """The words of each QOS's mode that were asked for before: a site may have 100,000 jobs of few QOS."""

    def victims_of(self, qos: str) -> frozenset[str]:
        """The QOS whose jobs those of this one may preempt.

        Pairs on a circle are left out: there a victim that came back could preempt whom it gave way to.
        """
        record = self.qos.get(qos)
        if record is None:
            return frozenset()
        return frozenset(name for name in record.preempts if name in self.qos and qos not in self._below(name))

    def means(self, record: JobRecord) -> Means:
        """How a job is taken off its nodes, where nothing is in the way of that."""
        return Means.CANCEL if "cancel" in self._mode(record.qos) else Means.REQUEUE

    def may_end(self, qos: str, *, batch: bool, requeue: bool | None) -> bool:
        """Whether a job to come can be taken off its nodes so that its watts come free; no, before Slurm was asked.

        `requeue` is None where it goes by the cluster's JobRequeue.
        """
        mode = self._mode(qos)
        if qos not in self.qos or "suspend" in mode:
            return False
        return "cancel" in mode or (batch and (self.cluster.requeue if requeue is None else requeue))

    def obstacle(self, record: JobRecord) -> str | None:
        """Why a job cannot be taken off its nodes so that its watts come free; None if it can.

        Interactive jobs, and batch jobs that are not to be requeued, are never requeued.
        """
        if "suspend" in self._mode(record.qos):
            return f"PreemptMode of QOS {record.qos} is SUSPEND, and a suspended job keeps its licences"
        if self.means(record) is Means.CANCEL or (record.batch and record.requeue):
            return None
        what = "may not be requeued" if record.batch else "is interactive"
        return f"it {what}, and PreemptMode of QOS {record.qos} is not CANCEL"

    def exempt_s(self, qos: str) -> int:
        """How long a job of this QOS runs before it may be preempted, in seconds."""
        record = self.qos.get(qos)
        own = record.exempt_s if record is not None else None
        return (self.cluster.exempt_s if own is None else own) or 0

    def _mode(self, qos: str) -> frozenset[str]:
        """Without a word of the QOS or the cluster (PreemptMode=OFF, no plugin) a victim is requeued."""
        if qos not in self.modes:
            record = self.qos.get(qos)
            mode = (record.preempt_mode if record is not None else "") or self.cluster.mode
            self.modes[qos] = frozenset(word.strip() for word in mode.lower().split(",")) - _NOT_OURS
        return self.modes[qos]

    def _below(self, qos: str) -> set[str]:
        """This QOS, and all that it may preempt, by way of others too."""
        found, ahead = set[str](), [qos]
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += self.qos[name].preempts if name in self.qos else ()
        return found


NO_LAW = Law({}, PreemptionRecord("OFF"))
"""Before Slurm has been asked, and without an accounting database: nobody preempts."""


def law_of(qos: Sequence[QosRecord], cluster: PreemptionRecord) -> Law:
    """The law by what Slurm shows."""
    return Law({record.name: record for record in qos}, cluster)
