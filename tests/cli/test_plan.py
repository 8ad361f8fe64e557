"""`gitvs plan --base`: options, formats, exit codes, and what saved states add."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.render import render_director
from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.ledger import Ledger
from gitvs.core.model.observation import ConnectionCounts, Observation, Scope
from gitvs.core.model.resources import RealServer, Sysctl
from gitvs.core.model.state import State
from gitvs.core.planning.offline_proposal import propose_preview
from gitvs.report.host.observation_json import ObservedHost, observation_json
from gitvs.report.text.problems import ProblemFormat
from tests.support.command_line import Gitvs, Ran, in_process
from tests.support.git.repositories import Repository
from tests.support.manifests.writing import director, file_of, server, service

BEFORE = [director("lb1"), director("lb2"), service(), service("db", vips=["203.0.113.11"])]
AFTER = [*BEFORE[:2], service(realServers=[server(), server("10.0.3.6")]), BEFORE[3]]
OFF = [*BEFORE[:2], service(realServers=[]), BEFORE[3]]
CHECKED = [*BEFORE[:2], service(health={"checks": [{"tcp": {}}]}), BEFORE[3]]
WRONG = [*BEFORE[:2], service(scheduler="x")]


@pytest.fixture(name="cli")
def _cli(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    return in_process(capsys)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Tags: before, after (one server more), off (no servers), checked (health checks), wrong."""
    made = Repository(tmp_path / "repository")
    versions = {"before": BEFORE, "after": AFTER, "off": OFF, "checked": CHECKED, "wrong": WRONG}
    for tag, documents in versions.items():
        made.commit({"lb/all.yaml": file_of("", *documents).data}, f"Make it {tag}")
        made.git("tag", tag)
        if tag != "before":
            made.git("reset", "--quiet", "--hard", "before")
    return made


def compared(cli: Gitvs, repository: Repository, head: str, *more: object) -> tuple[int, str]:
    ran = cli("plan", repository.folder / "lb", "--base", "before", "--head", head, *more)
    assert ran.err == ""
    return ran.code, ran.out


@pytest.mark.parametrize(
    ("head", "code", "detailed"),
    [("before", 0, 0), ("after", 0, 2), ("off", 3, 3), ("checked", 0, 2), ("wrong", 4, 4)],
)
def test_exit_codes(
    cli: Gitvs, repository: Repository, head: str, code: int, detailed: int
) -> None:
    assert compared(cli, repository, head)[0] == code
    assert compared(cli, repository, head, "--detailed-exitcode")[0] == detailed


def test_a_commit_that_only_adds_checks_is_a_change_of_each_director(
    cli: Gitvs, repository: Repository
) -> None:
    _, text = compared(cli, repository, "checked")
    assert "lb1, lb2: 0 to create, 0 to update, 0 to delete, 0 to drain; changes the health" in text
    assert "~  health checks of tcp 203.0.113.10:443: none → tcp every 5s" in text
    assert "~  probes: 0, 0 a second → 1, 0.2 a second" in text
    assert text.splitlines()[-1] == "changes on 2 directors"


def test_a_blocked_plan_is_shown_whole_and_can_be_allowed(
    cli: Gitvs, repository: Repository
) -> None:
    _, text = compared(cli, repository, "off")
    assert "↓  10.0.3.5:443" in text
    assert text.splitlines()[-1] == (
        "blocked by last-real-server, capacity-drop on 2 directors: nothing would be changed there"
    )
    allowed = ("--allow", "last-real-server", "--allow", "capacity-drop")
    code, text = compared(cli, repository, "off", *allowed)
    assert code == 0
    assert "Over a limit, and allowed" in text


def test_the_head_is_where_the_repository_is(cli: Gitvs, repository: Repository) -> None:
    repository.git("reset", "--quiet", "--hard", "after")
    ran = cli("plan", repository.folder / "lb", "--base", "before")
    assert "lb1, lb2: 1 to create" in ran.out


@pytest.mark.parametrize("form", ["text", "markdown", "html", "github", "gitlab", "sarif"])
def test_places_are_from_the_root_of_the_repository_in_every_format(
    cli: Gitvs, repository: Repository, form: str
) -> None:
    for head in ("wrong", "off"):
        _, text = compared(cli, repository, head, "--format", form)
        assert "lb/all.yaml" in text
        assert not re.search(r"(?<!lb/)\ball\.yaml", text)


