"""A munged of our own, with its own key: the system's, if there is one, is not asked."""

import os
from collections.abc import Mapping

from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.parts import Part
from slurm_power.sandbox.tools import program


def munged(layout: Layout, env: Mapping[str, str]) -> Part:
    """Write the key, and say how munged is started."""
    handle = os.open(layout.munge_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(handle, "wb") as key:
        key.write(os.urandom(128))
    log = str(layout.log / "munged.log")
    argv = (
        program("munged"),
        "--foreground",
        "--force",  # the directories above may be writable by a group, as /tmp is
        f"--key-file={layout.munge_key}",
        f"--socket={layout.munge_socket}",
        f"--pid-file={layout.run / 'munged.pid'}",
        f"--seed-file={layout.munge_key.parent / 'munged.seed'}",
        f"--log-file={log}",
        "--num-threads=4",
    )
    return Part("munged", argv, log, log, env, str(layout.run), socket=str(layout.munge_socket))
