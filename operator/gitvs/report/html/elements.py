"""HTML elements in which a plain string is always text, never markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle

from gitvs.core.problems import printable
from gitvs.report.text.fields import UNLABELLED_FIELDS, Fields


@dataclass(frozen=True, slots=True)
class Html:
    """Markup, which goes into the page unchanged."""

    markup: str


Content = str | Html

EMPTY_HTML = Html("")


def element(tag: str, *content: Content, **attributes: str) -> Html:
    """Return an element; `class_` is `class`, `aria_hidden` has a dash, empty ones are left out."""
    attribute_text = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(printable(value))}"'
        for name, value in attributes.items()
        if value
    )
    return Html(f"<{tag}{attribute_text}>{joined(content).markup}</{tag}>")


def joined(content: Iterable[Content]) -> Html:
    """Return contents one after the other. Characters that don't print are shown as escapes."""
    parts = (c.markup if isinstance(c, Html) else html.escape(printable(c)) for c in content)
    return Html("".join(parts))


def linked(content: Html, url: str) -> Html:
    """Return content as a link to a URL; without a URL, unchanged."""
    return element("a", content, href=url) if url else content


def prose(text: str) -> Html:
    """Return a sentence; text between backticks is code."""
    parts = re.split("`([^`]+)`", text)
    is_code = cycle((False, True))
    return joined(element("code", p) if c else p for p, c in zip(parts, is_code, strict=False))


def comma_separated(parts: Iterable[Content]) -> Html:
    """Return parts with commas between them."""
    return Html(", ".join(joined((part,)).markup for part in parts))


def code_names(names: Iterable[str]) -> Html:
    """Return names as code, with commas between them."""
    return comma_separated(element("code", name) for name in names)


def labelled_fields(fields: Fields) -> Iterator[Content]:
    """Yield fields with their names, except where an object has only one field."""
    for name, value in fields.items():
        yield value if name in UNLABELLED_FIELDS else joined((element("i", name), " ", value))


def table(columns: Iterable[str], *bodies: Html) -> Html:
    """Return a table in a box that scrolls; a column whose name ends in `>` has numbers."""
    header_cells = (
        element("th", name.removesuffix(">"), scope="col", class_="number" * name.endswith(">"))
        for name in columns
    )
    head = element("thead", element("tr", *header_cells))
    return element("div", element("table", head, *bodies), class_="box")


def row(*cells: Html, class_: str = "") -> Html:
    """Return a row that the search finds."""
    return element("tr", *cells, class_=f"row {class_}".rstrip())
