"""The section `control` of the site file: how what is measured is read."""

from slurm_power.config.fields import Seconds, Share
from slurm_power.config.section import Section, key


class Control(Section):
    """How readings are smoothed and judged, and how soon what they tell is acted on."""

    smoothing: Seconds = key("30s", "over how long readings are averaged; two in a row above a limit do not wait")
    ramp: Seconds = key("60s", "how long after its start a job may draw less than its est, and is no reason for doubt")
    disagreement: Share = key("10%", "by how much two sources of one element may differ before that is an alarm")
    stuck: Seconds = key("10m", "how long one and the same value is believed although jobs came or went meanwhile")
    dwell: Seconds = key(
        "60s",
        "how long the watts of a job that has to go count as gone before readings show it: it has to end, and they "
        "follow slowly",
    )
