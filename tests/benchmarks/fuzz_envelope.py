"""A mutation fuzzer for power comments: `python -m tests.benchmarks.fuzz_envelope --cases 100000 --seed 1`.

It keeps every comment that the parser answers in a new way (another set of fields, another wording of an error) and
mutates those on, so it works its way into the grammar. The same seed gives the same cases. A failure prints the
comment and ends with status 1.
"""

import argparse
import re
import sys
import traceback
from dataclasses import fields
from datetime import UTC, tzinfo
from random import Random
from time import perf_counter

from slurm_power.core.comment_keys import JSON_NAMES, KEYS
from slurm_power.core.envelope import Envelope, parse_comment, resolve
from slurm_power.core.errors import EnvelopeError
from slurm_power.core.units import MAX_WATTS

NOW = 1_776_686_400
PREFIX = "note;"
SEEDS = (
    "power:est=18.5kW,max=24kW,headroom=20kW,tier=gold,preemptible=no",
    "my run;power:est=700/gpu,max=1kW/gpu,deadline=now+2hours,notice=10m;ticket 12",
    "power:profile=resnet50,class=training,zones=rack[01,03-05],reservation=spring,partial=yes,ckpt=30m",
    "power:deadline=2026-04-20T18:00:00Z,est=10.2kW/node",
    'x power:{"estimatedPowerKW": 18.5, "maxPowerKW": 24} y',
    '{"jobId": "train-resnet-4471","priority": "gold","estimatedPowerKW": 18.5,"maxPowerKW": 24,'
    '"minRackHeadroomKW": 20,"deadline": "2026-04-20T18:00:00Z","preemptible": false}',
)
TOKENS = (
    *KEYS,
    *(f"{key}=" for key in KEYS),
    *(f'"{name}":' for name in JSON_NAMES),
    *"=,;:/[]{}\"'\\ \t\n\x00\x1b-+.0123456789eEkWM\ud800é５\u00a0\u2028",
    *("power:", " power:", ";Power:", "/node", "/gpu", "yes", "true", "null", "NaN", "-Infinity", "1e999", "9" * 50),
    *("now+", "hours", "weeks", "2026-04-20T18:00:00Z", "0001-01-01", "9999-12-31", "[01,03-05]", "10m", "\\u0000"),
)


def judge(comment: str, now: int = NOW, zone: tzinfo = UTC) -> Envelope | EnvelopeError | None:
    """What the parser says of a comment, after checking all that must hold of any answer. Raises AssertionError."""
    answer = _answer(comment, now, zone)
    match answer:
        case EnvelopeError():
            assert 0 <= answer.position <= len(comment), "the place is in the comment"
            assert str(answer).isprintable(), "a message is fit for a terminal"
            assert len(str(answer)) < 1_000, "a message is short"
            assert isinstance(_answer(answer.example, now, zone), Envelope), "the example is correct"
        case Envelope():
            assert answer.deadline is None or answer.deadline > now, "a deadline is to come"
            _check_watts(answer)
        case None:
            pass
    if not comment.lstrip().startswith("{"):
        _check_prefix(comment, answer, now, zone)
    return answer


def _answer(comment: str, now: int, zone: tzinfo) -> Envelope | EnvelopeError | None:
    try:
        return parse_comment(comment, now, zone)
    except EnvelopeError as error:
        return error


def _check_watts(envelope: Envelope) -> None:
    try:
        resolved = resolve(envelope, 3, 24, 1_300, 5_000)
    except EnvelopeError:
        return
    assert 0 < resolved.est_w <= resolved.max_w <= MAX_WATTS, "watts are in order"


def _check_prefix(comment: str, answer: Envelope | EnvelopeError | None, now: int, zone: tzinfo) -> None:
    """The user's own text in front changes nothing but the place of a fault."""
    shifted = _answer(PREFIX + comment, now, zone)
    if isinstance(answer, EnvelopeError):
        assert isinstance(shifted, EnvelopeError), "text in front does not mend a fault"
        assert shifted.problem == answer.problem, "text in front does not change a fault"
        assert shifted.position == answer.position + len(PREFIX), "a fault moves with its text"
    else:
        assert shifted == answer, "text in front changes nothing"


def _mutated(random: Random, corpus: list[str]) -> str:
    """One of the corpus after a few cuts, doublings, insertions and crossings."""
    text = random.choice(corpus)
    for _ in range(random.randint(1, 5)):
        at = random.randint(0, len(text))
        to = min(len(text), at + random.randint(0, 12))
        match random.randrange(6):
            case 0:
                text = text[:at] + text[to:]
            case 1:
                text = text[:to] + text[at:]
            case 2 | 3:
                text = text[:at] + random.choice(TOKENS) + text[at:]
            case 4:
                text = text[:at] + random.choice(TOKENS) + text[to:]
            case _:
                other = random.choice(corpus)
                text = text[:at] + other[random.randint(0, len(other)) :]
    return text[:2_000]


def _kind(answer: Envelope | EnvelopeError | None) -> str:
    """Answers of one kind differ only in the user's words."""
    if isinstance(answer, Envelope):
        return " ".join(f.name for f in fields(answer) if getattr(answer, f.name) is not None)
    if answer is None:
        return "none"
    return re.sub(r"[\"'].*[\"']|\d+", "…", answer.problem)


def main() -> int:
    """Run the cases; 0 if all hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    random = Random(asked.seed)
    corpus = list(SEEDS)
    kinds: dict[str, int] = {}
    began = perf_counter()
    for number in range(asked.cases):
        comment = _mutated(random, corpus)
        try:
            kind = _kind(judge(comment))
        except Exception:  # whatever it is, it is the finding
            traceback.print_exc()
            print(f"case {number} of seed {asked.seed}: {comment!a}")
            return 1
        if kind not in kinds:
            corpus.append(comment)
        kinds[kind] = kinds.get(kind, 0) + 1
    took = perf_counter() - began
    print(f"{asked.cases} cases, {len(kinds)} kinds of answer, {took:.1f} s; none failed")
    for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:20]:
        print(f"{count:8d}  {kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
