"""`spower config`: check the site file, show what it comes to, print the reference of its keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from slurm_power.adapters.slurm import Runner, SlurmCommands
from slurm_power.cli import site_view
from slurm_power.cli.options import json_option, output_options, site_file_argument
from slurm_power.cli.output import Output, json_text
from slurm_power.cli.table import Answer, Columns, Row, Table, count, text, watts, words
from slurm_power.cli.zones import feed_kind
from slurm_power.config import Finding, Severity, Site, SiteError, check_against_slurm, load_site, site_path
from slurm_power.config import reference as reference_text
from slurm_power.core.errors import ConfigError

FINDINGS = Columns(
    text("severity"),
    text("file"),
    count("line"),
    text("key"),
    words("problem"),
    words("expected"),
    words("text"),
)
SITE = Columns(
    text("kind"),
    text("name"),
    text("lane"),
    text("side"),
    text("parent"),
    text("redundancy"),
    watts("limit"),
    text("margin"),
    watts("usable"),
    watts("baseline"),
    text("nodes"),
    text("feeds"),
)


@click.group("config", short_help="Check, show and explain the site file.")
def config() -> None:
    """The site file: $SLURM_POWER_CONF, else /etc/slurm/slurm_power.yaml."""


@config.command("check")
@site_file_argument
@click.option("--slurm", is_flag=True, help="Compare it with the running Slurm too.")
@output_options(FINDINGS)
@click.pass_context
def check(context: click.Context, /, file: Path | None, slurm: bool, output: Output) -> None:
    """Print every problem of a site file with its line; exit code 2 if there is one. Warnings are none."""
    found: list[Row] = []
    site = None
    try:
        site = load_site(file)
    except SiteError as error:
        found += [_problem(problem) for problem in error.problems]
    else:
        found += [_finding(Finding(Severity.WARNING, warning)) for warning in site.warnings]
        if slurm:
            found += [_finding(finding) for finding in _compare(site)]
    output.show(lambda: _findings(site_path(file), site, found))
    context.exit(ConfigError.exit_code if any(row["severity"] == Severity.ERROR for row in found) else 0)


@config.command("show")
@site_file_argument
@output_options(SITE)
def show(file: Path | None, output: Output) -> None:
    """Print what the site file comes to: limits resolved, defaults filled in, what may be planned."""
    data = site_view.effective(load_site(file))
    rows: list[Row] = [
        *({**row, "kind": "zone"} for row in data["zones"]),
        *({**row, "kind": feed_kind(row)} for row in data["feeds"]),
    ]
    lines = site_view.as_yaml(data).splitlines()
    output.show(lambda: Answer(data, Table(SITE.all, rows), lines))


@config.command("reference")
@json_option
def reference(as_json: bool) -> None:
    """Print every key of the site file with its type, default and meaning, as Markdown."""
    content = reference_text()
    click.echo(json_text({"schema": 1, "markdown": content}) if as_json else content, nl=False)


def _compare(site: Site) -> tuple[Finding, ...]:
    slurm = SlurmCommands(Runner(read_only=True))
    return check_against_slurm(site, slurm.nodes(), slurm.partitions(), slurm.licenses())


def _problem(problem: ConfigError) -> Row:
    return {
        "severity": str(Severity.ERROR),
        "file": problem.file,
        "line": problem.line,
        "key": problem.key,
        "problem": problem.problem,
        "expected": problem.expected,
        "text": str(problem),
    }


def _finding(finding: Finding) -> Row:
    return {
        "severity": str(finding.severity),
        "file": None,
        "line": None,
        "key": "",
        "problem": finding.text,
        "expected": "",
        "text": finding.text,
    }


def _findings(path: Path, site: Site | None, found: list[Row]) -> Answer:
    errors = sum(row["severity"] == Severity.ERROR for row in found)
    data: dict[str, Any] = {"schema": 1, "file": str(path), "ok": not errors, "findings": found}
    lines = [row["text"] if row["severity"] == Severity.ERROR else f"warning: {row['text']}" for row in found]
    return Answer(data, Table(FINDINGS.all, found), [*lines, *_summary(path, site, errors)])


def _summary(path: Path, site: Site | None, errors: int) -> Iterator[str]:
    if errors:
        yield f"{path}: {errors} problem{'s' if errors > 1 else ''}"
    elif site is not None:
        topology = site.topology
        nodes = sum(len(zone.nodes) for zone in topology.zones.values())
        yield f"{path}: no problems; zones {len(topology.zones)}, nodes {nodes}, feeds {len(topology.feeds)}"
