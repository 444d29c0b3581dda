"""An administrator's hold on a job, told from ours by the reason that Slurm gives.

His changes pass the hook, so Slurm's record is the only witness. Whatever we hold has the reason of a user's hold (by
priority 0 from the submit hook, by `uhold` later); `scontrol hold` by an operator, and whatever slurmctld holds for an
administrator to look at, gives `JobHeldAdmin`. His `uhold` on a job that waits for power changes nothing in Slurm, and
so cannot be seen.
"""

from slurm_power.core.admission import Hold
from slurm_power.core.reasons import Code, Reason
from slurm_power.ports import HoldKind, JobRecord
from slurm_power.service.book import Book, Entry

_ADMIN, _USER = "JobHeldAdmin", "JobHeldUser"
_FAILED = "(failed)"


def take_admins(book: Book, entry: Entry, record: JobRecord, before: JobRecord | None) -> None:
    """Note an administrator's hold on a pending job, or its end; `before` is the record that was seen last."""
    hold = entry.hold
    if not record.held:
        hold = None if hold is HoldKind.ADMIN else hold
    elif record.reason == _USER:
        hold = HoldKind.BOTH if hold is HoldKind.ADMIN else hold  # by `uhold` he has left it to the job's owner
    elif record.reason == _ADMIN and _FAILED not in record.dependency and not _was_so(before):
        hold = HoldKind.ADMIN
        entry.verdict = Hold((Reason(Code.ADMIN_HOLD),))
    if hold is not entry.hold:
        entry.hold = hold
        book.save(entry)


def _was_so(before: JobRecord | None) -> bool:
    """Whether the reason is none of today's: slurmctld gives it by itself to a held job whose dependency has failed,
    and leaves it there once its user has mended that.
    """
    return before is not None and before.held and before.reason == _ADMIN
