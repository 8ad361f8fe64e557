"""A director's status for people: the headline, the facts, and the virtual services.

It is rendered from the status JSON, since that is what the agent answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from gitvs.core.model.history import Cause
from gitvs.core.planning.operations import Operation, OperationKind
from gitvs.core.problems import Problem
from gitvs.report.status.change_counts import CAUSE_TEXTS, signed_counts_text
from gitvs.report.status.headline import (
    author_name,
    headline,
    parse_time,
    problems_beside_source,
    repairable_drift,
    target_commit,
)
from gitvs.report.status.health_text import health_summary
from gitvs.report.status.services_table import services_text
from gitvs.report.text.counts import count_text
from gitvs.report.text.lines import Line, aligned, line, lines_text
from gitvs.report.text.operations import operation_text
from gitvs.report.text.times import (
    age_text,
    elapsed_text,
    time_left_text,
    time_until_text,
    utc_time_text,
)

MAX_ITEMS = 20
"""How many problems, failures, keys and commits of one kind are shown."""

_MAX_SUBJECT_CHARACTERS = 72

JsonObject = Mapping[str, Any]


def status_text(
    status: JsonObject, now: datetime, *, show_all: bool = False, width: int | None = None
) -> Text:
    """Return a status as text, the headline first; `show_all` shows every virtual service.

    Without a width no line is wrapped. What the headline says is not said again.
    """
    headline_text, style = headline(status, now)
    text = lines_text([line(headline_text, style=style), line("")], width)
    facts = [
        *_agent_lines(status, now),
        *_hook_lines(status, now),
        *_source_lines(status, now, headline_text),
        *_commit_lines(status, now),
        *_pass_lines(status, now),
        *_change_lines(status, now),
        *_kernel_lines(status, now),
        *_health_lines(status),
    ]
    text.append_text(lines_text(aligned(facts), width))
    for title, lines in (
        ("By hand, on top of the manifests", _operation_lines(status, now)),
        ("Why", _reason_lines(status, headline_text)),
        ("Warnings", _warning_lines(status)),
        ("Cannot be repaired", _unrepairable_lines(status, now, headline_text)),
        (_drift_title(status), _limited_lines(repairable_drift(status))),
        (
            "In quarantine: not tried again but by `gitvs sync --retry`",
            _quarantine_lines(status, now, headline_text),
        ),
    ):
        if lines:
            text.append_text(lines_text([line(""), line(title, style="bold"), *lines], width))
    text.append_text(services_text(status["services"], show_all=show_all, width=width))
    return text


def _agent_lines(status: JsonObject, now: datetime) -> Iterator[Line]:
    if status["startedAt"] is None:
        yield line("agent", "none: nothing follows Git, and nothing repairs drift", style="yellow")
    else:
        age = age_text(parse_time(status["startedAt"]), now)
        yield line("agent", f"gitvs {status['version']}, started {age}")


def _source_lines(status: JsonObject, now: datetime, headline_text: str) -> Iterator[Line]:
    """Yield the source, why it failed unless the headline says that, and its newest commit."""
    source = status["source"]
    if source["name"]:
        yield line("source", f"{source['name']}, {_answered_text(source, now)}")
    if source["error"]:
        count = _failure_count_text(source["failures"])
        is_said = source["error"] in headline_text
        words = f"failed {count}" if is_said else f"{source['error']} ({count})"
        yield line("", words, style="red")
    head = source["head"]
    if head is not None and head != status["applied"]:
        yield line("newest", _commit_text(head, now, _signer_text(source)))


def _hook_lines(status: JsonObject, now: datetime) -> Iterator[Line]:
    hook = status.get("hook")
    if hook is None:
        return
    if hook["error"]:
        yield line("hook", hook["error"], style="red")
        return
    push = "no push yet"
    if hook["lastPushAt"] is not None:
        push = f"last push {age_text(parse_time(hook['lastPushAt']), now)}"
    yield line("hook", f"listens on {hook['listen']}, {push}")


def _answered_text(source: JsonObject, now: datetime) -> str:
    words = "never answered"
    if source["answeredAt"] is not None:
        words = f"answered {age_text(parse_time(source['answeredAt']), now)}"
    if source["nextAt"] is None:
        return words
    seconds = (parse_time(source["nextAt"]) - now).total_seconds()
    return f"{words}, asked again {time_until_text(seconds)}"


def _failure_count_text(failures: int) -> str:
    return "once" if failures == 1 else f"{failures} times in a row"


def _signer_text(source: JsonObject) -> str:
    return f"signed by {source['signedBy']}" if source["signedBy"] else ""


def _commit_text(commit: JsonObject, now: datetime, *notes: str) -> str:
    """Return a commit with its author, age and subject."""
    subject = commit["subject"]
    if len(subject) > _MAX_SUBJECT_CHARACTERS:
        subject = subject[: _MAX_SUBJECT_CHARACTERS - 1] + "…"
    when = "" if commit["committedAt"] is None else age_text(parse_time(commit["committedAt"]), now)
    words = [commit["id"][:12], f"“{subject}”", author_name(commit["author"]), when, *notes]
    return ", ".join(w for w in words if w)


def _commit_lines(status: JsonObject, now: datetime) -> Iterator[Line]:
    desired, applied, source = status["desired"], status["applied"], status["source"]
    if desired is not None and desired not in (applied, source["head"]):
        yield line("desired", _commit_text(desired, now))
    if not status["isApplied"]:
        yield line("applied", "nothing yet")
        return
    since = f"in force since {utc_time_text(parse_time(status['appliedAt']))}"
    if applied is None:
        yield line("applied", f"a folder of manifests, {since}")
    else:
        signer = _signer_text(source) if applied == target_commit(status) == source["head"] else ""
        yield line("applied", _commit_text(applied, now, signer, since))


_OUTCOME_STYLES = {"blocked": "bold red", "rolled-back": "bold red", "stuck": "bold red"}


def _pass_lines(status: JsonObject, now: datetime) -> Iterator[Line]:
    last = status["last"]
    if last is None:
        return
    trigger = f" ({last['trigger']})" if last["trigger"] else ""
    when = (
        f"{age_text(parse_time(last['at']), now)} in"
        f" {elapsed_text(last['durationSeconds'])}{trigger}"
    )
    outcome = last["result"] or "failed"
    style = _OUTCOME_STYLES.get(outcome, "bold red" if outcome == "failed" else "")
    yield line("last pass", f"{outcome} {when}", style=style)


def _change_lines(status: JsonObject, now: datetime) -> Iterator[Line]:
    """Yield the last change; an older agent does not tell it."""
    change = status.get("lastChange")
    if change is None:
        return
    cause = Cause(change["cause"])
    what = CAUSE_TEXTS.get(cause, "work tree")
    if cause is Cause.COMMIT and change["commit"] is not None:
        what = change["commit"]["id"][:12]
    when = age_text(parse_time(change["at"]), now)
    words = f"{when}, {signed_counts_text(change['summary'])} ({what}); `gitvs history show"
    yield line("changed", f"{words} {change['id']}`")


def _kernel_lines(status: JsonObject, now: datetime) -> Iterator[Line]:
    if status["observedAt"] is None:
        yield line("kernel", "not read yet")
        return
    services = status["services"]
    servers = [s for service in services for s in service["realServers"]]
    counts = ", ".join(
        [
            count_text(len(services), "virtual service"),
            count_text(len(servers), "real server"),
            f"VIPs and local routes: {len(status['vips'])}",
        ]
    )
    yield line("kernel", f"{counts}; read {age_text(parse_time(status['observedAt']), now)}")
    draining = [x for x in (s["drainingSeconds"] for s in servers) if x is not None]
    if draining:
        longest = time_left_text(max(draining))
        yield line("draining", f"{count_text(len(draining), 'real server')}, at most {longest}")


def _health_lines(status: JsonObject) -> Iterator[Line]:
    """Yield what the checks are doing; an older agent has none."""
    health = status.get("health")
    if health is not None:
        is_answering = health["checker"] is not None and health["checker"]["isAnswering"]
        yield line("health", health_summary(status), style="" if is_answering else "red")


def _operation_lines(status: JsonObject, now: datetime) -> list[Line]:
    lines = []
    for operation in status["operations"]:
        until = operation["until"]
        end = (
            ""
            if until is None
            else f" ({time_left_text((parse_time(until) - now).total_seconds())})"
        )
        style = "yellow"
        lines.append(
            line(operation_text(_operation_from_json(operation)) + end, style=style, indent=2)
        )
    return lines


def _operation_from_json(operation: JsonObject) -> Operation:
    until = operation["until"]
    return Operation(
        OperationKind(operation["kind"]),
        operation["who"],
        operation["why"],
        parse_time(operation["at"]),
        None if until is None else parse_time(until),
        operation["subject"] or "",
        operation["service"] or "",
        operation["isNow"],
        operation["name"] or "",
    )


def _reason_lines(status: JsonObject, headline_text: str) -> list[Line]:
    """Return all problems, gates and failures of the last pass, and how gates are lifted."""
    last = status["last"]
    if last is None:
        return []
    gates = [
        f"{'allowed: ' if g['allowed'] else ''}{g['name']}: {g['measured']}; limit: {g['limit']}"
        + ("" if _is_said(g["message"], headline_text) else f"; {g['message']}")
        for g in last["gates"]
    ]
    reasons = [*problems_beside_source(status), *gates, *last["failures"]]
    texts = [text for reason in reasons for text in reason.split("\n")]
    return _limited_lines([text for text in texts if not _is_said(text, headline_text)])


def _is_said(text: str, *others: str) -> bool:
    """Whether another text, such as the headline, says this one in full."""
    return any(text == other or f": {text}" in other for other in others)


def _warning_lines(status: JsonObject) -> list[Line]:
    warnings = (Problem(**warning) for warning in status.get("warnings", ()))
    return _limited_lines([str(warning) for warning in warnings])


def _drift_title(status: JsonObject) -> str:
    last = status["last"]
    is_repaired = last is not None and last["result"] == "applied"
    return f"Changed by another program, {'and' if is_repaired else 'not yet'} repaired"


def _unrepairable_lines(status: JsonObject, now: datetime, headline_text: str) -> list[Line]:
    return _limited_lines(
        [_unrepairable_text(u, now, headline_text) for u in status["unrepairable"]]
    )


def _unrepairable_text(unrepairable: JsonObject, now: datetime, headline_text: str) -> str:
    since, next_try_at = unrepairable["since"], unrepairable["nextTryAt"]
    when = "repaired once the reason is gone"
    if next_try_at is not None:
        seconds = (parse_time(next_try_at) - now).total_seconds()
        when = f"tried again {time_until_text(seconds)}"
    age = "" if since is None else f"first failed {age_text(parse_time(since), now)}; "
    reason = unrepairable["reason"]
    what = unrepairable["key"] if _is_said(reason, headline_text) else reason
    return f"{what} ({age}{when})"


def _quarantine_lines(status: JsonObject, now: datetime, headline_text: str) -> list[Line]:
    said = [headline_text, *([] if status["last"] is None else status["last"]["failures"])]
    texts = []
    for entry in status["quarantined"]:
        why = "" if _is_said(entry["reason"], *said) else f": {entry['reason']}"
        age = age_text(parse_time(entry["at"]), now)
        texts.append(f"{entry['commit'][:12]}, {age}{why}")
    return _limited_lines(texts)


def _limited_lines(texts: Sequence[str]) -> list[Line]:
    lines = [line(text, indent=2) for text in texts[:MAX_ITEMS]]
    if len(texts) > MAX_ITEMS:
        lines.append(line(f"and {len(texts) - MAX_ITEMS} more", indent=2))
    return lines
