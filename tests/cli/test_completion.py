"""What the shells complete, in a real bash, and that Tab never says anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitvs.adapters.files.director_names import MAX_PARSED_BYTES, director_names
from tests.support.agents import Site, eventually, service, site
from tests.support.paths import ROOT
from tests.support.work import work_of

SCRIPT = ROOT / "systemd/completions/gitvs.bash"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An agent that runs, has applied two commits, and has drained s1."""
    made = site(tmp_path_factory.mktemp("here"))
    made.git("tag", "v1")
    with made.answering() as running:
        made.push(service(weight=2), "another weight")
        running.order("sync")
        running.order("drain", subject="s1", why="disk errors")
        eventually(lambda: running.status.services != ())
        yield made


MAX_MODULES = 230
"""With these a Tab takes 0.1 s of processor time; `gitvs plan` imports twice as many."""


def completed(words: str, folder: Path) -> list[str]:
    """Press Tab at the end of a command line, in a bash that has loaded our completion."""
    given = words.split(" ")
    line = " ".join(f"'{word}'" for word in given)
    script = SCRIPT.read_text().replace("/usr/local/bin/gitvs", f"{BIN}/gitvs")
    text = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(given) - 1};"
        ' _gitvs; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", text],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_gates_and_kinds_are_completed(tmp_path: Path) -> None:
    assert completed("gitvs dra", tmp_path) == ["drain"]
    assert completed("gitvs apply --allow mass", tmp_path) == ["mass-removal"]
    assert completed("gitvs schema Pl", tmp_path) == ["Plan"]
    assert completed("gitvs history sh", tmp_path) == ["show"]


def test_directors_are_those_of_the_folder(here: Site) -> None:
    folder = here.folder / "manifests"
    folder.mkdir()
    (folder / "two.yaml").write_text(
        "apiVersion: gitvs/v1\nkind: Director\nmetadata:\n  name: lb7\nspec: {}\n---\n"
        "apiVersion: gitvs/v1\nkind: Service\nmetadata:\n  name: lbx\n---\n"
        'kind: "Director" # ours\nmetadata:\n  labels: {}\n  name: "lb8"\n'
    )
    (folder / "one.json").write_text(json.dumps({"kind": "Director", "metadata": {"name": "lb9"}}))
    (folder / "flow.yaml").write_text(
        "kind: Director\nmetadata: {labels: {site: ams}, name: lb6}\nspec: {}\n"
    )
    (folder / "broken.yaml").write_bytes(b"\xff\xfe kind: Director")
    assert sorted(completed("gitvs render --director lb", folder)) == ["lb6", "lb7", "lb8", "lb9"]
    assert completed("gitvs plan --director lb8", folder) == ["lb8"]


def test_revisions_are_branches_and_tags(here: Site) -> None:
    assert completed("gitvs plan --base ma", here.remote) == ["main"]
    assert completed("gitvs render --rev v", here.remote) == ["v1"]
    here.git("pack-refs", "--all")
    assert completed("gitvs plan --head v", here.remote) == ["v1"]


def test_the_directors_are_those_that_validate_reads(here: Site) -> None:
    folder = here.folder / "odd"
    for name in ("sub", ".hidden", "other/.git"):
        (folder / name).mkdir(parents=True)
    director = "kind: Director\nmetadata: {name: NAME}\n"
    for file, name in {
        "A.YAML": "lb1",
        "sub/B.Yml": "lb2",
        ".hidden/c.yaml": "lbHidden",
        "sub/.d.yaml": "lbDot",
        "other/e.yaml": "lbOther",
    }.items():
        (folder / file).write_text(director.replace("NAME", name))
    (folder / "C.JSON").write_text(json.dumps({"kind": "Director", "metadata": {"name": "lb3"}}))
    (folder / "labels.yaml").write_text(
        "kind: Director\nmetadata: {labels: {name: lbLabel}, name: lb4}\n--- # next\n"
        "metadata:\n  labels:\n    name: lbLabel\n  name: lb5\nkind: Director\n"
    )
    (folder / "broken.json").write_text('{"kind": "Director"')
    (folder / "odd.json").write_text('["Director"]')
    (folder / "strange.yaml").write_text("kind: Director\nmetadata: [\n---\n# Director\n5\n")
    (folder / "link.yaml").symlink_to("A.YAML")
    (folder / "gone.yaml").symlink_to("nowhere")
    os.mkfifo(folder / "fifo.yaml")
    (folder / "folder.yaml").mkdir()
    expected = ["lb1", "lb2", "lb3", "lb4", "lb5"]
    assert sorted(completed("gitvs render --director lb", folder)) == expected


