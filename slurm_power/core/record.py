"""The admission record: the segment `power:id=…` of a job's admin comment, which users cannot write.

It is complete enough to rebuild a claim and to launch a job while the daemon is away:

    power:id=Zk3…,v=admit,tier=gold,zones=rack07/2/18500/24000+rack08/2/18500/24000

A zone's numbers are its nodes, est and max in W. The rest of the admin comment belongs to others and stays.
There is one segment; where text of others brings a second, in front or behind, neither is believed.
"""

import re
from enum import StrEnum
from functools import lru_cache
from urllib.parse import quote, unquote

from slurm_power.core.claim import Charge
from slurm_power.core.immutable import immutable

__all__ = ["AdmissionRecord", "Charge", "Standing", "find_record", "put_record"]

# ASCII throughout: Lua, which reads the same text, knows no other white space and no other digits.
_SEGMENT = re.compile(r"(?:^|(?<=[\s;]))power:(id=[^\s;]*)", re.ASCII)
_SHARE = re.compile(r"([A-Za-z0-9_.-]+)/(\d{1,18})/(\d{1,18})/(\d{1,18})", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_.:@-]+")

NEVER = "never"
"""The hold of a job that Slurm lets nobody hold."""


class Standing(StrEnum):
    """How a job stands with us."""

    ADMIT = "admit"
    HOLD = "hold"
    FREE = "free"
    """No watts to count: none of its nodes lies in a zone, or the mode does not act on it."""


_STANDINGS = {str(standing): standing for standing in Standing}


@immutable
class AdmissionRecord:
    """What was decided about a job, as written into its admin comment."""

    token: str
    standing: Standing
    tier: str = ""
    charges: tuple[Charge, ...] = ()
    hold: str = ""
    """While held: `power`, `user` or `both`. `never` on a job that Slurm lets nobody hold (scrontab)."""
    restarts: int = 0
    """Slurm's restart count for which it holds: a requeued job does not start on its old record."""
    any_nodes: bool = False
    """In one zone: its watts are those of the whole job, so that it may start on more nodes than it was charged for."""
    reservation: str = ""
    """The reservation of power that it draws on, by name and id: `spring:k3Jd82`."""
    own_excluded: str | None = None
    """What its user excluded, where it is bound by excluding other nodes too: the list to go back to."""

    def encode(self) -> str:
        """The segment as text. ValueError for a word or number that would not read back as itself."""
        shares = [f"{c.zone}/{c.nodes}/{c.est_w}/{c.max_w}" for c in self.charges]
        words = [self.token, *filter(None, (self.tier, self.hold, self.reservation))]
        if not all(map(_WORD.fullmatch, words)) or not all(map(_SHARE.fullmatch, shares)):
            raise ValueError(f"an admission record cannot hold {self!r}")
        parts = [f"id={self.token}", f"v={self.standing}"]
        if self.tier:
            parts.append(f"tier={self.tier}")
        if self.hold:
            parts.append(f"hold={self.hold}")
        if self.restarts:
            parts.append(f"r={self.restarts}")
        if self.any_nodes:
            parts.append("n=any")
        if self.reservation:
            parts.append(f"res={self.reservation}")
        if self.own_excluded is not None:
            parts.append(f"x={quote(self.own_excluded, safe='[]')}")
        if shares:
            parts.append(f"zones={'+'.join(shares)}")
        return "power:" + ",".join(parts)


def find_record(admin_comment: str) -> AdmissionRecord | None:
    """The record in an admin comment; None where there is none, or more than one, or one that cannot be read whole."""
    segments = _SEGMENT.findall(admin_comment)
    if len(segments) != 1:
        return None
    token, _, rest = segments[0].removeprefix("id=").partition(",")
    told = _told(rest)
    return AdmissionRecord(token, *told) if told is not None and _WORD.fullmatch(token) is not None else None


@lru_cache(maxsize=16_384)
def _told(rest: str) -> tuple[Standing, str, tuple[Charge, ...], str, int, bool, str, str | None] | None:
    """What a segment says behind its token, in the order of the record's fields; None where it cannot be read.

    Cached, for that is often much alike in jobs of one zone.
    """
    parts = [part.partition("=") for part in rest.split(",")]
    fields = {name: value for name, _, value in parts}
    standing, charges = _STANDINGS.get(fields.get("v", "")), _charges(fields.get("zones", ""))
    if standing is None or charges is None or len(fields) != len(parts) or "id" in fields:
        return None
    try:
        restarts = int(fields.get("r", "0"))
    except ValueError:
        return None
    excluded = unquote(fields["x"]) if "x" in fields else None
    tier, hold, reservation = (fields.get(name, "") for name in ("tier", "hold", "res"))
    return standing, tier, charges, hold, restarts, fields.get("n") == "any", reservation, excluded


def _charges(shares: str) -> tuple[Charge, ...] | None:
    """What is charged in each zone; None where it cannot be read."""
    found = [_SHARE.fullmatch(share) for share in shares.split("+")] if shares else []
    charges = tuple(Charge(m[1], int(m[2]), int(m[3]), int(m[4])) for m in found if m is not None)
    return charges if len(charges) == len(found) else None


def put_record(admin_comment: str, record: AdmissionRecord | None) -> str:
    """The admin comment with our segments replaced by this record (None: taken out); others' text stays."""
    rest = _SEGMENT.sub("", admin_comment).strip(" ;")
    if record is None:
        return rest
    return f"{rest};{record.encode()}" if rest else record.encode()
