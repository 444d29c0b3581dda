"""The frame of our commands: subcommands loaded when called; the one place where errors become exit codes."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from slurm_power.core.errors import PowerError

INTERRUPTED = 130
PIPE_CLOSED = 141
EXIT_CODES = """\
\b
Exit codes:
    0  done; check: the job fits now
    1  something failed, or the daemon is not well
    2  the words of the command are off, or the site file has problems
    3  check: fits later
    4  check: never
    5  the daemon cannot be reached
  130  interrupted
"""


class PowerGroup(click.Group):
    """A group whose subcommands are named as `module:attribute` and imported when they are needed.

    Every PowerError ends as one message and its exit code, a closed pipe in silence, Ctrl-C with 130.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were given."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        place = self._lazy.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand. Raises click's Exit for whatever goes wrong."""
        try:
            return super().invoke(ctx)
        except PowerError as error:
            click.echo(f"{ctx.command_path}: {error}", err=True)
            raise click.exceptions.Exit(error.exit_code) from error
        except BrokenPipeError:
            _leave_stdout()
            raise click.exceptions.Exit(PIPE_CLOSED) from None
        except OSError as error:
            # no file is named where it is our own output that cannot be written
            _leave_stdout()
            what = f"{error.filename}: " if error.filename else "cannot write: "
            click.echo(f"{ctx.command_path}: {what}{error.strerror or error}", err=True)
            raise click.exceptions.Exit(1) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None


def _leave_stdout() -> None:
    """Python flushes standard output at its end, and would complain then."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError:
        return


def run(group: click.Group, name: str) -> None:
    """What a console script does."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale without ≤ or é must not end a command
    group.main(prog_name=name)
