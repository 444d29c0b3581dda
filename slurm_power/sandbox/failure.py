"""What goes wrong in the sandbox, told with the log that explains it."""

from pathlib import Path

from slurm_power.core.errors import PowerError

TAIL_LINES = 15


class SandboxError(PowerError):
    """The sandbox cannot do what was asked; the text is fit for a user."""


class CancelledError(SandboxError):
    """The sandbox is being taken down while a thread was still building it."""


def with_log(problem: str, log: Path) -> SandboxError:
    """An error that ends with the last lines of a log."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    except OSError as error:
        return SandboxError(f"{problem}; its log cannot be read: {error}")
    shown = "\n".join(f"    {line}" for line in lines) or "    (empty)"
    return SandboxError(f"{problem}; the end of {log}:\n{shown}")
