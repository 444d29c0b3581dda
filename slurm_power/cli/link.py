"""The way to the daemon: which socket, and one question over it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from slurm_power.adapters.lines_client import ask
from slurm_power.core.errors import ConfigError, PowerError, UsageError

SOCKET_VARIABLE = "SLURM_POWER_SOCKET"
PATIENCE_S = 10.0
_SCHEMA = 1
_COMPLETION_S = 1.0
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@dataclass(frozen=True, slots=True)
class Link:
    """Where the daemon listens: the socket given, else what the site file says. `timeout_s` is the user's."""

    socket: Path | None = None
    conf: Path | None = None
    timeout_s: float | None = None

    def ask(self, op: str, *, patience_s: float = PATIENCE_S, **fields: object) -> Mapping[str, Any]:
        """The daemon's answer. `patience_s` bounds the exchange where the user has not.

        Raises DaemonUnreachable, UsageError or PowerError.
        """
        answer = ask(self._path(), {"v": 1, "op": op, **fields}, self.timeout_s or patience_s)
        if answer.get("schema") != _SCHEMA:
            known = f"its answers are of schema {answer.get('schema')}, this command knows {_SCHEMA}"
            raise PowerError(f"the daemon is of another version: {known}")
        return answer

    def _path(self) -> Path:
        if self.socket is not None:
            return self.socket
        from slurm_power.config import control_socket  # noqa: PLC0415 -- slow to load, and not needed with a socket

        try:
            return control_socket(self.conf)
        except ConfigError as error:
            raise UsageError(
                f"{error}\n(--socket or ${SOCKET_VARIABLE} does without the site file)"
            ) from error


def link_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command `--socket`, `--conf` and `--timeout`; it is called with a `link` made of them."""

    @click.option(
        "--socket",
        type=click.Path(path_type=Path),
        envvar=SOCKET_VARIABLE,
        show_envvar=True,
        help="The daemon's control socket; else the site file says where it is.",
    )
    @click.option(
        "--conf",
        type=click.Path(path_type=Path),
        help="The site file; else $SLURM_POWER_CONF, else /etc/slurm/slurm_power.yaml.",
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="How long to wait for the daemon.",
    )
    @wraps(command)
    def linked(
        *args: Any, socket: Path | None, conf: Path | None, timeout: float | None, **kwargs: Any
    ) -> Any:
        return command(*args, link=Link(socket, conf, timeout), **kwargs)

    return linked


def names_from(op: str, key: str) -> Completion:
    """Completes a word with the `key` of each row in the daemon's answer to `op`; with nothing if it is slow."""

    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        given = context.params
        try:
            answer = Link(given.get("socket"), given.get("conf"), _COMPLETION_S).ask(op)
        except PowerError:
            return []
        names = [str(row[key]) for row in answer[op]]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete
