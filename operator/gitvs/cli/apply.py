"""`gitvs apply`: one transaction."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.adapters.git.manifests_at import GitSource
from gitvs.cli.shared.director import choose_director, director_option
from gitvs.cli.shared.gates import allow_option, lifted
from gitvs.cli.shared.host import reader, writer
from gitvs.cli.shared.manifest_input import load_manifests, path_argument, rev_option
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress
from gitvs.cli.shared.pass_output import show_plan, tell_drained, tell_outcome
from gitvs.core.manifests.render import render
from gitvs.ports import Applied
from gitvs.reconcile.one_pass import Options, Pass, drain, reconcile
from gitvs.reconcile.transaction import Ports


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


def _wait(ports: Ports, target: Applied, done: Pass) -> Pass:
    with progress("waiting for drains"):
        for last in drain(ports, target, done):
            done = last
            tell_drained(done)
    return done
