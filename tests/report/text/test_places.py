"""Where a place is, and the page that a forge shows it on."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitvs.core.planning.gates import UNKNOWN_GATE_RULE
from gitvs.core.problems import Problem
from gitvs.report.text.places import Forge, Places, forge_of

COMMIT = "0123456789abcdef" * 2 + "01234567"
GITHUB = {
    "GITHUB_SERVER_URL": "https://github.example.org",
    "GITHUB_REPOSITORY": "net/lb",
    "GITHUB_SHA": COMMIT,
}
GITLAB = {"CI_PROJECT_URL": "http://gitlab.example.org:8080/a/b/lb", "CI_COMMIT_SHA": COMMIT}


def test_a_job_of_github_names_its_repository() -> None:
    forge = forge_of(GITHUB)
    assert forge == Forge("https://github.example.org/net/lb/", COMMIT)
    places = Places("lb", forge, COMMIT)
    url = f"https://github.example.org/net/lb/blob/{COMMIT}/lb/web.yaml#L7"
    assert places.line_url("web.yaml", 7) == url
    assert places.commit_url("abc") == "https://github.example.org/net/lb/commit/abc"


def test_a_job_of_gitlab_names_its_project() -> None:
    places = Places("", forge_of(GITLAB), COMMIT)
    prefix = "http://gitlab.example.org:8080/a/b/lb/-/"
    assert places.line_url("web.yaml", 7) == f"{prefix}blob/{COMMIT}/web.yaml#L7"
    assert places.commit_url("abc") == f"{prefix}commit/abc"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {**GITHUB, "GITHUB_SERVER_URL": "javascript:alert(1)//"},
        {**GITHUB, "GITHUB_SERVER_URL": 'https://x.example/"onclick="x'},
        {**GITHUB, "GITHUB_REPOSITORY": "net/lb) [x](y"},
        {**GITHUB, "GITHUB_REPOSITORY": ""},
        {**GITHUB, "GITHUB_REPOSITORY": "../.."},
        {**GITHUB, "GITHUB_REPOSITORY": "net/."},
        {**GITHUB, "GITHUB_SERVER_URL": "https://me:secret@github.example.org"},
        {**GITHUB, "GITHUB_SERVER_URL": "https://github.example.org:99999"},
        {**GITHUB, "GITHUB_SERVER_URL": "https://github.example.org:0"},
        {**GITHUB, "GITHUB_SERVER_URL": "https://..:1"},
        {**GITLAB, "CI_PROJECT_URL": "https://gitlab.example.org/a/../lb"},
        {**GITLAB, "CI_PROJECT_URL": "https://gitlab.example.org/a/.."},
        {**GITLAB, "CI_PROJECT_URL": "https://gitlab.example.org/a//lb"},
        {**GITLAB, "CI_PROJECT_URL": "https://me@gitlab.example.org/a/lb"},
        {**GITLAB, "CI_PROJECT_URL": "https://gitlab.example.org:8080000000/a/lb"},
        {**GITLAB, "CI_PROJECT_URL": "https://" + "9" * 5000 + ":" + "9" * 5000},
        {**GITLAB, "CI_PROJECT_URL": "ftp://gitlab.example.org/a/lb"},
        {**GITLAB, "CI_PROJECT_URL": "https://gitlab.example.org/a/lb\n"},
    ],
)
def test_anything_else_is_no_forge(variables: dict[str, str]) -> None:
    assert forge_of(variables) is None


def test_without_a_forge_or_a_commit_there_is_no_page() -> None:
    for places in (Places("lb"), Places("lb", forge_of(GITHUB)), Places("lb", None, COMMIT)):
        assert places.line_url("web.yaml", 7) == ""
    assert Places("lb", forge_of(GITHUB)).commit_url(None) == ""
    wrong = forge_of({**GITHUB, "GITHUB_SHA": "main"})
    assert wrong is not None
    assert wrong.commit_id == ""


@given(st.text(min_size=1))
def test_no_name_of_a_file_gets_out_of_its_url(name: str) -> None:
    url = Places("", forge_of(GITHUB), COMMIT).line_url(name, 1)
    assert re.fullmatch(r"https://github[.]example[.]org/net/lb/blob/[A-Za-z0-9._~/%-]+#L1", url)


def test_places_inside_a_message_are_from_the_root_too() -> None:
    message = "in a.yaml:1 and in b/a.yaml:13, not in x/a.yaml:1 or a.yaml:11"
    named = ("a.yaml:1", "b/a.yaml:13")
    problem = Problem("a.yaml", 1, 1, "", "x", message, named)
    expected = "in lb/a.yaml:1 and in lb/b/a.yaml:13, not in x/a.yaml:1 or a.yaml:11"
    assert Places("lb").problem(problem).message == expected
    assert Places("").problem(problem).message == message
    assert "named_places" not in problem.as_json()


def test_what_is_in_no_file_stays_as_it_is() -> None:
    places = Places("lb", forge_of(GITHUB), COMMIT)
    folder = Problem(".", 0, 0, "", "no-director", "x")
    message = Problem("commit 0123", 3, 1, "", UNKNOWN_GATE_RULE, "x")
    for problem in (folder, message):
        assert (places.problem(problem), places.problem_url(problem)) == (problem, "")
    assert places.problem(Problem("a.yaml", 1, 1, "", "x", "x")).file == "lb/a.yaml"
