"""Turns schema errors into messages: the field, the value, what is allowed, a suggestion."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

from jsonschema.exceptions import ValidationError

from gitvs.core.manifests.messages.foreign_words import translated_field, translated_value
from gitvs.core.manifests.messages.remedies import TEMPLATE_HINT, is_template, remedy_for_type
from gitvs.core.manifests.syntax.source_positions import Document, ValuePath, value_text
from gitvs.core.problems import Problem

_TYPE_NAMES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
_BOOLEAN_WORDS = {
    **dict.fromkeys(("yes", "on", "y", "true"), "true"),
    **dict.fromkeys(("no", "off", "n", "false"), "false"),
}


MAX_SUGGESTIONS = 20
"""How many unknown words of one file, or of one kind, get a suggestion: each takes long."""

_MAX_WORD_CHARACTERS = 100


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or an empty text if no known word is similar."""
    near = [] if len(word) > _MAX_WORD_CHARACTERS else get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


@dataclass(slots=True)
class Suggestions:
    """Suggests known words for the first unknown ones."""

    remaining: int = MAX_SUGGESTIONS

    def did_you_mean(self, word: str, known: Iterable[str]) -> str:
        """Do what the function does; an empty text once there were enough."""
        self.remaining -= 1
        return did_you_mean(word, known) if self.remaining >= 0 else ""


class Violation(NamedTuple):
    """A validation error, untyped as in jsonschema: the value, the keyword's limit, its schema."""

    value: Any
    limit: Any
    schema: Any
    message: str
    suggestions: Suggestions
    field: str
    """The name of the field, or of the list that the value is an item of."""


def problems_of_error(
    document: Document, error: ValidationError, suggestions: Suggestions
) -> list[Problem]:
    """Return the problems of one validation error: one for each unknown field, else one."""
    path: ValuePath = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        schema: Any = error.schema
        known = list(schema["properties"])
        instance: Any = error.instance
        unknown = [key for key in instance if key not in known]
        return [
            _unknown_field(document, (*path, key), instance[key], known, suggestions)
            for key in unknown
        ]
    if "propertyNames" in error.absolute_schema_path:
        key: Any = error.instance
        schema = error.schema
        hint = schema.get("patternErrorMessage", "a shorter text")
        message = f"key {value_text(key)} of {_path_text(path)} does not fit: {hint}"
        return [document.problem((*path, key), "bad-key", message, at_key=True)]
    violation = Violation(
        error.instance,
        error.validator_value,
        error.schema,
        error.message,
        suggestions,
        _field_name(path),
    )
    rule, text = _MESSAGES_BY_KEYWORD.get(str(error.validator), _unexplained)(violation)
    rule = violation.schema.get("x-rule", rule)
    return [document.problem(path, rule, f"{_path_text(path)}: {text}")]


