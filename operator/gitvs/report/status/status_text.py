"""A director's status for people: the verdict, what it rests on, and every virtual service.

Rendered from the document, since that is what the agent answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from gitvs.core.planning.operations import Operation, OperationKind
from gitvs.report.status.services_table import services_text
from gitvs.report.status.verdict import newest, person, time_of, verdict
from gitvs.report.text.lines import Line, aligned, line, text_of
from gitvs.report.text.operations import operation_text
from gitvs.report.text.problems import counted
from gitvs.report.text.times import ago, clock, left, took

MOST_REASONS = 20
"""How many problems, failures, keys and commits of one sort are shown."""

_SUBJECT_CHARACTERS = 72

Document = Mapping[str, Any]


def status_text(document: Document, now: datetime, *, show_all: bool = False) -> Text:
    """Return a status as text, the verdict first; `show_all` is for every virtual service."""
    said, style = verdict(document, now)
    text = text_of([line(said, style=style), line("")])
    facts = [
        *_agent_lines(document, now),
        *_source_lines(document, now),
        *_commit_lines(document, now),
        *_pass_lines(document, now),
        *_kernel_lines(document, now),
    ]
    text.append_text(text_of(aligned(facts)))
    for title, lines in (
        ("By hand, on top of the manifests", _operation_lines(document, now)),
        ("Why", _reason_lines(document)),
        (_drift_title(document), _shortened(document["drift"])),
        ("In quarantine: not tried again but by `gitvs sync --retry`", _barred(document, now)),
    ):
        if lines:
            text.append_text(text_of([line(""), line(title, style="bold"), *lines]))
    text.append_text(services_text(document["services"], show_all=show_all))
    return text


def _agent_lines(document: Document, now: datetime) -> Iterator[Line]:
    if document["startedAt"] is None:
        yield line("agent", "none: nothing follows Git, and nothing repairs drift", style="yellow")
    else:
        up = ago(time_of(document["startedAt"]), now)
        yield line("agent", f"gitvs {document['version']}, started {up}")


def _source_lines(document: Document, now: datetime) -> Iterator[Line]:
    source = document["source"]
    if source["name"]:
        yield line("source", f"{source['name']}, {_answered(source, now)}")
    if source["error"]:
        yield line("", f"{source['error']} ({_times(source['failures'])})", style="red")
    head = source["head"]
    if head is not None and head != document["applied"]:
        yield line("newest", _commit(head, now, _signed(source)))


def _answered(source: Document, now: datetime) -> str:
    words = "never answered"
    if source["answeredAt"] is not None:
        words = f"answered {ago(time_of(source['answeredAt']), now)}"
    if source["nextAt"] is None:
        return words
    seconds = (time_of(source["nextAt"]) - now).total_seconds()
    return f"{words}, asked again " + (f"in {round(seconds)} s" if seconds >= 1 else "now")


def _times(failures: int) -> str:
    return "once" if failures == 1 else f"{failures} times in a row"


def _signed(source: Document) -> str:
    return f"signed by {source['signedBy']}" if source["signedBy"] else ""


def _commit(commit: Document, now: datetime, *notes: str) -> str:
    """Return a commit with its author, age and subject."""
    subject = commit["subject"]
    if len(subject) > _SUBJECT_CHARACTERS:
        subject = subject[: _SUBJECT_CHARACTERS - 1] + "…"
    when = "" if commit["committedAt"] is None else ago(time_of(commit["committedAt"]), now)
    words = [commit["id"][:12], f"“{subject}”", person(commit["author"]), when, *notes]
    return ", ".join(w for w in words if w)


def _commit_lines(document: Document, now: datetime) -> Iterator[Line]:
    desired, applied, source = document["desired"], document["applied"], document["source"]
    if desired is not None and desired not in (applied, source["head"]):
        yield line("desired", _commit(desired, now))
    if not document["isApplied"]:
        yield line("applied", "nothing yet")
        return
    since = f"in force since {clock(time_of(document['appliedAt']))}"
    if applied is None:
        yield line("applied", f"a folder of manifests, {since}")
    else:
        signed = _signed(source) if applied == newest(document) == source["head"] else ""
        yield line("applied", _commit(applied, now, signed, since))


_STYLES = {"blocked": "bold red", "rolled-back": "bold red", "stuck": "bold red"}


def _pass_lines(document: Document, now: datetime) -> Iterator[Line]:
    last = document["last"]
    if last is None:
        return
    trigger = f" ({last['trigger']})" if last["trigger"] else ""
    when = f"{ago(time_of(last['at']), now)} in {took(last['durationSeconds'])}{trigger}"
    result = last["result"] or "failed"
    style = _STYLES.get(result, "bold red" if result == "failed" else "")
    yield line("last pass", f"{result} {when}", style=style)


def _kernel_lines(document: Document, now: datetime) -> Iterator[Line]:
    if document["observedAt"] is None:
        yield line("kernel", "not read yet")
        return
    services = document["services"]
    servers = [s for service in services for s in service["realServers"]]
    counts = ", ".join(
        [
            counted(len(services), "virtual service"),
            counted(len(servers), "real server"),
            f"VIPs and local routes: {len(document['vips'])}",
        ]
    )
    yield line("kernel", f"{counts}; read {ago(time_of(document['observedAt']), now)}")
    draining = [x for x in (s["drainingSeconds"] for s in servers) if x is not None]
    if draining:
        longest = left(max(draining))
        yield line("draining", f"{counted(len(draining), 'real server')}, at most {longest}")


def _operation_lines(document: Document, now: datetime) -> list[Line]:
    lines = []
    for said in document["operations"]:
        until = said["until"]
        end = "" if until is None else f" ({left((time_of(until) - now).total_seconds())})"
        style = "yellow"
        lines.append(line(operation_text(_operation(said)) + end, style=style, indent=2))
    return lines


def _operation(document: Document) -> Operation:
    until = document["until"]
    return Operation(
        OperationKind(document["kind"]),
        document["who"],
        document["why"],
        time_of(document["at"]),
        None if until is None else time_of(until),
        document["subject"] or "",
        document["service"] or "",
        document["isNow"],
        document["name"] or "",
    )


def _reason_lines(document: Document) -> list[Line]:
    """Everything that the last pass met; what is asked for, and how a gate is lifted, included."""
    last = document["last"]
    if last is None:
        return []
    gates = [
        f"{'allowed: ' if g['allowed'] else ''}{g['name']}: {g['measured']}; limit: {g['limit']};"
        f" {g['message']}"
        for g in last["gates"]
    ]
    reasons = [*last["problems"], *gates, *last["failures"]]
    return _shortened([text for reason in reasons for text in reason.split("\n")])


def _drift_title(document: Document) -> str:
    last = document["last"]
    is_repaired = last is not None and last["result"] == "applied"
    return f"Changed behind gitvs's back, {'and' if is_repaired else 'not yet'} repaired"


def _barred(document: Document, now: datetime) -> list[Line]:
    return _shortened(
        [
            f"{q['commit'][:12]}, {ago(time_of(q['at']), now)}: {q['reason']}"
            for q in document["quarantined"]
        ]
    )


def _shortened(texts: Sequence[str]) -> list[Line]:
    lines = [line(text, indent=2) for text in texts[:MOST_REASONS]]
    if len(texts) > MOST_REASONS:
        lines.append(line(f"and {len(texts) - MOST_REASONS} more", indent=2))
    return lines
