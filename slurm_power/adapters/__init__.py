"""Slurm, the database, the sockets and the clock: what implements the ports."""
