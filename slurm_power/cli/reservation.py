"""`sreservation create | update | renew | cancel | check`: what is asked, in the words of the daemon."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click

from slurm_power.cli import times
from slurm_power.cli.hostlists import expand
from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.reservation_show import COLUMNS, answered
from slurm_power.core.errors import UsageError
from slurm_power.core.reservation import WhenShort
from slurm_power.core.units import parse_demand_w, parse_slurm_duration_s

DOES_NOT_FIT, NEVER = 3, 4
_EXIT = {"later": DOES_NOT_FIT, "never": NEVER}
_ANY = "any:"
NAME = click.argument("name", shell_complete=names_from("reservations", "name"))


def _terms_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is reserved; the command is called with `given`, those of them that were given."""

    @click.option(
        "-z",
        "--zones",
        metavar="HOSTLIST|any:HOSTLIST",
        help="An even part in each, or any of them.",
        shell_complete=names_from("zones", "name"),
    )
    @click.option("-w", "--watts", metavar="W", help="For all of them together: 40kW, 40000.")
    @click.option("--min-watts", metavar="W", help="Take less where all does not fit, but so much at least.")
    @click.option("-s", "--start", metavar="TIME", help="18:00, now+2hours, tomorrow, 2026-04-20T18:00[Z]; else now.")
    @click.option("-d", "--duration", metavar="D", help="8h, 2:00:00, 1-12 (days-hours), 90 (minutes).")
    @click.option("-e", "--end", metavar="TIME", help="Instead of a duration.")
    @click.option("-A", "--accounts", metavar="A,…", help="Jobs of these accounts may use it.")
    @click.option("-u", "--users", metavar="U,…", help="Jobs of these users may use it; with accounts, both must hold.")
    @click.option("-N", "--nodes", metavar="N", help="Whole nodes that come with the watts, in one zone.")
    @click.option("-G", "--gpus", metavar="N", help="Or as many nodes as have so many GPUs.")
    @click.option("--tier", metavar="TIER", help="The promise, gold for example; else the site's default.")
    @click.option("--policy", type=click.Choice([*map(str, WhenShort)]), help="What others do where it begins short.")
    @click.option("--grace", metavar="D", help="How long it may lie unused before its watts return to everybody.")
    @click.option("--burst", metavar="W:D", help="What may come on top, and for how long: 5kW:2m.")
    @wraps(command)
    def asked(*args: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in _READ}
        return command(*args, given={name: value for name, value in given.items() if value is not None}, **options)

    return asked


_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done, and Slurm's commands; do nothing.")


@click.command("create", short_help="Reserve watts.")
@click.argument("name")
@_terms_options
@_dry_run
@output_options(COLUMNS)
@link_options
@click.pass_context
def create(
    context: click.Context, /, name: str, given: Mapping[str, str], dry_run: bool, output: Output, link: Link
) -> None:
    """Reserve watts for a time: by whom, where, how much, from when, for how long.

    \b
    sreservation create spring --zones=rack07 --watts=40kW --start=18:00 --duration=8h --accounts=research
    sreservation create night --zones=any:rack[07-12] --watts=60kW --min-watts=40kW --start=20:00 --end=06:00 -u alice

    Where it does not fit, what would is shown: earlier, later, fewer watts, other zones. Jobs use it by
    sbatch --comment=power:est=10kW,reservation=spring. Administrators may reserve for everybody, coordinators for
    their accounts; where the site wants approval, others may ask.

    Exit codes: 0 it is kept, 3 not as asked, 4 never.
    """
    terms = {"name": name, **terms_from(given)}
    _missing(terms)
    _done(context, output, link, {"do": "create", "terms": terms, "dry_run": dry_run})


@click.command("update", short_help="Change a reservation.")
@NAME
@_terms_options
@click.option("--approve", is_flag=True, help="Approve one that waits for it.")
@_dry_run
@output_options(COLUMNS)
@link_options
@click.pass_context
def update(
    context: click.Context,
    /,
    name: str,
    given: Mapping[str, str],
    approve: bool,
    dry_run: bool,
    output: Output,
    link: Link,
) -> None:
    """Change what is given; all else stays. Where the change does not fit, the reservation stays as it is."""
    terms = terms_from(given)
    if not terms and not approve:
        raise click.UsageError("say what to change, for example --watts=50kW or --end=now+4hours")
    _done(context, output, link, {"do": "update", "name": name, "terms": terms, "approve": approve, "dry_run": dry_run})


