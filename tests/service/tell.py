"""Prints what a seeded history came to: `python -m tests.service.tell SEED STEPS`."""

import sys

from tests.service.driver import Driver


def main(seed: int, steps: int) -> None:
    driver = Driver(seed)
    for _ in range(steps):
        print(driver.act())
    driver.cluster.drain()
    for decision in driver.cluster.journal.decisions:
        print(decision)
    for command in driver.cluster.slurm.written:
        print(command)
    for job in driver.cluster.slurm.all_jobs():
        print(job)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
