"""Markdown in which text from manifests and commits stays text, on GitHub and on GitLab.

Names, messages and subjects are inline code: nothing in it is a link, a mention or markup on
either forge, and it reads well unrendered. It can be used in a table, a list, a heading or a
paragraph, but not at the start of a line.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from gitvs.core.planning.risks.risk import names_text
from gitvs.core.problems import printable

_MAX_CHARACTERS = 300
_MAX_PROSE_CHARACTERS = 1000
_WORD = re.compile(r"(\(?`[^`]+`[),;:.?]*|[^ ]+ -> [^ ]+|[^ ]*)(?: |$)")
_QUOTED_WORD = re.compile(r"(\(?)`([^`]+)`([),;:.?]*)")
_PUNCTUATED_WORD = re.compile(r"(\(?)(.*?)([),;:.?!]*)")
_PLAIN_WORD = re.compile(
    r"(?!.*[0-9a-fA-F]{7})[A-Za-z]+(?:['-][A-Za-z]+)*|[0-9]{1,3}(?:\.[0-9]{1,3})?[a-z]{0,2}|[%→–…]"
)


def shortened(text: str, max_characters: int = _MAX_CHARACTERS) -> str:
    """Return a text on one line, control characters escaped, and its middle cut out if long."""
    shown = printable(text)
    if len(shown) <= max_characters:
        return shown
    half = max_characters // 2
    return f"{shown[:half]} … {shown[-half:]}"


def code(text: str) -> str:
    """Return a text as inline code; nothing if it is empty."""
    return _inline_code(shortened(text))


def linked(markdown: str, url: str) -> str:
    """Return Markdown as a link to a URL, which needs no escapes; without a URL, unchanged."""
    return f"[{markdown}]({url})" if url else markdown


def _inline_code(text: str) -> str:
    """Source: GitHub Flavored Markdown, 6.3: one space at both ends is removed."""
    if not text:
        return ""
    fence = _fence(text, 1)
    pad = " " if text.strip(" ") and {text[0], text[-1]} & {" ", "`"} else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _fence(text: str, min_length: int) -> str:
    longest_run = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(min_length, longest_run + 1)


def prose(text: str) -> str:
    """Return a sentence: plain words as they are, everything else as inline code.

    Text between backticks is code already; a key is one word.
    """
    words = _WORD.findall(shortened(text, _MAX_PROSE_CHARACTERS).strip())[:-1]
    return " ".join(map(_word_markdown, words))


def _word_markdown(word: str) -> str:
    """Return a word as Markdown; brackets and punctuation around it are not part of it."""
    match = _QUOTED_WORD.fullmatch(word) or _PUNCTUATED_WORD.fullmatch(word)
    assert match is not None, "whatever is a word has something around it, or nothing"
    opened, inner, closed = match.groups()
    if match.re is _PUNCTUATED_WORD and _PLAIN_WORD.fullmatch(inner):
        return word
    marks, _, rest = closed.rpartition("!")  # bare, it may begin an image or a merge request
    return f"{opened}{_inline_code(f'{inner}{marks}!' if '!' in closed else inner)}{rest}"


def code_names(names: Sequence[str], max_names: int = 10) -> str:
    """Return names as inline code: `lb1`, `lb2` and 3 more."""
    return names_text([code(name) for name in names], max_names)


def table_header(*columns: str) -> str:
    """Return the head of a table; a column whose name ends in `>` holds numbers."""
    alignments = ("--:" if name.endswith(">") else "---" for name in columns)
    return f"{table_row(name.removesuffix('>') for name in columns)}|{'|'.join(alignments)}|\n"


def table_row(cells: Iterable[str]) -> str:
    """Return a row of a table, with its newline.

    Source: GitHub Flavored Markdown, 4.10: a pipe is escaped in a cell, even in code.
    """
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


def diff_block(lines: Iterable[str]) -> str:
    """Return a block in which lines are coloured by their sign."""
    text = "".join(f"{shortened(line)}\n" for line in lines)
    fence = _fence(text, 3)
    return f"{fence}diff\n{text}{fence}\n"


def collapsible(title: str, content: str) -> str:
    """Return content that is collapsed under a title; the title is HTML."""
    return f"<details><summary>{title}</summary>\n\n{content}\n</details>\n"


def html_names(names: Sequence[str], max_names: int = 3) -> str:
    """Return names as code in HTML."""
    return names_text([f"<code>{html.escape(shortened(name))}</code>" for name in names], max_names)
