"""Files that are made from code. To mend them all: python -m tests.docs.made"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shlex import join

from slurm_power.config import load_site
from slurm_power.render import sacctmgr_commands, slurm_fragment
from tests.docs import preemptions
from tests.docs.states import page

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "etc" / "slurm_power.yaml"

QOS_HEAD = """\
#!/bin/sh
# The tiers' QOS for etc/slurm_power.yaml, as `spower render sacctmgr etc/slurm_power.yaml` prints it. To be run once by
# an administrator of slurmdbd; run again it changes nothing. `add` fails for a QOS that is there, and `modify` then
# sets what it should have.
#
# Who may use which tier is yours to say, for example:
#   sacctmgr -i modify account research set qos+=silver,bronze defaultqos=bronze
"""


def made() -> Mapping[Path, str]:
    """Path → text."""
    return {
        ROOT / "docs" / "states.md": page(),
        ROOT / "docs" / "preemption.md": preemptions.page(),
        ROOT / "etc" / "slurm.conf.fragment": _fragment(),
        ROOT / "etc" / "qos": QOS_HEAD + "".join(f"{join(argv)}\n" for argv in sacctmgr_commands(load_site(EXAMPLE))),
    }


def _fragment() -> str:
    """What `spower render slurm etc/slurm_power.yaml` prints."""
    return slurm_fragment(replace(load_site(EXAMPLE), path=EXAMPLE.relative_to(ROOT)))


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
