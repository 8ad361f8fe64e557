"""A real server before and after, in the words of every report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitvs.core.durations import duration_text
from gitvs.core.model.ledger import Drain
from gitvs.core.model.resources import Key, RealServer, host_and_port
from gitvs.core.planning.plan import Action, Change
from gitvs.report.plan.plan_view import DirectorPlan
from gitvs.report.text.changes import DRIFT_NOTE, connections_text, drain_text
from gitvs.report.text.fields import before_after_text, changed_fields, fields_of, thresholds_text


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A real server before and after; its weight is None where it does not exist.

    Shares are 0 to 1. `note` is about anything unusual, `usual_note` about what normally happens
    to its connections.
    """

    address: str
    name: str
    is_local: bool
    action: Action | None
    forwarding: str
    weight_before: int | None
    weight_after: int | None
    share_before: float | None
    share_after: float | None
    thresholds: str
    note: str
    usual_note: str

    @property
    def weight_text(self) -> str:
        return before_after_text(self.weight_before, self.weight_after)

    @property
    def connections_text(self) -> str:
        """What happens to its connections, and how many it may have."""
        return "; ".join(text for text in (self.note, self.usual_note, self.thresholds) if text)


def server_row(
    plan: DirectorPlan,
    change: Change | None,
    before: RealServer | None,
    after: RealServer | None,
    shares_before: Mapping[Key, float],
    shares_after: Mapping[Key, float],
) -> ServerRow:
    """Return the row of a real server that exists on at least one side.

    `shares_before` and `shares_after` are those of all real servers of the service.
    """
    server = after or before
    assert server is not None, "a row is of a server on either side"
    fields = {**fields_of(server), **changed_fields(before or server, server)}
    note = "; ".join(_server_notes(plan, server.key, change))
    return ServerRow(
        address=host_and_port(server.address, server.port),
        name=plan.server_names.get(server.key, ""),
        is_local=plan.is_local(server.address),
        action=None if change is None else change.action,
        forwarding=fields["forwarding"],
        weight_before=None if before is None else before.weight,
        weight_after=None if after is None else after.weight,
        share_before=None if before is None else shares_before.get(server.key),
        share_after=None if after is None else shares_after.get(server.key),
        thresholds=thresholds_text(fields),
        note=note,
        usual_note=_usual_note(change) if change else "as before" * (not note),
    )


def _server_notes(plan: DirectorPlan, key: Key, change: Change | None) -> Iterator[str]:
    connections = plan.connections.get(key)
    connections_suffix = "" if connections is None else f", {connections_text(connections)}"
    if change is None:
        if key in plan.drains:
            yield f"draining: {_drain_time_text(plan, plan.drains[key])}{connections_suffix}"
        return
    if change.drain is not None:
        yield f"drain: {drain_text(change.drain)}{connections_suffix}"
    elif key in plan.ended_drains:
        yield "drained" if change.action is Action.DELETE else "wanted again: its drain ends"
    elif change.action is Action.DELETE:
        yield f"no drain: its connections break at once{connections_suffix}"
    if key in plan.drift:
        yield DRIFT_NOTE


def _drain_time_text(plan: DirectorPlan, drain: Drain) -> str:
    if plan.boottime_seconds is None:
        return f"{duration_text(drain.timeout_seconds)} at most"
    seconds_left = max(0.0, drain.deadline_seconds - plan.boottime_seconds)
    return f"{duration_text(round(seconds_left))} left of {duration_text(drain.timeout_seconds)}"


def _usual_note(change: Change) -> str:
    """Return what happens to the connections of a real server that is new, or stays."""
    before, after = change.before, change.after
    if change.drain is not None or not isinstance(after, RealServer):
        return ""
    if not isinstance(before, RealServer):
        return "new" if after.weight else "new, weight 0: nothing yet"
    if after.weight == 0 and before.weight:
        return "keeps its connections, gets no new ones"
    if (before.forwarding, before.tunnel) != (after.forwarding, after.tunnel):
        return "its connections go on as they were forwarded before"
    return "keeps its connections"
