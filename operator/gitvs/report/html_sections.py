"""What a page says of all directors: the verdict, problems, gates, a table of them, risks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TypeVar

from gitvs.core.gates import Gate
from gitvs.core.problems import Problem
from gitvs.core.risks import Risk
from gitvs.report.html_text import NOTHING, Html, element, joined, names, prose, row, table
from gitvs.report.plan_view import DirectorPlan, PlanOutcome, Presence, summary_text
from gitvs.report.preview_view import Group, Preview, Verdict
from gitvs.report.problems import counted

_T = TypeVar("_T")
_BLOCKED = "Nothing is changed on these directors until every gate is allowed."
_ALLOWED = "Over a limit, and let through by `Gitvs-Allow` or `--allow`."
LEAVES = "the agent there keeps what is applied, and reports an error until `gitvs teardown` is run"


def verdict(preview: Preview) -> str:
    """Return what a preview comes to, in a few words."""
    match preview.verdict:
        case Verdict.INVALID:
            return f"invalid, {counted(len(preview.problems), 'problem')}"
        case Verdict.BLOCKED:
            blocked = [p for p in preview.plans if p.outcome is PlanOutcome.BLOCKED]
            gates = dict.fromkeys(g.name for p in blocked for g in p.gates if not g.allowed)
            return f"blocked by {', '.join(gates)} on {counted(len(blocked), 'director')}"
        case Verdict.CHANGES:
            return f"changes on {counted(sum(p.is_news for p in preview.plans), 'director')}"
        case Verdict.NONE:
            return "nothing would change"


def opening(preview: Preview) -> Html:
    """Return what stands on top: the verdict, of what, and how many directors it is about."""
    words = verdict(preview)
    folder = element("code", preview.folder)
    notes = [element("p", "Note: ", prose(text), class_="note") for text in preview.remarks]
    return element(
        "header",
        element("h1", words[0].upper() + words[1:]),
        element(
            "p",
            *("From ", element("b", str(preview.base)), " to ", element("b", str(preview.head))),
            *((", manifests in ", folder) if preview.folder else ()),
        ),
        element("p", _counts(preview)),
        *_come_and_go(preview),
        *notes,
        class_=f"verdict {preview.verdict}",
    )


def _counts(preview: Preview) -> str:
    """Return how many directors change, come, go and stay, and all changes together."""
    if preview.problems and not preview.plans:
        return "The manifests cannot be compared before these problems are solved."
    presence = Counter(plan.presence for plan in preview.plans if plan.is_news)
    total = len(preview.plans) + preview.unchanged
    numbers = {
        "to change": presence[Presence.STAYS],
        "new": presence[Presence.APPEARS],
        "no longer there": presence[Presence.DISAPPEARS],
        "unchanged": total - presence.total(),
    }
    directors = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
    changes: Counter[str] = Counter()
    for plan in preview.plans:
        changes.update(plan.summary)
    summed = f"; in all {summary_text(changes)}" if changes.total() else ""
    return f"{counted(total, 'director')}: {directors or 'none'}{summed}"


def _come_and_go(preview: Preview) -> Iterable[Html]:
    if appear := preview.named(Presence.APPEARS):
        yield element("p", "New: ", names(appear), class_="names")
    if leave := preview.named(Presence.DISAPPEARS):
        words = ("No longer in the manifests: ", names(leave), "; ", prose(LEAVES))
        yield element("p", *words, class_="note names")


def sections(preview: Preview, groups: Sequence[Group]) -> Iterable[Html]:
    """Yield the sections in the order in which people read them."""
    yield _section("Problems", "", ("Where", "Rule", "Problem"), map(_problem, preview.problems))
    yield _gates(preview, "Blocked", _BLOCKED, is_allowed=False)
    yield _gates(preview, "Allowed", _ALLOWED, is_allowed=True)
    columns = ("Directors", "Outcome", "Create>", "Update>", "Delete>", "Drain>", "Greatest risk")
    yield _section("Directors", "", columns, map(_director, count(1), groups))
    of_plans = _with_directors((plan.director, plan.risks) for plan in preview.plans)
    told: dict[Risk, list[str]] = {**{risk: [] for risk in preview.risks}, **of_plans}
    risks = (_risk(*pair) for pair in told.items())
    yield _section("Good to know", "", ("Risk", "Directors", "What it means"), risks)


def _section(title: str, about: str, columns: Iterable[str], rows: Iterable[Html]) -> Html:
    """Return a section; nothing if it has no rows."""
    shown = list(rows)
    if not shown:
        return NOTHING
    lead = element("p", prose(about)) if about else NOTHING
    content = table(columns, element("tbody", *shown))
    sort = title.split()[0].lower()
    return element("section", element("h2", title), lead, content, class_=f"scope {sort}")


def _problem(problem: Problem) -> Html:
    where = element("code", f"{problem.file}:{problem.line}:{problem.column}")
    told = element("td", prose(problem.message), class_="told")
    return row(element("td", where), element("td", element("code", problem.rule)), told)


def _with_directors(told: Iterable[tuple[str, Iterable[_T]]]) -> dict[_T, list[str]]:
    """Return what is told of directors, each once, with all of whom it is told."""
    found: dict[_T, list[str]] = {}
    for director, items in told:
        for item in items:
            found.setdefault(item, []).append(director)
    return found


def _gates(preview: Preview, title: str, about: str, *, is_allowed: bool) -> Html:
    columns = ("Gate", "Directors", "Measured", "Limit", "What it means, and how to allow it")
    gates = _with_directors((plan.director, plan.gates) for plan in preview.plans)
    rows = (_gate(gate, of) for gate, of in gates.items() if gate.allowed is is_allowed)
    return _section(title, about + _policy(preview), columns, rows)


def _gate(gate: Gate, directors: list[str]) -> Html:
    return row(
        element("td", element("code", gate.name)),
        _names_cell(directors),
        element("td", gate.measured),
        element("td", element("i", "limit ", class_="narrow"), gate.limit),
        element("td", prose(gate.message), class_="told"),
    )


def _names_cell(directors: Sequence[str]) -> Html:
    number = f"{len(directors)}: " if len(directors) > 5 else ""
    shown = names(directors) if directors else "several"
    return element("td", element("div", number, shown, class_="names"))


def _policy(preview: Preview) -> str:
    """Return where the limits are set."""
    sources = {plan.policy_source for plan in preview.plans if plan.gates}
    where = sorted(f"`{source.file}:{source.line}`" for source in sources if source is not None)
    return f" The Policy is in {', '.join(where)}." if where else ""


def _director(number: int, group: Group) -> Html:
    plan = group.plan
    link = element("a", names(group.directors), href=f"#group-{number}")
    risk = greatest_risk(plan)
    return row(
        element("td", element("div", link, class_="names")),
        element("td", outcome(plan)),
        *(
            element("td", str(changes), class_=f"number {action}" if changes else "number none")
            for action, changes in plan.summary.items()
        ),
        element("td", prose(risk), class_="told"),
    )


def outcome(plan: DirectorPlan) -> Html:
    """Return in a word what becomes of a director."""
    word = {Presence.APPEARS: "new", Presence.DISAPPEARS: "leaves"}.get(plan.presence)
    badges = [plan.outcome.value] if plan.outcome is not PlanOutcome.NONE or not word else []
    badges += [word] if word else []
    return joined(element("span", text, class_=f"badge {text}") for text in badges)


def greatest_risk(plan: DirectorPlan) -> str:
    """Return what stands most against a plan: a gate, that its director leaves, a risk."""
    for is_allowed, word in ((False, "blocked"), (True, "allowed")):
        gates = list(dict.fromkeys(g.name for g in plan.gates if g.allowed is is_allowed))
        if gates:
            return f"{word}: {', '.join(f'`{gate}`' for gate in gates)}"
    if plan.presence is Presence.DISAPPEARS:
        return "no longer in the manifests"
    risks = list(dict.fromkeys(f"`{risk.name}`" for risk in plan.risks))
    more = f" and {len(risks) - 1} more" if len(risks) > 1 else ""
    return risks[0] + more if risks else ("drift that the next sync repairs" * bool(plan.repairs))


def _risk(risk: Risk, directors: list[str]) -> Html:
    told = element("td", prose(risk.message), class_="told")
    return row(element("td", element("code", risk.name)), _names_cell(directors), told)
