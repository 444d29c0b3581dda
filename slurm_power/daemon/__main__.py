"""`python -m slurm_power.daemon`."""

from slurm_power.daemon.main import main

if __name__ == "__main__":
    main()
