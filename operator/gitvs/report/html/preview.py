"""A preview as one page that needs nothing else: no network, no server, not even its script.

The page's content security policy allows only its own style and script, by their hashes, so
that nothing from a manifest can ever run.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files

from gitvs.report.html.details import group_details
from gitvs.report.html.elements import EMPTY_HTML, Content, Html, element
from gitvs.report.html.sections import overview, sections
from gitvs.report.plan.preview_view import DirectorGroup, Preview, director_groups
from gitvs.report.plan.preview_words import verdict_text
from gitvs.report.plan.service_view import ServiceView, changed_services

_TOOLBAR = Html("""\
<form id="tools" role="search" hidden>
<label for="search">Find</label>
<input id="search" type="search" placeholder="director, service, address" autocomplete="off">
<output id="count" for="search"></output>
<button id="unfold" type="button">Unfold all</button>
<button id="fold" type="button">Fold all</button>
<button id="theme" type="button"></button>
</form>
""")
"""Controls that only work with the script; it shows them."""


MAX_OPEN_ROWS = 200
"""Up to so many rows everything is unfolded: nothing has to be looked for."""


def preview_html(preview: Preview, origin: str = "") -> str:
    """Return a preview as a page; `origin` says what made it, when, and of which repository."""
    groups = director_groups(preview.plans)
    services = [changed_services(group.plan) for group in groups]
    is_small = sum(map(_row_count, groups, services)) <= MAX_OPEN_ROWS
    is_open = len(groups) == 1 or is_small
    group_elements = (
        group_details(number, group, group_services, is_open=is_open)
        for number, (group, group_services) in enumerate(zip(groups, services, strict=True), 1)
    )
    body = element(
        "body",
        overview(preview),
        _TOOLBAR,
        element(
            "main", *sections(preview, groups), *group_elements, class_="large" * (not is_small)
        ),
        element("footer", origin, class_="dim") if origin else EMPTY_HTML,
        element("script", Html(_page_file("page.js"))),
    )
    page = element("html", element("head", *_head(preview)), body, lang="en")
    return f"<!doctype html>\n{page.markup}\n"


def _row_count(group: DirectorGroup, services: Sequence[ServiceView]) -> int:
    plan = group.plan
    changes = (plan.plan.changes, plan.after_drains, plan.repairs)
    return sum(map(len, changes)) + sum(len(service.servers) for service in services)


def _head(preview: Preview) -> list[Content]:
    style, script = _page_file("page.css"), _page_file("page.js")
    policy = (
        f"default-src 'none'; style-src '{_csp_hash(style)}'; script-src '{_csp_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    return [
        Html('<meta charset="utf-8">\n'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">\n'),
        element("title", f"gitvs plan: {verdict_text(preview)}"),
        element("style", Html(style)),
    ]


@cache
def _page_file(file_name: str) -> str:
    return files("gitvs").joinpath("report", "html", file_name).read_text("utf-8")


def _csp_hash(text: str) -> str:
    """Return the hash that allows a text.

    Source: Content Security Policy Level 3, section 2.3.1.
    """
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
