"""What the demo submits: a mixed stream on the sandbox's four racks, with the verdict that each has to get.

The racks have four nodes of eight GPUs. rack01 and rack02 hang on the feeds pdu-a1 and pdu-b1 as 2N: either feed has to
carry both racks whole, so that together they have little more than one full rack's watts. rack03 and rack04 share their
feeds as N.
"""

import shlex
from dataclasses import dataclass
from enum import StrEnum


class Expect(StrEnum):
    """What has to become of a submission."""

    ADMIT = "admitted"
    HOLD = "held"
    REJECT = "rejected"
    SLURM_REFUSES = "refused by Slurm"
    ANY = "either admitted or held"


@dataclass(frozen=True, slots=True)
class Submission:
    """One call of sbatch or srun. `est_w` and `max_w` are of one task, and what the demo itself counts it with."""

    user: str
    name: str
    comment: str
    options: tuple[str, ...] = ()
    command: str = ""
    est_w: int = 0
    max_w: int = 0
    expect: Expect = Expect.ADMIT
    say: str = ""
    """Said before it."""
    tasks: int = 1
    interactive: bool = False
    several_users: bool = False
    """Shows something only where users differ."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The command."""
        given = (*self.options, *((f"--comment={self.comment}",) if self.comment else ()))
        if self.interactive:
            return ("srun", "-J", self.name, *given, *shlex.split(self.command))
        return ("sbatch", "-J", self.name, *given, f"--wrap={self.command}")

    @property
    def text(self) -> str:
        """The command as one would type it."""
        return " ".join(map(_quoted, self.argv))


def _quoted(word: str) -> str:
    """Quoted for a shell; of `--name=value` only the value."""
    name, equals, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and name.startswith("--") else shlex.quote(word)


