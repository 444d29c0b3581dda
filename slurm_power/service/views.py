"""What the daemon shows: zones and feeds, jobs, one job explained. JSON-ready, in the shapes of docs/json."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slurm_power.core.admission import Admit, Hold, PowerClass, Reject, Verdict, decide, power_class
from slurm_power.core.lifecycle import CLAIMING, State
from slurm_power.core.meter import Meter
from slurm_power.core.profile import Learnt, ProfileKey
from slurm_power.core.reasons import Help, Reason
from slurm_power.core.topology import FeedKind
from slurm_power.core.units import format_watts
from slurm_power.core.window import format_instant
from slurm_power.ports import Decision, Kind, LicenseRecord
from slurm_power.service.asking import Ask, Free, advice, interpret
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.facts import JobFacts
from slurm_power.service.later import COUNTED
from slurm_power.service.launch import unholdable
from slurm_power.service.measured import CRITICAL
from slurm_power.service.measured_views import measured_row
from slurm_power.service.preempt_told import told
from slurm_power.service.run_views import charged_more, drawn_row
from slurm_power.service.submit import judge
from slurm_power.service.usage_views import job_share
from slurm_power.service.wording import accepted_cut, named, renamed, retold

SCHEMA = 1
_NAME = re.compile(r"(?P<job>\d{1,18})(?:_(?:(?P<task>\d{1,18})|\[[^]]*\])|\+(?P<offset>\d{1,9}))?", re.ASCII)
Row = dict[str, object]


def zones(desk: Desk, licenses: Mapping[str, LicenseRecord] | None = None) -> dict[str, object]:
    """`spower zones`: every zone and feed with its numbers, and Slurm's own count where it was read."""
    counted = licenses or {}
    topology = desk.site.topology
    return zone_table(
        desk,
        [zone_row(desk, name, counted) for name in sorted(topology.zones)],
        [feed_row(desk, name, counted) for name in sorted(topology.feeds)],
    )


def zone_table(desk: Desk, zones: list[Row], feeds: list[Row]) -> Row:
    """The answer of `spower zones` from its rows."""
    return {"schema": SCHEMA, "mode": str(desk.mode), "zones": zones, "feeds": feeds}


def zone_row(desk: Desk, name: str, licenses: Mapping[str, LicenseRecord]) -> Row:
    """One zone's numbers."""
    zone, meter, nodes = desk.site.topology.zones[name], desk.ledger.meters[name], desk.ledger.nodes[name]
    return {
        "name": name,
        **_numbers(meter),
        "baseline_w": zone.baseline_w,
        "reserved_w": _reserved_w(desk, name),
        **measured_row(desk, Kind.ZONE, meter),
        "lane": str(zone.lane),
        "redundancy": str(zone.redundancy),
        "thermal": "critical" if desk.ledger.closed.get(name) == CRITICAL else "normal",
        "feeds": [tap.feed for tap in desk.site.topology.taps[name]],
        "nodes_up": nodes.up,
        "nodes_idle": nodes.idle,
        "jobs": sum(1 for claim in desk.ledger.claims_in(name) if not claim.reserves),
        **_counted(desk, name, licenses),
    }


def _reserved_w(desk: Desk, zone: str) -> int:
    """What reservations keep in a zone now and nobody uses, in W."""
    kept = (claim for claim in desk.ledger.claims_in(zone) if claim.reserves)
    return sum(charge.est_w for claim in kept for charge in claim.charges if charge.zone == zone)


def feed_row(desk: Desk, name: str, licenses: Mapping[str, LicenseRecord]) -> Row:
    """One feed's numbers."""
    feed = desk.site.topology.feeds[name]
    return {
        "name": name,
        "side": str(feed.side) if feed.side else None,
        "kind": str(feed.kind) if feed.kind is not FeedKind.POWER else "power",
        "parent": feed.parent,
        **_numbers(desk.ledger.meters[name]),
        "baseline_w": desk.ledger.meters[name].baseline_w,
        **measured_row(desk, Kind.FEED, desk.ledger.meters[name]),
        **_counted(desk, name, licenses),
    }


def _numbers(meter: Meter) -> dict[str, object]:
    return {
        "limit_w": meter.limit_w,
        "usable_w": meter.usable_w,
        "committed_w": meter.committed_w,
        "burst_w": meter.burst_w,
        "headroom_w": meter.headroom_w,
        "room_w": meter.room_w,
    }


