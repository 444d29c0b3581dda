"""What the comments of jobs that are known already say."""

from slurm_power.core.envelope import Envelope, parse_comment
from slurm_power.core.errors import EnvelopeError
from slurm_power.service.book import Entry


def envelope_of(entry: Entry, word: str = "") -> Envelope | None:
    """What its comment says of power; None where it says nothing, or was changed since so that it cannot be read.

    Of a job that ran before a restart of ours there is nothing but what Slurm shows. Reading is slow: a comment without
    `word` is not read, and counts as if it said nothing.
    """
    comment = entry.ask.facts.comment if entry.ask is not None else entry.record.comment if entry.record else ""
    if word not in comment.lower():
        return None
    try:
        return parse_comment(comment, 0)
    except EnvelopeError:
        return None
