"""Every setting and every option has an effect: a field that is accepted and ignored is a lie."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from types import CodeType
from typing import Any

import click
import pytest

from gitvs.adapters.git.remote import GitRemote
from gitvs.adapters.store.sqlite_store import SqliteStore
from gitvs.cli import COMMANDS, gitvs
from gitvs.cli.agent import _make_chooser
from gitvs.cli.shared.options import choose_state_dir
from gitvs.core.errors import GitvsError
from gitvs.core.settings import (
    GpgSignatures,
    HookSettings,
    MetricsSettings,
    RemoteSettings,
    Settings,
    SshSignatures,
)
from tests.support.agents import Site, eventually, service, site
from tests.support.git.repositories import Repository
from tests.support.git.signing import gnupg

SETTINGS_CLASSES = (
    Settings,
    RemoteSettings,
    MetricsSettings,
    HookSettings,
    SshSignatures,
    GpgSignatures,
)
_GENERATED = {"<string>", "dataclasses.py"}
"""The files of methods that read every field to compare or copy it, whatever effect it has."""


@pytest.fixture(name="reads")
def fixture_reads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The fields of settings that are read from now on, but for comparing and copying."""
    reads: set[str] = set()

    def recording(instance: object, name: str) -> object:
        if Path(sys._getframe(1).f_code.co_filename).name not in _GENERATED:
            reads.add(f"{type(instance).__name__}.{name}")
        return object.__getattribute__(instance, name)

    for settings_class in SETTINGS_CLASSES:
        monkeypatch.setattr(settings_class, "__getattribute__", recording)
    return reads


def fetch(folder: Path, settings: RemoteSettings) -> None:
    """Fetch from a remote that refuses, or whose commits are not signed."""
    with suppress(GitvsError):
        GitRemote(folder, settings).fetch(None)


def test_every_field_of_the_settings_is_read(tmp_path: Path, reads: set[str]) -> None:
    here = site(tmp_path)
    here.settings = replace(
        here.settings,
        metrics=MetricsSettings("127.0.0.1:0"),
        hook=HookSettings("127.0.0.1:0", tmp_path / "no secret"),
    )
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        assert running.status
    file = tmp_path / "file"
    file.write_text("")
    ssh = RemoteSettings("ssh://127.0.0.1:1/x", timeout_seconds=5, ssh_key=file, known_hosts=file)
    https = RemoteSettings(
        "https://127.0.0.1:1/x", timeout_seconds=5, credentials_file=file, ca_file=file
    )
    with gnupg() as keys:
        key = keys.make_key("Ada")
        keys.commit(key, signed := Repository(tmp_path / "signed"), {"a.yaml": "1"})
        file.write_text(keys.export())
    local = RemoteSettings(str(signed.folder), allow_local=True)
    ssh_policy = SshSignatures(file, file)
    gpg_policy = GpgSignatures(file, frozenset({"A" * 40}))
    policies = [replace(local, signatures=policy) for policy in (ssh_policy, gpg_policy)]
    for number, settings in enumerate((ssh, https, *policies)):
        fetch(tmp_path / f"{number}", settings)
    _make_chooser(here.settings)
    choose_state_dir(click.Context(click.Command("agent")), here.settings, here.settings.state_dir)
    wanted = {f"{c.__name__}.{field.name}" for c in SETTINGS_CLASSES for field in fields(c)}
    assert wanted - reads == set()


def newest(here: Site) -> tuple[int, list[bool]]:
    """How many transactions are in the history, and which of five have a plan."""
    with SqliteStore.open_readonly(here.state_dir) as store:
        plans = [store.changes_of(number) is not None for number in range(1, 6)]
        return len(store.history()), plans


def test_as_much_history_is_kept_as_the_settings_say(tmp_path: Path) -> None:
    here = site(tmp_path)
    here.settings = replace(here.settings, kept_transactions=3, kept_plans=2)
    with here.running() as running:
        eventually(lambda: here.weights() == [1, 1])
        for weight in (2, 3, 4, 5):
            here.push(service(weight=weight))
            running.order("sync")
            eventually(lambda weight=weight: here.weights() == [weight] * 2)  # type: ignore[misc]
    assert newest(here) == (3, [False, False, False, True, True])
    with SqliteStore(here.state_dir) as store:  # as `gitvs apply` opens it
        assert store.kept_plans == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_used_by_it(name: str) -> None:
    command = gitvs.get_command(click.Context(gitvs), name)
    assert command is not None
    assert command.callback is not None
    used = {
        instruction.argval
        for code in _codes(command.callback)
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith("LOAD_")
    }
    for parameter in command.params:
        if parameter.expose_value:
            assert parameter.name in used, parameter.opts
        else:  # `--state-dir` is accepted by every command, so that scripts can set it for all
            assert parameter.callback is not None or parameter.name == "state_dir"


def _codes(function: Callable[..., object]) -> Iterator[CodeType]:
    """Yield the code of a function, of those that it wraps, and of those inside them."""
    layers: list[Any] = []
    inspect.unwrap(function, stop=lambda wrapped: bool(layers.append(wrapped)))
    for layer in (*layers, inspect.unwrap(function)):
        yield from _with_inner(layer.__code__)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _with_inner(constant)