def _counted(desk: Desk, name: str, licenses: Mapping[str, LicenseRecord]) -> dict[str, object]:
    """What Slurm itself counts for this element; None where it has no licence."""
    licence = desk.binder.licence(name)
    record = licenses.get(licence) if licence is not None else None
    return {
        "license": licence,
        "license_total": record.total if record else None,
        "license_used": record.used if record else None,
    }


def jobs(desk: Desk, uid: int | None = None) -> dict[str, object]:
    """`spower jobs`: every job that the daemon knows, or one user's."""
    return job_table([job_row(desk, entry) for entry in job_list(desk, uid)])


def job_list(desk: Desk, uid: int | None = None) -> list[Entry]:
    """The entries that `spower jobs` shows, by job id."""
    entries = (e for e in desk.book.entries.values() if uid is None or e.uid == uid)
    return sorted(entries, key=lambda e: (e.job_id or 1 << 60, e.key))


def job_table(rows: list[Row]) -> Row:
    """The answer of `spower jobs` from its rows."""
    return {"schema": SCHEMA, "jobs": rows}


def job_row(desk: Desk, entry: Entry) -> Row:
    """One job's state and watts."""
    request = entry.ask.request if entry.ask else None
    claim = desk.ledger.claims.get(entry.key)
    return {
        "job": entry.name,
        "job_id": entry.job_id,
        "user": entry.record.user if entry.record and entry.record.user else str(entry.uid),
        "account": request.account if request else "",
        "name": entry.record.name if entry.record else (entry.ask.facts.name if entry.ask else ""),
        "state": str(entry.state),
        "hold": str(entry.hold) if entry.hold else None,
        "tier": request.tier.name if request else None,
        "power_class": _power_class(desk, entry),
        "zones": [charge.zone for charge in claim.charges] if claim else [],
        "est_w": claim.est_w if claim else request.est_w if request else None,
        "max_w": claim.max_w if claim else request.max_w if request else None,
        "note": entry.note,
    }


def explain(desk: Desk, name: str, viewer: int | None = None) -> dict[str, object] | None:
    """`spower explain JOB`: the verdict with reasons, numbers, the earliest start and what would help.

    `viewer` is the uid of a user who may learn of his own jobs only; None may know of all. None: no such job, for him.
    """
    entry = find(desk, name)
    if entry is None or viewer not in (None, entry.uid):
        return None
    desk.now()
    verdict = _verdict(desk, entry)
    shown = job_row(desk, entry)
    why = verdict if isinstance(verdict, (Hold, Reject)) else None
    reasons = [renamed(reason, desk.book, viewer) for reason in why.reasons] if why else []
    helps = [named(found, desk.book, viewer) for found in why.helps] if why else []
    start = verdict.earliest if isinstance(verdict, Hold) else None
    return {
        "schema": SCHEMA,
        **{key: shown[key] for key in ("job", "job_id", "state", "tier", "power_class", "zones", "est_w", "max_w")},
        "est_from": entry.ask.est_from if entry.ask is not None else None,
        "verdict": _word(entry, verdict),
        "reasons": [reason.as_json() for reason in reasons],
        "earliest_start": format_instant(start) if start is not None else None,
        "helps": [found.as_json() for found in helps],
        "note": entry.note,
        "share": job_share(desk, entry),
        "drawn": drawn_row(desk, entry),
        "preemption": told(desk, entry.key),
        "sentence": _sentence(desk, entry, verdict, reasons, helps, start),
    }


def check(
    desk: Desk,
    facts: JobFacts,
    viewer: int | None = None,
    learnt: Mapping[ProfileKey, Learnt] | None = None,
) -> Row:
    """`spower check`: what would become of such a job; nothing is claimed. `viewer` as for `explain`, `learnt` as for
    `interpret`.
    """
    now = desk.now()
    asked = interpret(facts, desk.world, "check", now, learnt=learnt)
    if not isinstance(asked, Ask):
        return checked(desk, asked, None, viewer=viewer)
    return checked(desk, judge(desk, asked), asked, advice(asked, now), viewer=viewer)


