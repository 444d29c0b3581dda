"""Tests on a real Slurm cluster, which the sandbox starts."""
