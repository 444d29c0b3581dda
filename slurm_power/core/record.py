"""The admission record: the segment `power:id=…` of a job's admin comment, which users cannot write.

It is complete enough to rebuild a claim and to launch a job while the daemon is away:

    power:id=Zk3…,v=admit,tier=gold,zones=rack07/2/18500/24000+rack08/2/18500/24000

A zone's numbers are its nodes, est and max in W. The rest of the admin comment belongs to others and stays.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from slurm_power.core.claim import Charge as Charge

_SEGMENT = re.compile(r"(?:^|(?<=[\s;]))power:(id=[^\s;]*)")
_SHARE = re.compile(r"([A-Za-z0-9_.-]+)/(\d+)/(\d+)/(\d+)")


class Standing(StrEnum):
    """How a job stands with us."""

    ADMIT = "admit"
    HOLD = "hold"
    FREE = "free"
    """No watts to count: none of its nodes lies in a zone, or the mode does not act on it."""


@dataclass(frozen=True, slots=True)
class AdmissionRecord:
    """What was decided about a job, as written into its admin comment."""

    token: str
    standing: Standing
    tier: str = ""
    charges: tuple[Charge, ...] = ()
    hold: str = ""
    """While held: `power`, `user` or `both`."""

    def encode(self) -> str:
        """The segment as text."""
        parts = [f"id={self.token}", f"v={self.standing}"]
        if self.tier:
            parts.append(f"tier={self.tier}")
        if self.hold:
            parts.append(f"hold={self.hold}")
        if self.charges:
            zones = "+".join(f"{c.zone}/{c.nodes}/{c.est_w}/{c.max_w}" for c in self.charges)
            parts.append(f"zones={zones}")
        return "power:" + ",".join(parts)


def find_record(admin_comment: str) -> AdmissionRecord | None:
    """The record in an admin comment; None where there is none that can be read whole."""
    match = _SEGMENT.search(admin_comment)
    if match is None:
        return None
    fields = dict(part.partition("=")[::2] for part in match[1].split(","))
    shares = fields.get("zones", "")
    found = [_SHARE.fullmatch(share) for share in shares.split("+")] if shares else []
    try:
        standing = Standing(fields.get("v", ""))
        charges = tuple(Charge(m[1], int(m[2]), int(m[3]), int(m[4])) for m in found if m is not None)
    except ValueError:
        return None
    if len(charges) != len(found) or not fields["id"]:
        return None
    return AdmissionRecord(fields["id"], standing, fields.get("tier", ""), charges, fields.get("hold", ""))


def put_record(admin_comment: str, record: AdmissionRecord | None) -> str:
    """The admin comment with our segments replaced by this record (None: taken out); others' text stays."""
    rest = _SEGMENT.sub("", admin_comment).strip(" ;")
    if record is None:
        return rest
    return f"{rest};{record.encode()}" if rest else record.encode()
