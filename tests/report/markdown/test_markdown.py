"""A comment on a pull request: it says what matters, it is never too long, and text stays text.

GitHub's own renderer (cmark) shows what a forge makes of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gitvs.core.model.desired import Desired, ManifestLocation
from gitvs.core.model.ledger import Drain
from gitvs.core.model.resources import Persistence, Resource, Scheduler
from gitvs.core.model.state import State
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.offline_proposal import propose_preview as proposed
from gitvs.core.planning.plan import Plan
from gitvs.core.planning.risks import Risk
from gitvs.core.problems import Problem, printable
from gitvs.report.markdown.escaping import code, diff_block, prose
from gitvs.report.markdown.preview import COMMENT_MARKER, preview_markdown
from gitvs.report.plan.plan_view import (
    DirectorPlan,
    PlanSide,
    PlanSideKind,
    Presence,
    director_plan,
)
from gitvs.report.plan.preview_view import Preview
from gitvs.report.plan.removals import AFTER_DRAINS_TITLE
from tests.support import paths, scenario
from tests.support.builders import endpoint, real_server, sysctl, update, vip, virtual_service
from tests.support.effort import examples

GOLDEN = paths.GOLDEN / "preview.md"
BASE = PlanSide(PlanSideKind.COMMIT, "a" * 40, "Start")
HEAD = PlanSide(PlanSideKind.COMMIT, "b" * 40, "Move web to wrr")
GATE = Gate("capacity-drop", "weight 3 of 4 (75 %)", "50 %", "too much leaves", is_allowed=False)
RISK = Risk("vip-moves", "203.0.113.10 moves from lb1 to lb2")
TWO = (virtual_service(), real_server(weight=1), real_server(address="10.0.0.2", weight=3))


def desired(*resources: Resource, drain_seconds: float = 60.0) -> Desired:
    state = State(resources)
    return Desired("lb1", "gitvs0", state, dict.fromkeys(state, drain_seconds))


def plan(before: Desired, after: Desired, director: str = "lb1") -> DirectorPlan:
    view = director_plan(proposed(before, after), applied=before)
    return replace(view, director=director, gates=())


def reweighted(weight: int = 5, director: str = "lb1") -> DirectorPlan:
    """One real server of two gets another weight."""
    service, first, second = TWO
    return plan(desired(*TWO), desired(service, replace(first, weight=weight), second), director)


def preview(*plans: DirectorPlan, **rest: object) -> Preview:
    return replace(Preview(BASE, HEAD, plans), **rest)  # type: ignore[arg-type]


@dataclass
class Page(HTMLParser):
    """What a reader sees: tags, all of the text, and the text outside of code."""

    html: str
    tags: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    text: str = ""
    bare: str = ""
    codes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        assert self.open == [], "a tag is not closed"

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in ("br", "hr"):
            self.open.append(tag)
        if tag == "code":
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "code" in self.open:
            self.codes[-1] += data
        else:
            self.bare += data

    @property
    def frame(self) -> list[str]:
        """The tags but for inline code, of which a sentence has as many as it has odd words."""
        return [tag for tag in self.tags if tag != "code"]


def github(markdown: str) -> Page:
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_HARDBREAKS
    return Page(cmarkgfm.github_flavored_markdown_to_html(markdown, options))


def other(markdown: str) -> Page:
    renderer = MarkdownIt("commonmark", {"breaks": True}).enable(["table", "strikethrough"])
    return Page(renderer.render(markdown))


# What it says


def everything() -> Preview:
    applied = scenario.before()
    moved = director_plan(proposed(applied, scenario.after()), applied=applied)
    source = ManifestLocation("web", "web.yaml", 11)
    moved = replace(
        moved,
        policy_location=ManifestLocation(None, "policy.yaml", 3),
        risks=(Risk("arp-ignore", "203.0.113.12 is in the subnet of eth0 while arp_ignore is 0"),),
        locations=dict.fromkeys([virtual_service(scenario.WEB4).key], source),
    )
    gone = replace(moved, director="lb9", presence=Presence.DISAPPEARS, plan=Plan(), gates=())
    return preview(
        moved,
        replace(moved, director="lb2"),
        replace(gone, risks=()),
        replace(reweighted(director="lb3"), presence=Presence.APPEARS),
        unchanged=7,
        risks=(RISK,),
        remarks=("commit aaaaaaaaaaaa has no folder lb: everything is new",),
        folder="lb",
    )


def test_a_preview_of_everything_reads_as_approved() -> None:
    assert preview_markdown(everything()) == GOLDEN.read_text()


def test_a_preview_of_everything_renders_alike_everywhere() -> None:
    text = preview_markdown(everything())
    assert github(text).tags == other(text).tags
    assert github(text).tags.count("table") == 8
    assert "|" not in github(text).text


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (preview(unchanged=3), "nothing would change"),
        (preview(reweighted(), unchanged=3), "changes on 1 director"),
        (preview(replace(reweighted(), gates=(GATE,))), "blocked by capacity-drop on 1 director"),
        (preview(problems=(Problem("a", 1, 1, "", "r", "m"),) * 2), "invalid: 2 problems"),
    ],
)
def test_the_verdict_comes_first(made: Preview, verdict: str) -> None:
    lines = preview_markdown(made).splitlines()
    assert lines[0] == COMMENT_MARKER
    assert github(lines[1]).text.strip() == f"gitvs plan: {verdict}"


def test_directors_that_stay_as_they_are_are_counted() -> None:
    text = preview_markdown(preview(reweighted(), unchanged=12))
    assert "13 directors: 1 to change, 12 unchanged; in all 0 to create, 1 to update" in text


def test_directors_with_one_plan_have_one_row() -> None:
    text = preview_markdown(preview(reweighted(), reweighted(director="lb2"), reweighted(6, "lb3")))
    assert "| `lb1`, `lb2` | 0 | 1 | 0 | 0 | 0 |  |\n| `lb3` | 0 | 1 | 0 | 0 | 0 |  |\n" in text
    assert text.count("<details>") == 2


def test_directors_that_come_and_go_are_named() -> None:
    new = replace(reweighted(), presence=Presence.APPEARS)
    gone = replace(plan(desired(), desired(), "lb9"), presence=Presence.DISAPPEARS)
    text = preview_markdown(preview(new, gone))
    assert "2 directors: 1 new, 1 left the manifests" in text
    assert "New: `lb1`\n" in text
    assert re.search(r"Left the manifests: `lb9`; .* until `gitvs teardown` is run", text)


def test_gates_that_block_stand_apart_from_those_that_are_allowed() -> None:
    lifted = replace(GATE, name="mass-removal", is_allowed=True)
    policy = ManifestLocation(None, "policy.yaml", 3)
    text = preview_markdown(
        preview(replace(reweighted(), gates=(lifted, GATE), policy_location=policy))
    )
    blocked, allowed = text.index("### Blocked"), text.index("### Allowed")
    row = "| `lb1` | weight 3 of 4 (75 %) | 50 % | too much leaves |"
    assert blocked < text.index(f"| `capacity-drop` {row}") < allowed
    assert allowed < text.index(f"| `mass-removal` {row}")
    assert "`policy.yaml:3`" in text
    assert "| blocked: `capacity-drop` |" in text


def test_a_gate_says_how_it_is_allowed() -> None:
    before, after = desired(*TWO), desired(*TWO[:2])
    blocked = director_plan(proposed(before, after), applied=before)
    text = github(preview_markdown(preview(blocked))).text
    assert "Gitvs-Allow: capacity-drop in a commit message" in text


def test_many_services_that_meet_one_gate_have_one_message() -> None:
    services = [virtual_service(endpoint(port=port)) for port in range(1001, 1006)]
    gates = tuple(replace(GATE, key=service.key) for service in services)
    text = preview_markdown(preview(replace(reweighted(), gates=gates)))
    assert text.count("too much leaves") == 1
    assert text.count("| 50 % | likewise tcp `203.0.113.10:100") == 4
    few = preview_markdown(preview(replace(reweighted(), gates=gates[:3])))
    assert few.count("too much leaves") == 3


def test_a_gate_met_by_several_directors_is_told_once() -> None:
    plans = [replace(reweighted(n, f"lb{n}"), gates=(GATE,)) for n in (5, 6, 7)]
    text = preview_markdown(preview(*plans))
    assert "| `capacity-drop` | `lb5`, `lb6`, `lb7` |" in text


def test_risks_are_told_of_all_and_of_one() -> None:
    own = Risk("nat-without-forwarding", "ip_forward is 0")
    text = preview_markdown(preview(replace(reweighted(), risks=(own,)), risks=(RISK,)))
    assert "- `vip-moves`: `203.0.113.10` moves from `lb1` to `lb2`\n" in text
    assert "- `nat-without-forwarding` on `lb1`: `ip_forward` is 0\n" in text
    assert "| 0 | `nat-without-forwarding` |" in text


def test_shares_of_traffic_are_shown_before_and_after() -> None:
    text = preview_markdown(preview(reweighted(2)))
    assert "Capacity: weight 4 → 5, active real servers 2 of 2\n" in text
    assert "| `10.0.0.1:8080` | nat | 1 → 2 | 25 % → 40 % | keeps its connections |" in text
    assert "| `10.0.0.2:8080` | nat | 3 | 75 % → 60 % | as before |" in text


def test_shares_that_cannot_be_known_say_why() -> None:
    sticky = virtual_service(scheduler=Scheduler.WRR, persistence=Persistence(300, 32))
    text = preview_markdown(preview(plan(desired(*TWO), desired(sticky, *TWO[1:]))))
    assert "known after (persistence keeps clients where they are)" in text
    assert "| 25 % → ? |" in text


def test_the_shares_of_mh_are_by_weight_and_of_clients() -> None:
    service, *servers = TWO
    hashed = replace(service, scheduler=Scheduler.MH)
    text = preview_markdown(preview(plan(desired(*TWO), desired(hashed, *servers))))
    assert "| 3 | 75 % | as before |" in text
    assert "; shares under mh are of clients: each keeps its real server\n" in text
    sticky = replace(hashed, persistence=Persistence(300, 32))
    text = preview_markdown(preview(plan(desired(*TWO), desired(sticky, *servers))))
    assert "| 75 % → ? |" in text
    assert "of clients" not in text


def test_a_server_that_leaves_says_what_becomes_of_its_connections() -> None:
    text = preview_markdown(preview(plan(desired(*TWO), desired(*TWO[:2]))))
    assert "| 3 → 0 | 75 % → 0 % | drain: removed once" in text
    assert "! drain tcp 203.0.113.10:80 -> 10.0.0.2:8080  weight 3 → 0, removed once" in text


def test_what_is_true_of_all_drains_of_a_service_is_said_once() -> None:
    service, *servers = (
        virtual_service(),
        *(real_server(address=f"10.0.0.{n}") for n in range(1, 9)),
    )
    made = plan(desired(service, *servers), desired(service, *servers[:1]))
    text = preview_markdown(Preview(BASE, HEAD, (made,)))
    after_diff = text.rpartition("Capacity: ")[2]
    assert after_diff.count("removed once it has no connections, in 1m at the latest") == 1
    assert after_diff.count("| drain |") == 7


def test_a_change_knows_best_what_was_before() -> None:
    """A server that another manager made, and that is taken over, is in no state of ours."""
    text = preview_markdown(preview(replace(reweighted(2), state_before=State())))
    assert "| `10.0.0.1:8080` | nat | 1 → 2 |" in text


def test_a_drain_that_goes_on_is_shown() -> None:
    leaving = real_server(endpoint(port=443), weight=0)
    service = virtual_service(endpoint(port=443))
    same = plan(desired(*TWO, service, leaving), desired(*TWO[:2], service, leaving))
    text = preview_markdown(preview(replace(same, drains={leaving.key: Drain(leaving.key, 60, 9)})))
    assert "#### `tcp 203.0.113.10:443`" in text
    assert "| nat | 0 | 0 % | draining: 1m at most |" in text


def test_a_threshold_that_is_given_up_is_shown() -> None:
    limited = replace(TWO[1], upper_threshold=1000)
    text = preview_markdown(preview(plan(desired(TWO[0], limited), desired(*TWO[:2]))))
    assert "keeps its connections; upper threshold `1000` → none |" in text


def test_changes_stand_in_the_order_of_execution() -> None:
    text = preview_markdown(everything())
    diff = re.search(r"```diff\n(.*?)\n```\n", text, re.DOTALL)
    assert diff is not None
    phases = [x.strip("@ ") for x in diff[1].splitlines() if x.startswith("@@")]
    assert phases == ["prepare", "make", "modify", "bind", "break", AFTER_DRAINS_TITLE]


def test_drift_that_is_repaired_anyway_is_told_apart() -> None:
    drifted = update(sysctl("net.ipv4.vs.conntrack", "0"), sysctl("net.ipv4.vs.conntrack", "1"))
    same = replace(plan(desired(), desired()), repairs=(drifted,))
    text = preview_markdown(preview(same, unchanged=2))
    assert "nothing would change" in text
    assert "3 directors: 3 unchanged\n" in text
    assert (
        "the next sync repairs, with or without this merge @@\n! update net.ipv4.vs.conntrack"
    ) in text


def test_what_cannot_be_repaired_is_told_with_the_reason() -> None:
    sick = replace(plan(desired(), desired()), unrepairable={vip().key: "IPv6 is `off`"})
    text = preview_markdown(preview(sick, unchanged=2))
    assert "Cannot be repaired, and is left out @@\n! IPv6 is `off`" in text


def test_every_problem_is_listed_with_its_place_and_plans_follow() -> None:
    problem = Problem("lb/web.yaml", 3, 7, "/spec", "unknown-field", "shceduler is no field")
    text = preview_markdown(preview(reweighted(), problems=(problem,)))
    item = "- `lb/web.yaml:3:7` `unknown-field`: shceduler is no field\n"
    assert 0 < text.index(item) < text.index("### Directors") < text.index("```diff")


def test_invalid_manifests_have_no_count_of_directors() -> None:
    problem = Problem("web.yaml", 3, 7, "/spec", "unknown-field", "no field")
    assert "director" not in preview_markdown(preview(problems=(problem,)))


# It is never too long


def estate(directors: int, gates: int) -> Preview:
    """Directors of which no two have the same plan, with as many different gates in all."""
    each = gates // directors
    return preview(
        *(
            replace(
                reweighted(5 + number, f"lb{number}"),
                gates=tuple(replace(GATE, message=f"no {number}.{n}") for n in range(each)),
                risks=(Risk("arp", f"risk {number}"),),
            )
            for number in range(directors)
        ),
        unchanged=3,
        risks=(RISK,),
    )


@pytest.mark.parametrize("limit", [1_000, 2_500, 10_000, 33_333, 60_000])
@pytest.mark.parametrize("gates", [0, 500])
def test_a_comment_is_never_too_long_and_always_whole(limit: int, gates: int) -> None:
    text = preview_markdown(estate(100, gates), limit)
    assert limit * 0.5 < len(text) <= limit
    first = "blocked by capacity-drop on 100 directors" if gates else "changes on 100 directors"
    assert text.startswith(f"{COMMENT_MARKER}\n## gitvs plan: {first}\n")
    assert "\nLeft out, to stay within " in text
    for page in (github(text), other(text)):
        assert "|" not in page.text
        assert "```" not in page.text
        assert "&lt;" not in page.html.replace("-&gt;", "")


def test_two_hundred_directors_with_five_hundred_gates_fit() -> None:
    text = preview_markdown(estate(200, 500))
    assert len(text) <= 60_000
    assert text.startswith(f"{COMMENT_MARKER}\n## gitvs plan: blocked")
    assert "gates that block" not in text


def left_out(made: Preview, limit: int) -> list[str]:
    text = preview_markdown(made, limit)
    found = re.search(r"^Left out, to stay within \d+ characters: (.*?)\. `", text, re.MULTILINE)
    return [] if found is None else [re.sub(r"\d+ of \d+ ", "", x) for x in found[1].split(", ")]


def test_what_matters_least_is_left_out_first_and_gates_last() -> None:
    steps = [
        "lists of real servers that stay as they are",
        "tables of real servers",
        "changes",
        "rows of directors",
        "risk notes",
        "gates that block",
    ]
    made = estate(10, 10)
    found = [left_out(made, limit) for limit in range(10_000, 900, -50)]
    assert found[0] == []
    assert found[-1] == steps
    assert all(cut == steps[: len(cut)] for cut in found)
    assert {len(cut) for cut in found} == set(range(len(steps) + 1))


def test_whatever_fits_is_shown() -> None:
    text = preview_markdown(estate(20, 20))
    assert preview_markdown(estate(20, 20), len(text)) == text
    shorter = preview_markdown(estate(20, 20), len(text) - 1)
    assert "of 20 lists of real servers" in shorter
    assert "1 real server not shown: as before" in shorter


@pytest.mark.parametrize(
    ("noun", "shown"),
    [
        ("lists of real servers", r"\| as before \|"),
        ("tables of real servers", r"^\| Real server"),
        ("changes", r"^! update "),
    ],
)
def test_what_is_left_out_is_counted_over_all_directors(noun: str, shown: str) -> None:
    made = estate(20, 0)
    numbers = set()
    for limit in range(3_000, len(preview_markdown(made)), 100):
        text = preview_markdown(made, limit)
        told = re.search(rf"(\d+) of 20 {noun}", text)
        left = int(told[1]) if told else 0
        assert left + len(re.findall(shown, text, re.MULTILINE)) == 20
        numbers.add(left)
    assert len(numbers) > 3


def test_one_director_with_a_long_plan_is_cut_between_changes() -> None:
    many = [real_server(address=f"10.1.{n // 250}.{n % 250}") for n in range(2_000)]
    made = preview(plan(desired(*TWO), desired(*TWO, *many)))
    text = preview_markdown(made)
    assert 59_000 < len(text) <= 60_000
    assert re.search(r"\d+ of 2000 changes", text)
    assert github(text).tags.count("pre") == 1


def test_one_endless_text_does_not_push_out_the_rest() -> None:
    long = replace(HEAD, name="x" * 100_000)
    made = replace(everything(), head=long, remarks=("y " * 100_000,))
    text = preview_markdown(made)
    assert "Left out" not in text
    assert len(text) < len(preview_markdown(everything())) + 2_000


# What comes from elsewhere stays text

HOSTILE = [
    "a|b",
    r"a\|b\\|",
    "`x`",
    "``` \n```",
    "``",
    "<script>alert(1)</script>",
    "</details>",
    "</code></summary>",
    "<!-- gitvs plan -->",
    "-->",
    "@team",
    "@org/team me@example.org",
    "#1",
    "GH-1",
    "org/repo#1",
    "!1 ~bug %v1 &7 $9 [[wiki]] [x]",
    "/close",
    "deadbeef0123456789deadbeef0123456789dead",
    "1234567",
    "a-deadbeef",
    "one\ntwo\n\n# three\r\n- four",
    "    four",
    "*a* _b_ ~~c~~ __d__",
    "![x](https://example.org/x.png)",
    "[x](javascript:alert(1))",
    "[x]: https://example.org",
    "[^1]",
    "https://example.org www.example.org ftp://example.org",
    ":tada:",
    "&lt; &amp; &#64;",
    "\u202eabc\u200b\x00\x1b[31m",
    "$x^2$ $`x`$",
    " ",
    "  two  blanks  ",
    "\\",
    "| --- |",
    "---",
    "***",
    "1. one",
    "> quote",
    "{+ added +}",
    "http://`a`",
    "`@team` `",
    "a `b`c`d` e",
    "Ünïcödé — 漢字 🎉",
    "` -> `",
]


def strange(text: str) -> Preview:
    """A preview in which whatever comes from elsewhere is this text."""
    server = real_server().key
    one = replace(
        plan(
            desired(*TWO, sysctl("net.a", "was")),
            desired(TWO[0], real_server(weight=9), sysctl("net.a", text)),
        ),
        director=text,
        server_names={server: text},
        locations={TWO[0].key: ManifestLocation(text, text, 3)},
        policy_location=ManifestLocation(None, text, 3),
        gates=(
            Gate(text, text, text, text, is_allowed=False),
            Gate(text, text, text, text, is_allowed=True),
        ),
        risks=(Risk(text, text),),
    )
    gone = replace(plan(desired(), desired(), text), presence=Presence.DISAPPEARS)
    return Preview(
        base=PlanSide(PlanSideKind.SAVED_OBSERVATION, None, text),
        head=replace(HEAD, name=text),
        plans=(one, replace(one, presence=Presence.APPEARS), gone),
        risks=(Risk(text, text),),
        remarks=(text,),
        problems=(Problem(text, 1, 2, "", text, text),),
        folder=text,
    )


BENIGN = preview_markdown(strange("web1"))
MARKS = re.compile(r"[@#!~&$<>`*_\\\[\]{}|]|GH-|://|www\.\w|:\w+:|\b[0-9a-f]{7,40}\b|%\w|^/", re.M)
"""What a forge makes something of, outside of code."""
STARTS = (
    *("<!-- gitvs plan -->", "#", "From ", "- ", "|", "<details>", "</details>", "```", "@@ "),
    *("! ", "+ ", "Virtual service: ", "Capacity: ", "New: ", "Left the ", "Nothing is "),
    *("Over a limit", "2 directors", "3 directors"),
)


def squeezed(text: str) -> str:
    """A text without backticks, which quote in a sentence, and without blanks."""
    return re.sub(r"[`\s]", "", text)


def check(text: str) -> None:
    """The rendering has the tags it always has; the text is there, and nothing of it is live."""
    markdown = preview_markdown(strange(text))
    page, benign = github(markdown), github(BENIGN)
    assert page.frame == benign.frame
    assert not MARKS.search(page.bare)
    assert all(line.startswith(STARTS) for line in markdown.splitlines() if line)
    again = other(markdown)
    assert again.frame == other(BENIGN).frame
    assert not MARKS.search(again.bare)
    shown = printable(text)
    for place in (shown, f"{shown}:1:2", f"{shown}:3"):
        assert place in page.codes
        assert place in again.codes
    assert any(f"! update net.a  was → {shown}".rstrip() in x for x in page.codes)
    assert squeezed(f"Note: {shown}") in squeezed(page.text)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_elsewhere_stays_text(text: str) -> None:
    check(text)


@settings(max_examples=examples(60))
@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), min_size=1).map("".join))
def test_whatever_comes_from_elsewhere_stays_text(text: str) -> None:
    check((text or "x")[:40])


@settings(max_examples=examples(300))
@given(st.text(alphabet="`|\\ a<&@\n:.", min_size=1, max_size=20))
def test_code_shows_just_its_text(text: str) -> None:
    assert github(f"x {code(text)} x").codes == [printable(text)]


def test_no_line_of_a_diff_ends_it() -> None:
    [shown] = github(diff_block(["+ a", "```", "````", "</code></pre>"])).codes
    assert shown == "+ a\n```\n````\n</code></pre>\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("66.7 % (of 3), in 5m; can't", "66.7 % (of 3), in 5m; can't"),
        ("ask @team, (or #1)", "ask `@team`, (or `#1`)"),
        ("run `gitvs plan`, or (`x`).", "run `gitvs plan`, or (`x`)."),
        ("(tcp [::1]:80 -> 10.0.0.1:80, tcp)", "(tcp `[::1]:80 -> 10.0.0.1:80`, tcp)"),
        ("a `b", "a `` `b ``"),
        ("did you mean port2? (or `x`?)", "did you mean `port2`? (or `x`?)"),
        ("did you mean port?!", "did you mean port?!"),
        ("at deadbee or feed", "at `deadbee` or feed"),
        ("", ""),
    ],
)
def test_a_sentence_keeps_its_plain_words(text: str, written: str) -> None:
    assert prose(text) == written


def test_an_exclamation_mark_behind_code_belongs_to_it() -> None:
    assert prose("a/b! (a/b?!) (`x`!). Stop!") == "`a/b!` (`a/b?!`) (`` `x`! ``). Stop!"
