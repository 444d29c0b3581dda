"""What one job's watts cost."""

from collections.abc import Sequence

from slurm_power.core.accrual import Accrual, Held
from slurm_power.core.showback import Tariff, Total, priced


def total_of(held: Held, end: int, tariffs: Sequence[Tariff]) -> Total:
    """What a job that holds so much comes to until then, by these tariffs."""
    accrual, total = Accrual(held.since), Total()
    accrual.start("", held, held.since)
    for one in priced(accrual.take(end), tariffs):
        total.add(one)
    return total