@click.command("renew", short_help="Have a reservation last longer, or once more.")
@NAME
@click.option("-d", "--duration", metavar="D", required=True, help="For so much longer: 2:00:00, 90 (minutes), 8h.")
@click.option("-s", "--start", metavar="TIME", help="Of one that is over: when it begins anew; else now.")
@_dry_run
@output_options(COLUMNS)
@link_options
@click.pass_context
def renew(
    context: click.Context, /, name: str, duration: str, start: str | None, dry_run: bool, output: Output, link: Link
) -> None:
    """Have a reservation last so much longer. One that is over is made anew, with the terms that it had."""
    question: dict[str, object] = {"do": "renew", "name": name, "dry_run": dry_run}
    question["length_s"] = parse_slurm_duration_s(duration)
    if start is not None:
        question["start"] = times.at(start)
    _done(context, output, link, question)


@click.command("cancel", short_help="Give a reservation up.")
@NAME
@_dry_run
@output_options(COLUMNS)
@link_options
@click.pass_context
def cancel(context: click.Context, /, name: str, dry_run: bool, output: Output, link: Link) -> None:
    """Give its watts back to everybody; jobs that run in it go on."""
    _done(context, output, link, {"do": "cancel", "name": name, "dry_run": dry_run})


@click.command("check", short_help="Would such a reservation fit?")
@_terms_options
@output_options(COLUMNS)
@link_options
@click.pass_context
def check(context: click.Context, /, given: Mapping[str, str], output: Output, link: Link) -> None:
    """Tell whether a reservation would fit, and what would instead; anybody may ask, nothing is reserved.

    What an account has reserved already counts to its share of a zone: give --accounts to have it looked at.

    Exit codes: 0 it fits, 3 not as asked, 4 never.
    """
    owner = {} if "accounts" in given or "users" in given else {"accounts": "check"}
    terms = {"name": "check", **terms_from({**owner, **given})}
    _missing(terms)
    _done(context, output, link, {"do": "check", "terms": terms})


def _done(context: click.Context, output: Output, link: Link, question: Mapping[str, Any]) -> None:
    answer = output.show(lambda: answered(link.ask("reservation", **question)))
    context.exit(_EXIT.get(str(answer.data["verdict"]), 0))


def _missing(terms: Mapping[str, object]) -> None:
    wanted = (
        (("zones",), "where? give --zones, for example --zones=rack07 or --zones=any:rack[07-12]"),
        (("watts_w",), "how much? give --watts, for example --watts=40kW"),
        (("end", "length_s"), "for how long? give --duration or --end, for example --duration=8h"),
        (("accounts", "users"), "whose is it? give --accounts or --users, for example --accounts=research"),
    )
    for fields, question in wanted:
        if terms.keys().isdisjoint(fields):
            raise click.UsageError(question)


def terms_from(given: Mapping[str, str]) -> dict[str, object]:
    """The fields of the question from the words of the command. Raises UsageError."""
    if "duration" in given and "end" in given:
        raise UsageError("--duration and --end are two ways to say one thing; give one of them")
    terms: dict[str, object] = {}
    for option, word in given.items():
        try:
            terms |= _READ[option](word)
        except UsageError as error:
            raise UsageError(f"--{option.replace('_', '-')}: {error}") from None
    return terms


def _zones(text: str) -> dict[str, object]:
    return {"any_zone": text.startswith(_ANY), "zones": list(expand([text.removeprefix(_ANY)]))}


def _names(field: str) -> Callable[[str], dict[str, object]]:
    return lambda text: {field: [word for word in text.split(",") if word]}


def _one(field: str, read: Callable[[str], object]) -> Callable[[str], dict[str, object]]:
    return lambda text: {field: read(text)}


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1_000_000:
        raise UsageError(f"'{text}' is not a number of nodes or GPUs; write for example 4")
    return int(text)


def _burst(text: str) -> dict[str, object]:
    watts, colon, length = text.partition(":")
    if not colon:
        raise UsageError(f"'{text}' has no length; write --burst=5kW:2m")
    return {"burst_w": parse_demand_w(watts), "burst_s": parse_slurm_duration_s(length)}


_READ: Mapping[str, Callable[[str], dict[str, object]]] = {
    "zones": _zones,
    "watts": _one("watts_w", parse_demand_w),
    "min_watts": _one("min_w", parse_demand_w),
    "start": _one("start", times.at),
    "end": _one("end", times.at),
    "duration": _one("length_s", parse_slurm_duration_s),
    "accounts": _names("accounts"),
    "users": _names("users"),
    "nodes": _one("nodes", _number),
    "gpus": _one("gpus", _number),
    "tier": _one("tier", str),
    "policy": _one("policy", str),
    "grace": _one("grace_s", parse_slurm_duration_s),
    "burst": _burst,
}
"""How each option is read into fields of the question."""