def _path_text(path: Iterable[str | int]) -> str:
    """Return a path as people write it: `spec.ports[0].port`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "the document"


def _field_name(path: ValuePath) -> str:
    """Return the last name in a path: of the value, or of the list that it is an item of."""
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _place(document: Document, path: ValuePath) -> str:
    """Return the parent of a field as `translated_field` names it; for a spec, the kind."""
    if path == ("spec",):
        return str(document.kind)
    if document.kind == "Defaults" and path in (("spec", "services"), ("spec", "directors")):
        return "Service" if path[1] == "services" else "Director"
    return _field_name(path)


def _unknown_field(
    document: Document, path: ValuePath, value: Any, known: list[str], suggestions: Suggestions
) -> Problem:
    """Return the problem with a field, of which `path` is the whole path."""
    *parent, key = path
    word = str(key)
    if word == "<<":
        text = "merge keys (<<) are not supported; use a Defaults or Pool document"
    else:
        text = f"{_path_text(parent)} has no field {value_text(word)}"
        if translation := translated_field(_place(document, tuple(parent)), word, value):
            text += f"; {translation}"
        else:
            text += suggestions.did_you_mean(word, known) or f"; it has {', '.join(known)}"
            text += "" if parent else "; all other fields belong below spec"
    return document.problem(path, "unknown-field", text, at_key=True)


RuleAndMessage = tuple[str, str]
"""The name of a rule, and the message of the problem."""


def _missing_field(violation: Violation) -> RuleAndMessage:
    name = violation.message.split("'")[1]
    about = violation.schema.get("properties", {}).get(name, {}).get("description", "")
    return "missing-field", f"{name} is missing. {about}".rstrip()


def _missing_companion(violation: Violation) -> RuleAndMessage:
    needed, given = violation.message.split("'")[1:4:2]
    return "missing-field", f"{given} comes only together with {needed}; give {needed} too"


def _wrong_type(violation: Violation) -> RuleAndMessage:
    types = [violation.limit] if isinstance(violation.limit, str) else violation.limit
    wanted = " or ".join(_TYPE_NAMES[t] for t in types if t != "null")
    return (
        "wrong-type",
        f"{wanted} is wanted, not {_described_value(violation.value)}{_hint(violation, types)}",
    )


def _described_value(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {value_text(value)}"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else value_text(value)


def _hint(violation: Violation, types: Collection[str]) -> str:
    """Return what to write instead, if that is clear."""
    value = violation.value
    if remedy := remedy_for_type(violation.field, value, types):
        return remedy
    if isinstance(value, str):
        if "boolean" in types:
            word = _BOOLEAN_WORDS.get(value.lower())
            return f"; write {word}" if word else ""
        return _number_hint(value) if {"integer", "number"} & set(types) else ""
    if "string" not in types or isinstance(value, (dict, list)) or value is None:
        return ""
    if "pattern" in violation.schema and "patternErrorMessage" in violation.schema:
        return f"; {violation.schema['patternErrorMessage']}"
    return f'; put it in quotes: "{value_text(value)}"'


def _number_hint(text: str) -> str:
    for pattern, hint in _NUMBER_HINTS:
        if pattern.fullmatch(text):
            return hint(text)
    return ""


def _octal_hint(text: str) -> str:
    decimal = text.lstrip("0") or "0"
    octal = f", or {int(text, 8)} if octal is meant" if re.fullmatch("[0-7]+", text) else ""
    return f"; a leading zero means octal to some readers of YAML: write {decimal}{octal}"


_NUMBER_HINTS: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"), lambda t: f"; remove the quotes: {t}"),
    (re.compile(r"[0-9]{2,20}"), _octal_hint),
    (re.compile(r"0x[0-9A-Fa-f]{1,16}"), lambda t: f"; write it in decimal: {int(t, 16)}"),
    (re.compile(r"0o[0-7]{1,20}"), lambda t: f"; write it in decimal: {int(t[2:], 8)}"),
    (re.compile(r"[0-9]+(_[0-9]+)+"), lambda t: f"; write it without _: {t.replace('_', '')}"),
    (
        re.compile(r"[0-9]+(:[0-9]{1,2})+"),
        lambda _: "; some readers of YAML take this for a number to base 60, gitvs does not",
    ),
)


def _not_allowed(violation: Violation) -> RuleAndMessage:
    allowed = [str(v) for v in violation.limit if v is not None]
    is_text = isinstance(violation.value, str)
    text = f"{value_text(violation.value)} is not one of {', '.join(allowed)}"
    word = str(violation.value)
    if is_text and word.lower() in allowed:
        return "not-allowed", f"{text}; write it as {word.lower()}"
    if is_template(word):
        return "not-allowed", text + TEMPLATE_HINT
    if translation := translated_value(violation.field, word):
        return "not-allowed", f"{text}; {translation}"
    near = violation.suggestions.did_you_mean(word, allowed) if is_text else ""
    return "not-allowed", text + near


def _too_low(violation: Violation) -> RuleAndMessage:
    highest = violation.schema.get("maximum")
    limit = f"{violation.limit} to {highest}" if highest is not None else "a higher one"
    return "out-of-range", f"{value_text(violation.value)} is too low; allowed is {limit}"


def _too_high(violation: Violation) -> RuleAndMessage:
    lowest = violation.schema.get("minimum", "")
    text = f"{value_text(violation.value)} is too high; allowed is {lowest} to {violation.limit}"
    return "out-of-range", text


def _bad_format(violation: Violation) -> RuleAndMessage:
    wanted = violation.schema.get("patternErrorMessage", f"pattern {violation.limit}")
    hint = TEMPLATE_HINT if is_template(violation.value) else ""
    return "bad-format", f"{value_text(violation.value)} does not fit: {wanted}{hint}"


def _empty(violation: Violation) -> RuleAndMessage:
    return "empty", "empty; give at least one entry, or leave it out"


def _too_many_fields(violation: Violation) -> RuleAndMessage:
    names = " and ".join(map(str, violation.value))
    return "too-many", f"{names} are together; give each an entry of its own"


def _too_many(violation: Violation) -> RuleAndMessage:
    return "too-many", f"{len(violation.value)} entries, over the limit of {violation.limit}"


def _too_long(violation: Violation) -> RuleAndMessage:
    text = (
        f"{value_text(violation.value)} has {len(violation.value)} characters, over the limit of "
    )
    return "too-long", f"{text}{violation.limit}"


def _not_unique(violation: Violation) -> RuleAndMessage:
    twice = first_repeated(violation.value)
    return "not-unique", f"{value_text(twice)} is listed twice; once is enough"


def first_repeated(items: list[Any]) -> Any:
    """Return the first item of a list that is in it before; NO_ITEM if all are different."""
    seen: set[str] = set()
    for item in items:
        text = json.dumps(item, sort_keys=True)
        if text in seen:
            return item
        seen.add(text)
    return NO_ITEM


NO_ITEM = object()


def _not_exactly_one(violation: Violation) -> RuleAndMessage:
    given = [f for one in violation.limit for f in one["required"] if f in violation.value]
    count = f"; {' and '.join(given)} are both there" if len(given) > 1 else "; neither is there"
    return "exactly-one", f"{violation.schema['errorMessage']}{count}"


def _unexplained(violation: Violation) -> RuleAndMessage:
    return "schema", violation.message


_MESSAGES_BY_KEYWORD: Mapping[str, Callable[[Violation], RuleAndMessage]] = {
    "dependentRequired": _missing_companion,
    "enum": _not_allowed,
    "maxItems": _too_many,
    "maxLength": _too_long,
    "maxProperties": _too_many_fields,
    "maximum": _too_high,
    "minItems": _empty,
    "minLength": _empty,
    "minProperties": _empty,
    "minimum": _too_low,
    "oneOf": _not_exactly_one,
    "pattern": _bad_format,
    "required": _missing_field,
    "type": _wrong_type,
    "uniqueItems": _not_unique,
}
