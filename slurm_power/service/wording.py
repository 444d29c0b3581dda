"""Verdicts, reasons and helps in words, with jobs named as people know them and not by their claims."""

from dataclasses import replace

from slurm_power.core.admission import Admit, Hold, Verdict
from slurm_power.core.reasons import Help, Reason
from slurm_power.core.units import format_watts
from slurm_power.core.window import format_instant
from slurm_power.service.asking import Ask, advice
from slurm_power.service.book import Book


def named(found: Help, book: Book) -> Help:
    """A help that names the job whose end makes room, where Slurm has shown it."""
    return replace(found, after_job=book.name_of(found.after_job)) if found.after_job else found


def renamed(reason: Reason, book: Book) -> Reason:
    """A reason whose detail names a job."""
    return replace(reason, detail=book.name_of(reason.detail)) if reason.detail in book.entries else reason


def describe(verdict: Verdict, book: Book, now: int, ask: Ask | None = None, *, would: bool = False) -> str:
    """The verdict for the user, one line each fact; `would` says that it is advice and nothing came of it."""
    lead = "would be " if would else ""
    if isinstance(verdict, Admit):
        zones = ", ".join(charge.zone for charge in verdict.claim.charges)
        watts = f"{format_watts(verdict.claim.est_w)} (at most {format_watts(verdict.claim.max_w)})"
        lines = [f"{lead}admitted to {zones} with {watts}, on {verdict.power_class} power"]
    else:
        word = "held" if isinstance(verdict, Hold) else "rejected"
        lines = [f"{lead}{word}: {renamed(reason, book).text}" for reason in verdict.reasons]
        if isinstance(verdict, Hold) and verdict.earliest is not None:
            lines.append(f"earliest start: {format_instant(verdict.earliest)}")
        if verdict.helps:
            lines.append("would help: " + "; ".join(named(found, book).text for found in verdict.helps))
    if ask is not None and (remark := advice(ask, now)):
        lines.append(remark)
    return "\n".join(f"slurm_power: {line}" for line in lines)
