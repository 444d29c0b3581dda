"""The private cluster: a real Slurm on this machine, from the installed packages, under one directory."""
