"""The hook keeps the connection on which it was answered, and trusts it no further than a new one."""

import socket
from collections.abc import Iterable

import pytest

from slurm_power.adapters.lines import NO_ANSWER
from tests.lua.support import KEY, FakeDaemon, Hook, reply
from tests.lua.test_submit import PLAIN, assert_held

PASS = reply(verdict="pass")


def says_on_each(daemon: FakeDaemon, *connections: Iterable[bytes]) -> None:
    """What the daemon says to the questions on its first connection, on its second, and so on; then it hangs up."""

    def behave(connection: socket.socket) -> None:
        answers = connections[daemon.connections - 1]
        lines = connection.makefile("rb")
        for answer in answers:
            daemon.requests.append({"connection": daemon.connections, "line": lines.readline()})
            connection.sendall(answer)
        # what is asked once more is heard, and not answered
        daemon.requests.extend({"connection": daemon.connections} for line in [lines.readline()] if line)

    daemon.behaviour = behave


def verdicts(hook: Hook, count: int, timeout_ms: int = 5_000) -> list[bool]:
    """Whether each of so many submissions was answered with `pass`."""
    results = hook.run(*[{"job": PLAIN, "uid": 1000}] * count, settings={"timeout_ms": timeout_ms})
    answered = [result.job == PLAIN for result in results]
    for result, passed in zip(results, answered, strict=True):
        if not passed:
            assert_held(result)
    return answered


def test_one_connection_for_many_questions(hook: Hook, daemon: FakeDaemon) -> None:
    says_on_each(daemon, [PASS] * 3)
    assert verdicts(hook, 3) == [True] * 3
    assert daemon.connections == 1


def test_a_daemon_that_ends_it_instead_of_answering_is_asked_anew(hook: Hook, daemon: FakeDaemon) -> None:
    says_on_each(daemon, [PASS], [PASS] * 2)
    assert verdicts(hook, 3) == [True] * 3
    assert [request["connection"] for request in daemon.requests] == [1, 1, 2, 2]


def test_a_daemon_that_has_gone_holds(hook: Hook, daemon: FakeDaemon) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        daemon.path.unlink()
        connection.sendall(PASS)

    daemon.behaviour = behave
    assert verdicts(hook, 3) == [True, False, False]


@pytest.mark.parametrize("unasked", [PASS, b"k", PASS * 3])
def test_what_came_unasked_answers_no_question(hook: Hook, daemon: FakeDaemon, unasked: bytes) -> None:
    """A second answer to the first question must not pass for the answer to the second."""
    reject = reply(verdict="reject")

    def behave(connection: socket.socket) -> None:
        first = daemon.connections == 1
        connection.recv(65536)
        connection.sendall(PASS + unasked if first else reject)
        if first:
            daemon.release.wait(60)

    daemon.behaviour = behave
    results = hook.run(*[{"job": PLAIN, "uid": 1000}] * 2)
    assert [result.rc for result in results] == [0, -1]


def test_after_a_time_out_it_is_not_used_again(hook: Hook, daemon: FakeDaemon) -> None:
    """The answer to the question that was given up comes late, and goes nowhere."""
    gone = []

    def behave(connection: socket.socket) -> None:
        for turn in range(2):
            connection.recv(65536)
            if daemon.connections == 1 and turn == 1:
                gone.append(connection.recv(1))  # until the hook hangs up
            connection.sendall(PASS)

    daemon.behaviour = behave
    assert verdicts(hook, 3, timeout_ms=300) == [True, False, True]
    assert gone == [b""]
    assert daemon.connections == 2


@pytest.mark.parametrize(
    "wrong",
    [reply(key=KEY[::-1], verdict="pass"), b"rubbish\n", reply(verdict="what"), NO_ANSWER.encode() + b"\n"],
)
def test_who_answers_wrongly_is_not_asked_there_again(hook: Hook, daemon: FakeDaemon, wrong: bytes) -> None:
    says_on_each(daemon, [PASS, wrong], [PASS])
    assert verdicts(hook, 3) == [True, False, True]
    assert daemon.connections == 2
