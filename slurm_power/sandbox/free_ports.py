"""Free TCP ports."""

import random
import socket
from contextlib import ExitStack

FIRST, LAST = 10_000, 32_000
"""Below Linux's ephemeral range, so that no outgoing connection takes one between the choice and its use."""


def free_ports(count: int) -> list[int]:
    """So many distinct ports where nobody listens now, at any address; at random, so that two sandboxes rarely meet."""
    chosen: list[int] = []
    with ExitStack() as held:
        for port in random.SystemRandom().sample(range(FIRST, LAST), LAST - FIRST):
            if len(chosen) == count:
                break
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            if _binds(probe, port):
                chosen.append(port)
    return chosen


def _binds(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind(("", port))
    except OSError:
        return False
    return True
