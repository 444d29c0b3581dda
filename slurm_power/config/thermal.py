"""The section `thermal` of the site file: what heat takes away from a zone's limit."""

from typing import Self

from pydantic import Field, model_validator

from slurm_power.config.fields import Celsius, Hysteresis, Seconds, Share
from slurm_power.config.section import Section, key, wrong
from slurm_power.core.thermal import HeatRules, HeatStep

_EXAMPLE = "for example steps: [{above: 32, less: 25%}], critical: 40"


class Step(Section):
    """From a temperature on, a part of the limit is taken away."""

    above: Celsius = Field(description="°C at the inlet")
    less: Share = Field(description="part of the zone's declared limit that is taken away")


class Thermal(Section):
    """By temperatures of zones that a source of `telemetry` tells."""

    steps: tuple[Step, ...] = key((), "from the coolest up: `- {above: 32, less: 25%}`")
    critical: Celsius | None = key(None, "°C from which on a zone admits nothing")
    hysteresis: Hysteresis = key("2", "°C by which it has to be cooler than a step before that is left")
    dwell: Seconds = key("5m", "how long a step holds at least; steps are left one by one")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for one, other in zip(self.steps, self.steps[1:], strict=False):
            if other.above <= one.above or other.less <= one.less:
                raise wrong("its steps do not rise", "steps such as {above: 32, less: 25%}, {above: 36, less: 50%}")
        if not self.steps and self.critical is None:
            raise wrong("it takes nothing away", _EXAMPLE)
        if self.steps and self.critical is not None and self.critical < self.steps[-1].above:
            raise wrong("'critical' is below its last step", _EXAMPLE)
        return self

    def rules(self, window_s: int) -> HeatRules:
        """The same as the core has it; temperatures are averaged over so many s."""
        steps = tuple(HeatStep(step.above, step.less * 100) for step in self.steps)
        return HeatRules(steps, self.critical, self.hysteresis, self.dwell, window_s)
