"""Troubles told in one line."""

from collections.abc import Sequence

_MOST = 3


def few(troubles: Sequence[str]) -> str:
    """The first of them, and how many more there are; empty for none."""
    more = [f"and {len(troubles) - _MOST} more"] if len(troubles) > _MOST else []
    return "; ".join([*troubles[:_MOST], *more])
