"""What one job's watts cost."""

from collections.abc import Mapping, Sequence

from slurm_power.core.accrual import Accrual, Held
from slurm_power.core.showback import Tariff, Total, priced
from slurm_power.core.usage import Usage


def total_of(held: Held, end: int, tariffs: Sequence[Tariff], above_max_ws: Mapping[int, int]) -> Total:
    """What a job that holds so much comes to until then, by these tariffs.

    `above_max_ws`: hour → what it is charged on top, since it drew more than its max.
    """
    accrual, total = Accrual(held.since), Total()
    accrual.start("", held, held.since)
    share = held.share
    more = [
        Usage(share.reservation, share.account, share.uid, share.tier, hour, jobs_ws=watt_seconds)
        for hour, watt_seconds in above_max_ws.items()
    ]
    for one in priced([*accrual.take(end), *more], tariffs):
        total.add(one)
    return total
