"""Verdicts, reasons and helps in words, with jobs named as people know them and not by their claims."""

from collections.abc import Mapping
from dataclasses import replace

from slurm_power.core.admission import Admit, Hold, Verdict
from slurm_power.core.reasons import Code, Help, Reason
from slurm_power.core.units import format_watts
from slurm_power.core.window import format_instant
from slurm_power.service.asking import Ask, advice
from slurm_power.service.book import Book

SOMEBODYS = "another user's"


def named(found: Help, book: Book, viewer: int | None = None) -> Help:
    """A help that names the job whose end makes room, where Slurm has shown it and the viewer may know of it.

    `viewer` is the uid of a user who may learn of his own jobs only; None may know of all.
    """
    after = found.after_job
    return replace(found, after_job=book.name_of(after) if _may_see(book, after, viewer) else "") if after else found


def renamed(reason: Reason, book: Book, viewer: int | None = None) -> Reason:
    """A reason whose detail names a job, as far as the viewer may know of it."""
    if reason.detail not in book.entries:
        return reason
    if not _may_see(book, reason.detail, viewer):
        return replace(reason, detail=SOMEBODYS)
    return replace(reason, detail=book.name_of(reason.detail) or "one that was submitted just now")


def retold(reason: Mapping[str, object]) -> Mapping[str, object]:
    """A reason out of the audit log, for a user who may learn of his own jobs only."""
    if reason.get("code") != Code.QUEUE:
        return reason
    return {**reason, "text": Reason(Code.QUEUE, str(reason.get("subject", "")), detail=SOMEBODYS).text}


def _may_see(book: Book, key: str, viewer: int | None) -> bool:
    entry = book.get(key)
    return viewer is None or (entry is not None and entry.uid == viewer)


def accepted_cut(cut_at: int) -> str:
    """What is said of a job that a planned cut may end."""
    return f"a planned cut may end it shortly before {format_instant(cut_at)}, as its tier accepts"


def describe(verdict: Verdict, book: Book, now: int, ask: Ask | None = None, *, would: bool = False) -> str:
    """The verdict for the user, one line each fact; `would` says that it is advice and nothing came of it."""
    lead = "would be " if would else ""
    viewer = ask.facts.uid if ask is not None and book.private else None
    if isinstance(verdict, Admit):
        zones = ", ".join(charge.zone for charge in verdict.claim.charges)
        watts = f"{format_watts(verdict.claim.est_w)} (at most {format_watts(verdict.claim.max_w)})"
        lines = [f"{lead}admitted to {zones} with {watts}, on {verdict.power_class} power"]
        if verdict.cut_at is not None:
            lines.append(accepted_cut(verdict.cut_at))
    else:
        word = "held" if isinstance(verdict, Hold) else "rejected"
        lines = [f"{lead}{word}: {renamed(reason, book, viewer).text}" for reason in verdict.reasons]
        if isinstance(verdict, Hold) and verdict.earliest is not None:
            lines.append(f"earliest start: {format_instant(verdict.earliest)}")
        if verdict.helps:
            lines.append("would help: " + "; ".join(named(found, book, viewer).text for found in verdict.helps))
    if ask is not None and (remark := advice(ask, now)):
        lines.append(remark)
    return "\n".join(f"slurm_power: {line}" for line in lines)
