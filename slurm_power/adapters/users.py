"""Users by name and number, as this machine knows them."""

import pwd

from slurm_power.core.errors import UsageError


def uid_of(user: str) -> int:
    """The uid of a user given by name or number. Raises UsageError."""
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise UsageError(f"there is no user '{user}' on this machine") from None


def user_of(uid: int) -> str:
    """The name of a user; the number where this machine knows none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
