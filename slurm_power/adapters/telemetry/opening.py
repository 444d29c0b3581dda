"""The adapter for each kind of source."""

from slurm_power.adapters.telemetry.prometheus import PrometheusSource
from slurm_power.adapters.telemetry.redfish import RedfishSource
from slurm_power.adapters.telemetry.slurm_energy import SlurmEnergySource
from slurm_power.adapters.telemetry.snmp import SnmpSource
from slurm_power.config.telemetry import Prometheus, Redfish, Snmp, TelemetrySource
from slurm_power.ports import Slurm, Telemetry


def open_source(config: TelemetrySource, slurm: Slurm) -> Telemetry:
    """What reads it; nothing is asked yet."""
    if isinstance(config, Prometheus):
        return PrometheusSource(config)
    if isinstance(config, Redfish):
        return RedfishSource(config)
    if isinstance(config, Snmp):
        return SnmpSource(config)
    return SlurmEnergySource(slurm)
