"""Settings: what a file says, and what is wrong with it, line by line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitvs.adapters.service.settings_file import load_settings
from gitvs.core.errors import SettingsError
from gitvs.core.manifests.schema import schema_for
from gitvs.core.remote_url import UnusableUrl, protocol_of
from gitvs.core.settings import (
    GpgSignatures,
    HookSettings,
    MetricsSettings,
    RemoteSettings,
    Settings,
    SshSignatures,
)

FULL = """
director = "lb1"
state_dir = "/srv/gitvs"

[source]
url = "ssh://git@git.example.org/net/lb.git"
branch = "release/v1"
path = "manifests/ams"
timeout = "2m"
allow_local = true
ssh_key = "/etc/gitvs/key"
known_hosts = "/etc/gitvs/known_hosts"
signatures = "ssh"
allowed_signers = "/etc/gitvs/allowed_signers"
revoked_keys = "/etc/gitvs/revoked_keys"
poll = "15s"

[history]
transactions = 100
plans = 10

[metrics]
listen = "[::1]:9000"
real_servers = 50

[hook]
listen = "10.0.3.2:9713"
secret_file = "/etc/gitvs/hook-secret"

[agent]
drift = "90s"

[restore]
max_downtime = "1h"
"""


def load(folder: Path, text: str) -> Settings:
    file = folder / "gitvs.toml"
    file.write_text(text)
    return load_settings(file)


def problems(folder: Path, text: str) -> list[str]:
    """What is said about a file, without its folder."""
    with pytest.raises(SettingsError) as failure:
        load(folder, text)
    return str(failure.value).replace(f"{folder}/", "").split("\n")


def test_every_setting_arrives(tmp_path: Path) -> None:
    remote = RemoteSettings(
        "ssh://git@git.example.org/net/lb.git",
        branch="release/v1",
        path="manifests/ams",
        timeout_seconds=120.0,
        poll_seconds=15.0,
        allow_local=True,
        ssh_key=Path("/etc/gitvs/key"),
        known_hosts=Path("/etc/gitvs/known_hosts"),
        signatures=SshSignatures(
            Path("/etc/gitvs/allowed_signers"), Path("/etc/gitvs/revoked_keys")
        ),
    )
    assert load(tmp_path, FULL) == Settings(
        remote,
        "lb1",
        Path("/srv/gitvs"),
        100,
        10,
        drift_seconds=90.0,
        max_downtime_seconds=3600.0,
        metrics=MetricsSettings("[::1]:9000", 50),
        hook=HookSettings("10.0.3.2:9713", Path("/etc/gitvs/hook-secret")),
    )


def test_every_setting_of_the_schema_is_in_that_test() -> None:
    given = tomllib.loads(FULL)
    given["source"] |= {"directory": "/etc/gitvs/manifests", "gpg_keys": "", "gpg_fingerprints": []}
    given["source"] |= {"credentials_file": "/c", "ca_file": "/a"}
    assert _names(given) == {name for name, _ in _fields(schema_for("settings"))}


def test_one_line_of_settings_is_enough(tmp_path: Path) -> None:
    settings = load(tmp_path, 'source.url = "https://git.example.org/lb.git"')
    assert settings == Settings(RemoteSettings("https://git.example.org/lb.git"))
    assert settings.state_dir == Path("/var/lib/gitvs")


def test_a_folder_of_this_host_may_be_the_source(tmp_path: Path) -> None:
    assert load(tmp_path, '[source]\ndirectory = "/etc/m"').source == Path("/etc/m")


def test_the_defaults_of_the_schema_are_those_of_the_program(tmp_path: Path) -> None:
    written = {name: field["default"] for name, field in _fields(schema_for("settings"))
               if "default" in field}  # fmt: skip
    text = "source.url = 'https://h/r'\n"
    for name, value in written.items():
        text += (
            f"{name} = {str(value).lower() if isinstance(value, (bool, int)) else repr(value)}\n"
        )
    assert load(tmp_path, text) == load(tmp_path, "source.url = 'https://h/r'")


def test_the_schema_is_one_and_explains_every_field() -> None:
    schema = schema_for("settings")
    Draft202012Validator.check_schema(schema)
    for name, field in _fields(schema):
        assert field["title"], name
        assert field["description"], name


def test_all_problems_come_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = FULL.replace("branch =", "brnach =").replace('"2m"', "120").replace("= 10\n", "= 0\n")
    text = text.replace('"ssh"', '"sshd"').replace("allow_local = true", 'allow_local = "yes"')
    assert problems(tmp_path, text) == [
        'gitvs.toml:7: source has no field "brnach"; did you mean branch?',
        'gitvs.toml:9: source.timeout: text is wanted, not 120; write "120s"',
        'gitvs.toml:10: source.allow_local: true or false is wanted, not the text "yes";'
        " write true",
        'gitvs.toml:13: source.signatures: "sshd" is not one of none, ssh, gpg; did you mean ssh?',
        "gitvs.toml:20: history.plans: 0 is too low; allowed is 1 to 10000",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "gitvs.toml:1: the document: source is missing. Where manifests come from: a Git"
             " remote (url), or a folder of this host (directory)."),
        ("[source]", "gitvs.toml:1: source: give either url or directory; neither is there"),
        ('[source]\nurl = "https://h/r"\ndirectory = "/m"',
         "gitvs.toml:1: source: give either url or directory; url and directory are both there"),
        ('[source]\ndirectory = "/m"\nbranch = "b"',
         "gitvs.toml:1: source: branch comes only together with url; give url too"),
        ('[source]\ndirectory = "m"',
         'gitvs.toml:2: source.directory: "m" does not fit: a path from the root (/...),'
         " without white space"),
        ('[source]\nurl = "https://h/r"\npath = "a/../../b"',
         'gitvs.toml:3: source.path: "a/../../b" does not fit: a folder inside the repository,'
         " such as manifests or sites/ams"),
        ('[source]\nurl = "https://h/r"\nbranch = "--upload-pack=x"',
         'gitvs.toml:3: source.branch: "--upload-pack=x" does not fit: a branch name, such as main'
         " or release/v1"),
        ('source.url = "https://h/r"\nsource.timeout = "0s"',
         'gitvs.toml:2: source.timeout: "0s" does not fit: a duration of a second or more, a whole'
         " number and a unit: 1s, 90s, 5m, 2h"),
        ('source.url = "https://h/r"\nsource.timeout = "25h"',
         "gitvs.toml:2: source.timeout: 25h is too long; 24h is the longest"),
        ('source.url = "https://h/r"\nsource.poll = "9999999999h"',
         "gitvs.toml:2: source.poll: 9999999999h is too long; 8760h is the longest"),
        ('source.directory = "/m"\nagent.drift = "9999999999h"',
         "gitvs.toml:2: agent.drift: 9999999999h is too long; 8760h is the longest"),
        ('source.directory = "/m"\nrestore.max_downtime = "9999999999h"',
         "gitvs.toml:2: restore.max_downtime: 9999999999h is too long; 87600h is the longest"),
        ('director = "lb 1"\nsource.directory = "/m"',
         'gitvs.toml:1: director: "lb 1" does not fit: letters, digits, dot, dash and underscore,'
         " with a letter or digit at both ends"),
        ('source.url = "https://h/r"\nsource.path = "a\\u001bb"',
         'gitvs.toml:2: source.path: "a\\u001bb" has a control character or an odd space'),
        ('source.directory = "/a\\u0000b"',
         'gitvs.toml:1: source.directory: "/a\\u0000b" has a control character or an odd space'),
        ('source.directory = "/m"\n[history]\nplans = true',
         "gitvs.toml:3: history.plans: a whole number is wanted, not true"),
        ('[source]\nurl = "/srv/r"',
         "gitvs.toml:2: source.url: a remote on this host needs allow_local = true beside it"),
        ("# x\n[source\n",
         "gitvs.toml:2: not TOML: Expected ']' at the end of a table declaration"),
        ("source = 1\nsource = 2",
         "gitvs.toml: not TOML: Cannot overwrite a value (at end of document)"),
    ],
)  # fmt: skip
def test_each_problem_says_what_is_allowed(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [problem]


FINGERPRINT = "0123 4567 89ab cdef 0123  4567 89AB CDEF 0123 4567"


@pytest.mark.parametrize("name", ["director", "state_dir", "source.path", "source.ssh_key"])
def test_a_line_feed_at_the_end_is_no_part_of_a_text(tmp_path: Path, name: str) -> None:
    value = {"director": "lb1", "source.path": "m"}.get(name, "/m")
    text = f'{name} = "{value}\\n"\nsource.url = "ssh://h/r"'
    assert problems(tmp_path, text) != []
    assert load(tmp_path, text.replace("\\n", ""))


def test_openpgp_fingerprints_may_be_written_as_gpg_shows_them(tmp_path: Path) -> None:
    text = 'url = "https://h/r"\nsignatures = "gpg"\ngpg_keys = "/k"\n'
    source = load(tmp_path, f'[source]\n{text}gpg_fingerprints = ["{FINGERPRINT}"]').source
    assert isinstance(source, RemoteSettings)
    fingerprints = frozenset({"0123456789ABCDEF0123456789ABCDEF01234567"})
    assert source.signatures == GpgSignatures(Path("/k"), fingerprints)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('signatures = "ssh"',
         ['1: source: allowed_signers is missing. Whose SSH keys sign: signatures = "ssh" trusts'
          " nobody without it."]),
        ('signatures = "gpg"',
         ['1: source: gpg_fingerprints is missing. Which of the keys sign: signatures = "gpg"'
          " trusts nobody without it.",
          '1: source: gpg_keys is missing. The file with the public keys: signatures = "gpg"'
          " trusts nobody without it."]),
        ('allowed_signers = "/a"',
         ["1: source: allowed_signers comes only together with signatures; give signatures too"]),
        ('gpg_keys = "/a"',
         ["1: source: gpg_keys comes only together with signatures; give signatures too"]),
        ('signatures = "none"\nrevoked_keys = "/a"',
         ['3: source.signatures: "none" does not fit: revoked_keys is there, which is for'
          ' signatures = "ssh"']),
        ('signatures = "none"\nallowed_signers = "/a"',
         ['3: source.signatures: "none" does not fit: allowed_signers is there, which is for'
          ' signatures = "ssh"']),
        ('signatures = "ssh"\nallowed_signers = "/a"\ngpg_keys = "/k"',
         ['3: source.signatures: "ssh" does not fit: gpg_keys is there, which is for signatures ='
          ' "gpg"']),
        ('signatures = "ssh"\nallowed_signers = "a"\ngpg_fingerprints = ["ABCD"]',
         ['3: source.signatures: "ssh" does not fit: gpg_fingerprints is there, which is for'
          ' signatures = "gpg"',
          '4: source.allowed_signers: "a" does not fit: a path from the root (/...), without white'
          " space",
          '5: source.gpg_fingerprints[0]: "ABCD" does not fit: a full fingerprint has 40'
          " hexadecimal digits; `gpg --fingerprint` shows it"]),
    ],
)  # fmt: skip
def test_each_signature_policy_comes_with_its_fields_and_no_others(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    said = problems(tmp_path, f'[source]\nurl = "https://h/r"\n{text}')
    assert said == [f"gitvs.toml:{line}" for line in expected]


@pytest.mark.parametrize(
    ("url", "text", "expected"),
    [
        ("https://h/r", 'ssh_key = "/k"', "ssh_key: it is for ssh, and source.url is https"),
        ("https://h/r", 'known_hosts = "/k"', "known_hosts: it is for ssh"),
        ("git@h:r", 'credentials_file = "/k"', "credentials_file: it is for https"),
        (
            "ssh://h/r",
            'ca_file = "/k"',
            "ca_file: it is for https, and source.url is ssh; remove it",
        ),
        ("https://h/r", 'branch = "refs/heads/a/b"', 'give the branch\'s name, branch = "a/b"'),
        ("https://h/r", 'branch = "refs/tags/v1"', '"refs/tags/v1" is a full ref; give the'),
    ],
)
def test_what_the_url_does_not_use_and_full_refs_are_refused_with_the_remedy(
    tmp_path: Path, url: str, text: str, expected: str
) -> None:
    [said] = problems(tmp_path, f'[source]\nurl = "{url}"\n{text}')
    assert said.startswith("gitvs.toml:3: source.")
    assert expected in said


def test_what_https_needs_goes_with_an_https_url(tmp_path: Path) -> None:
    text = '[source]\nurl = "https://h/r"\ncredentials_file = "/c"\nca_file = "/a"'
    source = load(tmp_path, text).source
    assert isinstance(source, RemoteSettings)
    assert (source.credentials_file, source.ca_file) == (Path("/c"), Path("/a"))


def test_a_folder_of_this_host_has_no_signatures(tmp_path: Path) -> None:
    said = problems(tmp_path, '[source]\ndirectory = "/m"\nsignatures = "none"')
    assert said == ["gitvs.toml:1: source: signatures comes only together with url; give url too"]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gitvs\.toml cannot be read: No such file"):
        load_settings(tmp_path / "gitvs.toml")
    (tmp_path / "gitvs.toml").write_bytes(b"director = '\xff'")
    with pytest.raises(SettingsError, match="byte 12 is not UTF-8"):
        load_settings(tmp_path / "gitvs.toml")


@pytest.mark.parametrize(
    "listen",
    [
        "127.0.0.1:0",
        ":9712",
        "lb1:9712",
        "127.0.0.1",
        "::1:9712",
        "[127.0.0.1]:1",
        "0.0.0.0:65536",
        "127.0.0.1:٩٧١٢",
    ],
)
def test_metrics_are_served_on_an_address_and_a_port(tmp_path: Path, listen: str) -> None:
    assert problems(tmp_path, f'source.directory = "/m"\n[metrics]\nlisten = "{listen}"') == [
        f'gitvs.toml:3: metrics.listen: "{listen}" is not an address and a port, such as'
        ' 127.0.0.1:9712 or [::1]:9712; "" serves no metrics'
    ]


def test_metrics_can_be_switched_off(tmp_path: Path) -> None:
    settings = load(tmp_path, 'source.directory = "/m"\nmetrics.listen = ""')
    assert settings.metrics == MetricsSettings("")


def test_a_hook_listens_on_an_address_and_a_port(tmp_path: Path) -> None:
    text = 'source.url = "https://h/r"\nhook.listen = "9713"\nhook.secret_file = "/s"'
    assert problems(tmp_path, text) == [
        'gitvs.toml:2: hook.listen: "9713" is not an address and a port, such as 127.0.0.1:9713 or'
        ' [::1]:9713; "" serves no hook'
    ]


def test_a_hook_needs_a_secret_and_a_remote(tmp_path: Path) -> None:
    assert problems(tmp_path, 'source.directory = "/m"\nhook.listen = "[::1]:9713"') == [
        "gitvs.toml:2: hook.listen: hook.secret_file is missing; without a secret, no push can be"
        " proved",
        "gitvs.toml:2: hook.listen: a hook starts a fetch, and source.directory is never fetched",
    ]
    off = 'source.directory = "/m"\nhook.listen = ""\nhook.secret_file = "/s"'
    assert load(tmp_path, off).hook == HookSettings("", Path("/s"))


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://git.example.org/lb.git", "https"),
        ("https://user@git.example.org:8443/lb.git", "https"),
        ("ssh://git@git.example.org:2222/~/lb.git", "ssh"),
        ("git@git.example.org:net/lb.git", "ssh"),
        ("git.example.org:lb", "ssh"),
        ("/srv/git/lb.git", "file"),
        ("file:///srv/git/lb.git", "file"),
    ],
)
def test_a_url_speaks_one_of_three_protocols(url: str, protocol: str) -> None:
    assert protocol_of(url) == protocol


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://git.example.org/lb.git", "anybody on the network path could change"),
        ("git://git.example.org/lb.git", "anybody on the network path could change"),
        ("ftp://git.example.org/lb.git", "protocol ftp is refused"),
        ("ext::sh -c true", "white space"),
        ("ext::sh", "remote helpers"),
        ("file::/srv", "remote helpers"),
        ("HTTPS://h/r", "protocol HTTPS is refused"),
        ("https://user:secret@git.example.org/lb.git", "a password in it"),
        ("ssh://git:secret@git.example.org/lb.git", "a password in it"),
        ("https://", "no host or path"),
        ("--upload-pack=touch", "starts with -"),
        ("https://h/r\n", "control characters"),
        ("lb.git", "not a URL"),
        ("../lb", "not a URL"),
    ],
)
def test_other_urls_are_refused_and_no_secret_is_repeated(url: str, words: str) -> None:
    with pytest.raises(UnusableUrl) as refusal:
        protocol_of(url)
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value)


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in schema["properties"].items():
        if "properties" in field:
            yield from _fields(field, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _names(data: Mapping[str, Any], prefix: str = "") -> set[str]:
    return {
        name
        for key, value in data.items()
        for name in (_names(value, f"{key}.") if isinstance(value, dict) else {prefix + key})
    }
