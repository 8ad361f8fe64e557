"""`gitvs check`: whether real servers pass their health checks, seen from here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.text import Text

from gitvs.cli.shared.choices import choose_director, director_option
from gitvs.cli.shared.manifest_input import load_manifests, rev_option
from gitvs.cli.shared.options import common_options
from gitvs.cli.shared.output import progress, show, show_json, terminal_width
from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.health.probes import probe_of
from gitvs.core.manifests.render import render_director
from gitvs.core.model.desired import Desired
from gitvs.core.model.health import Probe
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import Key, RealServer, host_and_port
from gitvs.health.checks.results import Result
from gitvs.health.once import run_once
from gitvs.report.text.counts import count_text
from gitvs.report.text.tables import add_row, new_table, table_text


@dataclass(slots=True)
class _Checked:
    """One check of one real server of a virtual service, and what became of it."""

    service: str
    virtual_service: Key
    server: RealServer
    name: str
    probe: Probe
    counts: Counter[str] = field(default_factory=Counter)
    result: Result = field(default_factory=Result)
    """The newest one that was no pass, or else the newest."""
    seconds: float = 0.0


@click.command()
@click.argument("service", required=False)
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The folder of manifests.  [default: the one you are in]",
)
@director_option
@click.option("--server", metavar="SERVER", help="Only this real server: its name or address.")
@rev_option
@click.option(
    "--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="Check so often."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is for programs.",
)
@common_options
def check(
    service: str | None,
    path: Path,
    director: str | None,
    server: str | None,
    rev: str | None,
    count: int,
    form: str,
) -> int:
    """Run the health checks of the manifests from here, and say which real servers pass.

    SERVICE is one Service; left out, all are checked. No agent and no root is needed, and nothing
    is changed. What a director sees may differ from what this host sees.

    \b
    Examples:
      gitvs check --director lb1
      gitvs check web --director lb1 --count 5
      gitvs check web --server web2 --path manifests --rev origin/main

    \b
    Exit codes:
      0  every check passed
      1  of some checks nothing was learnt, for a reason of this host; none failed
      2  a check failed
    """
    manifests = load_manifests(path, rev).manifests
    desired = render_director(manifests, choose_director(director, manifests.director_names))
    wanted = _wanted(desired, service, server)
    probes = list({each.probe: None for each in wanted})
    with progress(f"checking {count_text(len(probes), 'probe')}"):
        for number in range(count):
            if number:
                time.sleep(min(probe.times.retry_seconds for probe in probes))
            _take(wanted, run_once(probes))
    if form == "json":
        show_json([_json(each) for each in wanted])
    else:
        show(_text(wanted, terminal_width()))
    return _exit_code(wanted)


def _wanted(desired: Desired, service: str | None, server: str | None) -> list[_Checked]:
    """Return what is to be checked.

    Raises:
        UsageError: that is nothing.
    """
    found = []
    for key, health in sorted(desired.health.items()):
        location = desired.locations.get(key)
        name = "" if location is None or location.service is None else location.service
        for real_server in desired.state.groups[key].values():
            if not isinstance(real_server, RealServer):
                continue
            server_name = desired.server_names.get(real_server.key, "")
            address = host_and_port(real_server.address, real_server.port)
            if server is not None and server not in (
                server_name,
                str(real_server.address),
                address,
            ):
                continue
            found += [
                _Checked(
                    name, key, real_server, server_name, probe_of((c, health.times), real_server)
                )
                for c in health.checks
            ]
    chosen = [each for each in found if service in (None, each.service)]
    if not chosen:
        checked = sorted({each.service for each in found})
        whom = f"on {desired.director}" + (f" with a real server {server}" if server else "")
        if service is not None:
            names = f"; those with checks are {', '.join(checked)}" if checked else ""
            raise UsageError(f"no Service {service} {whom} has health checks{names}")
        raise UsageError(f"no Service {whom} has health checks; write health: into a Service")
    return chosen


def _take(wanted: Sequence[_Checked], results: dict[Probe, tuple[Result, float]]) -> None:
    for each in wanted:
        result, seconds = results[each.probe]
        each.counts[_word(result)] += 1
        if _word(result) != "pass" or not each.counts.keys() - {"pass"}:
            each.result, each.seconds = result, seconds


def _word(result: Result) -> str:
    if result.is_void:
        return "not run"
    return "pass" if result.failure is None else "fail"


def _exit_code(wanted: Sequence[_Checked]) -> ExitCode:
    words = {word for each in wanted for word in each.counts}
    if "fail" in words:
        return ExitCode.CHANGES
    return ExitCode.ERROR if "not run" in words else ExitCode.DONE


def _json(each: _Checked) -> JsonObject:
    failure = each.result.failure
    return {
        "service": each.service or None,
        "virtualService": str(each.virtual_service),
        "realServer": host_and_port(each.server.address, each.server.port),
        "name": each.name or None,
        "check": each.probe.check.words,
        "passed": each.counts["pass"],
        "failed": each.counts["fail"],
        "notRun": each.counts["not run"],
        "failure": None if failure is None else str(failure),
        "text": each.result.text,
        "seconds": round(each.seconds, 6),
    }


_STYLES = {"pass": "green", "fail": "red", "not run": "yellow"}


def _text(wanted: Sequence[_Checked], width: int | None) -> Text:
    columns = ("Service", "Virtual service", "Real server", "Name", "Check", "Result", "Took>")
    table = new_table(*columns, cut="Check")
    for each in wanted:
        word = next(w for w in ("fail", "not run", "pass") if each.counts[w])
        total = each.counts.total()
        result = word if total == 1 else f"{word} {each.counts[word]} of {total}"
        parts = (str(each.result.failure or ""), each.result.text)
        note = "" if word == "pass" else ": ".join(part for part in parts if part)
        cells = (
            each.service,
            str(each.virtual_service),
            host_and_port(each.server.address, each.server.port),
            each.name,
            each.probe.check.words,
            result,
            f"{each.seconds * 1000:.1f} ms",
        )
        add_row(table, cells, note, _STYLES[word])
    text = table_text(table, width=width)
    counts = Counter(next(w for w in ("fail", "not run", "pass") if e.counts[w]) for e in wanted)
    words = {"pass": "passed", "fail": "failed", "not run": "not run"}
    sums = ", ".join(f"{counts[word]} {words[word]}" for word in words if counts[word])
    text.append(f"\n{count_text(len(wanted), 'check')}: {sums}\n", "bold")
    return text
