"""Comments for the tests of envelopes: an instant, an object with every name, and a generator that knows no parser."""

from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from typing import Any

from hypothesis import strategies as st

from slurm_power.core.envelope import Envelope, Per, Quantity

NOW = int(datetime(2026, 4, 20, 12, 0, tzinfo=UTC).timestamp())
SIX_PM = NOW + 6 * 3_600
FULL = (
    '{"jobId": "train-resnet-4471","priority": "gold","estimatedPowerKW": 18.5,"maxPowerKW": 24,'
    '"minRackHeadroomKW": 20,"deadline": "2026-04-20T18:00:00Z","preemptible": false}'
)
FULL_SAYS = Envelope(
    est=Quantity(Fraction(18_500)),
    max=Quantity(Fraction(24_000)),
    headroom=Quantity(Fraction(20_000)),
    tier="gold",
    deadline=SIX_PM,
    preemptible=False,
)


def watts(number: int | str, per: Per = Per.JOB) -> Quantity:
    return Quantity(Fraction(number), per)


NAMES = st.text("abcXYZ019_.-", max_size=20).map(lambda tail: f"n{tail}")
USERS_TEXT = st.text(st.characters(exclude_characters=":{", codec="utf-8"), max_size=20)


@st.composite
def written_watts(draw: st.DrawFn, *, lowest: int = 1) -> tuple[str, Fraction]:
    """Milliwatts in one of the ways to write them."""
    milliwatts = draw(st.integers(lowest, lowest + 10**9))
    unit, scale = draw(st.sampled_from([("kW", 6), ("W", 3), ("", 3), ("MW", 9)]))
    digits = str(milliwatts).rjust(scale + 1, "0")
    number = f"{digits[:-scale]}.{digits[-scale:]}"
    if draw(st.booleans()):
        number = number.rstrip("0").rstrip(".")
    return number + unit, Fraction(milliwatts, 1_000)


@st.composite
def written_comments(draw: st.DrawFn) -> tuple[str, Envelope]:
    """A comment and what it says."""
    said: dict[str, Any] = {}
    written: list[str] = []
    pers = [("", Per.JOB), ("/node", Per.NODE), ("/gpu", Per.GPU)]

    def quantity(key: str, lowest: int) -> None:
        text, amount = draw(written_watts(lowest=lowest))
        suffix, per = draw(st.sampled_from(pers))
        said[key] = Quantity(amount, per)
        written.append(f"{key}={text}{suffix}")

    if draw(st.booleans()):
        quantity("est", 1)
    if draw(st.booleans()):
        quantity("headroom", 0)
    if draw(st.booleans()):
        est = said.get("est")
        quantity("max", ceil(est.watts * 1_000) if isinstance(est, Quantity) else 1)
    for key, where in {
        "tier": "tier",
        "profile": "profile",
        "class": "job_class",
        "reservation": "reservation",
    }.items():
        if draw(st.booleans()):
            said[where] = draw(NAMES)
            written.append(f"{key}={said[where]}")
    for key in ("preemptible", "partial"):
        if draw(st.booleans()):
            said[key] = draw(st.booleans())
            written.append(f"{key}={'yes' if said[key] else 'no'}")
    for key, where in {"notice": "notice_s", "ckpt": "ckpt_s"}.items():
        if draw(st.booleans()):
            number = draw(st.integers(1, 365))
            unit, seconds = draw(st.sampled_from([("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]))
            said[where] = number * seconds
            written.append(f"{key}={number}{unit}")
    if draw(st.booleans()):
        deadline = draw(st.integers(NOW + 1, NOW + 10**9))
        said["deadline"] = deadline
        written.append(f"deadline={datetime.fromtimestamp(deadline, UTC).isoformat()}")
    if draw(st.booleans()):
        numbers = draw(st.lists(st.integers(0, 99), min_size=1, max_size=4))
        said["zones"] = f"{draw(NAMES)}[{','.join(f'{n:02d}' for n in numbers)}]"
        written.append(f"zones={said['zones']}")
    if not written:
        quantity("est", 1)
    before, after = draw(USERS_TEXT), draw(USERS_TEXT)
    head = before + draw(st.sampled_from([" ", ";", "\t"])) if before else ""
    tail = draw(st.sampled_from([" ", ";", "\n"])) + after if after else ""
    body = ",".join(draw(st.permutations(written)))
    return f"{head}power:{body}{tail}", Envelope(**said)