def test_in_json_places_are_from_the_folder_that_it_names(
    cli: Gitvs, repository: Repository
) -> None:
    _, text = compared(cli, repository, "wrong", "--format", "json")
    made = json.loads(text)
    assert (made["folder"], made["problems"][0]["file"]) == ("lb", "all.yaml")


def test_places_are_from_the_root_of_the_repository_without_a_base_too(
    cli: Gitvs, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.git("reset", "--quiet", "--hard", "wrong")
    monkeypatch.chdir(repository.folder / "lb")
    for command in (["validate"], ["plan"], ["render"], ["apply"]):
        ran = cli(*command)
        assert (ran.out + ran.err).startswith("lb/all.yaml:"), command


@pytest.mark.parametrize("form", ["text", "markdown", "html", "github", "gitlab", "sarif"])
def test_places_inside_messages_are_from_the_root_too(
    cli: Gitvs, repository: Repository, form: str
) -> None:
    twice = file_of("", *BEFORE, service("again")).data
    repository.commit({"lb/all.yaml": twice}, "Serve it twice")
    _, text = compared(cli, repository, "HEAD", "--format", form)
    assert "both serve" in text
    assert text.count("lb/all.yaml") >= 3
    assert not re.search(r"(?<!lb/)\ball\.yaml", text)
    if form in set(map(str, ProblemFormat)):
        shown = cli("validate", repository.folder / "lb", "--format", form).out
        assert not re.search(r"(?<!lb/)\ball\.yaml", shown)
    _, text = compared(cli, repository, "HEAD", "--format", "json")
    assert "lb/all.yaml" not in text


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("plan.html", "<!doctype html>"),
        ("plan.MD", "<!-- gitvs plan -->\n#"),
        ("plan.json", "{"),
        ("plan.sarif", "{"),
        ("plan.txt", "commit "),
        ("plan", "commit "),
    ],
)
def test_the_name_of_a_file_says_its_format(
    cli: Gitvs, repository: Repository, tmp_path: Path, name: str, start: str
) -> None:
    compared(cli, repository, "after", "--out", tmp_path / name)
    assert (tmp_path / name).read_text().lower().startswith(start)


