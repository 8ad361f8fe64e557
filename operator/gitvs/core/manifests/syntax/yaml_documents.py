"""Parses the bytes of a manifest file into documents, with the position of every value.

YAML is parsed by libyaml, with gitvs's rules for plain scalars: true, false, null and decimal
numbers have their usual meaning; everything else (`no`, `010`, `12:30`, `0x1f`, dates) stays
text. Where text is wrong, the schema reports it.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import yaml
from yaml._yaml import CParser

from gitvs.core.checkpoint import Checkpoint, no_checkpoint
from gitvs.core.manifests.files import MAX_FILE_BYTES, File
from gitvs.core.manifests.syntax.document_builder import (
    DocumentBuilder,
    UnreadableDocument,
    nested_too_deep,
)
from gitvs.core.manifests.syntax.json_documents import parse_json
from gitvs.core.manifests.syntax.source_positions import Document
from gitvs.core.problems import Problem

MAX_UNREADABLE_DOCUMENTS = 20
"""Each restarts the parser, so a file full of them would take quadratic time."""
MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")

_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_CONFLICT_MARKER = re.compile(r"^(?:<{7}|>{7})(?= |\r?$)", re.MULTILINE)
"""The first and the last line of what Git could not merge."""
_NUMBER = re.compile(
    r"-?(?:0|[1-9][0-9]{0,19})(?P<real>(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?)"
)
_DOCUMENT_START = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}


def is_manifest(path: str) -> bool:
    """Return whether a path has a manifest's suffix and no part that begins with a dot.

    The case of the suffix does not matter: what is called WEB.YAML is meant to be read.
    """
    return path.lower().endswith(MANIFEST_SUFFIXES) and not any(
        part.startswith(".") for part in path.split("/")
    )


def is_json(path: str) -> bool:
    """Return whether a manifest is read as JSON, and not as YAML."""
    return path.lower().endswith(".json")


@dataclass(slots=True)
class ParsedFile:
    """A parsed file: its documents, every problem in parsing them, and the text not parsed."""

    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unread_text: str = ""


def parse_file(file: File, checkpoint: Checkpoint = no_checkpoint) -> ParsedFile:
    """Parse the documents of a file.

    After a YAML document that cannot be parsed, parsing continues at the next `---`.
    """
    data = file.data
    try:
        text = _decode(data)
    except UnreadableDocument as unreadable:
        unread = data[:MAX_FILE_BYTES].decode(errors="replace")
        return ParsedFile([], [unreadable.problem(file.path)], unread)
    if is_json(file.path):
        return _parse_json_file(file.path, text, checkpoint)
    return _parse_yaml_file(file.path, text, checkpoint)


def _decode(data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        # Sources read no more of a file than shows this, so its size is not known here.
        message = "the file is over the limit of 4 MiB for one file; split it"
        raise UnreadableDocument(1, 1, "file-too-large", message)
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        hint = " (it looks like UTF-16)" if is_utf_16 else ""
        message = f"byte 0x{data[error.start]:02x} is not UTF-8{hint}; save the file as UTF-8"
        raise UnreadableDocument(*_line_and_column_after(before), "not-utf-8", message) from None
    unprintable = _UNPRINTABLE.search(text)
    if unprintable is not None:
        line, column = _line_and_column_after(text[: unprintable.start()])
        message = f"character U+{ord(unprintable[0]):04X} may not be in a manifest; remove it"
        if unprintable[0] == "\ufeff":
            message += " (a byte order mark; joined files have one where the second begins)"
        raise UnreadableDocument(line, column, "control-character", message)
    marker = _CONFLICT_MARKER.search(text)
    if marker is not None:
        line, column = _line_and_column_after(text[: marker.start()])
        message = (
            f"{marker[0]} marks a merge conflict that is not resolved; keep one side, and remove"
            " the lines with <<<<<<<, ======= and >>>>>>>. Nothing of this file is used"
        )
        raise UnreadableDocument(line, column, "conflict-marker", message)
    return text


def _line_and_column_after(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _parse_json_file(file: str, text: str, checkpoint: Checkpoint) -> ParsedFile:
    builder = DocumentBuilder(file, checkpoint)
    try:
        parse_json(text, builder)
    except UnreadableDocument as unreadable:
        return ParsedFile([], [*builder.problems, unreadable.problem(file)], text)
    return ParsedFile(_built_documents(builder), builder.problems)


def _built_documents(builder: DocumentBuilder) -> list[Document]:
    """Return a list of the document of a builder; empty if the document is empty."""
    if builder.root is None or builder.root.data is None:
        return []
    return [Document(builder.file, builder.root, not builder.problems)]


def _parse_yaml_file(file: str, text: str, checkpoint: Checkpoint) -> ParsedFile:
    parsed = ParsedFile()
    start = 0
    first_line = 1
    for attempt in count(1):
        stream = _YamlStream(file, text[start:], first_line, checkpoint)
        unreadable = stream.parse()
        parsed.documents += stream.documents
        parsed.problems += stream.problems
        if unreadable is None:
            return parsed
        parsed.problems.append(unreadable.problem(file))
        next_start = _next_document_start(text, start, first_line, unreadable.line)
        parsed.unread_text += "\n".join(text[start:next_start].split("\n")[stream.lines_read :])
        if next_start is None:
            break
        if attempt == MAX_UNREADABLE_DOCUMENTS:
            line = first_line + text.count("\n", start, next_start)
            message = f"{attempt} documents of this file cannot be read; the rest was not tried"
            parsed.problems.append(Problem(file, line, 1, "", "syntax", message))
            parsed.unread_text += text[next_start:]
            break
        first_line += text.count("\n", start, next_start)
        start = next_start
    return parsed


def _next_document_start(text: str, start: int, first_line: int, line: int) -> int | None:
    """Return the offset of the next document after `start`, in `line` or a later line."""
    lines = text[start:].split("\n", line - first_line)
    if len(lines) <= line - first_line:
        return None
    match = _DOCUMENT_START.search(text, max(len(text) - len(lines[-1]), start + 1))
    return None if match is None else match.start()


class _YamlStream:
    """The documents of one run of the parser, until the end or the first unreadable document.

    `lines_read` is the number of lines of the documents that could be read.
    """

    def __init__(self, file: str, text: str, first_line: int, checkpoint: Checkpoint) -> None:
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self.lines_read = 0
        self._file = file
        self._text = text
        self._checkpoint = checkpoint
        self._first_line = first_line  # the parser counts lines and columns from 0

    def parse(self) -> UnreadableDocument | None:
        """Parse all documents; return the error of the first that is unreadable."""
        try:
            self._parse_events(CParser(self._text))
        except UnreadableDocument as unreadable:
            return unreadable
        except yaml.MarkedYAMLError as error:
            return self._unreadable_document(error)
        except yaml.YAMLError as error:
            return UnreadableDocument(self._first_line, 1, "syntax", f"not YAML: {error}")
        return None

    def _parse_events(self, parser: CParser) -> None:
        """Feed the events of the parser to builders: half of the time of loading is spent here."""
        builder = DocumentBuilder(self._file, self._checkpoint)
        get_event, first_line = parser.get_event, self._first_line
        try:
            while True:
                event: Any = get_event()
                event_type = type(event)
                if event_type is _SCALAR:
                    start = event.start_mark
                    line, column, value = start.line + first_line, start.column + 1, event.value
                    if event.tag is not None:
                        builder.report(line, column, "yaml-tag", _TAG_MESSAGE.format(event.tag))
                    if event.implicit[0]:
                        value = _plain_scalar(value)
                    builder.add_scalar(value, line, column, event.anchor)
                elif event_type is _MAPPING_END or event_type is _SEQUENCE_END:
                    builder.end_container()
                elif event_type is _MAPPING_START or event_type is _SEQUENCE_START:
                    start = event.start_mark
                    line, column = start.line + first_line, start.column + 1
                    if event.tag is not None:
                        builder.report(line, column, "yaml-tag", _TAG_MESSAGE.format(event.tag))
                    container: Any = {} if event_type is _MAPPING_START else []
                    builder.begin_container(container, line, column, event.anchor)
                elif event_type is yaml.AliasEvent:
                    start = event.start_mark
                    builder.add_alias(event.anchor, start.line + first_line, start.column + 1)
                elif event_type is yaml.DocumentStartEvent:
                    self._checkpoint()
                elif event_type is yaml.DocumentEndEvent:
                    self.documents += _built_documents(builder)
                    self.problems += builder.problems
                    self.lines_read = event.end_mark.line
                    builder = DocumentBuilder(self._file, self._checkpoint)
                elif event_type is yaml.StreamEndEvent:
                    return
        except (UnreadableDocument, yaml.YAMLError):
            self.problems += builder.problems
            raise

    def _unreadable_document(self, error: yaml.MarkedYAMLError) -> UnreadableDocument:
        start = error.problem_mark or error.context_mark
        line, column = (start.line, start.column + 1) if start is not None else (0, 1)
        message = str(error.problem or error)
        if "maximum nesting depth" in message:  # newer parsers look ahead, and reach a limit first
            return nested_too_deep(line + self._first_line, column)
        lines = self._text.split("\n", line + 1)
        text_line = lines[line] if line < len(lines) else ""
        if "\t" in text_line[:column] and not text_line[: column - 1].strip():
            message = "a tab in the indentation; YAML takes spaces only"
        elif error.context is not None:
            context = error.context_mark
            where = "" if context is None else f" (line {context.line + self._first_line})"
            message = f"{message}, {error.context}{where}"
        text = f"not YAML: {message}. Nothing of this document is used"
        return UnreadableDocument(line + self._first_line, column, "syntax", text)


_SCALAR = yaml.ScalarEvent
_MAPPING_START, _MAPPING_END = yaml.MappingStartEvent, yaml.MappingEndEvent
_SEQUENCE_START, _SEQUENCE_END = yaml.SequenceStartEvent, yaml.SequenceEndEvent

_TAG_MESSAGE = (
    "tag {} is not allowed: manifests hold text, numbers, true, false, lists and mappings only"
)


def _plain_scalar(text: str) -> Any:
    """Return the value of an unquoted scalar: a constant, a number, or else text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "-0123456789" or (number := _NUMBER.fullmatch(text)) is None:
        return text
    return float(text) if number["real"] else int(text)
