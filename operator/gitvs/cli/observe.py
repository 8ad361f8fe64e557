"""`gitvs observe`: what this host has."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import click

from gitvs.cli.live import reader
from gitvs.cli.options import state_options
from gitvs.cli.output import progress, show, show_json
from gitvs.core.errors import ExitCode
from gitvs.core.model import Desired, Observation, State, Sysctl
from gitvs.core.ownership import MARK_PREFIX, scope_of
from gitvs.core.render import DEFAULT_SYSCTLS
from gitvs.core.surroundings import settings_of
from gitvs.report.observation_document import Seen, observation_document
from gitvs.report.state_text import state_text
from gitvs.transaction import Ports

DEFAULT_INTERFACE = "gitvs0"

SYSCTLS = (
    *DEFAULT_SYSCTLS,
    "net.ipv4.conf.all.arp_announce",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.vs.conntrack",
    "net.ipv4.vs.conn_reuse_mode",
)
"""Settings that matter to a director, read whether or not a manifest ever named them.

Those that risk notes look at come on top.
"""


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@state_options
def observe(form: str, state_dir: Path) -> int:
    """Show what this host has: VIPs, local routes, IPVS rules and settings.

    What gitvs owns and what is foreign stand apart. The JSON holds everything that
    `gitvs plan --state FILE` needs to plan for this host on another. Nothing is changed.

    \b
    Examples:
      gitvs observe
      gitvs observe --format json > lb1.json
      gitvs observe --state-dir /var/lib/gitvs-lb2
    """
    with reader(state_dir) as ports, progress("reading the kernel"):
        seen = look_around(ports)
    if form == "json":
        show_json(observation_document(seen))
    else:
        show(state_text(seen))
    return ExitCode.DONE


def look_around(ports: Ports) -> Seen:
    """Observe all that the store speaks of, every dummy interface, and what directors need."""
    ledger = ports.store.ledger(ports.kernel.incarnation())
    applied = ports.store.applied()
    wanted = Desired("", DEFAULT_INTERFACE, State()) if applied is None else applied.desired
    more = State(Sysctl(name, "") for name in SYSCTLS)
    scope = replace(scope_of(ledger, wanted, changed=more), surroundings=True)
    observation = ports.kernel.observe(scope)
    scope = replace(scope, sysctls=scope.sysctls | settings_of(observation.links.values()))
    if dummies := _dummies(observation) - scope.interfaces:
        scope = replace(scope, interfaces=scope.interfaces | dummies)
        observation = ports.kernel.observe(scope)
    return Seen(
        socket.gethostname(),
        observation,
        scope,
        ledger,
        MARK_PREFIX + ports.store.id,
        ports.clock.boottime(),
        None if applied is None else applied.desired,
        None if applied is None else applied.commit_id,
    )


def _dummies(observation: Observation) -> frozenset[str]:
    return frozenset(x.name for x in observation.links.values() if x.kind == "dummy")