def checked(
    desk: Desk,
    verdict: Verdict | Free,
    ask: Ask | None,
    remark: str = "",
    *,
    viewer: int | None = None,
    at: int | None = None,
) -> Row:
    """The answer of `spower check` from its verdict; `at` is the later instant that it was asked about."""
    then = "now" if at is None else f"at {format_instant(at)}"
    if isinstance(verdict, Free):
        return _checked("admit", None, "Power does not matter to this job: none of its nodes lies in a zone.", at=at)
    if isinstance(verdict, Admit):
        claim = verdict.claim
        zones = [charge.zone for charge in claim.charges]
        watts = f"{format_watts(claim.est_w)} (at most {format_watts(claim.max_w)})"
        sentence = f"Such a job fits {then} in {', '.join(zones)} with {watts}, on {verdict.power_class} power."
        if verdict.cut_at is not None:
            sentence += f" {accepted_cut(verdict.cut_at).capitalize()}."
        return _checked("admit", ask, sentence, remark, at) | {
            "zones": zones,
            "power_class": str(verdict.power_class),
        }
    reasons = [renamed(reason, desk.book, viewer) for reason in verdict.reasons]
    helps = [_help(named(found, desk.book, viewer), at) for found in verdict.helps]
    start = verdict.earliest if isinstance(verdict, Hold) else None
    word = "could never run" if isinstance(verdict, Reject) else "would wait"
    what = f"Such a job {word}" + ("" if at is None or isinstance(verdict, Reject) else f" {then}")
    texts = [str(found["text"]) for found in helps]
    sentence = _because(what, "; ".join(reason.text for reason in reasons), texts, start)
    return _checked(type(verdict).__name__.lower(), ask, sentence, remark, at) | {
        "reasons": [reason.as_json() for reason in reasons],
        "helps": helps,
        "earliest_start": format_instant(start) if start is not None else None,
    }


def _help(found: Help, at: int | None) -> Row:
    """A help; about a later instant it does not say now."""
    row = found.as_json()
    return row if at is None else {**row, "text": str(row["text"]).replace(" now as ", " then as ")}


def _checked(verdict: str, ask: Ask | None, sentence: str, remark: str = "", at: int | None = None) -> Row:
    request = ask.request if ask is not None else None
    return {
        "schema": SCHEMA,
        "verdict": verdict,
        "tier": request.tier.name if request else None,
        "power_class": None,
        "zones": [],
        "est_w": request.est_w if request else None,
        "max_w": request.max_w if request else None,
        "est_from": ask.est_from if ask is not None else None,
        "reasons": [],
        "earliest_start": None,
        "helps": [],
        "advice": remark,
        "at": format_instant(at) if at is not None else None,
        "counted": COUNTED if at is not None else "",
        "sentence": sentence,
    }


def report(decisions: Sequence[Decision], *, would: bool) -> dict[str, object]:
    """`spower report`: how often each verdict fell, and the lines; with `would`, what observe and advise held back."""
    tally = Tally()
    return tally.report([tally.row(decision) for decision in reported(decisions, would=would)])


def reported(decisions: Sequence[Decision], *, would: bool) -> list[Decision]:
    """The decisions that a report shows."""
    return [decision for decision in decisions if not would or decision.action.startswith("would-")]


@dataclass(slots=True)
class Tally:
    """Counts decisions while their lines are made, so that both can be done a few at a time."""

    viewer: int | None = None
    """The uid of a user who may learn of his own jobs only."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Token → how its job is called, for lines that were written before Slurm had shown the job."""
    actions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def row(self, decision: Decision) -> Row:
        """One line of the audit log, counted."""
        self.actions[decision.action] += 1
        self.reasons.update(str(reason.get("code")) for reason in decision.reasons)
        return line_row(decision, self.names, private=self.viewer is not None)

    def report(self, rows: list[Row]) -> Row:
        """The answer of `spower report` from its rows."""
        return {
            "schema": SCHEMA,
            "counts": dict(sorted(self.actions.items())),
            "reason_counts": dict(sorted(self.reasons.items())),
            "decisions": rows,
        }


def line_row(decision: Decision, names: Mapping[str, str], *, private: bool) -> Row:
    """One line of the audit log; `private` if it is for a user who may learn of his own jobs only."""
    return {
        "at": format_instant(decision.at),
        "job": names.get(decision.job, decision.job),
        "uid": decision.uid,
        "account": decision.account,
        "action": decision.action,
        "mode": decision.mode,
        "zones": list(decision.zones),
        "reasons": [dict(retold(reason) if private else reason) for reason in decision.reasons],
    }


def audit_row(decision: Decision, names: Mapping[str, str], *, private: bool) -> Row:
    """The same with who, why and by which rule."""
    return {
        **line_row(decision, names, private=private),
        "reservation": decision.reservation,
        "actor": decision.actor,
        "cause": decision.cause,
        "rule": decision.rule,
        "numbers": dict(decision.numbers),
    }


