"""The site file: schema, defaults, errors with lines; and whether Slurm is set up as the site file has it."""

from slurm_power.config.against_slurm import Finding, Severity, check_against_slurm
from slurm_power.config.problems import SiteError
from slurm_power.config.reference import reference
from slurm_power.config.site import HookSettings, Site, control_socket, load_site, local_timezone, site_path

__all__ = [
    "Finding",
    "HookSettings",
    "Severity",
    "Site",
    "SiteError",
    "check_against_slurm",
    "control_socket",
    "load_site",
    "local_timezone",
    "reference",
    "site_path",
]
