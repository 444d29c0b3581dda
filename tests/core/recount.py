"""A ledger counted afresh, to be compared with the one whose sums were kept up to date."""

from slurm_power.core.ledger import Ledger


def differences(ledger: Ledger) -> list[str]:
    """Where the sums that a ledger keeps up to date differ from a fresh count; empty when all is well."""
    fresh = Ledger(ledger.topology, ledger.plan.pools, ledger.rule, ledger.now)
    for name, meter in ledger.meters.items():
        fresh.set_limit(name, meter.limit_w)
        fresh.set_stray(name, meter.stray_w, blind=meter.blind)
        fresh.plan_limits(name, meter.planned)
    for zone, nodes in ledger.nodes.items():
        fresh.set_nodes(zone, nodes)
    for zone, why in ledger.closed.items():
        fresh.close(zone, why)
    fresh.load([*ledger.claims.values(), *ledger.bookings()])
    found = [
        f"{name}: kept {meter.numbers()}, counted {fresh.meters[name].numbers()}"
        for name, meter in ledger.meters.items()
        if meter.numbers() != fresh.meters[name].numbers()
    ]
    for kept, counted, what in (
        (ledger._promised, fresh._promised, "promised nodes"),
        (ledger._in_zone, fresh._in_zone, "claims"),
        (ledger._classes, fresh._classes, "free nodes"),
    ):
        found += [f"{zone}: {what} differ" for zone in ledger.nodes if kept[zone] != counted[zone]]
    found += ledger._rooms.faults()
    return found
