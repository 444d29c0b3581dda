"""The hook socket: submissions, changes and launches. Everything but a launch is answered at once, from memory."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from slurm_power.adapters.lines import encode_reply
from slurm_power.adapters.lines_server import Peer
from slurm_power.core.errors import SlurmError, UsageError
from slurm_power.daemon.rounds import Rounds
from slurm_power.service.desk import Desk, Reply
from slurm_power.service.launch import end, entry_of, job_of, launch
from slurm_power.service.modify import modify
from slurm_power.service.submit import submit, withdraw

_log = logging.getLogger("slurm_power.hook")
_STIRRING = frozenset({"allow", "deny", "wait"})
"""Verdicts on launches, ends and changes, after which Slurm is read soon. A submission can wait for the next tick: to
read Slurm after each would cost slurmctld more than the submission itself.
"""


class HookHandler:
    """Answers the Lua hook and the launch gate."""

    def __init__(self, desk: Desk, rounds: Rounds, key: Callable[[], str]) -> None:
        self._desk = desk
        self._rounds = rounds
        self._key = key
        self._last = Reply("pass")
        """The last answer that was given at once."""

    def __call__(self, peer: Peer, request: Mapping[str, Any]) -> str | Awaitable[str]:
        """The line for one request; raises UsageError for what is not one."""
        del peer  # the server has turned away all but root and SlurmUser
        op = request.get("op")
        if op == "submit":
            self._last = submit(self._desk, _mapping(request, "job"))
            self._rounds.measure_soon()
            return self._answer(self._last)
        self._last = Reply("pass")
        if op == "modify":
            uid = request.get("uid")
            if not isinstance(uid, int):
                raise UsageError('a modify says who asks: {"op":"modify","uid":1001,…}')
            return self._answer(modify(self._desk, uid, _mapping(request, "job"), _mapping(request, "rec")))
        env = {str(name): str(value) for name, value in _mapping(request, "env").items()}
        if op == "prolog":
            return self._launch(env)
        if op == "epilog":
            return self._answer(end(self._desk, env))
        raise UsageError(f"unknown op {op!r}; known: submit, modify, prolog, epilog")

    def unheard(self) -> None:
        """Whoever asked last had given up waiting; if it was the submit hook, nothing is promised."""
        withdraw(self._desk, self._last)

    def _answer(self, reply: Reply) -> str:
        if reply.verdict in _STIRRING:
            self._rounds.soon()
        seconds = reply.fields.get("seconds")
        if reply.verdict == "wait" and isinstance(seconds, int):
            return encode_reply(self._key(), "wait", reply.message, seconds=seconds)
        return encode_reply(self._key(), reply.verdict, reply.message, reply.fields)

    def _launch(self, env: Mapping[str, str]) -> str | Awaitable[str]:
        job_id = job_of(env)
        entry = entry_of(self._desk, env)
        if job_id is not None and (entry is None or entry.record is None or entry.dirty):
            return self._look_first(job_id, env)
        reply = launch(self._desk, env, final=False)
        return self._look_first(None, env) if reply.verdict == "look" else self._answer(reply)

    async def _look_first(self, job_id: int | None, env: Mapping[str, str]) -> str:
        """Read Slurm before the answer: a job that no poll has seen yet, or all jobs where watts are short.

        The gate runs outside slurmctld's locks, so nothing waits for us meanwhile but this one start.
        """
        try:
            if job_id is not None:
                await self._rounds.reader.learn(job_id)
            reply = launch(self._desk, env, final=False)
            if reply.verdict == "look":
                await self._rounds.look()
        except SlurmError as error:
            _log.warning("cannot read Slurm at a launch: %s", error)
        return self._answer(launch(self._desk, env))


def _mapping(request: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = request.get(name)
    if not isinstance(value, dict):
        raise UsageError(f'"{name}" has to be an object')
    return value
