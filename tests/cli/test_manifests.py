"""`validate`, `render` and `schema`: on the examples, on faults, and at Git revisions."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from gitvs.cli.schema import SCHEMA_KINDS
from gitvs.core.errors import ExitCode
from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.manifests.schema import DOCUMENT_KINDS
from gitvs.report.text.problems import ProblemFormat
from tests.support.command_line import Gitvs, in_process
from tests.support.git.repositories import Repository
from tests.support.manifests.writing import manifest_examples
from tests.support.paths import EXAMPLES

QUICKSTART = EXAMPLES / "quickstart"
FOLDERS = manifest_examples(EXAMPLES)


def directors() -> list[tuple[Path, str]]:
    """Every director of every example."""
    return [
        (folder, name)
        for folder in FOLDERS
        for name in load_manifest_files(
            ManifestFile(str(x.relative_to(folder)), x.read_bytes()) for x in folder.rglob("*.yaml")
        ).director_names
    ]


@pytest.fixture(name="cli")
def fixture_cli(capsys: pytest.CaptureFixture[str]) -> Gitvs:
    return in_process(capsys)


def test_what_an_agent_would_not_take_the_time_for_is_a_problem_here_too(
    cli: Gitvs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitvs.adapters.process.deadline.MAX_JUDGING_SECONDS", 0.02)
    (tmp_path / "a.yaml").write_text("---\n- 1\n" * 50_000)
    done = cli("validate", str(tmp_path))
    assert done.code == 4
    assert "a.yaml:1:1: checking these manifests takes more than 0.02 s" in done.out + done.err


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """The quickstart with two faults."""
    folder = tmp_path / "manifests"
    shutil.copytree(QUICKSTART, folder)
    (folder / "zz.yaml").write_text(
        "apiVersion: gitvs/v1\n"
        "kind: Service\n"
        "metadata: {name: more}\n"
        "spec:\n"
        "  shceduler: rr\n"
        "  vips: [203.0.113.99]\n"
        "  ports: [{port: '80'}]\n"
        "  realServers: []\n"
    )
    return folder


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda x: x.name)
def test_every_example_is_valid(cli: Gitvs, folder: Path) -> None:
    ran = cli("validate", folder)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("no problems: ")


def test_what_is_there_is_counted(cli: Gitvs) -> None:
    assert cli("validate", QUICKSTART).out == "no problems: 2 directors, 5 services, 2 pools\n"


def test_path_is_the_folder_that_one_is_in(cli: Gitvs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(QUICKSTART)
    assert cli("validate") == cli("validate", ".") == cli("validate", QUICKSTART)


def test_problems_are_the_result_and_their_number_is_not(cli: Gitvs, faulty: Path) -> None:
    ran = cli("validate", faulty)
    assert ran.code == 4
    first, second = ran.out.splitlines()
    assert first.startswith("zz.yaml:5:3: ")
    assert "did you mean scheduler?" in first
    assert second.startswith("zz.yaml:7:")
    assert ran.err == "gitvs: 2 problems; more may follow once these are corrected\n"


@pytest.mark.parametrize("form", [str(f) for f in ProblemFormat])
def test_every_format_finds_the_same_problems(cli: Gitvs, faulty: Path, form: str) -> None:
    ran = cli("validate", faulty, "--format", form)
    assert ran.code == 4
    assert ran.out.count("did you mean scheduler?") == 1
    if form in ("json", "gitlab", "sarif"):
        json.loads(ran.out)


@pytest.mark.parametrize("form", ["json", "gitlab", "sarif"])
def test_sound_manifests_are_a_document_too(cli: Gitvs, form: str) -> None:
    ran = cli("validate", QUICKSTART, "--format", form)
    assert ran.code == 0
    assert "did you mean" not in ran.out
    json.loads(ran.out)


def test_forges_get_paths_from_where_the_job_runs(
    cli: Gitvs, faulty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(faulty.parent)
    for path in ("manifests", "./manifests/", faulty):
        assert "file=manifests/zz.yaml," in cli("validate", path, "--format", "github").out
    monkeypatch.chdir(faulty)
    assert "file=zz.yaml," in cli("validate", "--format", "github").out


@pytest.mark.parametrize("command", [["validate"], ["render", "--director", "lb1"]])
def test_a_missing_path_is_a_clear_error(cli: Gitvs, tmp_path: Path, command: list[str]) -> None:
    ran = cli(*command, tmp_path / "nowhere")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"gitvs: {tmp_path / 'nowhere'} cannot be read: No such file or directory\n"


def test_a_path_that_is_a_file_is_a_clear_error(cli: Gitvs) -> None:
    ran = cli("validate", QUICKSTART / "web.yaml")
    assert ran.code == 1
    assert "is not a folder" in ran.err


def test_a_folder_without_manifests_is_told_of(cli: Gitvs, tmp_path: Path) -> None:
    ran = cli("validate", str(tmp_path))
    assert ran.code == 4
    assert f"no manifests (*.yaml, *.yml, *.json) in {tmp_path}" in ran.out


@pytest.mark.parametrize("command", ["plan", "apply", "render"])
def test_nothing_is_made_of_it(cli: Gitvs, tmp_path: Path, command: str) -> None:
    ran = cli(command, str(tmp_path), "--director", "lb1")
    assert (ran.code, ran.out) == (4, "")
    assert f"no manifests (*.yaml, *.yml, *.json) in {tmp_path}" in ran.err


@pytest.mark.parametrize("form", [str(f) for f in ProblemFormat])
def test_a_folder_without_a_director_is_sound_with_a_warning(
    cli: Gitvs, tmp_path: Path, form: str
) -> None:
    (tmp_path / "web.yaml").write_text((QUICKSTART / "mail.yaml").read_text())
    ran = cli("validate", str(tmp_path), "--format", form)
    assert ran.code == 0
    assert ran.out.count("no Director document") == 1
    if form == "text":
        assert ran.out.startswith(
            ".: warning: there is no Director document, so no host uses these manifests"
        )
        assert "no problems, 1 warning: 0 directors, 1 service" in ran.out


def test_a_folder_without_a_director_is_nothing_to_plan(cli: Gitvs, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text((QUICKSTART / "mail.yaml").read_text())
    ran = cli("plan", str(tmp_path))
    assert (ran.code, ran.out) == (4, "")
    assert "the manifests have no Director document" in ran.err


def test_file_names_do_nothing_to_a_terminal(cli: Gitvs, tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\n.yaml").write_text("kind: [\n")
    (tmp_path / "b\x1b[31m.yaml").symlink_to("/etc/passwd")
    ran = cli("validate", str(tmp_path))
    assert ran.out.startswith("a\\u001b[31m\\u000a.yaml:2:1: ")
    assert "b\\u001b[31m.yaml: left out" in ran.err
    assert (ran.code, "\x1b" in ran.out + ran.err) == (4, False)


def test_links_are_told_of_on_standard_error(cli: Gitvs, faulty: Path) -> None:
    (faulty / "zz.yaml").unlink()
    os.symlink("web.yaml", faulty / "link.yaml")
    ran = cli("validate", faulty)
    assert ran.code == 0
    assert "link.yaml" in ran.err


def test_render_without_sound_manifests_reports_every_problem(cli: Gitvs, faulty: Path) -> None:
    ran = cli("render", faulty, "--director", "lb-ams")
    assert (ran.code, ran.out) == (4, "")
    assert [x.split(":")[0] for x in ran.err.splitlines()] == ["zz.yaml", "zz.yaml", "gitvs"]


@pytest.mark.parametrize(("folder", "director"), directors())
@pytest.mark.parametrize("form", ["yaml", "json", "ipvsadm", "ip"])
def test_every_director_of_every_example_renders(
    cli: Gitvs, folder: Path, director: str, form: str
) -> None:
    ran = cli("render", folder, "--director", director, "--format", form)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("\n")


def test_yaml_and_json_say_the_same(cli: Gitvs) -> None:
    arguments = ("render", QUICKSTART, "--director", "lb-ams", "--format")
    from_yaml = yaml.safe_load(cli(*arguments, "yaml").out)
    assert from_yaml == json.loads(cli(*arguments, "json").out)
    assert from_yaml["director"] == "lb-ams"
    assert from_yaml["desiredDigest"].startswith("sha256:")
    servers = [o for o in from_yaml["objects"] if o["kind"] == "real-server"]
    assert servers[0]["source"]["file"] == "web.yaml"
    assert (servers[0]["service"], servers[0]["name"]) == ("web", "web1-ams")


def test_a_virtual_service_is_rendered_with_its_health_checks(cli: Gitvs) -> None:
    ran = cli("render", EXAMPLES / "health", "--director", "lb1", "--format", "json")
    objects = json.loads(ran.out)["objects"]
    health = {o["key"]: o["health"] for o in objects if "health" in o}
    assert {o["key"] for o in objects if o["kind"] == "virtual-service"} == health.keys()
    assert health["udp 203.0.113.53:53"] == {
        "checks": [{"dns": {"name": "www.example.org"}}],
        "intervalSeconds": 2,
        "timeoutSeconds": 0.5,
        "retryIntervalSeconds": 0.5,
        "rise": 3,
        "fall": 3,
        "onFailure": "remove",
        "keepPercent": 67,
        "quorum": {"losePercent": 50, "gainPercent": 60},
    }


def test_ipvsadm_lines_hold_the_thresholds(cli: Gitvs) -> None:
    ran = cli("render", QUICKSTART, "--director", "lb-ams", "--format", "ipvsadm")
    assert "-a -t 203.0.113.25:25 -r 10.1.0.25:25 -g -w 2 -x 1000 -y 800" in ran.out.splitlines()


def test_render_prints_nothing_but_the_state(cli: Gitvs) -> None:
    ran = cli("render", QUICKSTART, "--director", "lb-ams", "--format", "ip")
    assert all(x.startswith("ip ") for x in ran.out.splitlines())


def test_an_unknown_director_is_exit_4_with_a_hint(cli: Gitvs) -> None:
    ran = cli("render", QUICKSTART, "--director", "lb-amz")
    assert (ran.code, ran.out) == (4, "")
    assert "did you mean lb-ams?" in ran.err


@pytest.mark.parametrize("name", ["lb-ams", "lb-ams.example.net", "LB-AMS", "Lb-Ams.Example.Net"])
def test_the_director_is_the_host_by_default(
    cli: Gitvs, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert cli("render", QUICKSTART) == cli("render", QUICKSTART, "--director", "lb-ams")


def test_a_host_that_is_no_director_is_exit_4(cli: Gitvs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "laptop.example.net")
    ran = cli("render", QUICKSTART)
    assert ran.code == ExitCode.INVALID
    assert ran.err == (
        "gitvs: no Director document is named as this host, laptop.example.net or laptop;"
        " name one with --director, or for an agent with `director` in its settings"
        " (known: lb-ams, lb-lax)\n"
    )


def test_a_revision_is_read_instead_of_the_work_tree(cli: Gitvs, faulty: Path) -> None:
    repository = Repository(faulty.parent)
    (faulty / "zz.yaml").rename(faulty.parent / "zz.yaml")
    repository.git("add", "manifests")
    repository.git("commit", "--quiet", "--message", "sound")
    (faulty.parent / "zz.yaml").rename(faulty / "zz.yaml")
    assert cli("validate", faulty).code == 4
    assert cli("validate", faulty, "--rev", "HEAD").code == 0
    missing = cli("validate", faulty, "--rev", "nowhere")
    assert missing.code == 1
    assert "nowhere" in missing.err


def test_the_kinds_are_listed(cli: Gitvs) -> None:
    assert [line.split()[0] for line in cli("schema").out.splitlines()] == [
        *("Manifest", "Director", "Service", "Pool", "Defaults", "Policy"),
        *("Plan", "Observation", "Status", "History", "Transaction", "Settings"),
    ]


@pytest.mark.parametrize("kind", ["Manifest", *DOCUMENT_KINDS, "Plan"])
def test_a_schema_is_printed_whatever_its_case(cli: Gitvs, kind: str) -> None:
    ran = cli("schema", kind)
    schema = json.loads(ran.out)
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == kind
    assert cli("schema", kind.lower()) == ran


def test_every_listed_kind_has_a_schema(cli: Gitvs) -> None:
    for kind in SCHEMA_KINDS:
        Draft202012Validator.check_schema(json.loads(cli("schema", kind).out))


# Sparse checkouts


@pytest.fixture
def sparse(tmp_path: Path) -> Repository:
    """The quickstart below `lb`, of which a sparse checkout has all but two files."""
    repository = Repository(tmp_path)
    shutil.copytree(QUICKSTART, tmp_path / "lb")
    repository.commit({"lb/README.md": "x", "lb/team/more.yaml": ""})
    repository.git("sparse-checkout", "set", "--no-cone", "/*", "!/lb/dns.yaml", "!/lb/*.md")
    repository.git("sparse-checkout", "add", "!/lb/team/")
    return repository


@pytest.mark.parametrize("form", ["text", "json", "github", "gitlab", "sarif"])
def test_what_a_sparse_checkout_leaves_out_is_a_warning(
    cli: Gitvs, sparse: Repository, form: str
) -> None:
    ran = cli("validate", sparse.folder / "lb", "--format", form)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("lb/dns.yaml, lb/team/more.yaml: left out of this sparse checkout") == 1
    assert ran.out.count("sparse-checkout") >= 1


def test_what_a_sparse_checkout_leaves_out_is_named_beside_problems(
    cli: Gitvs, sparse: Repository
) -> None:
    sparse.write({"lb/bad.yaml": "kind: [\n"})
    ran = cli("validate", sparse.folder / "lb")
    assert ran.code == 4
    assert "left out of this sparse checkout" in ran.out


def test_what_a_sparse_checkout_leaves_out_is_told_by_what_goes_on_without_it(
    cli: Gitvs, sparse: Repository
) -> None:
    ran = cli("render", sparse.folder / "lb", "--director", "lb-ams")
    assert ran.code == 0
    assert ran.err.startswith("gitvs: .: warning: lb/dns.yaml, lb/team/more.yaml: left out of")
    assert "warning" not in cli("render", sparse.folder / "lb", "--rev", "HEAD").err
    sparse.git("sparse-checkout", "disable")
    assert cli("render", sparse.folder / "lb", "--director", "lb-ams").err == ""


def test_what_a_sparse_checkout_leaves_out_is_no_uncommitted_change(
    cli: Gitvs, sparse: Repository
) -> None:
    ran = cli("plan", sparse.folder / "lb", "--base", "HEAD")
    assert (ran.code, "uncommitted" in ran.out) == (0, False)
