"""Parses one JSON document, with the position of every value.

Source: RFC 8259.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any

from gitvs.core.manifests.syntax.document_builder import DocumentBuilder, UnreadableDocument
from gitvs.core.manifests.syntax.source_positions import value_text

_TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<punctuation>[{}\[\],:])"
    r'|(?P<string>"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![0-9A-Za-z_.+-])"
    r"|(?P<word>true|false|null)(?![0-9A-Za-z_])"
    r"|(?P<end>\Z))"
)
_MAX_NUMBER_CHARACTERS = 32
_CONSTANTS = {"true": True, "false": False, "null": None}


class _TokenReader:
    """A cursor over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line_starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self._next_offset = 0
        self.token_start = 0

    def next_token(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._next_offset)
        if match is None or match.lastgroup is None:
            white_space = re.compile(r"[ \t\r\n]*").match(self._text, self._next_offset)
            self.token_start = self._next_offset if white_space is None else white_space.end()
            raise self.error(
                f"{value_text(self._text[self.token_start : self.token_start + 10])} is not JSON"
            )
        self.token_start, self._next_offset = match.start(match.lastgroup), match.end()
        return match.lastgroup, match[match.lastgroup]

    def line_and_column(self) -> tuple[int, int]:
        line = bisect_right(self._line_starts, self.token_start)
        return line, self.token_start - self._line_starts[line - 1] + 1

    def error(self, message: str) -> UnreadableDocument:
        line, column = self.line_and_column()
        return UnreadableDocument(
            line, column, "syntax", f"{message}; nothing of this file is used"
        )


def parse_json(text: str, builder: DocumentBuilder) -> None:
    """Feed the document of a JSON text to a builder; nothing if the text is empty.

    Raises:
        UnreadableDocument: `text` is not JSON, or is nested too deep.
    """
    tokens = _TokenReader(text)
    token = tokens.next_token()
    if token[0] == "end":
        return
    open_brackets: list[str] = []
    while True:
        _parse_value(token, tokens, builder, open_brackets)
        token = _parse_after_value(tokens, builder, open_brackets)
        if token[0] == "end":
            return


def _parse_value(
    token: tuple[str, str], tokens: _TokenReader, builder: DocumentBuilder, open_brackets: list[str]
) -> None:
    """Parse one scalar, an empty container, or all opening brackets up to the first scalar."""
    while True:
        group, text = token
        if group != "punctuation":
            builder.add_scalar(_scalar_value(group, text, tokens), *tokens.line_and_column())
            return
        if text not in "{[":
            raise tokens.error(f"{value_text(text)} where a value should be")
        builder.begin_container({} if text == "{" else [], *tokens.line_and_column())
        token = tokens.next_token()
        if token[1] == ("}" if text == "{" else "]") and token[0] == "punctuation":
            builder.end_container()
            return
        open_brackets.append(text)
        if text == "{":
            token = _parse_key(token, tokens, builder)


def _parse_after_value(
    tokens: _TokenReader, builder: DocumentBuilder, open_brackets: list[str]
) -> tuple[str, str]:
    """Close the containers that end here; return the first token of the next value, or the end."""
    while True:
        token = tokens.next_token()
        if not open_brackets:
            if token[0] != "end":
                raise tokens.error("text after the end of the JSON document")
            return token
        closing = "}" if open_brackets[-1] == "{" else "]"
        if token == ("punctuation", closing):
            open_brackets.pop()
            builder.end_container()
        elif token == ("punctuation", ","):
            token = tokens.next_token()
            return _parse_key(token, tokens, builder) if open_brackets[-1] == "{" else token
        else:
            raise tokens.error(
                f"expected , or {closing}, found {value_text(token[1] or 'the end')}"
            )


def _parse_key(
    token: tuple[str, str], tokens: _TokenReader, builder: DocumentBuilder
) -> tuple[str, str]:
    if token[0] != "string":
        raise tokens.error(f"expected a key in double quotes, found {value_text(token[1])}")
    builder.add_scalar(json.loads(token[1]), *tokens.line_and_column())
    if tokens.next_token() != ("punctuation", ":"):
        raise tokens.error("expected : after a key")
    return tokens.next_token()


def _scalar_value(group: str, text: str, tokens: _TokenReader) -> Any:
    if group == "string":
        return json.loads(text)
    if group == "word":
        return _CONSTANTS[text]
    if group == "end":
        raise tokens.error("the file ends where a value should be")
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise tokens.error("a number of more than 32 characters")
    return json.loads(text)
