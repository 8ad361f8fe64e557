"""`gitvs validate`: every problem in the manifests of a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from gitvs import __version__
from gitvs.cli.shared.manifest_input import load_manifests, path_argument, rev_option
from gitvs.cli.shared.options import common_options
from gitvs.core.errors import ExitCode
from gitvs.core.manifests.load import Manifests
from gitvs.core.problems import InvalidManifests, Problem
from gitvs.report.text.problems import ProblemFormat, counted, report_problems


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
    Exits with 4 if there are problems.

    \b
    Examples:
      gitvs validate
      gitvs validate manifests --rev origin/main
      gitvs validate --format github            in a workflow: annotations in the diff
      gitvs validate --format sarif > gitvs.sarif
    """
    chosen = ProblemFormat(form)
    try:
        manifests = load_manifests(path, rev).manifests
    except InvalidManifests as error:
        _write_problems(error.problems, chosen, path)
        click.echo(f"gitvs: {counted(len(error.problems), 'problem')}", err=True)
        return error.exit_code
    if chosen is ProblemFormat.TEXT:
        click.echo(_counts(manifests))
    else:
        _write_problems((), chosen, path)
    return ExitCode.DONE


def _write_problems(problems: tuple[Problem, ...], form: ProblemFormat, path: Path) -> None:
    """Problems are the result of `validate`, so they go to standard output.

    Forges want paths from the root of the repository, where their jobs run.
    """
    folder = os.path.relpath(path)
    prefix = "" if folder == "." or folder.startswith("..") else folder
    sys.stdout.write(report_problems(problems, form, prefix=prefix, version=__version__))


def _counts(manifests: Manifests) -> str:
    counts = (
        counted(len(manifests.directors), "director"),
        counted(len(manifests.services), "service"),
        counted(len(manifests.pools), "pool"),
    )
    return f"no problems: {', '.join(counts)}"
