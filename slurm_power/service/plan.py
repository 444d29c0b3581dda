"""What is to be written to Slurm about one job, and how a job is named and unbound there."""


from slurm_power.core.binding import foreign_licences, reservation_of_nodes, strip_ours
from slurm_power.core.immutable import immutable
from slurm_power.core.record import AdmissionRecord, find_record, put_record
from slurm_power.ports import Chain, JobRecord
from slurm_power.service.book import Entry


@immutable
class Plan:
    """Commands for one job, or for all components of one, and the entries that they are about."""

    action: str
    """bind, hold, free or mend"""
    target: str
    chain: Chain
    keys: tuple[str, ...]
    queued: str = ""
    """The entry in the queue from which tasks are taken, where they have entries of their own."""


def unbinding(entry: Entry, record: JobRecord, kept: AdmissionRecord) -> dict[str, str]:
    """The fields that take our binding off a job and leave this record on it."""
    ask = entry.ask
    bound = find_record(record.admin_comment)
    fields = {
        "AdminComment": put_record(record.admin_comment, kept),
        "Licenses": ask.licenses if ask is not None else foreign_licences(record.licenses),
        "Features": ask.features if ask is not None else strip_ours(record.features),
    }
    asked = ask.request.reservation if ask is not None else ""
    if asked and record.reservation == reservation_of_nodes(asked):
        fields["ReservationName"] = ""  # Slurm deletes none that a waiting job names
    if bound is not None and bound.own_excluded is not None:
        fields["ExcNodeList"] = bound.own_excluded
    return fields


def whole(record: JobRecord) -> str:
    """Holding or releasing a component means its whole job."""
    return str(record.het_job_id) if record.het_job_id is not None else record.target
