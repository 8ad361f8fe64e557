"""The words for a change, the same in every report: its sign, its fields, and notes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gitvs.core.durations import duration_text
from gitvs.core.model.desired import ManifestLocation
from gitvs.core.model.kinds import is_setting
from gitvs.core.model.ledger import Drain
from gitvs.core.model.observation import ConnectionCounts
from gitvs.core.model.resources import Key, Kind
from gitvs.core.planning.plan import Action, Change
from gitvs.report.text.fields import Fields, changed_fields, fields_text, nondefault_fields

SIGNS_AND_COLOURS = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.REPLACE: ("±", "yellow"),
    Action.DELETE: ("-", "red"),
    Action.DRAIN: ("↓", "magenta"),
}
DRIFT_NOTE = "drift: the kernel was changed, the manifests were not"
UNREPAIRABLE_TITLE = "Cannot be repaired, and is left out"
REPAIRS_TITLE = "Drift that the next sync repairs, with or without this merge"
BY_HAND_TITLE = "By hand, on top of the manifests"
FOREIGN_TITLE = "Foreign: not gitvs's, left as they are"


def fields_of_change(change: Change) -> Fields:
    """Return the fields that change, or those of an object that is created or deleted."""
    if change.before is not None and change.after is not None:
        return changed_fields(change.before, change.after)
    return (
        {}
        if change.kind is Kind.VIP or _is_restored(change)
        else nondefault_fields(change.resource)
    )


def notes_of_change(change: Change, drift: Collection[Key] = ()) -> Iterator[str]:
    """Yield notes on a change that its fields do not show."""
    if _is_restored(change):
        yield "goes back to what it was before gitvs"
    if change.action is Action.REPLACE:
        yield "stopped and started"
    if change.drain is not None:
        yield drain_text(change.drain)
    if change.key in drift:
        yield DRIFT_NOTE


def change_text(change: Change, drift: Collection[Key] = ()) -> str:
    """Return a change as text, without its key."""
    parts = (fields_text(fields_of_change(change)), *notes_of_change(change, drift))
    return ", ".join(part for part in parts if part)


def drain_text(drain: Drain) -> str:
    """Return how a drain ends."""
    timeout = duration_text(drain.timeout_seconds)
    return f"removed once it has no connections, in {timeout} at the latest"


def connections_text(connections: ConnectionCounts) -> str:
    """Return `3 active and 1 inactive connections`."""
    return f"{connections.active} active and {connections.inactive} inactive connections"


def _is_restored(change: Change) -> bool:
    return change.after is None and is_setting(change.before)


def location_text(location: ManifestLocation) -> str:
    """Return `web.yaml:11`."""
    return f"{location.file}:{location.line}"
