"""Any settings file is read, or refused with its line."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitvs.adapters.service.settings_file import load_settings
from gitvs.core.errors import SettingsError
from tests.fuzz.strategies import damaged
from tests.support.effort import examples

SOUND = {
    "director": "lb1",
    "state_dir": "/var/lib/gitvs",
    "source": {
        "url": "ssh://git@git.example.org/lb.git",
        "branch": "main",
        "path": "sites",
        "timeout": "30s",
        "poll": "1m",
        "ssh_key": "/etc/gitvs/key",
        "signatures": "ssh",
        "allowed_signers": "/etc/gitvs/signers",
        "allow_local": False,
    },
    "agent": {"drift": "60s"},
    "history": {"transactions": 500, "plans": 50},
    "restore": {"max_downtime": "24h"},
    "metrics": {"listen": "127.0.0.1:9712"},
    "hook": {"listen": "[::1]:9713", "secret_file": "/etc/gitvs/hook-secret"},
}
OF_A_FOLDER = {"source": {"directory": "/srv/lb"}}


def toml(value: Any) -> str:
    """A value as TOML on one line; null is left out, since TOML has none."""
    if isinstance(value, dict):
        pairs = ((k, v) for k, v in value.items() if v is not None)
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value if v is not None) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    return json.dumps(value)


def load(text: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "gitvs.toml")
        file.write_bytes(text.encode(errors="surrogateescape"))
        with suppress(SettingsError):
            load_settings(file)


@settings(max_examples=examples(300))
@given(damaged(SOUND, OF_A_FOLDER))
@example({"source": 5})
@example({"source": []})
@example({"source": {"url": 5, "directory": []}})
def test_any_value_anywhere_is_read_or_refused(value: Any) -> None:
    if isinstance(value, dict):
        pairs = ((k, v) for k, v in value.items() if v is not None)
        load("".join(f"{json.dumps(str(k))} = {toml(v)}\n" for k, v in pairs))


@settings(max_examples=examples(300))
@given(st.one_of(st.text(), st.lists(st.sampled_from([*"[]=.\"' \n#", "source", "url", "a", "1"]))))
def test_any_text_is_read_or_refused(text: Any) -> None:
    load("".join(text))


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(SettingsError, match="larger than 1 MiB"):
        load_settings(Path("/dev/zero"))
