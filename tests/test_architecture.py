"""The house is as ARCHITECTURE.md says: its names exist, and its rooms stay small."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from gitvs.core.model.kinds import KINDS, Role
from gitvs.core.model.resources import Kind, Resource
from tests.support.paths import ROOT

PACKAGE = ROOT / "operator/gitvs"
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
LATER = {"importers/", "fleet/", "web/"}
"""Rooms that the page names and that come later."""
NEVER = {"operator/__init__.py"}

MAX_MODULES = 12
MAX_LINES = 420
MAX_ROOT_MODULES = 6

FOLDERS = sorted(f for f in (PACKAGE, *PACKAGE.rglob("*")) if (f / "__init__.py").exists())
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def is_there(path: str) -> bool:
    return any((root / path).exists() for root in (PACKAGE, PACKAGE.parent, ROOT))


def defined(module: Path) -> set[str]:
    """The classes and functions of a module, methods as `Class.method`."""
    found = set()
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (m for m in node.body if isinstance(m, ast.FunctionDef))
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


def test_every_path_of_the_page_is_there() -> None:
    paths = set(re.findall(r"`([\w./]+(?:/|\.py|\.toml))`", TEXT))
    assert len(paths) > 40
    assert {path for path in paths - LATER - NEVER if not is_there(path)} == set()
    assert {path for path in LATER if is_there(path)} == set(), "it has come: take it out of LATER"


def test_every_class_and_function_of_the_page_is_there() -> None:
    names = set(re.findall(r"`([A-Z]\w+[a-z]\w*(?:\.\w+)?|reconcile|diff)`", TEXT))
    known = set().union(*(defined(module) for module in MODULES))
    assert len(names) > 20
    assert names - known == set()


def test_what_the_page_places_in_a_module_is_defined_there() -> None:
    placed = re.findall(r"`(\w+(?:\.\w+)?)` in `([\w/]+\.py)`", TEXT)
    assert len(placed) > 3
    assert [p for p in placed if p[0] not in defined(PACKAGE / p[1])] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_room_says_what_it_is_for_and_names_its_modules(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert text
    inside = {m.stem for m in folder.glob("*.py") if m.stem != "__init__"}
    inside |= {f.parent.name for f in folder.glob("*/__init__.py")}
    if folder != PACKAGE / "cli":  # its modules are the commands
        assert {name for name in inside if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_room_holds_a_dozen_modules_at_most(folder: Path) -> None:
    modules = [m for m in folder.glob("*.py") if m.stem != "__init__"]
    limit = MAX_ROOT_MODULES if folder == PACKAGE else MAX_MODULES
    assert len(modules) <= limit or folder == PACKAGE / "cli"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_has_420_lines_at_most(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_number_is_written_in_the_digits_0_to_9(module: Path) -> None:
    """Python takes the digits of every script for numbers; nobody else does."""
    text = module.read_text()
    lines = [
        line for line in text.splitlines() if re.search(r"\.is(digit|numeric|decimal)\(", line)
    ]
    assert [line for line in lines if ".isascii() and" not in line] == []
    patterns = [line for line in text.splitlines() if r"\d" in line]
    assert [line for line in patterns if "re.ASCII" not in line] == []


def resource_classes_in(module: Path) -> set[str]:
    names = {n.id for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, ast.Name)}
    return names & {facts.resource_class.__name__ for facts in KINDS.values()}


def test_a_new_kind_of_resource_concerns_the_eight_files_that_contributing_lists() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## A new kind of resource")[2]
    listed = re.findall(r"^\d\. .*$", section, re.MULTILINE)
    named = {path for line in listed for path in re.findall(r"`([\w/]+\.py)`", line)}
    assert len(listed) == 8
    assert {path for path in named if not (PACKAGE / path).exists()} == set()
    know_all = {name_of(m) for m in MODULES if len(resource_classes_in(m)) == len(KINDS)}
    assert know_all == named - {"core/manifests/render.py"}, "one more module knows every kind"


def test_the_table_of_kinds_has_each_kind_once_and_orders_them_without_ties() -> None:
    assert set(KINDS) == set(Kind)
    assert {facts.resource_class for facts in KINDS.values()} == set(get_args(Resource))
    assert sorted(facts.break_rank for facts in KINDS.values()) == list(range(len(KINDS)))
    shared = Counter(facts.make_rank for facts in KINDS.values())
    assert {f.role for f in KINDS.values() if shared[f.make_rank] > 1} == {Role.RULE}
