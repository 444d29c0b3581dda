"""`make demo`: a private cluster of four racks, a mixed stream of jobs on it, and every instant held to the budgets.

Ends with 0 if all went as told and no budget was passed, with 1 if not, and with 130 if it was interrupted.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from slurm_power.adapters.slurm import Runner
from slurm_power.cli.group import INTERRUPTED
from slurm_power.config import load_site
from slurm_power.core.errors import PowerError
from slurm_power.demo import story
from slurm_power.demo.acts import Acts
from slurm_power.demo.cast import Cast
from slurm_power.demo.end import judge
from slurm_power.demo.stage import Stage
from slurm_power.demo.watch import Watch
from slurm_power.sandbox import build, cluster
from slurm_power.sandbox.failure import TAIL_LINES
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.tools import search_path

_LOGS = ("slurm-powerd.log", "slurmctld.log")
_ONE_USER = (
    "Not root: alice, bob and carol are all {user}, who may use every tier. Who may use which tier is not shown."
)


def main() -> None:
    """Play the demo, clean up, exit."""
    for number in build.ENDING:
        signal.signal(number, _interrupt)
    stage = Stage()
    root = Path(tempfile.mkdtemp(prefix="slurm_power-demo-", dir="/tmp"))
    status = 1
    try:
        status = 0 if _perform(stage, root) else 1
    except PowerError as error:
        stage.end_picture()
        stage.tell(f"The demo failed: {error}", "bold red")
    except KeyboardInterrupt:
        stage.end_picture()
        stage.tell("Interrupted.", "bold red")
        status = INTERRUPTED
    finally:
        _ignore_signals()
        stage.end_picture()
        if status:
            _show_logs(stage, Layout(root))
        cleaned = _clean_up(stage, root)
    sys.exit(status if cleaned else 1)


def _perform(stage: Stage, root: Path) -> bool:
    """Whether all was well. Raises PowerError and KeyboardInterrupt."""
    stage.tell("Starting a private cluster: munged, MariaDB, slurmdbd, slurmctld with the hook, slurmds, slurm-powerd.")
    state = build.up(build.Options(root=root))
    layout = Layout(root)
    site = load_site(layout.site_file)
    cast = Cast(layout)
    nodes = sum(part.node for part in state.parts.values())
    stage.tell(f"Slurm {state.slurm_version} stands: {len(site.topology.zones)} racks, {nodes} nodes of 8 GPUs.")
    for user in state.users:
        stage.tell(f"    {user.name}: account {user.account}, may use {', '.join(user.qos)}")
    if cast.alone:
        stage.tell(_ONE_USER.format(user=cast.name("")), "bold yellow")
    known = {submission.name: submission for submission in story.ALL}
    runner = Runner(conf=str(layout.slurm_conf), base_env={**os.environ, "PATH": search_path()})
    watch = Watch(site, runner, known)
    watch.start()
    stage.begin_picture()
    acts = Acts(stage, cast, watch)
    try:
        acts.play()
    finally:
        watch.end()
    stage.end_picture()
    good = judge(stage, site, watch, runner, known)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in acts.verdicts.items())
    stage.tell(f"Submissions: {counts}.")
    return good


def _show_logs(stage: Stage, layout: Layout) -> None:
    """The ends of the logs that explain most."""
    for path in (layout.log / name for name in _LOGS):
        if path.exists():
            stage.tell(f"The end of {path.name}:")
            stage.output("\n".join(path.read_text(errors="replace").splitlines()[-TAIL_LINES:]))


def _clean_up(stage: Stage, root: Path) -> bool:
    """End and remove everything; whether that worked."""
    try:
        if Layout(root).state_file.exists():
            cluster.down(root)
        elif root.exists():
            root.rmdir()
    except (PowerError, OSError) as error:
        stage.tell(f"Something is left: {error}", "bold red")
        return False
    stage.tell("The cluster has ended, and nothing of it is left.")
    return True


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _ignore_signals()  # an impatient second one must not spoil the cleaning up
    raise KeyboardInterrupt(signal.Signals(number).name)


def _ignore_signals() -> None:
    for number in build.ENDING:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
