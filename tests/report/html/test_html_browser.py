"""A preview in a real browser: it can be read and searched, and nothing in it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitvs.core.model.desired import Desired
from gitvs.core.model.resources import Resource
from gitvs.core.model.state import State
from gitvs.core.planning.offline_proposal import propose_preview as proposed
from gitvs.report.html.preview import preview_html
from gitvs.report.plan.plan_view import director_plan
from gitvs.report.plan.preview_view import Preview
from tests.harness.browser import Browser, browser
from tests.support.builders import endpoint, real_server, virtual_service
from tests.support.html_preview import BASE, HEAD, HOSTILE, dressed, realistic

REALISTIC = realistic()
LOOKS = [(width, scheme) for width in (400, 1400) for scheme in ("light", "dark")]

SHOWN_ROWS = (
    "[...document.querySelectorAll('.row')].filter(e => e.checkVisibility())"
    ".map(e => e.textContent)"
)
OPEN = "[...document.querySelectorAll('details.group')].map(e => e.open && !e.hidden)"
COUNT = "document.querySelector('#count').value"

LOWEST_CONTRAST = """
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const paint = (...colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const light = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2];
  };
  let lowest = { ratio: 21 };
  for (const element of document.querySelectorAll('body *:not(script)')) {
    if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const behind = [];
    for (let e = element; e; e = e.parentElement) {
      behind.unshift(getComputedStyle(e).backgroundColor);
    }
    const [a, b] = [paint(...behind), paint(...behind, getComputedStyle(element).color)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < lowest.ratio) lowest = { ratio, what: element.outerHTML.slice(0, 200) };
  }
  return lowest;
})()
"""
"""Source: WCAG 2.2, contrast ratio and relative luminance."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pages of several groups folded, as large ones are."""
    monkeypatch.setattr("gitvs.report.html.preview.MAX_OPEN_ROWS", 0)


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Any:
    """Return what shows a preview, at a width and in a colour scheme."""

    def shown(made: Preview, width: int = 1400, scheme: str = "light") -> Browser:
        file = tmp_path / "preview.html"
        file.write_text(preview_html(made), "utf-8")
        chromium.open(file, width, scheme)
        return chromium

    return shown


def complaints(chromium: Browser) -> list[dict[str, Any]]:
    """Return what the browser had to say: errors, and what its policy refused."""
    kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    return [event for event in chromium.events if event["method"] in kinds]


def search(chromium: Browser, text: str) -> list[str]:
    """Type into the search box, which is empty, and return the rows that are shown."""
    chromium.click("#search")
    chromium.type(text)
    rows: list[str] = chromium.run(SHOWN_ROWS)
    return rows


def many() -> Preview:
    """300 services of 9 real servers, all of which get another weight."""

    def state(weight: int) -> Desired:
        resources: list[Resource] = []
        for number in range(300):
            listener = endpoint(f"203.0.{number // 200}.{number % 200}")
            servers = (real_server(listener, f"10.0.0.{n}", weight=weight) for n in range(1, 10))
            resources += [virtual_service(listener), *servers]
        return Desired("lb1", "gitvs0", State(resources))

    before = state(1)
    return Preview(BASE, HEAD, (director_plan(proposed(before, state(2)), applied=before),))


def test_a_page_is_shown_without_a_word_from_the_browser_and_without_network(show: Any) -> None:
    chromium = show(REALISTIC)
    assert complaints(chromium) == []
    asked = [e for e in chromium.events if e["method"] == "Network.requestWillBeSent"]
    assert [e["params"]["request"]["url"].split("/")[-1] for e in asked] == ["preview.html"]
    assert chromium.run("document.querySelector('h1').checkVisibility()")
    assert (
        chromium.run("getComputedStyle(document.querySelector('h1')).color") == "rgb(168, 23, 30)"
    )


def test_hostile_text_is_shown_and_does_nothing(show: Any) -> None:
    chromium = show(dressed(HOSTILE))
    chromium.click("#unfold")
    assert chromium.run("document.title") == "gitvs plan: invalid: 1 problem"
    assert chromium.run("document.querySelectorAll('img').length") == 0
    assert any(HOSTILE in row for row in chromium.run(SHOWN_ROWS))
    assert complaints(chromium) == []


def test_a_script_that_got_in_would_not_run(show: Any) -> None:
    chromium = show(REALISTIC)
    chromium.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=document.title=1>')"
    )
    chromium.run(
        "(s => { s.textContent = 'document.title = 2'; document.body.append(s) })"
        "(document.createElement('script'))"
    )
    assert chromium.run("document.title").startswith("gitvs plan")
    assert complaints(chromium)


@pytest.mark.parametrize("made", [REALISTIC, dressed(HOSTILE * 3)], ids=["realistic", "hostile"])
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_page_never_scrolls_sideways(show: Any, made: Preview, width: int, scheme: str) -> None:
    chromium = show(made, width, scheme)
    for button in ("#fold", "#unfold"):
        chromium.click(button)
        assert chromium.run("document.documentElement.scrollWidth") == width
        assert chromium.run("document.querySelector('h1').getBoundingClientRect().right") < width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_easy_to_tell_from_what_is_behind_it(show: Any, scheme: str) -> None:
    chromium = show(dressed("harmless"), scheme=scheme)
    chromium.click("#unfold")
    lowest = chromium.run(LOWEST_CONTRAST)
    assert lowest["ratio"] >= 4.5, lowest


