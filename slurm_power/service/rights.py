"""Who may reserve, change and see what: by Slurm's own AdminLevel, coordinators and associations."""

from collections.abc import Sequence

from slurm_power.core.errors import PowerError, UsageError
from slurm_power.core.immutable import immutable
from slurm_power.core.reservation import Owner, Reservation
from slurm_power.ports import AdminLevel, PrivilegeRecord


@immutable
class Rights:
    """What one user may do. `user` is his name, `master` says that he is root or SlurmUser."""

    uid: int
    user: str
    master: bool = False
    level: AdminLevel = AdminLevel.NONE
    coordinates: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()

    @property
    def administers(self) -> bool:
        """Whether he may do everything."""
        return self.master or self.level is not AdminLevel.NONE

    def coordinates_all(self, owner: Owner) -> bool:
        """Whether he coordinates every account of the owner."""
        return bool(owner.accounts) and self.coordinates.issuperset(owner.accounts)

    def belongs_to(self, owner: Owner) -> bool:
        """Whether it is his too."""
        return (not owner.accounts or not self.accounts.isdisjoint(owner.accounts)) and (
            not owner.users or self.user in owner.users
        )

    def may_see(self, reservation: Reservation) -> bool:
        """His own, those of the accounts that he coordinates, and those that he made."""
        owner = reservation.terms.owner
        coordinated = not self.coordinates.isdisjoint(owner.accounts)
        return self.administers or coordinated or self.belongs_to(owner) or reservation.created_by == self.uid

    def may_approve(self, owner: Owner, approval: str) -> bool:
        """Whether what he wants holds at once, by the site's `reservations.approval`."""
        return self.administers or (approval != "administrator" and self.coordinates_all(owner))

    def check_make(self, owner: Owner, approval: str) -> None:
        """Raises PowerError where he may not even ask for a reservation of this owner."""
        if self.administers or self.coordinates_all(owner) or (approval != "none" and self.belongs_to(owner)):
            return
        raise PowerError(
            f"only administrators and coordinators may reserve for {owner}; ask one of them "
            f"(sacctmgr show account {','.join(owner.accounts)} withcoord)"
        )

    def check_change(self, reservation: Reservation, *, ends: bool) -> None:
        """Raises PowerError where he may not change it, or (`ends`) give it up."""
        owner = reservation.terms.owner
        own = reservation.created_by == self.uid and (ends or not reservation.grants)
        if not (self.administers or self.coordinates_all(owner) or own):
            who = f"administrators and coordinators of {owner}"
            raise PowerError(f"only {who} may change reservation {reservation.name}")


def rights_of(uid: int, user: str, records: Sequence[PrivilegeRecord], *, master: bool) -> Rights:
    """The rights of a user, by what the accounting database says of his name."""
    record = next((one for one in records if one.user == user), None)
    if record is None:
        return Rights(uid, user, master)
    return Rights(uid, user, master, record.level, frozenset(record.coordinates), frozenset(record.accounts))


def check_owner(owner: Owner, records: Sequence[PrivilegeRecord]) -> None:
    """Raises UsageError for an owner whom Slurm does not know. Without an accounting database anything goes."""
    if not records:
        return
    known = {account for record in records for account in record.accounts}
    unknown = next((account for account in owner.accounts if account not in known), None)
    if unknown is not None:
        some = ", ".join(sorted(known)[:8])
        raise UsageError(f"accounts: Slurm has no account {unknown} with users; there are {some}")
    accounts_of = {record.user: record.accounts for record in records}
    for user in owner.users:
        if user not in accounts_of:
            raise UsageError(f"users: Slurm has no user {user}; sacctmgr show user lists them")
        missing = sorted(set(owner.accounts) - set(accounts_of[user]))
        if missing:
            both = "and both have to hold; leave one of them out"
            raise UsageError(f"users: {user} is not in account {missing[0]}, {both}")
