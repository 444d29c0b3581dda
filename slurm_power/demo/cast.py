"""Who acts in the demo: commands run as the sandbox's users."""

import os
import pwd
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurm_power.core.errors import PowerError
from slurm_power.demo.story import Expect, Submission
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.parts import clean_environment
from slurm_power.sandbox.tools import search_path
from slurm_power.sandbox.users import me
from slurm_power.sandbox.wrappers import variables

_PATIENCE_S = 60.0
_POLL_S = 0.1
_SUBMITTED = re.compile(r"^Submitted batch job (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, both streams in the order in which it came, and its exit status."""

    status: int
    text: str

    @property
    def verdict(self) -> Expect:
        """What became of a submission."""
        if "slurm_power: rejected:" in self.text:
            return Expect.REJECT
        if self.status:
            return Expect.SLURM_REFUSES
        return Expect.HOLD if "slurm_power: held:" in self.text else Expect.ADMIT

    @property
    def job(self) -> str:
        """The id of the job that sbatch has submitted; empty if there is none."""
        found = _SUBMITTED.search(self.text)
        return found[1] if found else ""


class Cast:
    """Runs commands against the sandbox. Not as root, everything is done by one user."""

    def __init__(self, layout: Layout) -> None:
        self.alone = os.geteuid() != 0
        self._me = me()
        self._cwd = layout.root
        self._env = {
            **clean_environment(layout.root, variables(layout)),
            "PATH": f"{layout.bin}:{search_path()}",
            "SBATCH_OUTPUT": "/dev/null",
            "TZ": "UTC",
        }

    def name(self, user: str) -> str:
        """Who really acts for a user of the story."""
        return self._me if self.alone else user

    def run(self, user: str, argv: Sequence[str], meanwhile: Callable[[], None] | None = None) -> Said:
        """Run a command to its end, doing something else meanwhile. Raises PowerError if it takes too long."""
        with self._start(user, argv) as process:
            try:
                for _ in range(int(_PATIENCE_S / _POLL_S)):
                    try:
                        text, _none = process.communicate(timeout=_POLL_S)
                    except subprocess.TimeoutExpired:
                        if meanwhile is not None:
                            meanwhile()
                        continue
                    return Said(process.returncode, text)
                raise PowerError(f"no end after {_PATIENCE_S:.0f} s: {' '.join(argv)}")
            finally:
                if process.poll() is None:
                    process.kill()

    def submit(self, submission: Submission, meanwhile: Callable[[], None] | None = None) -> Said:
        """Run a submission's sbatch or srun."""
        return self.run(submission.user, submission.argv, meanwhile)

    def _start(self, user: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        try:
            who = None if self.alone else pwd.getpwnam(user)
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=Path("/") if who is not None else self._cwd,
                env=self._env,
                user=None if who is None else who.pw_uid,
                group=None if who is None else who.pw_gid,
                extra_groups=None if who is None else [],
            )
        except (OSError, KeyError) as error:
            raise PowerError(f"{user} cannot run {argv[0]}: {error}") from error