def test_a_bare_repository_has_revisions(here: Site, tmp_path: Path) -> None:
    bare = tmp_path / "lb.git"
    here.git("clone", "--quiet", "--bare", ".", str(bare))
    assert completed("gitvs plan --base ma", bare) == ["main"]
    assert completed("gitvs plan --base ma", bare / "refs/heads") == ["main"]


def test_tab_reads_no_fifo_and_no_device(here: Site, tmp_path: Path) -> None:
    bare = tmp_path / "lb.git"
    here.git("clone", "--quiet", "--bare", ".", str(bare))
    (bare / "packed-refs").unlink()
    os.mkfifo(bare / "packed-refs")
    assert completed("gitvs plan --base HE", bare) == ["HEAD"]
    (bare / "packed-refs").unlink()
    (bare / "packed-refs").symlink_to("/dev/zero")
    assert completed("gitvs plan --base HE", bare) == ["HEAD"]


def test_however_many_documents_speak_of_a_director_a_tab_parses_so_many(tmp_path: Path) -> None:
    """A pattern that went back and forth took 10 s of processor time for 200 kB of this."""
    (tmp_path / "many.yaml").write_text("kind: Director\n" + "metadata:\n" * 20_000)
    (tmp_path / "one.yaml").write_text("kind: Director\nmetadata: {name: lb1}\n")
    assert list(director_names(tmp_path)) == ["lb1"]

    def work(count: int) -> int:
        document = "---\nkind: Director\nmetadata: {name: lb2}\n" + "# more\n" * 100
        (tmp_path / "one.yaml").write_text(document * count)
        return work_of(lambda: list(director_names(tmp_path))).calls

    enough = 2 * MAX_PARSED_BYTES // 700
    assert work(2 * enough) < 1.5 * work(enough)


def test_no_name_that_a_shell_would_obey_is_offered(here: Site) -> None:
    for name in ("rel;touch${IFS}PWNED", "rel$(id)", "rel`id`", "rel&x", "rel-2"):
        here.git("branch", name)
    assert completed("gitvs plan --base rel", here.remote) == ["rel-2"]
    here.git("pack-refs", "--all")
    assert completed("gitvs plan --base rel", here.remote) == ["rel-2"]


def test_a_linked_work_tree_has_the_branches_of_its_repository(here: Site) -> None:
    here.git("worktree", "add", "--quiet", "--detach", str(here.folder / "linked"))
    assert completed("gitvs plan --base ma", here.folder / "linked") == ["main"]


def test_real_servers_and_transactions_are_those_of_the_running_agent(here: Site) -> None:
    state = f"--state-dir {here.state_dir}"
    assert sorted(completed(f"gitvs drain {state} s", here.folder)) == ["s1", "s2"]
    assert completed(f"gitvs undrain {state} s", here.folder) == ["s1"]
    ids = completed(f"gitvs history show {state} ", here.folder)
    assert "1" in ids
    assert all((word.isascii() and word.isdecimal()) or word.startswith("-") for word in ids)


@pytest.mark.parametrize(
    "words",
    [
        "gitvs drain --state-dir /nonexistent s",
        "gitvs undrain --state-dir /nonexistent s",
        "gitvs history show --state-dir /nonexistent 1",
        "gitvs plan --base ma",
        "gitvs render --director lb",
    ],
)
def test_where_nothing_is_known_tab_completes_nothing_and_says_nothing(
    words: str, tmp_path: Path
) -> None:
    assert completed(words, tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shipped_scripts_are_those_of_the_library_that_answers_them(shell: str) -> None:
    text = (ROOT / f"systemd/completions/gitvs.{shell}").read_text()
    assert f"_GITVS_COMPLETE={shell}_complete" in text


@pytest.mark.parametrize(
    "words",
    ["gitvs plan --base ", "gitvs render --director ", "gitvs drain ", "gitvs apply --allow "],
)
def test_no_tab_waits_for_the_libraries_of_the_kernel_of_git_or_of_the_schemas(
    words: str, tmp_path: Path
) -> None:
    given = words.split(" ")
    code = (
        "import os, sys\nfrom contextlib import suppress\nfrom gitvs.cli import run\n"
        f"os.environ |= {{'_GITVS_COMPLETE': 'bash_complete', 'COMP_WORDS': {words!r},"
        f" 'COMP_CWORD': '{len(given) - 1}'}}\n"
        "with suppress(SystemExit):\n    run([])\n"
        "print(len(sys.modules), sorted({'yaml', 'jsonschema', 'git', 'pyroute2', 'sqlite3'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    count, libraries = done.stdout.splitlines()[-1].split(" ", 1)
    assert libraries == ("['yaml']" if "--director" in words else "[]")
    assert int(count) < MAX_MODULES
