"""The pure core: no clock, no input or output, no Slurm; standard library only."""