def nameless(decisions: Sequence[Decision]) -> list[str]:
    """The tokens that stand in these lines in the place of their jobs, which Slurm had not shown by then."""
    return list(dict.fromkeys(line.token for line in decisions if line.job == line.token != ""))


def tokens_of(desk: Desk, name: str) -> list[str]:
    """The submissions that the jobs of this name came from, as far as they are known now."""
    entry, match = find(desk, name), _NAME.fullmatch(name)
    parts = desk.book.parts_of(int(name)) if match is not None and match["job"] == name else []
    return sorted({found.token for found in [entry, *parts] if found is not None})


def names(desk: Desk, tokens: Sequence[str], logged: Mapping[str, str]) -> dict[str, str]:
    """How the jobs of these submissions are called by now: by what Slurm shows, else by later lines of the log.

    A submission of an array is called as the array, whichever of its tasks a later line is about.
    """
    found = {token: desk.book.name_of(token) or logged.get(token, "") for token in tokens}
    return {token: name.partition("_")[0] for token, name in found.items() if name}


def find(desk: Desk, name: str) -> Entry | None:
    """The entry of a job as people name it: id, `812_3`, `812_[3-9]`, `812+1` or token; of several, one that waits."""
    book = desk.book
    match = _NAME.fullmatch(name)
    if match is None:
        return book.get(name)
    job_id = int(match["job"])
    if match["task"] is not None:
        return book.of_task(job_id, int(match["task"]))
    parts = book.parts_of(job_id)
    if match["offset"] is not None:
        parts = [part for part in parts if part.record is not None and part.record.het_offset == int(match["offset"])]
    elif (entry := book.of_job(job_id)) is not None:
        return entry
    return min(parts, key=lambda part: (part.state is not State.WAITING, part.key), default=None)


def _verdict(desk: Desk, entry: Entry) -> Verdict | None:
    """For a job in the queue, what a pass would say now; else what was last said."""
    if entry.state is not State.WAITING or entry.ask is None:
        return entry.verdict
    request = entry.ask.request
    asked = request.with_copies(1) if request.ask.copies > 1 else request
    verdict = decide(asked, desk.ledger, desk.floor, ignore=desk.ignored_by(asked), others=desk.tiers)
    return verdict if not isinstance(verdict, Admit) else entry.verdict


def _word(entry: Entry, verdict: Verdict | None) -> str:
    if entry.state in CLAIMING or entry.state is State.FREE:
        return "admit"
    return "reject" if isinstance(verdict, Reject) else "hold"


def _sentence(
    desk: Desk, entry: Entry, verdict: Verdict | None, reasons: list[Reason], helps: list[Help], start: int | None
) -> str:
    """The whole answer in one sentence."""
    if entry.state in CLAIMING:
        claim = desk.ledger.claims[entry.key]
        where = ", ".join(charge.zone for charge in claim.charges)
        stands = f"Job {entry.name} is {entry.state} in {where} on {_power_class(desk, entry)} power"
        return f"{stands}{charged_more(desk, entry)}."
    if entry.state is State.FREE and entry.note and unholdable(entry):
        return (
            f"Job {entry.name} of scrontab could not start because {entry.note}; nobody can hold such a job, "
            "and Slurm tries it again every two minutes."
        )
    if entry.state is State.FREE:
        return f"Job {entry.name} is not ours to hold: it asks for no zone's nodes, or the mode does not act on it."
    why = "; ".join(reason.text for reason in reasons) or entry.note or "it waits for the next pass"
    word = "can never run" if isinstance(verdict, Reject) else "waits"
    return _because(f"Job {entry.name} {word}", why, [found.text for found in helps], start)


def _because(what: str, why: str, helps: Sequence[str], start: int | None) -> str:
    """What, why, from when on, and what would help, in one sentence."""
    parts = [f"{what} because {why}"]
    if start is not None:
        parts.append(f"earliest start {format_instant(start)}")
    if helps:
        parts.append("it " + ", or ".join(helps))
    return "; ".join(parts) + "."


def _power_class(desk: Desk, entry: Entry) -> str | None:
    claim = desk.ledger.claims.get(entry.key)
    if claim is None or entry.ask is None:
        return None
    if claim.within:
        return str(PowerClass.RESERVED)
    lanes = {desk.site.topology.zones[charge.zone].lane for charge in claim.charges}
    return str(power_class(entry.ask.request.tier, lanes))
