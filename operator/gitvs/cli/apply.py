"""`gitvs apply`: one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from gitvs.adapters.git.manifests import GitManifests
from gitvs.cli.shared.director_option import choose_director, director_option
from gitvs.cli.shared.gate_options import allow_option, lifted_gates
from gitvs.cli.shared.host import open_for_reading, open_for_writing
from gitvs.cli.shared.manifest_input import load_manifests, path_argument, rev_option
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress
from gitvs.cli.shared.pass_output import report_drained, report_pass, show_pass_plan
from gitvs.core.manifests.render import render_director
from gitvs.ports import Applied, Ports
from gitvs.reconcile.one_pass import PassOptions, PassResult, reconcile, reconcile_until_drained


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
    desired = render_director(
        loaded.manifests, choose_director(director, loaded.manifests.director_names)
    )
    with open_for_reading(state_dir) as ports:
        messages = _commit_messages(ports, path, rev)
    options = PassOptions(lifted_gates(allow, messages, desired.director), adopt, expect)
    with open_for_writing(state_dir) as ports:
        target = Applied(desired, loaded.commit, ports.clock.now())
        with progress("applying"):
            pass_result = reconcile(ports, target, options)
        show_pass_plan(pass_result, loaded.commit, path)
        report_pass(pass_result)
        if wait:
            pass_result = _wait_for_drains(ports, target, pass_result)
    return pass_result.exit_code


def _commit_messages(ports: Ports, path: Path, rev: str | None) -> Iterable[str]:
    """Return the commit messages since the applied commit; a work tree has none."""
    if rev is None:
        return []
    applied = ports.store.applied()
    base_id = None if applied is None else applied.commit_id
    return (text for _, text in GitManifests.for_folder(path, rev).commit_messages(base_id))


def _wait_for_drains(ports: Ports, target: Applied, pass_result: PassResult) -> PassResult:
    with progress("waiting for drains"):
        for further_result in reconcile_until_drained(ports, target, pass_result):
            pass_result = further_result
            report_drained(pass_result)
    return pass_result
