"""Use cases over the ports: submit, modify, launch, observe, release, explain. Nothing here touches Slurm or a socket."""