def test_the_search_shows_the_rows_that_match_and_counts_them(show: Any) -> None:
    chromium = show(REALISTIC)
    total = chromium.run(COUNT)
    rows = search(chromium, "10.0.3.9")
    assert len(rows) == 2
    assert all("10.0.3.9" in row for row in rows)
    assert chromium.run(COUNT) == f"2 of {total}"
    assert chromium.run("document.querySelectorAll('section:not([hidden])').length") == 0


@pytest.mark.usefixtures("folded")
def test_escape_clears_the_search_and_folds_as_before(show: Any) -> None:
    chromium = show(REALISTIC)
    chromium.click("details.group summary")
    total = chromium.run(COUNT)
    search(chromium, "203.0.113.53")
    assert chromium.run(OPEN) == [False, True, False, False]
    chromium.press("Escape")
    assert chromium.run("document.querySelector('#search').value") == ""
    assert chromium.run(COUNT) == total
    assert chromium.run(OPEN) == [True, False, False, False]


def test_who_finds_a_director_or_a_service_finds_all_of_it(show: Any) -> None:
    chromium = show(REALISTIC)
    rows = search(chromium, "LAX2")
    assert "~updatetimeouts tcp15m → 20m" in rows
    assert "10.0.3.5:8443 app-3-5nat1020 % → 22.2 %as before" in rows
    assert not any("lab1" in row for row in rows)
    chromium.press("Escape")
    rows = search(chromium, "web in all.yaml")
    assert len(rows) == 5
    assert any("canary" in row for row in rows)


@pytest.mark.usefixtures("folded")
def test_what_is_nowhere_leaves_nothing(show: Any) -> None:
    chromium = show(REALISTIC)
    assert search(chromium, "192.0.2.1") == []
    assert chromium.run(COUNT).startswith("0 of ")
    assert chromium.run(OPEN) == [False] * 4


def test_thousands_of_rows_are_searched(show: Any) -> None:
    chromium = show(many())
    assert chromium.run(COUNT) == "5,401 rows"
    assert len(search(chromium, "203.0.1.7:80")) == 18


@pytest.mark.usefixtures("folded")
def test_everything_is_unfolded_and_folded_at_once(show: Any) -> None:
    chromium = show(REALISTIC)
    assert chromium.run(OPEN) == [False] * 4
    chromium.click("#unfold")
    assert chromium.run(OPEN) == [True] * 4
    chromium.click("#fold")
    assert chromium.run("document.querySelectorAll('details[open]').length") == 0


@pytest.mark.usefixtures("folded")
def test_the_row_of_a_director_leads_to_its_details(show: Any) -> None:
    chromium = show(REALISTIC)
    chromium.click(".directors tr:nth-child(2) a")
    assert chromium.run(OPEN) == [False, True, False, False]


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_the_button_changes_between_light_and_dark(show: Any, scheme: str, other: str) -> None:
    pages = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}
    colour = "getComputedStyle(document.body).backgroundColor"
    chromium = show(REALISTIC, scheme=scheme)
    assert chromium.run(colour) == pages[scheme]
    for now, label in ((other, scheme), (scheme, other)):
        chromium.click("#theme")
        assert chromium.run(colour) == pages[now]
        assert chromium.run("document.querySelector('#theme').textContent.toLowerCase()") == label


def test_the_keyboard_reaches_everything(show: Any) -> None:
    chromium = show(REALISTIC)
    reached = []
    for _ in range(12):
        chromium.press("Tab")
        reached.append(chromium.run("document.activeElement.id || document.activeElement.tagName"))
    assert reached[:4] == ["search", "unfold", "fold", "theme"]
    assert reached[4:] == ["A"] * 4 + ["SUMMARY"] * 4


@pytest.mark.usefixtures("folded")
def test_without_its_script_a_page_folds_and_has_no_dead_controls(show: Any) -> None:
    chromium = show(REALISTIC)
    with chromium.without_scripts():
        chromium = show(REALISTIC)
        assert not chromium.run("document.querySelector('#tools').checkVisibility()")
        chromium.click("details.group summary")
        assert chromium.run(OPEN) == [True, False, False, False]


def test_all_of_it_is_printed(show: Any) -> None:
    chromium = show(REALISTIC, scheme="dark")
    chromium.resize(800, "dark", media="print")
    assert "10.0.3.6:8443" in " ".join(chromium.run(SHOWN_ROWS))
    assert not chromium.run("document.querySelector('#tools').checkVisibility()")
    assert chromium.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", [400, 800])
def test_on_a_narrow_screen_nothing_is_beside_the_screen(show: Any, width: int) -> None:
    chromium = show(REALISTIC, width)
    hidden = "[...document.querySelectorAll('.box')].filter(b => b.scrollWidth > b.clientWidth + 1)"
    assert chromium.run(f"{hidden}.map(b => b.innerText)") == []
    assert chromium.run("document.documentElement.scrollWidth") <= width
    assert "after drains 5" in chromium.run(
        "[...document.querySelectorAll('.directors td.delete')].map(d =>"
        " getComputedStyle(d, '::before').content.replaceAll('\"', '') + d.innerText).join(', ')"
    )
