"""`gitvs apply`: one transaction."""

from __future__ import annotations

from pathlib import Path

import click

from gitvs.adapters.git.commits import open_commits
from gitvs.cli.shared.choices import allow_option, choose_director, director_option
from gitvs.cli.shared.host import open_for_reading, open_for_writing
from gitvs.cli.shared.manifest_input import (
    LoadedManifests,
    folder_in_repository,
    load_manifests,
    path_argument,
    rev_option,
)
from gitvs.cli.shared.options import state_options
from gitvs.cli.shared.output import progress, show_message
from gitvs.cli.shared.pass_output import report_drained, report_pass, show_pass_plan
from gitvs.core.errors import UncountedLines
from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import render_director
from gitvs.core.model.desired import Desired
from gitvs.core.planning.gates import Lift, unknown_gate_warnings
from gitvs.ports import Applied, Ports
from gitvs.preview.commit_lifts import CommitLifts, allowances_of
from gitvs.reconcile.one_pass import PassOptions, PassResult, reconcile, reconcile_until_drained
from gitvs.report.text.problems import warning_text


@click.command()
@path_argument
@director_option
@rev_option
@click.option(
    "--expect",
    metavar="DIGEST",
    help="Apply only the plan with this digest (of the plan, or of the desired state).",
)
@allow_option
@click.option(
    "--adopt",
    is_flag=True,
    help="Take over foreign objects that the manifests name, this once; they are changed in place.",
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
    """Change this host to match the manifests: completely or, if anything fails, not at all.

    PATH is the folder of manifests, by default the current folder. Real servers that are removed
    drain first: run `gitvs apply` again after their deadline, or use --wait.

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
        lifts = _find_commit_lifts(path, loaded, ports.store.applied(), desired)
    options = PassOptions(frozenset(allow), adopt, expect, lifts=lifts)
    with open_for_writing(state_dir) as ports:
        target = Applied(desired, loaded.commit, ports.clock.now())
        with progress("applying"):
            pass_result = reconcile(ports, target, options)
        show_pass_plan(pass_result, loaded.commit, path, folder_in_repository(path))
        report_pass(pass_result)
        if wait:
            pass_result = _wait_for_drains(ports, target, pass_result)
    return pass_result.exit_code


def _find_commit_lifts(
    path: Path, loaded: LoadedManifests, applied: Applied | None, desired: Desired
) -> tuple[Lift, ...]:
    """Return the commits since the applied one that lift gates; a work tree has none.

    Unknown gates, and lines that are not counted, are told.
    """
    if loaded.commit is None or applied is None:
        return ()
    head_id, base_id = loaded.commit.id, applied.commit_id
    with open_commits(path) as commits:
        commit_ids = [head_id] if base_id is None else commits.since(base_id, head_id)
        allowances = allowances_of(commits, commit_ids)
        lifts = CommitLifts(commits, Loader(), allowances, base_id, (head_id, loaded.manifests))
        found_lifts = lifts.find(applied.desired, desired, ())
    for warning in unknown_gate_warnings(allowances.items()):
        show_message(f"gitvs: {warning_text(warning)}")
    for commit_id, reason in found_lifts.uncounted.items():
        show_message(f"gitvs: {UncountedLines(commit_id, reason)}")
    return found_lifts.lifts


def _wait_for_drains(ports: Ports, target: Applied, pass_result: PassResult) -> PassResult:
    with progress("waiting for drains"):
        for further_result in reconcile_until_drained(ports, target, pass_result):
            pass_result = further_result
            report_drained(pass_result)
    return pass_result
