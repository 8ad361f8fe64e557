"""Whether a document fits its schema: the same answer as jsonschema's, without the reasons.

jsonschema takes longer for ten thousand sound documents than all the rest of loading, and
nearly all documents are sound. So a schema is compiled into plain functions once, and
jsonschema is asked only for what is wrong with a document that they refuse. It knows the
keywords that our schemas use, and no other; a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

_ANNOTATIONS = frozenset(
    (
        *("$schema", "$id", "$defs", "title", "description", "default", "examples", "format"),
        *("patternErrorMessage", "errorMessage", "x-rule"),
    )
)
_TYPES: Mapping[str, Check] = {
    "array": lambda v: isinstance(v, list),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "object": lambda v: isinstance(v, dict),
    "string": lambda v: isinstance(v, str),
}


def compiled(schema: Mapping[str, Any]) -> Check:
    """Return a function that tells whether a value fits a schema.

    Raises:
        KeyError: the schema uses a keyword that isn't known here.
    """
    return _Compiler(schema).check(schema)


class _Compiler:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._definitions = root.get("$defs", {})
        self._done: dict[str, Check] = {}

    def check(self, schema: Mapping[str, Any]) -> Check:
        """Compile one schema: all its keywords must hold."""
        checks = [
            _KEYWORDS[keyword](self, value, schema)
            for keyword, value in schema.items()
            if keyword not in _ANNOTATIONS and keyword != "properties"
        ]
        if "properties" in schema:
            checks.append(self.fields(schema["properties"]))
        if len(checks) == 1:
            return checks[0]
        return lambda v: all(check(v) for check in checks)

    def reference(self, target: str) -> Check:
        name = target.removeprefix("#/$defs/")
        if name not in self._done:
            self._done[name] = self.check(self._definitions[name])
        return self._done[name]

    def fields(self, properties: Mapping[str, Any]) -> Check:
        checks = {name: self.check(schema) for name, schema in properties.items()}

        def check(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            return all(checks[name](v) for name, v in value.items() if name in checks)

        return check


def _when(kind: type, check: Check) -> Check:
    """A keyword that says nothing about other types."""
    return lambda v: not isinstance(v, kind) or check(v)


def _when_number(check: Check) -> Check:
    return lambda v: isinstance(v, bool) or not isinstance(v, (int, float)) or check(v)


def _type(_compiler: _Compiler, types: Any, _schema: Any) -> Check:
    if isinstance(types, str):
        return _TYPES[types]
    checks = [_TYPES[t] for t in types]
    return lambda v: any(check(v) for check in checks)


def _additional(compiler: _Compiler, allowed: Any, schema: Any) -> Check:
    known = frozenset(schema.get("properties", ()))
    if allowed is False:
        return _when(dict, lambda v: known.issuperset(v))
    check = compiler.check(allowed)
    return _when(dict, lambda v: all(check(x) for name, x in v.items() if name not in known))


def _names(compiler: _Compiler, names: Any, _schema: Any) -> Check:
    check = compiler.check(names)
    return _when(dict, lambda v: all(map(check, v)))


def _items(compiler: _Compiler, items: Any, _schema: Any) -> Check:
    check = compiler.check(items)
    return _when(list, lambda v: all(map(check, v)))


def _one_of(compiler: _Compiler, schemas: Any, _schema: Any) -> Check:
    checks = [compiler.check(schema) for schema in schemas]
    return lambda v: sum(check(v) for check in checks) == 1


def _any_of(compiler: _Compiler, schemas: Any, _schema: Any) -> Check:
    checks = [compiler.check(schema) for schema in schemas]
    return lambda v: any(check(v) for check in checks)


def _all_of(compiler: _Compiler, schemas: Any, _schema: Any) -> Check:
    checks = [compiler.check(schema) for schema in schemas]
    return lambda v: all(check(v) for check in checks)


def searching(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """Compile a schema's pattern: its `$` is the end, and not a line feed before it."""
    return re.compile(pattern.replace("$", r"\Z")).search


def _pattern(_compiler: _Compiler, pattern: str, _schema: Any) -> Check:
    search = searching(pattern)
    return _when(str, lambda v: search(v) is not None)


def _allowed(_compiler: _Compiler, values: Any, _schema: Any) -> Check:
    assert all(isinstance(v, str | None) for v in values), "0 would equal false"
    return lambda v: v in values


def _unique(value: list[Any]) -> bool:
    """Lists of texts and numbers only; whatever is harder is left to jsonschema."""
    return all(type(v) in (str, int) for v in value) and len(set(value)) == len(value)


_KEYWORDS: Mapping[str, Callable[[_Compiler, Any, Any], Check]] = {
    "$ref": lambda c, target, _: c.reference(target),
    "additionalProperties": _additional,
    "allOf": _all_of,
    "anyOf": _any_of,
    "const": lambda c, value, s: _allowed(c, [value], s),
    "dependentRequired": lambda _c, needs, _s: _when(
        dict, lambda v: all(n in v for f, needed in needs.items() if f in v for n in needed)
    ),
    "enum": _allowed,
    "items": _items,
    "maxLength": lambda _c, n, _s: _when(str, lambda v: len(v) <= n),
    "maximum": lambda _c, n, _s: _when_number(lambda v: v <= n),
    "minItems": lambda _c, n, _s: _when(list, lambda v: len(v) >= n),
    "minLength": lambda _c, n, _s: _when(str, lambda v: len(v) >= n),
    "minProperties": lambda _c, n, _s: _when(dict, lambda v: len(v) >= n),
    "minimum": lambda _c, n, _s: _when_number(lambda v: v >= n),
    "oneOf": _one_of,
    "pattern": _pattern,
    "propertyNames": _names,
    "required": lambda _c, names, _s: _when(dict, lambda v: all(n in v for n in names)),
    "type": _type,
    "uniqueItems": lambda _c, _v, _s: _when(list, _unique),
}
