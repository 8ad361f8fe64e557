"""`gitvs plan`: what a director should have, against what it has."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from gitvs.cli.director import choose_director, director_option
from gitvs.cli.gates import allow_option
from gitvs.cli.live import reader
from gitvs.cli.loading import load_manifests, path_argument, rev_option
from gitvs.cli.options import state_options
from gitvs.cli.output import progress, show, show_json, tell
from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.history import Commit
from gitvs.core.model import Desired, Sysctl
from gitvs.core.render import render
from gitvs.ports import Applied
from gitvs.reconcile import Options, Survey, look, survey_of
from gitvs.report.observation_document import Seen, observation_from
from gitvs.report.plan_document import plan_document
from gitvs.report.plan_text import plan_text
from gitvs.report.plan_view import DirectorPlan, PlanOutcome, Side, SideKind, director_plan


@click.command()
@path_argument
@director_option
@rev_option
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Plan against what `gitvs observe --format json` saved, not against this host.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write the plan there instead of to standard output.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@click.option("--adopt", is_flag=True, help="Plan as `gitvs apply --adopt` would.")
@allow_option
@state_options
def plan(
    path: Path,
    director: str | None,
    rev: str | None,
    state: Path | None,
    form: str,
    out: Path | None,
    detailed_exitcode: bool,
    adopt: bool,
    allow: tuple[str, ...],
    state_dir: Path,
) -> int:
    """Show what `gitvs apply` would change on this host, and in which order.

    PATH is the folder of manifests, by default the one you are in. Nothing is changed. A
    blocked plan is shown whole, and exits with 3.

    \b
    Examples:
      gitvs plan --director lb1
      gitvs plan manifests --rev origin/main --detailed-exitcode
      gitvs plan --format json --out plan.json
      gitvs plan --director lb1 --state lb1.json     what `gitvs observe` saved on lb1
    """
    loaded = load_manifests(path, rev)
    desired = render(loaded.manifests, choose_director(director, loaded.manifests.directors))
    options = Options(frozenset(allow), adopt)
    if state is None:
        with reader(state_dir) as ports, progress("reading the kernel"):
            survey = look(ports, desired, options)
    else:
        survey = look_at_saved(read_state(state), desired, options)
    view = view_of(survey)
    base, head = sides(survey, loaded.commit, path)
    if state is not None:
        base = replace(base, kind=SideKind.STATE, name=str(state))
    if form == "json":
        _write_json(plan_document(base, head, [view]), out)
    elif out is None:
        show(plan_text(base, head, [view]))
    else:
        out.write_text(plan_text(base, head, [view]).plain)
    if survey.is_left_open:
        tell("gitvs: a transaction was left open; `gitvs apply` undoes or finishes it first")
    return exit_code(view, detailed_exitcode)


def read_state(file: Path) -> Seen:
    """Read a saved observation.

    Raises:
        UsageError: it cannot be read, or is something else.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    return observation_from(text, str(file))


def look_at_saved(seen: Seen, desired: Desired, options: Options) -> Survey:
    """Plan against a saved observation. Settings that were not read there count as wanted."""
    wanted = desired.state.of(Sysctl)
    unread = [sysctl for sysctl in wanted if sysctl.name not in seen.scope.sysctls]
    for sysctl in unread:
        tell(f"gitvs: {sysctl.name} is not in the saved state: taken to be {sysctl.value}")
    known = replace(seen.observation, state=seen.observation.state.with_changes(unread))
    commit = None if seen.commit is None else Commit(seen.commit)
    applied = None if seen.applied is None else Applied(seen.applied, commit, datetime.now(UTC))
    return survey_of(desired, applied, known, seen.ledger, seen.boottime, seen.mark, options)


def view_of(survey: Survey) -> DirectorPlan:
    """Return a survey as reports show it."""
    return director_plan(
        survey.proposal,
        observation=survey.observation,
        applied=None if survey.applied is None else survey.applied.desired,
        ledger=survey.ledger,
        boottime=survey.boottime,
    )


def sides(survey: Survey, commit: Commit | None, path: Path) -> tuple[Side, Side]:
    """Return what a live plan goes from, and what it leads to."""
    base = Side(SideKind.LIVE, None if survey.applied is None else survey.applied.commit_id)
    if commit is None:
        return base, Side(SideKind.WORK_TREE, None, str(path))
    return base, Side(SideKind.COMMIT, commit.id, commit.subject)


def exit_code(view: DirectorPlan, is_detailed: bool) -> ExitCode:
    """Return the exit code of a plan that was shown."""
    if view.outcome is PlanOutcome.BLOCKED:
        return ExitCode.BLOCKED
    return ExitCode.CHANGES if is_detailed and view.plan else ExitCode.DONE


def _write_json(document: object, out: Path | None) -> None:
    if out is None:
        show_json(document)
    else:
        out.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