LLAMA = Submission(
    "alice",
    "llama",
    "power:est=36kW,max=42kW",
    ("-q", "gold", "-N6", "--exclusive", "-t10"),
    "sleep 28",
    36_000,
    42_000,
    say="Gold, six nodes: more than a rack has, so the job gets two racks and is charged in each by its nodes there.",
)
SWEEP = Submission(
    "carol",
    "sweep",
    "power:est=6.5kW/node,max=7kW/node",
    ("-N4", "--gpus-per-node=8", "-t10"),
    "sleep 13",
    26_000,
    28_000,
    say="Bronze goes to the cold lane, where work may be interrupted.",
)
EVAL = Submission(
    "bob",
    "eval",
    "power:class=training,est=8.5kW,max=10kW",
    ("--array=1-4", "--gpus=8", "-t10"),
    "sleep 10",
    8_500,
    10_000,
    say="An array: one claim a task.",
    tasks=4,
)
RETRAIN = Submission(
    "bob",
    "retrain",
    "power:tier=silver,est=18.5kW,max=24kW,zones=rack02",
    ("-N2", "--gpus-per-node=8", "-t10"),
    "sleep 6",
    18_500,
    24_000,
    Expect.HOLD,
    say="Silver, near its data. rack02 has two idle nodes, and watts too; the feeds above both racks have not.",
)
REFUSED = (
    Submission(
        "carol",
        "typo",
        "power:est=18.5kWh",
        command="sleep 5",
        expect=Expect.REJECT,
        say="A comment that cannot be read: nothing is queued.",
    ),
    Submission(
        "bob",
        "toobig",
        "power:est=60kW,zones=rack04",
        command="sleep 5",
        expect=Expect.REJECT,
        say="More than the rack could carry even if it were empty: not later, but never.",
    ),
    Submission(
        "carol",
        "gilded",
        "power:est=1kW,tier=gold",
        ("-t10",),
        "sleep 5",
        expect=Expect.SLURM_REFUSES,
        say="Tiers are QOS, and who may use which is Slurm's to say: carol has bronze alone.",
        several_users=True,
    ),
)
NOTEBOOK = Submission(
    "alice",
    "notebook",
    "power:class=interactive,est=2kW",
    ("--gpus=2", "-t5"),
    "sh -c 'hostname; sleep 2'",
    2_000,
    2_600,
    say="srun takes the same path. It is small and short enough not to delay the held job, so it may overtake it.",
    interactive=True,
)
OPENING = (LLAMA, SWEEP, EVAL)
STREAM = (
    Submission("carol", "plain", "", ("--gpus=2", "-t5"), "sleep 5", 1_400, 1_820, Expect.ANY),
    Submission(
        "alice",
        "urgent",
        "power:class=urgent,est=16kW,max=18kW",
        ("-N2", "--gpus-per-node=8", "-t5"),
        "sleep 6",
        16_000,
        18_000,
        Expect.ANY,
    ),
    Submission(
        "bob",
        "json",
        '{"estimatedPowerKW": 9, "maxPowerKW": 11, "minRackHeadroomKW": 4}',
        ("--gpus=8", "-t5"),
        "sleep 5",
        9_000,
        11_000,
        Expect.ANY,
    ),
    Submission(
        "carol",
        "scan",
        "power:est=4.5kW,max=5kW",
        ("--array=1-3%2", "--gpus=8", "-t5"),
        "sleep 3",
        4_500,
        5_000,
        Expect.ANY,
        tasks=3,
    ),
    Submission(
        "bob",
        "pinned",
        "night run; power:est=9kW,zones=rack[01-02]",
        ("--gpus=8", "-t5"),
        "sleep 5",
        9_000,
        11_700,
        Expect.ANY,
    ),
    Submission(
        "alice",
        "finetune",
        "power:tier=bronze,class=training,est=10kW/node,max=11kW/node,deadline=now+2hours",
        ("-N2", "--gpus-per-node=8", "-t5"),
        "sleep 5",
        20_000,
        22_000,
        Expect.ANY,
    ),
    Submission("carol", "batch", "power:est=800W/gpu", ("--gpus=8", "-t5"), "sleep 4", 6_400, 8_320, Expect.ANY),
)
RESERVE = "sreservation create spring --zones=rack03 --watts=25kW --duration=30 --accounts=research"
OUTSIDER = Submission(
    "carol",
    "outsider",
    "power:est=22kW,max=22kW,zones=rack03",
    ("-N2", "--gpus-per-node=8", "-t5"),
    "sleep 3",
    22_000,
    22_000,
    Expect.HOLD,
    say="Account ops has no part in it: the rack is empty, but 25 kW of it are spoken for.",
)
INSIDER = Submission(
    "alice",
    "insider",
    "power:est=24kW,max=25kW,reservation=spring",
    ("-N2", "--gpus-per-node=8", "-t5"),
    "sleep 9",
    24_000,
    25_000,
    say="Account research draws on it by naming it.",
)
THE_REST = Submission(
    "carol",
    "rest",
    "power:est=19kW,max=19kW,zones=rack03",
    ("-N2", "--gpus-per-node=8", "-t5"),
    "sleep 3",
    19_000,
    19_000,
    say="What is not reserved is everybody's: counted once, not twice, beside the job in the reservation.",
)
FILLER = Submission(
    "carol",
    "filler",
    "power:est=40kW,max=40kW,zones=rack03,ckpt=30m",
    ("-q", "bronze", "-N4", "--exclusive", "-t20"),
    "sleep 8",
    40_000,
    40_000,
    say="Bronze fills a rack.",
)
PRECIOUS = Submission(
    "alice",
    "precious",
    "power:est=30kW,max=30kW,zones=rack03",
    ("-q", "gold", "-N4", "--exclusive", "-t5"),
    "sleep 4",
    30_000,
    30_000,
    Expect.HOLD,
    say="Gold needs that rack. Its QOS may preempt bronze (sacctmgr says so), whose notice is none.",
)
ALL = (*OPENING, RETRAIN, *REFUSED, NOTEBOOK, *STREAM, OUTSIDER, INSIDER, THE_REST, FILLER, PRECIOUS)
