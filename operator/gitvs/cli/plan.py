"""`gitvs plan`: the changes from what a director has to what it should have."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import click

from gitvs.adapters.files.directory_source import DirectorySource
from gitvs.adapters.files.file_cache_storage import FileCacheStorage, cache_folder
from gitvs.adapters.git.commits import GitCommits, open_commits
from gitvs.adapters.process.deadline import Deadline
from gitvs.cli.shared.choices import allow_option, choose_director
from gitvs.cli.shared.completion import directors as complete_directors
from gitvs.cli.shared.completion import revisions
from gitvs.cli.shared.manifest_input import (
    files_left_out,
    folder_in_repository,
    load_manifests,
    path_argument,
    rev_option,
)
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, show_message
from gitvs.cli.shared.pass_output import plan_sides, planned_view
from gitvs.cli.shared.report_outputs import ReportOutputs, report_options
from gitvs.core.errors import ExitCode, FileUnusable, SourceError, UsageError
from gitvs.core.manifests.file_cache import FileCache, cache_edition
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import render_director
from gitvs.core.model.desired import Desired
from gitvs.core.model.history import Commit
from gitvs.core.planning.risks import director_risks
from gitvs.ports import Applied
from gitvs.preview.compare import Comparison, compare
from gitvs.preview.uncommitted import uncommitted_remark
from gitvs.reconcile.one_pass import PassOptions, PlannedPass, plan_from_observation, plan_pass
from gitvs.report.host.observation_json import ObservedHost, parse_observation
from gitvs.report.plan.plan_view import PlanSideKind
from gitvs.report.plan.preview_view import Preview


@click.command()
@path_argument
@click.option(
    "--director",
    "directors",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_directors,
    help="The director to look at.  [default: this host's name, short or full; with --base all]",
)
@rev_option
@click.option(
    "--base",
    metavar="REV",
    shell_complete=revisions,
    help="Compare commits: what would change since this one.",
)
@click.option(
    "--head",
    metavar="REV",
    shell_complete=revisions,
    help="With --base: the commit to look at.  [default: HEAD]",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file that `gitvs observe --format json` wrote: plan against it, not against"
    " this host. With --base, the preview adds the live state in it.",
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
    help="With --base: read every file again. Results for unchanged files are cached in"
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
    reports: ReportOutputs,
    detailed_exitcode: bool,
    adopt: bool,
    allow: tuple[str, ...],
    no_cache: bool,
    state_dir: Path,
) -> int:
    """Show what `gitvs apply` would change on this host, and in which order.

    PATH is the folder of manifests, by default the current folder. Nothing is changed. A blocked
    plan is shown completely, with exit code 3.

    With --base it compares two commits, for every director, from Git alone: for pull requests. A
    line `Gitvs-Allow: GATE` in a commit message lifts a gate.

    \b
    Examples:
      gitvs plan --director lb1
      gitvs plan manifests --rev origin/main --detailed-exitcode
      gitvs plan --format json --out plan.json
      gitvs plan --director lb1 --state lb1.json     what `gitvs observe` saved on lb1
      gitvs plan --base origin/main                  what this branch would change
      gitvs plan --base v1 --head v2 --format markdown --out plan.md --format html --out plan.html
    """
    saved_observations = [load_saved_observation(state) for state in states]
    if base is not None:
        _refuse_with_base(rev, "--rev", "--head")
        _refuse_with_base(adopt, "--adopt", "`gitvs plan --adopt` on the director")
        revision = "HEAD" if head is None else head
        comparison = Comparison(
            base, revision, directors, frozenset(allow), _by_director(saved_observations)
        )
        with (
            progress("comparing"),
            open_commits(path) as commits,
            _cached_loader(no_cache) as loader,
            _without_gc(),
        ):
            preview = compare(commits, comparison, loader)
            remark = _uncommitted_remark(commits, revision)
        if remark:
            preview = replace(preview, remarks=(*preview.remarks, remark))
    else:
        _require_one_host(head, directors, states)
        director = directors[0] if directors else None
        loaded = load_manifests(path, rev)
        desired = render_director(
            loaded.manifests, choose_director(director, loaded.manifests.director_names)
        )
        options = PassOptions(frozenset(allow), adopt)
        planned = _plan_host_or_saved(desired, options, saved_observations, state_dir)
        preview = _host_preview(planned, loaded.commit, path, states)
        if planned.has_open_transaction:
            show_message(
                "gitvs: a transaction was left open; `gitvs apply` undoes or finishes it first"
            )
    reports.write(preview)
    code = preview.exit_code
    return ExitCode.DONE if code is ExitCode.CHANGES and not detailed_exitcode else code


def _uncommitted_remark(commits: GitCommits, revision: str) -> str:
    """Return a remark about changes in the work tree, if it is the head's; empty if none."""
    with suppress(SourceError):  # nothing is checked out, or not this folder, or it is unreadable
        head = commits.commit(revision)
        if commits.work_tree is not None and commits.commit("HEAD") == head:
            tree = DirectorySource(commits.work_tree).load()
            left_out = set(files_left_out(commits.work_tree))
            committed = commits.snapshot(head.id)
            files = [file for file in committed.files if file.path not in left_out]
            return uncommitted_remark(replace(committed, files=files), tree, commits.folder)
    return ""


