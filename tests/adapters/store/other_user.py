"""Run a function as another user, in a child process; only root can."""

import multiprocessing
import os
from collections.abc import Callable

import pytest

NOBODY = 65_534


def as_user(uid: int, function: Callable[[], str]) -> str:
    """What `function` returns when it runs as `uid`.

    The child is forked and not a new interpreter: the other user may have no way to the one that runs the tests.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can act as somebody else")  # setresuid; nobody else can bring this about
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def child() -> None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        theirs.send(function())

    process = context.Process(target=child)
    process.start()
    theirs.close()
    try:
        assert ours.poll(60)
        answer: str = ours.recv()
    finally:
        process.join(60)
    assert process.exitcode == 0
    return answer
