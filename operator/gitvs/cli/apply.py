"""`gitvs apply`: one transaction."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.adapters.git_source import GitSource
from gitvs.cli.director import choose_director, director_option
from gitvs.cli.gates import allow_option, lifted
from gitvs.cli.live import reader, writer
from gitvs.cli.loading import load_manifests, path_argument, rev_option
from gitvs.cli.options import state_options
from gitvs.cli.output import progress, show, tell
from gitvs.cli.plan import sides, view_of
from gitvs.core.history import Commit, Result
from gitvs.core.render import render
from gitvs.ports import Applied
from gitvs.reconcile import Options, Pass, drain, reconcile
from gitvs.report.pass_text import pass_text
from gitvs.report.plan_text import plan_text
from gitvs.transaction import Finished, Ports


@click.command()
@path_argument
@director_option
@rev_option
@click.option(
    "--expect",
    metavar="DIGEST",
    help="Refuse any plan but this: the digest of a plan, or of a desired state.",
)
@allow_option
@click.option(
    "--adopt",
    is_flag=True,
    help="Take over, this once, wanted objects that somebody else made; they change in place.",
)
@click.option("--wait", is_flag=True, help="Stay until all drains are over.")
@state_options
def apply(
    path: Path,
    director: str | None,
    rev: str | None,
    expect: str | None,
    allow: tuple[str, ...],
    adopt: bool,
    wait: bool,
    state_dir: Path,
) -> int:
    """Make this host as the manifests say: all of it or, if anything fails, none of it.

    PATH is the folder of manifests, by default the one you are in. Real servers that leave
    drain first: run `gitvs apply` again once they are due, or use --wait.

    \b
    Examples:
      gitvs apply --director lb1
      gitvs apply manifests --rev main --wait
      gitvs apply --expect sha256:…             only what was reviewed
      gitvs apply --allow mass-removal          though a third of all services leaves
    """
    loaded = load_manifests(path, rev)
    desired = render(loaded.manifests, choose_director(director, loaded.manifests.directors))
    with reader(state_dir) as ports:
        messages = _messages(ports, path, rev)
    options = Options(lifted(allow, messages, desired.director), adopt, expect)
    with writer(state_dir) as ports:
        target = Applied(desired, loaded.commit, ports.clock.now())
        with progress("applying"):
            done = reconcile(ports, target, options)
        show_plan(done, loaded.commit, path)
        tell_outcome(done)
        if wait:
            done = _wait(ports, target, done)
    return done.result.exit_code


def _messages(ports: Ports, path: Path, rev: str | None) -> list[str]:
    """The commit messages since what is applied; a work tree has none."""
    if rev is None:
        return []
    applied = ports.store.applied()
    base = None if applied is None else applied.commit_id
    return GitSource.at(path, rev).messages(base)


def show_plan(done: Pass, commit: Commit | None, path: Path) -> None:
    """Show what was planned."""
    if done.survey is not None:
        base, head = sides(done.survey, commit, path)
        show(plan_text(base, head, [view_of(done.survey)]))


def tell_outcome(done: Pass, recovered: Finished | None = None) -> None:
    """Say how a pass ended, and what an earlier one had left."""
    recovered = recovered or done.recovered
    if recovered is not None:
        left = "a transaction was left open; it is now: "
        tell(pass_text(recovered.result, recovered.failures, prefix=left))
    if done.survey is not None:
        tell(pass_text(done.result, () if done.finished is None else done.finished.failures))


def tell_drained(done: Pass) -> None:
    """Say what a pass took away once it had drained, and how it ended unless well."""
    if done.result is not Result.APPLIED:
        tell_outcome(done)
    elif done.survey is not None:
        for change in done.survey.proposal.plan.changes:
            if change.after is None:
                tell(f"drained and removed: {change.key}")


def _wait(ports: Ports, target: Applied, done: Pass) -> Pass:
    with progress("waiting for drains"):
        for last in drain(ports, target, done):
            done = last
            tell_drained(done)
    return done
