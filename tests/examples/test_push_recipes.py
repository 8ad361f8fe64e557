"""The recipes that announce a push: sound in the eyes of their judges, and directors take them."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitvs.adapters.service.push_hook import PATH, HookResult
from tests.adapters.service.test_push_hook import SECRET, Served
from tests.examples.test_ci_recipes import load, safe, sound, steps_of_shell
from tests.support.git.repositories import Repository
from tests.support.git.ssh_server import SshServer, free_port, ssh_server
from tests.support.paths import EXAMPLES

PUSH = EXAMPLES / "push"
SCRIPTS = sorted(PUSH.glob("*.sh"))
WORKFLOW = PUSH / "github" / "gitvs-push.yml"
JOB = PUSH / "gitlab" / "gitvs-push.yml"


@pytest.fixture
def served(tmp_path: Path) -> Any:
    made = Served(tmp_path)
    made.hook.serve(made.settings)
    yield made
    made.hook.stop()


def url_of(served: Served) -> str:
    return f"http://{served.hook.address}{PATH}"


def run(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return steps_of_shell(command, folder, variables)


def announce(folder: Path, hooks: str, secret: str) -> subprocess.CompletedProcess[str]:
    return run(f"sh {PUSH}/notify.sh", folder, HOOKS=hooks, HOOK_SECRET=secret)


def test_the_scripts_are_sound() -> None:
    assert [s.name for s in SCRIPTS] == ["notify.sh", "sync.sh"]
    sound("shellcheck", "--shell=sh", "--enable=quote-safe-variables", *SCRIPTS)


def test_the_workflow_is_sound_and_safe(tmp_path: Path) -> None:
    sound("check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW)
    sound("actionlint", WORKFLOW)
    safe(tmp_path, WORKFLOW)


def test_the_gitlab_job_is_sound() -> None:
    sound("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", JOB)


def test_a_director_takes_what_the_script_sends(served: Served, tmp_path: Path) -> None:
    url = url_of(served)
    done = announce(tmp_path, f"{url} {url}", SECRET.decode() + "\n")
    assert (done.returncode, done.stdout) == (0, f"announced: {url}\n" * 2), done.stderr
    assert served.pushes == 2


def test_a_director_that_does_not_take_it_is_named_and_the_others_are_told(
    served: Served, tmp_path: Path
) -> None:
    url = url_of(served)
    other = url.replace(PATH, "/other")
    done = announce(tmp_path, f"{other} {url}", SECRET.decode())
    assert done.returncode == 1
    assert f"not announced: {other}\n" in done.stderr
    assert served.pushes == 1
    done = announce(tmp_path, url, "some other secret")
    assert done.returncode == 1
    assert served.counts[HookResult.WRONG_SIGNATURE] == 1
    done = announce(tmp_path, url, "")
    assert done.returncode != 0
    assert "HOOK_SECRET" in done.stderr
    assert served.pushes == 1


def clone(folder: Path, place: str, recipe: Path) -> Path:
    """Make a repository with the recipe where its README says."""
    repository = Repository(folder / "clone")
    files = {f"{place}/{f.name}": f.read_bytes() for f in (PUSH / "notify.sh", recipe)}
    repository.commit(files, "Base")
    return repository.folder


def test_the_workflow_announces_to_every_director(served: Served, tmp_path: Path) -> None:
    folder = clone(tmp_path, ".github/workflows", WORKFLOW)
    [job] = load(WORKFLOW)["jobs"].values()
    [step] = [s for s in job["steps"] if "run" in s]
    assert set(step["env"]) == {"HOOKS", "HOOK_SECRET"}
    hooks = f"{url_of(served)} {url_of(served)}"
    done = run(step["run"], folder, HOOKS=hooks, HOOK_SECRET=SECRET.decode())
    assert done.returncode == 0, done.stderr
    assert served.pushes == 2


def test_the_gitlab_job_announces_to_every_director(served: Served, tmp_path: Path) -> None:
    folder = clone(tmp_path, ".gitlab/gitvs", JOB)
    job = load(JOB)["gitvs push"]
    assert job["variables"]["HOOK_SECRET"] == "$GITVS_HOOK_SECRET"
    assert job["variables"]["HOOKS"] == "$GITVS_HOOKS"
    hooks = f"{url_of(served)} {url_of(served)}"
    lines = "\n".join(job["script"])
    done = run(lines, folder, HOOKS=hooks, HOOK_SECRET=SECRET.decode())
    assert done.returncode == 0, done.stderr
    assert served.pushes == 2


def test_the_line_with_a_bearer_token_is_taken(served: Served, tmp_path: Path) -> None:
    text = (PUSH / "README.md").read_text()
    lines = text.partition("where there is TLS:\n\n")[2].partition("\n\n")[0]
    lines = lines.replace("https://lb1.example.org/hooks/push", url_of(served))
    done = run(lines, tmp_path, HOOK_SECRET=SECRET.decode())
    assert done.returncode == 0, done.stderr
    assert served.pushes == 1


# Over ssh


def host_lines(name: str, server: SshServer) -> str:
    """Return what ssh has to know of a director, for its configuration."""
    user = pwd.getpwuid(os.getuid()).pw_name
    return (
        f"Host {name}\n HostName 127.0.0.1\n Port {server.port}\n User {user}\n"
        f" IdentityFile {server.key}\n UserKnownHostsFile {server.known_hosts}\n"
    )


def path_with_ssh(folder: Path, configuration: str) -> str:
    """Return a path on which `ssh` reads this configuration."""
    (folder / "ssh_config").write_text(configuration)
    program = folder / "ssh"
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n')
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("directors", "code"), [("lb1 lb2", 0), ("lb1 blocked lb2", 3), ("gone lb1", 255)]
)
def test_directors_sync_over_ssh_and_the_worst_of_them_counts(
    tmp_path: Path, directors: str, code: int
) -> None:
    """The server runs one command alone, whatever it is asked for, as the key's line says."""
    command = 'echo "asked for $SSH_ORIGINAL_COMMAND"'
    with (
        ssh_server(tmp_path / "lb", command=command) as lb,
        ssh_server(tmp_path / "blocked", command="exit 3") as blocked,
    ):
        gone = replace(lb, port=free_port())
        hosts = {"lb1": lb, "lb2": lb, "blocked": blocked, "gone": gone}
        path = path_with_ssh(tmp_path, "".join(host_lines(*host) for host in hosts.items()))
        done = run(f"sh {PUSH}/sync.sh {directors}", tmp_path, PATH=path)
    assert done.returncode == code, done.stderr
    for name in directors.split():
        assert f"{name}:\n" in done.stdout, "the others are asked all the same"
    assert done.stdout.count("asked for gitvs sync\n") == directors.count("lb")
