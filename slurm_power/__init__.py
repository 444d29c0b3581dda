"""slurm_power: electrical power as a resource that an unmodified Slurm schedules."""

__version__ = "0.2.0"
