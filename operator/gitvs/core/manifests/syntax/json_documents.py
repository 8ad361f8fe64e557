"""Reads one JSON document, with the place of every value. Source: RFC 8259."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any

from gitvs.core.manifests.syntax.document_builder import DocumentBuilder, Unreadable
from gitvs.core.manifests.syntax.source_positions import shown

_TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<mark>[{}\[\],:])"
    r'|(?P<string>"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![0-9A-Za-z_.+-])"
    r"|(?P<word>true|false|null)(?![0-9A-Za-z_])"
    r"|(?P<end>\Z))"
)
_MAX_NUMBER_CHARACTERS = 32
_WORDS = {"true": True, "false": False, "null": None}


class _Reader:
    """A cursor over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(m.end() for m in re.finditer("\n", text))]
        self._next = 0
        self.start = 0

    def take(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._next)
        if match is None or match.lastgroup is None:
            white = re.compile(r"[ \t\r\n]*").match(self._text, self._next)
            self.start = self._next if white is None else white.end()
            raise self.error(f"{shown(self._text[self.start : self.start + 10])} is not JSON")
        self.start, self._next = match.start(match.lastgroup), match.end()
        return match.lastgroup, match[match.lastgroup]

    def at(self) -> tuple[int, int]:
        line = bisect_right(self._lines, self.start)
        return line, self.start - self._lines[line - 1] + 1

    def error(self, message: str) -> Unreadable:
        line, column = self.at()
        return Unreadable(line, column, "syntax", f"{message}; nothing of this file is used")


def read_json(text: str, builder: DocumentBuilder) -> None:
    """Feed the one document of a JSON text to a builder; nothing for an empty text.

    Raises:
        Unreadable: it isn't JSON, or nested too deep.
    """
    reader = _Reader(text)
    token = reader.take()
    if token[0] == "end":
        return
    open_marks: list[str] = []
    while True:
        _value(token, reader, builder, open_marks)
        token = _after_value(reader, builder, open_marks)
        if token[0] == "end":
            return


def _value(
    token: tuple[str, str], reader: _Reader, builder: DocumentBuilder, open_marks: list[str]
) -> None:
    """Take one scalar, an empty container, or all openings up to the first scalar."""
    while True:
        group, text = token
        if group != "mark":
            builder.scalar(_scalar(group, text, reader), *reader.at())
            return
        if text not in "{[":
            raise reader.error(f"{shown(text)} where a value should be")
        builder.begin({} if text == "{" else [], *reader.at())
        token = reader.take()
        if token[1] == ("}" if text == "{" else "]") and token[0] == "mark":
            builder.end()
            return
        open_marks.append(text)
        if text == "{":
            token = _key(token, reader, builder)


def _after_value(
    reader: _Reader, builder: DocumentBuilder, open_marks: list[str]
) -> tuple[str, str]:
    """Close what ends here; return the first token of the next value, or the end."""
    while True:
        token = reader.take()
        if not open_marks:
            if token[0] != "end":
                raise reader.error("text after the end of the JSON document")
            return token
        closing = "}" if open_marks[-1] == "{" else "]"
        if token == ("mark", closing):
            open_marks.pop()
            builder.end()
        elif token == ("mark", ","):
            token = reader.take()
            return _key(token, reader, builder) if open_marks[-1] == "{" else token
        else:
            raise reader.error(f"expected , or {closing}, found {shown(token[1] or 'the end')}")


def _key(token: tuple[str, str], reader: _Reader, builder: DocumentBuilder) -> tuple[str, str]:
    if token[0] != "string":
        raise reader.error(f"expected a key in double quotes, found {shown(token[1])}")
    builder.scalar(json.loads(token[1]), *reader.at())
    if reader.take() != ("mark", ":"):
        raise reader.error("expected : after a key")
    return reader.take()


def _scalar(group: str, text: str, reader: _Reader) -> Any:
    if group == "string":
        return json.loads(text)
    if group == "word":
        return _WORDS[text]
    if group == "end":
        raise reader.error("the file ends where a value should be")
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise reader.error("a number of more than 32 characters")
    return json.loads(text)
