"""Use cases over the ports: submit, modify, launch, observe, release, explain. No Slurm and no socket here."""
