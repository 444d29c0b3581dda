"""The section `reservations` of the site file."""

from typing import Literal

from slurm_power.config.fields import AtMostOne, Seconds, Share
from slurm_power.config.section import Section, key


class Score(Section):
    """How the use of earlier reservations counts."""

    half_life: Seconds = key("30d", "time after which a use counts half")
    floor: AtMostOne = key("0.4", "score below which an account's ceiling shrinks no further")


class Reservations(Section):
    """Rules for reservations of power."""

    grace: Seconds = key(
        "15m", "how long reserved watts may lie unused before they return to the shared pool"
    )
    max_share: Share = key("60%", "the most of a zone's usable watts that one account may reserve")
    approval: Literal["none", "coordinator", "administrator"] = key("none", "who has to approve")
    score: Score = key({}, "how earlier use counts")
