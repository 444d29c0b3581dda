"""`spower check`: would such a job fit? Nothing is submitted and nothing is claimed."""

import re
from collections.abc import Mapping
from typing import Any

import click

from slurm_power.cli import times
from slurm_power.cli.link import Link, link_options
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import text, words
from slurm_power.cli.verdicts import answer_columns, present
from slurm_power.core.reasons import Code
from slurm_power.core.units import parse_slurm_duration_s

COLUMNS = answer_columns(words("advice"), text("at"), words("counted"), text("est_from"))
_FACTS = ("verdict", "at", "tier", "power", "zones", "est", "max", "est_from", "earliest", "advice", "counted")
FITS_LATER, NEVER, USAGE = 3, 4, 2
_EXIT = {"admit": 0, "hold": FITS_LATER, "reject": NEVER}
_INFINITE = 4_294_967_295
_NODES = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_GPUS = re.compile(r"(?:[A-Za-z][\w.-]*:)?\d{1,9}(?:,(?:[A-Za-z][\w.-]*:)\d{1,9})*")


@click.command("check", short_help="Would such a job fit?")
@click.option("--comment", help="As for sbatch: power:est=18.5kW,max=24kW.")
@click.option("-p", "--partition", help="Partition; else the default one.")
@click.option("-N", "--nodes", metavar="MIN[-MAX]", help="Nodes.")
@click.option("-n", "--ntasks", type=click.IntRange(min=1), help="Tasks.")
@click.option("-c", "--cpus-per-task", type=click.IntRange(min=1), help="CPUs a task.")
@click.option("-G", "--gpus", metavar="[TYPE:]N", help="GPUs of the whole job.")
@click.option("--gpus-per-node", metavar="[TYPE:]N", help="GPUs a node.")
@click.option("-t", "--time", "limit", metavar="TIME", help="Time limit: 90, 1:30:00, 1-12:00:00, UNLIMITED.")
@click.option("-q", "--qos", help="QOS.")
@click.option("-A", "--account", help="Account.")
@click.option("-J", "--job-name", "name", metavar="NAME", help="Name, by which its profile is found.")
@click.option("-a", "--array", metavar="INDEXES", help="Array: 0-99%10.")
@click.option("-C", "--constraint", metavar="FEATURES", help="Features of the nodes.")
@click.option("-w", "--nodelist", metavar="HOSTLIST", help="Nodes that it needs.")
@click.option("-x", "--exclude", metavar="HOSTLIST", help="Nodes that it avoids.")
@click.option("--exclusive", is_flag=True, help="Whole nodes.")
@click.option("--at", metavar="TIME", help="Started then, not now: now+2hours, 2026-04-20T18:00:00, …Z for UTC.")
@output_options(COLUMNS)
@link_options
@click.pass_context
def check(context: click.Context, /, at: str | None, output: Output, link: Link, **options: Any) -> None:
    """Tell whether a job like this fits, in the words of sbatch; nothing is submitted.

    \b
    Exit codes: 0 fits now, 3 fits later, 4 never, 5 the daemon cannot be reached,
    2 usage, and a comment that cannot be read.

    With --at the question is the same for a job that is submitted now and starts at that time; `counted` in the
    answer says what is taken to draw power by then. 0 then means: fits at that time.
    """
    job, start = describe(options), None if at is None else times.at(at)
    answer = output.show(lambda: present(link.ask("check", job=job, at=start), COLUMNS, _FACTS))
    context.exit(exit_code(answer.data))


def exit_code(found: Mapping[str, Any]) -> int:
    """What the command ends with; a comment that cannot be read is the caller's mistake, not a `never`."""
    misread = any(reason["code"] == Code.ENVELOPE for reason in found["reasons"])
    return USAGE if misread else _EXIT[found["verdict"]]


def describe(options: Mapping[str, Any]) -> dict[str, object]:
    """The job in the fields of Slurm's job description, as the submit hook would send them."""
    least, most = _nodes(options["nodes"])
    job: dict[str, object | None] = {
        "comment": options["comment"],
        "partition": options["partition"],
        "min_nodes": least,
        "max_nodes": most,
        "num_tasks": options["ntasks"],
        "cpus_per_task": options["cpus_per_task"],
        "tres_per_job": _gpus(options["gpus"], "--gpus"),
        "tres_per_node": _gpus(options["gpus_per_node"], "--gpus-per-node"),
        "time_limit": _minutes(options["limit"]),
        "qos": options["qos"],
        "account": options["account"],
        "name": options["name"],
        "array_inx": options["array"],
        "features": options["constraint"],
        "req_nodes": options["nodelist"],
        "exc_nodes": options["exclude"],
        "shared": 0 if options["exclusive"] else None,
    }
    return {field: value for field, value in job.items() if value is not None}


def _nodes(text: str | None) -> tuple[int | None, int | None]:
    """The least and the most nodes; `4` means just so many, as in sbatch."""
    if text is None:
        return None, None
    match = _NODES.fullmatch(text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match is not None else (0, 0)
    if not 0 < least <= most:
        raise click.UsageError(f"--nodes={text} is not a number of nodes; write 4 or 2-4")
    return least, most


def _gpus(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    if _GPUS.fullmatch(text) is None:
        raise click.UsageError(f"{option}={text} is not a number of GPUs; write 8 or h100:8")
    return ",".join(f"gres:gpu:{part}" for part in text.split(","))


def _minutes(text: str | None) -> int | None:
    """Slurm counts time limits in minutes, rounded up; 0 stands for none."""
    if text is None:
        return None
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return _INFINITE
    return -(-parse_slurm_duration_s(text) // 60) or _INFINITE
