"""Slurm through its own commands: read without trusting users' text, written many commands at once."""

from slurm_power.adapters.slurm.adapter import SlurmCommands
from slurm_power.adapters.slurm.runner import Runner

__all__ = ["Runner", "SlurmCommands"]