def test_several_files_need_no_format_if_their_names_say_it(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    files = [tmp_path / "plan.html", tmp_path / "plan.json"]
    compared(cli, repository, "after", *(x for file in files for x in ("--out", file)))
    assert [file.read_text()[0] for file in files] == ["<", "{"]


def test_a_repository_without_a_commit_is_named_as_such(cli: Gitvs, tmp_path: Path) -> None:
    Repository(tmp_path)
    ran = cli("plan", tmp_path, "--base", "HEAD")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.endswith("HEAD; the repository has no commit yet: commit the manifests first\n")


def test_on_a_terminal_of_80_columns_a_long_note_is_wrapped(
    cli: Gitvs, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = compared(cli, repository, "off")
    monkeypatch.setenv("COLUMNS", "80")
    _, text = compared(cli, repository, "off")
    assert max(map(len, whole.splitlines())) > 80 >= max(map(len, text.splitlines()))
    assert text.split() == whole.split()


def test_a_job_of_a_forge_gets_links_to_lines_and_commits(
    cli: Gitvs, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://git.example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "net/lb")
    commit_id = repository.git("rev-parse", "after")
    page = f"https://git.example.org/net/lb/blob/{commit_id}/lb/all.yaml#L"
    for form in ("markdown", "html"):
        _, text = compared(cli, repository, "after", "--format", form)
        assert page in text
        assert f"https://git.example.org/net/lb/commit/{commit_id}" in text
    _, text = compared(cli, repository, "wrong", "--format", "markdown")
    assert re.search(r"- \[`lb/all.yaml:\d+:\d+`\]\(https://git.example.org/net/lb/blob/", text)


def remarks(ran: Ran) -> list[str]:
    """The remarks of a preview that was asked for as JSON."""
    found: list[str] = json.loads(ran.out)["remarks"]
    return found


def test_changes_that_are_not_committed_are_remarked(cli: Gitvs, repository: Repository) -> None:
    folder = repository.folder / "lb"
    options = ("plan", folder, "--base", "before", "--format", "json")
    repository.commit({"lb/gone.yaml": "# a comment", "lb/windows.yaml": "# a\n# b\n"})
    (folder / "windows.yaml").write_bytes(b"# a\r\n# b\r\n")
    assert remarks(cli(*options)) == []
    (folder / "gone.yaml").unlink()
    (folder / "all.yaml").write_text("changed")
    (folder / "new.yaml").write_text("new")
    (folder / "a note.txt").write_text("not a manifest")
    [remark] = remarks(cli(*options))
    assert remark == (
        "uncommitted changes are not in this plan: lb/all.yaml, lb/gone.yaml, lb/new.yaml; commit"
        " them to see what they do"
    )
    for name in ("v", "w", "x"):
        (folder / f"{name}.yaml").write_text("")
    [remark] = remarks(cli(*options))
    assert "lb/all.yaml, lb/gone.yaml, lb/new.yaml and 3 more;" in remark


def test_a_work_tree_of_another_commit_is_not_remarked(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    (repository.folder / "lb/all.yaml").write_text("changed")
    command = ("--base", "before", "--format", "json")
    assert remarks(cli("plan", repository.folder / "lb", *command, "--head", "after")) == []
    bare = tmp_path / "bare.git"
    repository.git("clone", "--quiet", "--bare", str(repository.folder), str(bare))
    assert remarks(cli("plan", bare / "lb", *command)) == []


def test_problems_of_the_head_are_the_report(cli: Gitvs, repository: Repository) -> None:
    _, text = compared(cli, repository, "wrong")
    assert "all.yaml:" in text
    assert text.splitlines()[-1] == "invalid: 1 problem"
    code, text = compared(cli, repository, "wrong", "--format", "github")
    assert code == 4
    assert text.startswith("::error file=lb/all.yaml,line=")


def test_json_is_as_the_schema_says(cli: Gitvs, repository: Repository) -> None:
    for head in ("before", "after", "off", "wrong"):
        _, text = compared(cli, repository, head, "--format", "json")
        errors = Draft202012Validator(schema_for("plan")).iter_errors(json.loads(text))
        assert [e.message for e in errors] == []
    _, text = compared(cli, repository, "after", "--format", "json", "--director", "lb2")
    document = json.loads(text)
    assert [plan["director"] for plan in document["plans"]] == ["lb2"]
    assert (document["verdict"], document["unchanged"]) == ("changes", 0)
    assert document["base"]["commit"] == repository.git("rev-parse", "before")


def test_several_formats_come_from_one_comparison(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    forms = ["markdown", "html", "json", "sarif", "gitlab", "text"]
    places = [arg for form in forms for arg in ("--format", form, "--out", tmp_path / form)]
    code, text = compared(cli, repository, "off", *places, "--format", "github", "--out", "-")
    assert code == 3
    assert text.startswith("::error ")
    begins = {form: (tmp_path / form).read_text()[:20] for form in forms}
    assert begins["markdown"].startswith("<!-- gitvs plan -->")
    assert begins["html"].lower().startswith("<!doctype html>")
    assert begins["text"].startswith("commit ")
    assert json.loads((tmp_path / "json").read_text())["verdict"] == "blocked"


def test_a_file_that_cannot_be_read_or_written_is_an_error_and_no_wrong_usage(
    cli: Gitvs, repository: Repository
) -> None:
    missing = repository.folder / "missing" / "file"
    for options in (("--state", missing), ("--base", "before", "--out", missing)):
        ran = cli("plan", repository.folder / "lb", *options)
        assert ran.code == 1
        assert "No such file or directory" in ran.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--base", "before", "--rev", "after"), "--rev cannot be used with --base; use --head"),
        (("--base", "before", "--adopt"), "--adopt cannot be used with --base"),
        (("--head", "after"), "--head needs --base; for one commit on one director use --rev"),
        (("--director", "lb1", "--director", "lb2"), "--director may be given once"),
        (
            ("--base", "before", "--format", "json", "--format", "html", "--out", "x"),
            "2 --format and 1 --out",
        ),
        (
            ("--base", "before", *("--format", "json", "--out", "-") * 2),
            "--out - is there 2 times; give each format its own",
        ),
        (
            ("--base", "before", "--format=json", "--out=x", "--format=html", "--out=./x"),
            "--out x is there 2 times",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    cli: Gitvs, repository: Repository, options: tuple[str, ...], message: str
) -> None:
    ran = cli("plan", repository.folder / "lb", *options)
    assert ran.code == 64
    assert message in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("options", [("--base", ""), ("--base", "before", "--head", "")])
def test_an_empty_revision_is_never_another_one(
    cli: Gitvs, repository: Repository, options: tuple[str, ...]
) -> None:
    ran = cli("plan", repository.folder / "lb", *options)
    assert ran.code == 1
    assert "''; it is empty: is a variable not set?" in ran.err


def test_a_name_that_is_no_text_is_escaped_in_every_format(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    repository.git("reset", "--quiet", "--hard", "after")
    (repository.folder / "lb" / "\udce9\x1b[2J\n# x.yaml").symlink_to("all.yaml")
    repository.commit()
    forms = ["text", "json", "markdown", "html", "github", "gitlab", "sarif"]
    places = [arg for form in forms for arg in ("--format", form, "--out", tmp_path / form)]
    assert cli("plan", repository.folder / "lb", "--base", "before", *places).code == 0
    told = "lb/\\udce9\\u001b[2J\\u000a# x.yaml: left out, it is a link or a submodule"
    assert told in (tmp_path / "text").read_text()
    assert told in json.loads((tmp_path / "json").read_text())["remarks"]


def test_text_that_no_file_can_hold_is_escaped(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    """A folder of such a name, which is told as it is."""
    repository.commit({"\udce9/all.yaml": file_of("", *AFTER).data})
    out = tmp_path / "out.json"
    ran = cli(
        "plan", repository.folder / "\udce9", "--base", "HEAD~1", "--format=json", "--out", out
    )
    assert (ran.code, ran.err) == (0, "")
    assert "has no folder \udce9" in json.loads(out.read_text())["remarks"][0]


# What is live


def saved(tmp_path: Path, commit: str | None, *drifted: RealServer | Sysctl) -> Path:
    """The state of lb1, which has BEFORE in force, with this drift; its server is busy."""
    applied = render_director(load_manifest_files([file_of("all.yaml", *BEFORE)]), "lb1")
    proposal = propose_preview(None, applied)
    state = applied.state.with_changes(drifted)
    busy = {s.key: ConnectionCounts(3, 4, 0) for s in state.of_type(RealServer)}
    sysctls = frozenset(s.name for s in state.of_type(Sysctl))
    seen = ObservedHost(
        "lb1.example",
        Observation(state, busy, kernel_release="6.1.0"),
        Scope(frozenset({"gitvs0"}), sysctls),
        Ledger(proposal.ledger.owned),
        "gitvs:x",
        1000.0,
        applied,
        commit,
    )
    file = tmp_path / "lb1.json"
    file.write_text(json.dumps(observation_json(seen)))
    return file


def test_a_saved_state_adds_connections_and_drift(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    drift = Sysctl("net.ipv4.vs.expire_nodest_conn", "0")
    file = saved(tmp_path, repository.git("rev-parse", "before"), drift)
    _, text = compared(cli, repository, "off", "--state", file)
    assert "at the latest, 3 active and 4 inactive connections" in text
    assert "Drift that the next sync repairs, with or without this merge" in text
    assert "~  net.ipv4.vs.expire_nodest_conn  0 → 1" in text
    assert "note:" not in text


def test_drift_is_told_where_nothing_else_changes(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    drift = Sysctl("net.ipv4.vs.expire_nodest_conn", "0")
    file = saved(tmp_path, repository.git("rev-parse", "before"), drift)
    code, text = compared(cli, repository, "before", "--state", file, "--detailed-exitcode")
    assert code == 0
    assert "~  net.ipv4.vs.expire_nodest_conn  0 → 1" in text


def test_a_foreign_object_in_the_way_of_a_repair_is_told_as_on_the_host(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    file = saved(tmp_path, repository.git("rev-parse", "before"))
    document = json.loads(file.read_text())
    web = "tcp 203.0.113.10:443"
    document["ledger"]["owned"].remove(web)
    for thing in document["objects"]:
        thing["owned"] = thing["owned"] and not thing["key"].startswith(web)
    file.write_text(json.dumps(document))
    code, text = compared(cli, repository, "after", "--state", file)
    assert code == 0
    assert "Cannot be repaired, and is left out\n  tcp 203.0.113.10:443 exists already" in text


def test_an_odd_state_is_remarked(cli: Gitvs, repository: Repository, tmp_path: Path) -> None:
    file = saved(tmp_path, "c" * 40)
    _, text = compared(cli, repository, "after", "--state", file)
    assert "note: lb1 had commit cccccccccccc in force when its state was saved" in text
    _, text = compared(cli, repository, "after", "--state", file, "--director", "lb2")
    assert "note: the saved state of lb1 is not used" in text


def test_a_new_host_is_a_director_by_its_short_name(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    scope = Scope(frozenset({"gitvs0"}), frozenset())
    seen = ObservedHost("lb1.example", Observation(State()), scope, Ledger(), "gitvs:x", 0.0)
    file = tmp_path / "lb1.json"
    file.write_text(json.dumps(observation_json(seen)))
    _, text = compared(cli, repository, "after", "--state", file)
    assert "note: lb1 had no commit in force when its state was saved" in text


def test_two_states_of_one_director_are_refused(
    cli: Gitvs, repository: Repository, tmp_path: Path
) -> None:
    file = saved(tmp_path, None)
    options = ("--base", "before", "--state", file, "--state", file)
    ran = cli("plan", repository.folder / "lb", *options)
    assert (ran.code, ran.out) == (64, "")
    assert "two --state files are for director lb1; give only the newer one" in ran.err


def test_a_preview_imports_nothing_of_a_kernel(repository: Repository) -> None:
    script = (
        "import sys\n"
        "from gitvs.cli import run\n"
        f"run(['plan', {str(repository.folder / 'lb')!r}, '--base', 'before'])\n"
        "sys.exit(bool({'pyroute2', 'sqlite3'} & sys.modules.keys()))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL).returncode == 0


# The cache of files


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache is, which there is not yet."""
    monkeypatch.delenv("GITVS_NO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gitvs"


@pytest.mark.parametrize("head", ["after", "off", "wrong"])
def test_a_warm_cache_says_what_a_cold_one_and_none_say(
    cli: Gitvs, repository: Repository, cache: Path, head: str
) -> None:
    """The lines of manifests are in JSON too."""
    none = compared(cli, repository, head, "--format", "json", "--no-cache")
    assert not cache.exists()
    cold = compared(cli, repository, head, "--format", "json")
    assert cache.exists() == (head != "wrong")
    assert none == cold == compared(cli, repository, head, "--format", "json")


def test_with_a_warm_cache_no_file_is_read(cli: Gitvs, repository: Repository, cache: Path) -> None:
    before = compared(cli, repository, "after")
    for tag in ("before", "after"):
        blob = repository.git("rev-parse", f"{tag}:lb/all.yaml")
        (repository.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert compared(cli, repository, "after") == before
    ran = cli("plan", repository.folder / "lb", "--base", "before", "--head", "after", "--no-cache")
    assert ran.code == 1
    assert "is missing" in ran.err


def test_a_cache_that_others_may_write_is_refused_and_changes_nothing(
    cli: Gitvs, repository: Repository, cache: Path
) -> None:
    before = compared(cli, repository, "after")
    cache.chmod(0o777)
    ran = cli("plan", repository.folder / "lb", "--base", "before", "--head", "after")
    assert (ran.code, ran.out) == before
    assert ran.err.startswith(f"gitvs: no cache is used: {cache} is writable by other users")
    assert ran.err.count("\n") == 1


def test_a_full_disk_is_no_failure(cli: Gitvs, repository: Repository, cache: Path) -> None:
    """A process that may not write a byte, but into pipes."""
    before = compared(cli, repository, "after", "--no-cache")
    main = [sys.executable, "-c", "from gitvs.cli import main; main()"]
    command = [*main, "plan", repository.folder / "lb", "--base", "before", "--head", "after"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *command],
        env=dict(os.environ),  # without the COLUMNS that readline gives this process
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (*before, "")
    assert list(cache.iterdir()) == []