@contextmanager
def _cached_loader(no_cache: bool) -> Iterator[Loader]:
    """Yield a loader that uses the cached results of files; then save the cache."""
    folder = None if no_cache else cache_folder()
    if folder is None:
        yield Loader(new_checkpoint=Deadline)
        return
    file_cache = FileCacheStorage(folder, cache_edition())
    if file_cache.unusable_reason:
        show_message(f"gitvs: no cache is used: {file_cache.unusable_reason}")
    yield Loader(FileCache(file_cache).validate_file, Deadline)
    file_cache.save()


@contextmanager
def _without_gc() -> Iterator[None]:
    """Disable garbage collection: a preview makes a million objects, and keeps them to the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _by_director(observations: Sequence[ObservedHost]) -> dict[str, ObservedHost]:
    """Return saved observations by director; two of one director are rejected."""
    by_director: dict[str, ObservedHost] = {}
    for observation in observations:
        if by_director.setdefault(observation.director, observation) is not observation:
            raise UsageError(
                f"two --state files are for director {observation.director}; give only"
                " the newer one"
            )
    return by_director


def _refuse_with_base(value: object, option: str, instead: str) -> None:
    if value:
        raise UsageError(f"{option} cannot be used with --base; use {instead}")


def _require_one_host(head: str | None, directors: Sequence[str], states: Sequence[Path]) -> None:
    """Reject options that only make sense if commits are compared."""
    if head is not None:
        raise UsageError("--head needs --base; for one commit on one director use --rev")
    for option, values in (("--director", directors), ("--state", states)):
        if len(values) > 1:
            raise UsageError(f"{option} may be given once, unless commits are compared (--base)")


def _plan_host_or_saved(
    desired: Desired,
    options: PassOptions,
    saved_observations: Sequence[ObservedHost],
    state_dir: Path,
) -> PlannedPass:
    """Plan against this host, or against a saved observation."""
    if saved_observations:
        return plan_saved_observation(saved_observations[0], desired, options)
    # Loaded here, since it brings the kernel's libraries, which no other kind of plan needs.
    host = import_module("gitvs.cli.shared.host")
    with host.open_for_reading(state_dir) as ports, progress("reading the kernel"):
        return plan_pass(ports, desired, options)


def _host_preview(
    planned: PlannedPass, commit: Commit | None, path: Path, states: Sequence[Path]
) -> Preview:
    """Return the plan of one host as a preview."""
    base, head = plan_sides(planned, commit, path)
    if states:
        base = replace(base, kind=PlanSideKind.SAVED_OBSERVATION, name=str(states[0]))
    applied = None if planned.applied is None else planned.applied.desired
    desired = planned.proposal.desired
    found_risks = director_risks(applied, desired, planned.proposal.plan, planned.observation)
    view = replace(planned_view(planned), risks=found_risks)
    return Preview(base, head, (view,), folder=folder_in_repository(path))


_STATE_CHUNK_CHARACTERS = 64 * 1024
MAX_STATE_CHARACTERS = 256 * 1024 * 1024
"""Several times what `gitvs observe` writes of a director with 200,000 rules."""


def load_saved_observation(file: Path) -> ObservedHost:
    """Read a saved observation.

    Raises:
        FileUnusable: the file cannot be read, or is too large.
        UsageError: it is not a saved observation.
    """
    try:
        text = _read_state(file)
    except OSError as error:
        raise FileUnusable(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileUnusable(f"{file} cannot be read: {error}") from error
    return parse_observation(text, str(file))


def _read_state(file: Path) -> str:
    """Return a file's text; of one that does not begin as a saved state does, the beginning.

    So /dev/zero, or a video, costs one chunk of memory.
    """
    with file.open(encoding="utf-8") as opened:
        text = opened.read(_STATE_CHUNK_CHARACTERS)
        if not text.lstrip().startswith("{"):
            return text
        rest = opened.read(MAX_STATE_CHARACTERS + 1 - len(text))
    if len(text) + len(rest) > MAX_STATE_CHARACTERS:
        size = f"{MAX_STATE_CHARACTERS // 1024 // 1024} MiB"
        raise FileUnusable(f"{file} is not a saved state: it is larger than {size}, the limit")
    return text + rest


def plan_saved_observation(
    saved: ObservedHost, desired: Desired, options: PassOptions
) -> PlannedPass:
    """Plan against a saved observation; sysctls that were not read count as already desired."""
    for sysctl in saved.unread_sysctls(desired):
        show_message(
            f"gitvs: {sysctl.name} is not in the saved state; assumed value: {sysctl.value}"
        )
    observation = saved.observation_for(desired)
    commit = None if saved.commit is None else Commit(saved.commit)
    applied = None if saved.applied is None else Applied(saved.applied, commit, datetime.now(UTC))
    return plan_from_observation(
        desired,
        applied,
        observation,
        saved.ledger,
        saved.boottime_seconds,
        saved.owner_alias,
        options,
    )
