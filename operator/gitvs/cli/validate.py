"""`gitvs validate`: every problem in the manifests of a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gitvs import __version__
from gitvs.cli.shared.manifest_input import (
    folder_in_repository,
    path_argument,
    rev_option,
    validate_manifests,
)
from gitvs.cli.shared.options import common_options
from gitvs.core.errors import ExitCode
from gitvs.core.manifests.load_run import Manifests
from gitvs.core.problems import InvalidManifests, Problem
from gitvs.report.text.counts import count_text, problem_count_text
from gitvs.report.text.problems import ProblemFormat, report_problems


@click.command()
@path_argument
@rev_option
@click.option(
    "--format",
    "form",
    type=click.Choice([str(f) for f in ProblemFormat]),
    default=str(ProblemFormat.TEXT),
    show_default=True,
    help="github: annotations; gitlab: code quality; sarif: code scanning.",
)
@common_options
def validate(path: Path, rev: str | None, form: str) -> int:
    """Report every problem in the manifests of a folder, or count what is there.

    PATH is the folder, by default the one you are in. Needs no director, kernel or network.
    Exits with 4 if there are problems, and with 0 if there are only warnings.

    \b
    Examples:
      gitvs validate
      gitvs validate manifests --rev origin/main
      gitvs validate --format github            in a workflow: annotations in the diff
      gitvs validate --format sarif > gitvs.sarif
    """
    problem_format = ProblemFormat(form)
    try:
        manifests = validate_manifests(path, rev).manifests
    except InvalidManifests as error:
        _write_problems(error.problems, error.warnings, problem_format, path)
        count = problem_count_text(len(error.problems), error.may_have_more)
        click.echo(f"gitvs: {count}", err=True)
        return error.exit_code
    _write_problems((), manifests.warnings, problem_format, path)
    if problem_format is ProblemFormat.TEXT:
        click.echo(_counts_text(manifests))
    return ExitCode.DONE


def _write_problems(
    problems: tuple[Problem, ...], warnings: tuple[Problem, ...], form: ProblemFormat, path: Path
) -> None:
    """Problems are the result of `validate`, so they go to standard output."""
    folder = folder_in_repository(path)
    sys.stdout.write(
        report_problems(problems, form, warnings=warnings, folder=folder, gitvs_version=__version__)
    )


def _counts_text(manifests: Manifests) -> str:
    counts = (
        count_text(len(manifests.director_names), "director"),
        count_text(len(manifests.services), "service"),
        count_text(len(manifests.pools), "pool"),
    )
    warnings = f", {count_text(len(manifests.warnings), 'warning')}" if manifests.warnings else ""
    return f"no problems{warnings}: {', '.join(counts)}"
