"""A preview as a page: it says what matters, it is whole, and what comes from elsewhere is text."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitvs.core.model.resources import Key
from gitvs.core.planning.operations import Operation, OperationKind, Operations
from gitvs.core.problems import printable
from gitvs.report.html.elements import element, prose
from gitvs.report.html.preview import preview_html
from gitvs.report.plan.preview_view import Preview
from tests.support.effort import examples
from tests.support.html_preview import BASE, HEAD, HOSTILE, PROBLEM, dressed, realistic

_VOID = {"meta", "input"}


@dataclass
class Page(HTMLParser):
    """What a browser makes of a page: tags, attributes, and the text of each row."""

    html: str
    tags: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str | None]] = field(default_factory=list)
    text: str = ""
    parts: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        self.close()
        assert self.open == [], "a tag is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.parts.setdefault(tag, []).append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        for tag in set(self.open):
            self.parts[tag][-1] += data

    @property
    def rows(self) -> list[str]:
        return self.parts["tr"]


def page(preview: Preview) -> Page:
    return Page(preview_html(preview))


REALISTIC = realistic()


def rows_with(preview: Preview, *words: str) -> list[str]:
    return [row for row in page(preview).rows if all(word in row for word in words)]


# What it says


def test_the_verdict_is_the_first_thing_in_words_and_in_colour() -> None:
    text = preview_html(REALISTIC)
    made = page(REALISTIC)
    assert made.parts["h1"] == ["Blocked by capacity-drop on 4 directors"]
    assert made.parts["title"] == ["gitvs plan: blocked by capacity-drop on 4 directors"]
    assert '<body><header class="verdict blocked">' in text


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (Preview(BASE, HEAD, unchanged=3), "Nothing would change"),
        (replace(REALISTIC, plans=REALISTIC.plans[-1:]), "Changes on 1 director"),
        (replace(REALISTIC, problems=(PROBLEM,)), "Invalid: 1 problem"),
    ],
)
def test_every_verdict_has_its_words(made: Preview, verdict: str) -> None:
    assert page(made).parts["h1"] == [verdict]


def test_what_is_compared_and_how_it_came_about_is_told() -> None:
    [header] = page(REALISTIC).parts["header"]
    assert 'From commit 4be1c07f93d2 "Add the second site" to commit 9d20e5aa17c4 "Move' in header
    assert "manifests in lb" in header
    assert "Note: the branch parted from main" in header
    assert "19 directors: 5 to change, 1 new, 1 left the manifests, 12 unchanged; in all" in header
    assert "New: sea1" in header
    assert re.search("Left the manifests: old1; .* until gitvs teardown is run", header)


def test_directors_to_which_the_same_happens_have_one_row() -> None:
    [row] = rows_with(REALISTIC, "ams1, ams2, lax1, lax2", "blocked: capacity-drop")
    assert row == "ams1, ams2, lax1, lax2blocked14035blocked: capacity-drop"
    assert preview_html(REALISTIC).count('class="group scope"') == 4


def test_gates_that_block_stand_apart_from_those_that_are_allowed() -> None:
    sections = page(REALISTIC).parts["section"]
    blocked, allowed = (next(s for s in sections if s.startswith(n)) for n in ("Bl", "Al"))
    assert "policy.yaml:3" in blocked
    assert "capacity-dropams1, ams2, lax1, lax2weight 30 of 50 (60 %)limit 50 %tcp" in blocked
    assert "Gitvs-Allow: capacity-drop in a commit message" in blocked
    assert "capacity-droplab1weight 2 of 3" in allowed
    assert "lab1" not in blocked
    assert "ams1" not in allowed


def test_many_services_that_meet_one_gate_have_one_message() -> None:
    plan = REALISTIC.plans[0]
    gates = tuple(replace(plan.gates[0], key=change.key) for change in plan.plan.changes[:4])
    made = replace(REALISTIC, plans=(replace(plan, gates=gates),))
    assert len(rows_with(made, "capacity-drop", "To allow it once")) == 1
    assert len(rows_with(made, "capacity-drop", "likewise ")) == 3


def test_risks_are_told_with_their_directors() -> None:
    assert rows_with(REALISTIC, "vip-moves", "several", "moving VIP 203.0.113.20")
    assert rows_with(REALISTIC, "nat-without-forwarding", "sea1")


def test_changes_stand_in_the_order_of_execution() -> None:
    [changes] = [d for d in page(REALISTIC).parts["tbody"] if d.startswith("break")]
    assert changes.startswith("break-deletelocal 198.51.100.0/24-deleteudp 203.0.113.53:53 -> 10.")
    phases = [th for th in page(REALISTIC).parts["th"] if th in ("prepare", "make", "bind")]
    assert phases == ["prepare", "make", "make", "bind", "prepare", "make", "bind"]


def test_shares_of_traffic_and_connections_are_told_of_every_real_server() -> None:
    rows = page(REALISTIC).rows
    assert "10.0.3.5:8443 app-3-5nat1020 % → 22.2 %as before" in rows
    assert "~10.0.3.6:8443 app-3-6nat10 → 3020 % → 66.7 %keeps its connections" in rows
    assert "+10.0.3.9:8443 canarynat– → 5– → 11.1 %new; upper threshold 1000" in rows
    assert "-10.0.5.6:53 app-5-6nat1 → –33.3 % → –no drain: its connections break at once" in rows
    assert any("30 → 060 % → 0 %drain: removed once" in row for row in rows)


def test_the_bars_are_as_long_as_the_shares() -> None:
    pair = r'y="0" height="3" width="(\S+)".*?y="4" height="8" width="(\S+)"'
    bars = re.findall(pair, preview_html(REALISTIC))
    assert bars[:4] == [("20", "22.22"), ("20", "66.67"), ("60", "0"), ("0", "11.11")]
    unknown = [server for server in page(REALISTIC).rows if "?" in server]
    assert bars.count(("0", "0")) == len(unknown) == 3


def test_capacity_and_shares_that_cannot_be_known_say_so() -> None:
    text = page(REALISTIC).text
    assert "capacity weight 50 → 45, active real servers 3 of 3 → 3 of 4" in text
    assert "cannot be known: persistence keeps clients where they are" in text
    assert rows_with(REALISTIC, "10.0.6.7:443", "– → ?")


def test_drift_is_told_apart_from_the_plan() -> None:
    [drift] = [d for d in page(REALISTIC).parts["details"] if d.startswith("Drift that the next")]
    assert "net.ipv4.vs.conntrack0 → 1" in drift


def test_what_cannot_be_repaired_is_told_with_the_reason() -> None:
    [first, *others] = REALISTIC.plans
    sick = replace(first, unrepairable={Key("a"): "a: IPv6 is switched off"})
    made = replace(REALISTIC, plans=(sick, *others))
    assert rows_with(made, "a: IPv6 is switched off")
    assert "Cannot be repaired, and is left out" in preview_html(made)


def test_problems_come_first_and_plans_follow() -> None:
    text = page(replace(REALISTIC, problems=(PROBLEM,))).text
    row = "team-a/web.yaml:14:3unknown-fieldshceduler is no Service field"
    assert 0 < text.index(row) < text.index("Gate") < text.index("in the order of execution")


def test_invalid_manifests_have_no_count_of_directors() -> None:
    made = page(Preview(BASE, HEAD, problems=(PROBLEM,) * 3))
    assert "0 directors" not in made.text
    assert len(made.rows) == 4


def test_what_was_said_by_hand_and_what_is_foreign_is_listed() -> None:
    said = Operation(
        OperationKind.STANDBY, "anna", "new hardware", datetime(2026, 1, 1, tzinfo=UTC)
    )
    live = replace(
        REALISTIC.plans[0], foreign_names=("tcp 192.0.2.1:80",), operations=Operations((said,))
    )
    made = replace(REALISTIC, plans=(live,))
    assert rows_with(made, "tcp 192.0.2.1:80")
    assert rows_with(made, "anna", "new hardware")


def test_a_single_group_is_unfolded() -> None:
    assert 'class="group scope" open="open"' in preview_html(
        replace(REALISTIC, plans=REALISTIC.plans[:1])
    )


def test_a_small_preview_is_unfolded_and_a_large_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = preview_html(REALISTIC)
    assert (small.count('class="group scope" open="open"'), '<main class="large">' in small) == (
        4,
        False,
    )
    monkeypatch.setattr("gitvs.report.html.preview.MAX_OPEN_ROWS", 10)
    large = preview_html(REALISTIC)
    assert ('class="group scope" open="open"' in large, '<main class="large">' in large) == (
        False,
        True,
    )


def test_a_page_says_what_made_it_when_and_of_which_repository() -> None:
    origin = "gitvs 0.3.0, 2026-01-02 12:00:00 UTC, team/lb <b>"
    assert Page(preview_html(REALISTIC, origin)).text.count(origin) == 1


def test_on_a_narrow_screen_each_count_has_its_name() -> None:
    labels = set(re.findall('data-label="([^"]+)"', preview_html(REALISTIC)))
    assert labels >= {"create", "update", "delete", "drain", "after drains", "weight", "share"}


# Nothing from elsewhere is markup


def test_hostile_text_changes_nothing_in_the_page() -> None:
    hostile, harmless = page(dressed(HOSTILE)), page(dressed("harmless"))
    assert hostile.tags == harmless.tags
    assert [n for n, _ in hostile.attributes] == [n for n, _ in harmless.attributes]
    assert hostile.text.count(HOSTILE) == harmless.text.count("harmless") > 30


def test_an_attribute_is_never_left() -> None:
    hostile = Page(element("p", class_=HOSTILE).markup)
    assert (hostile.tags, hostile.attributes) == (["p"], [("class", HOSTILE)])


def test_a_page_has_one_script_and_one_style_and_loads_nothing() -> None:
    made = page(dressed(HOSTILE))
    assert (made.tags.count("script"), made.tags.count("style")) == (1, 1)
    names = {name for name, _ in made.attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style")}
    assert all(value and value.startswith("#") for name, value in made.attributes if name == "href")


def test_only_the_page_s_own_script_and_style_are_let_in() -> None:
    made = page(REALISTIC)
    policy = next(value for _, value in made.attributes if value and "default-src" in value)
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        digest = b64encode(sha256(made.parts[tag][0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@settings(max_examples=examples(50))
@given(st.text())
def test_any_text_is_shown_as_it_is(text: str) -> None:
    shown = Page(f"<p>{prose(text).markup}</p>").text
    assert shown.replace("`", "") == printable(text).replace("`", "")
