"""`gitvs plan`: what a director should have, against what it has."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import click

from gitvs.adapters.files.text_cache import TextCache, cache_folder
from gitvs.adapters.git.commits import commits_at
from gitvs.cli.shared.director import choose_director
from gitvs.cli.shared.gates import allow_option
from gitvs.cli.shared.manifest_input import load_manifests, path_argument, rev_option
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, tell
from gitvs.cli.shared.pass_output import sides, view_of
from gitvs.cli.shared.reports import Reports, report_options
from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.manifests.file_cache import KnownFiles, edition
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import render
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit
from gitvs.core.planning.risks import risks
from gitvs.ports import Applied
from gitvs.preview.compare import Question, compare
from gitvs.reconcile.one_pass import Options, Survey, look, survey_of
from gitvs.report.host.observation_json import Seen, observation_from
from gitvs.report.plan.plan_view import SideKind
from gitvs.report.plan.preview_view import Preview


@click.command()
@path_argument
@click.option(
    "--director",
    "directors",
    multiple=True,
    metavar="NAME",
    help="The director to look at.  [default: this host's name, short or full; with --base all]",
)
@rev_option
@click.option("--base", metavar="REV", help="Compare commits: what would change since this one.")
@click.option("--head", metavar="REV", help="With --base: the commit to look at.  [default: HEAD]")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What `gitvs observe --format json` saved: plan against it, not against this host. With"
    " --base it adds what is live there.",
)
@report_options
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@click.option("--adopt", is_flag=True, help="Plan as `gitvs apply --adopt` would.")
@allow_option
@click.option(
    "--no-cache",
    is_flag=True,
    envvar="GITVS_NO_CACHE",
    show_envvar=True,
    help="With --base: read every file anew. What was found of files before is kept in"
    " $XDG_CACHE_HOME/gitvs, or ~/.cache/gitvs.",
)
@state_options
def plan(
    path: Path,
    directors: tuple[str, ...],
    rev: str | None,
    base: str | None,
    head: str | None,
    states: tuple[Path, ...],
    reports: Reports,
    detailed_exitcode: bool,
    adopt: bool,
    allow: tuple[str, ...],
    no_cache: bool,
    state_dir: Path,
) -> int:
    """Show what `gitvs apply` would change on this host, and in which order.

    PATH is the folder of manifests, by default the one you are in. Nothing is changed. A
    blocked plan is shown whole, and exits with 3.

    With --base it is what one commit would change after another, on every director, from Git
    alone: for pull requests. A line `Gitvs-Allow: GATE` in a commit message lifts a gate.

    \b
    Examples:
      gitvs plan --director lb1
      gitvs plan manifests --rev origin/main --detailed-exitcode
      gitvs plan --format json --out plan.json
      gitvs plan --director lb1 --state lb1.json     what `gitvs observe` saved on lb1
      gitvs plan --base origin/main                  what this branch would change
      gitvs plan --base v1 --head v2 --format markdown --out plan.md --format html --out plan.html
    """
    seen = [read_state(state) for state in states]
    if base is not None:
        _refuse(rev, "--rev", "--head")
        _refuse(adopt, "--adopt", "`gitvs plan --adopt` on the director")
        revision = "HEAD" if head is None else head
        question = Question(base, revision, directors, frozenset(allow), _by_director(seen))
        with (
            progress("comparing"),
            commits_at(path) as commits,
            _loader(no_cache) as loader,
            _no_collections(),
        ):
            preview = compare(commits, question, loader)
    else:
        _expect_one_host(head, directors, states)
        director = directors[0] if directors else None
        loaded = load_manifests(path, rev)
        desired = render(loaded.manifests, choose_director(director, loaded.manifests.directors))
        options = Options(frozenset(allow), adopt)
        survey = _look(desired, options, seen, state_dir)
        preview = _live(survey, loaded.commit, path, states)
        if survey.is_left_open:
            tell("gitvs: a transaction was left open; `gitvs apply` undoes or finishes it first")
    reports.write(preview)
    code = preview.exit_code
    return ExitCode.DONE if code is ExitCode.CHANGES and not detailed_exitcode else code


@contextmanager
def _loader(no_cache: bool) -> Iterator[Loader]:
    """Load manifests with what was found of files before, and keep it for the next time."""
    folder = None if no_cache else cache_folder()
    if folder is None:
        yield Loader()
        return
    texts = TextCache(folder, edition())
    if texts.refusal:
        tell(f"gitvs: no cache is used: {texts.refusal}")
    yield Loader(KnownFiles(texts).read)
    texts.save()


@contextmanager
def _no_collections() -> Iterator[None]:
    """Look for no cycles: a preview makes a million objects, and keeps them to the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _by_director(states: Sequence[Seen]) -> dict[str, Seen]:
    """Return saved states by the director that each is of; a second one would hide the first."""
    by_director: dict[str, Seen] = {}
    for seen in states:
        if by_director.setdefault(seen.director, seen) is not seen:
            raise UsageError(f"two --state are of director {seen.director}; give the newer one")
    return by_director


def _refuse(value: object, option: str, instead: str) -> None:
    if value:
        raise UsageError(f"{option} is nothing for --base; use {instead}")


def _expect_one_host(head: str | None, directors: Sequence[str], states: Sequence[Path]) -> None:
    """Refuse what only makes sense where commits are compared."""
    if head is not None:
        raise UsageError("--head needs --base; for one commit on one director use --rev")
    for option, values in (("--director", directors), ("--state", states)):
        if len(values) > 1:
            raise UsageError(f"{option} may be given once, unless commits are compared (--base)")


def _look(desired: Desired, options: Options, seen: Sequence[Seen], state_dir: Path) -> Survey:
    """Plan against this host, or against a saved state."""
    if seen:
        return look_at_saved(seen[0], desired, options)
    live = import_module("gitvs.cli.shared.host")  # the kernel's libraries: of no use to all others
    with live.reader(state_dir) as ports, progress("reading the kernel"):
        return look(ports, desired, options)


def _live(survey: Survey, commit: Commit | None, path: Path, states: Sequence[Path]) -> Preview:
    """Return the plan of one host as a preview."""
    base, head = sides(survey, commit, path)
    if states:
        base = replace(base, kind=SideKind.STATE, name=str(states[0]))
    applied = None if survey.applied is None else survey.applied.desired
    desired = survey.proposal.desired
    found = risks(applied, desired, survey.proposal.plan, survey.observation)
    return Preview(base, head, (replace(view_of(survey), risks=found),))


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
    for sysctl in seen.unread(desired):
        tell(f"gitvs: {sysctl.name} is not in the saved state: taken to be {sysctl.value}")
    known = seen.observation_for(desired)
    commit = None if seen.commit is None else Commit(seen.commit)
    applied = None if seen.applied is None else Applied(seen.applied, commit, datetime.now(UTC))
    return survey_of(desired, applied, known, seen.ledger, seen.boottime, seen.mark, options)
