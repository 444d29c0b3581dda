"""slurm-powerd: the composition root. Here, and only here, service and adapters meet."""
