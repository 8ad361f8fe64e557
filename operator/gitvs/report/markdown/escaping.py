"""Markdown in which what comes from elsewhere stays text, on GitHub and on GitLab.

Names, messages and subjects are inline code: nothing in there is a link, a mention or markup on
either forge, and it reads well unrendered. It may stand in a table, a list, a heading or a
paragraph, though not at the start of a line.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from gitvs.core.planning.risks.risk import some
from gitvs.core.problems import printable

_LONGEST = 300
_LONGEST_PROSE = 1000
_WORDS = re.compile(r"(\(?`[^`]+`[),;:.]*|[^ ]+ -> [^ ]+|[^ ]*)(?: |$)")
_QUOTED = re.compile(r"(\(?)`([^`]+)`([),;:.]*)")
_AROUND = re.compile(r"(\(?)(.*?)([),;:.]*)")
_PLAIN = re.compile(
    r"(?!.*[0-9a-fA-F]{7})[A-Za-z]+(?:['-][A-Za-z]+)*|\d{1,3}(?:\.\d{1,3})?[a-z]{0,2}|[%→–…]"
)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return a text on one line, without control characters, and without its middle if long."""
    shown = printable(text)
    if len(shown) <= longest:
        return shown
    half = longest // 2
    return f"{shown[:half]} … {shown[-half:]}"


def code(text: str) -> str:
    """Return a text as inline code; nothing if it is empty."""
    return _code(shortened(text))


def _code(text: str) -> str:
    """Source: GitHub Flavored Markdown, 6.3: one space at both ends is taken away."""
    if not text:
        return ""
    fence = _fence(text, 1)
    pad = " " if text.strip(" ") and {text[0], text[-1]} & {" ", "`"} else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _fence(text: str, shortest: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(shortest, longest + 1)


def prose(text: str) -> str:
    """Return a sentence: plain words as they are, everything else as inline code.

    What the sentence itself puts between backticks is code already; a key is one word.
    """
    words = _WORDS.findall(shortened(text, _LONGEST_PROSE).strip())[:-1]
    return " ".join(map(_word, words))


def _word(word: str) -> str:
    """Return a word of a sentence; brackets and stops around it are no part of it."""
    match = _QUOTED.fullmatch(word) or _AROUND.fullmatch(word)
    assert match is not None, "whatever is a word has something around it, or nothing"
    opened, inner, closed = match.groups()
    is_plain = match.re is _AROUND and _PLAIN.fullmatch(inner)
    return f"{opened}{inner if is_plain else _code(inner)}{closed}"


def names(of: Sequence[str], most: int = 10) -> str:
    """Return names as inline code: `lb1`, `lb2` and 3 more."""
    return some([code(name) for name in of], most)


def header(*columns: str) -> str:
    """Return the head of a table, its end included; a column that ends in `>` holds numbers."""
    rules = ("--:" if name.endswith(">") else "---" for name in columns)
    return f"{row(name.removesuffix('>') for name in columns)}|{'|'.join(rules)}|\n"


def row(cells: Iterable[str]) -> str:
    """Return a row of a table, its end included.

    Source: GitHub Flavored Markdown, 4.10: a pipe is escaped in a cell, even in code.
    """
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


def diff_block(lines: Iterable[str]) -> str:
    """Return a block in which lines are coloured by their sign."""
    text = "".join(f"{shortened(line)}\n" for line in lines)
    fence = _fence(text, 3)
    return f"{fence}diff\n{text}{fence}\n"


def folded(title: str, content: str) -> str:
    """Return a content that is shown on demand; the title is HTML."""
    return f"<details><summary>{title}</summary>\n\n{content}\n</details>\n"


def html_names(of: Sequence[str], most: int = 3) -> str:
    """Return names as code in HTML."""
    return some([f"<code>{html.escape(shortened(name))}</code>" for name in of], most)
