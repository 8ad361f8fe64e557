"""The recipes for CI: sound in the eyes of their judges, and their steps do what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.git.forge import GITHUB_BOT, GITLAB_BOT, LONGEST_BODY, TOKEN, Forge, forge
from tests.support.git.repositories import Repository
from tests.support.paths import EXAMPLES, ROOT

CI = EXAMPLES / "ci"
BIN = Path(sys.executable).parent
SCRIPTS = sorted(CI.rglob("*.sh"))
WORKFLOWS = sorted((CI / "github").glob("*.yml"))
MARKER = "<!-- gitvs plan -->\n"

SERVICE = """\
apiVersion: gitvs/v1
kind: Director
metadata: {name: lb1}
spec: {}
---
apiVersion: gitvs/v1
kind: Service
metadata: {name: web}
spec:
  vips: [203.0.113.10]
  ports: [{port: 80}]
  realServers: [{address: 10.0.3.5, weight: 1}]
"""
CHANGED = SERVICE.replace("weight: 1", "weight: 7")
BLOCKED = SERVICE.replace("weight: 1", "weight: 0")
INVALID = SERVICE.replace("realServers", "realSrevers")


def judge(*command: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run one of the programs that judge, which find each other on the path."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    [name, *arguments] = map(str, command)
    return subprocess.run(
        [BIN / name, *arguments], env=environment, cwd=folder, capture_output=True, text=True
    )


def sound(*command: object) -> None:
    done = judge(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


# What their judges say


def test_the_scripts_are_sound() -> None:
    assert SCRIPTS
    sound("shellcheck", "--shell=sh", "--enable=quote-safe-variables", *SCRIPTS)


def test_the_workflows_are_sound() -> None:
    assert len(WORKFLOWS) == 2
    sound("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    sound("actionlint", *WORKFLOWS)


def test_the_workflows_are_safe(tmp_path: Path) -> None:
    safe(tmp_path, *WORKFLOWS)


def safe(folder: Path, *workflows: Path) -> None:
    """Have workflows judged; actions of GitHub itself may be pinned by their major version."""
    config = folder / "zizmor.yml"
    pins = {"config": {"policies": {"actions/*": "ref-pin"}}}
    config.write_text(json.dumps({"rules": {"unpinned-uses": pins}}))
    sound("zizmor", "--offline", "--persona=pedantic", f"--config={config}", *workflows)


def test_the_gitlab_file_is_sound() -> None:
    file = CI / "gitlab" / "gitvs.yml"
    sound("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", file)


def test_the_hook_and_its_configurations_are_sound() -> None:
    sound("pre-commit", "validate-manifest", ROOT / ".pre-commit-hooks.yaml")
    sound("pre-commit", "validate-config", *hook_configurations())


def hook_configurations() -> list[Path]:
    return [CI / "pre-commit" / name for name in (".pre-commit-config.yaml", "local.yaml")]


def test_the_workflow_for_strangers_has_no_token_and_the_other_runs_nothing_of_theirs() -> None:
    plan, comment = (load(CI / "github" / f"gitvs-{name}.yml") for name in ("plan", "comment"))
    assert plan["permissions"] == {"contents": "read"}
    assert True in plan  # YAML 1.1 reads `on` as a boolean
    assert list(plan[True]) == ["pull_request"]
    assert "secrets" not in str(plan)
    assert "token" not in str(plan)
    assert comment["permissions"] == {}
    [checkout] = [s for s in steps(comment) if s.get("uses", "").startswith("actions/checkout")]
    assert checkout["with"] == {"persist-credentials": False}
    [download] = [s for s in steps(comment) if "download-artifact" in s.get("uses", "")]
    assert download["with"]["path"].startswith("${{ runner.temp }}/")


def steps(workflow: Any) -> list[Any]:
    [job] = workflow["jobs"].values()
    found: list[Any] = job["steps"]
    return found


# Their steps, as a forge runs them


def steps_of_shell(
    lines: str, folder: Path, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run lines as a forge's runner does: a shell that stops at the first failure."""
    environment = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
    return subprocess.run(
        ["sh", "-e", "-c", lines],
        cwd=folder,
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


class GitHub:
    """A clone of the repository in which the workflows run, at a pull request merged."""

    def __init__(self, folder: Path, proposed: str) -> None:
        self.repository = Repository(folder / "clone")
        recipe = {file.name: file.read_bytes() for file in [CI / "plan.sh", *SCRIPTS, *WORKFLOWS]}
        base = {f".github/workflows/{name}": content for name, content in recipe.items()}
        self.repository.commit({**base, "manifests/lb.yaml": SERVICE}, "Base")
        self.repository.git("checkout", "--quiet", "-b", "topic")
        self.head = self.repository.commit({"manifests/lb.yaml": proposed}, "Proposed")
        self.repository.git("checkout", "--quiet", "main")
        self.repository.commit({"README": "later"}, "Meanwhile")
        self.repository.git("merge", "--quiet", "--no-ff", "-m", "Merge", "topic")
        self.sha = self.repository.git("rev-parse", "HEAD")
        self.temporary = folder / "temporary"
        self.report = self.temporary / "report"
        self.summary = folder / "summary.md"

    def plan(self) -> subprocess.CompletedProcess[str]:
        """Run gitvs-plan.yml after its installation; return how the step that plans ended."""
        workflow = load(CI / "github" / "gitvs-plan.yml")
        shared = workflow["jobs"]["plan"]["env"]
        known = {"github.sha": self.sha, "github.event.pull_request.number": "7"}
        done = {
            step["name"]: self._run(
                step, {**shared, "GITHUB_STEP_SUMMARY": str(self.summary)}, known
            )
            for step in steps(workflow)
            if "run" in step and "name" in step
        }
        assert done["Keep the report"].returncode == 0, done["Keep the report"].stderr
        self.temporary.mkdir(exist_ok=True)
        (self.repository.folder / "reports").rename(self.report)
        return done["Plan"]

    def comment(self, served: Forge, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run the last step of gitvs-comment.yml."""
        workflow = load(CI / "github" / "gitvs-comment.yml")
        [step] = [s for s in steps(workflow) if s.get("name") == "Comment"]
        run = "github.event.workflow_run"
        known = {
            "github.token": TOKEN,
            f"{run}.head_repository.full_name": "fork/lb",
            f"{run}.head_sha": self.head,
            f"{run}.html_url": "https://example.org/run/1",
        }
        given = {"GITHUB_API_URL": served.url, "GITHUB_REPOSITORY": "net/lb"}
        return self._run(step, {**given, "RUNNER_TEMP": str(self.temporary), **changed}, known)

    def _run(
        self, step: Any, given: dict[str, str], known: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        variables = {name: filled(value, known) for name, value in step.get("env", {}).items()}
        assert "${{" not in step["run"], "expressions in a script are where injections come in"
        return steps_of_shell(step["run"], self.repository.folder, {**variables, **given})


def filled(text: str, known: dict[str, str]) -> str:
    """Replace the expressions of a workflow."""
    for expression, value in known.items():
        text = text.replace(f"${{{{ {expression} }}}}", value)
    assert "${{" not in text
    return text


@pytest.fixture
def served() -> Iterator[Forge]:
    with forge() as running:
        yield running


@pytest.mark.parametrize(
    ("proposed", "code", "verdict", "annotation"),
    [
        (CHANGED, 0, "changes on 1 director", ""),
        (BLOCKED, 3, "blocked", "::error file=manifests/lb.yaml,line="),
        (INVALID, 4, "invalid", "::error file=manifests/lb.yaml,line=12,"),
    ],
    ids=["changes", "blocked", "invalid"],
)
def test_github_shows_every_verdict(
    tmp_path: Path, served: Forge, proposed: str, code: int, verdict: str, annotation: str
) -> None:
    github = GitHub(tmp_path, proposed)
    done = github.plan()
    assert done.returncode == code, done.stderr
    assert annotation in done.stdout
    report = (github.report / "plan.md").read_text()
    assert github.summary.read_text() == report
    assert report.startswith(MARKER)
    assert verdict in report.splitlines()[1]
    assert "<html" in (github.report / "plan.html").read_text()
    served.head_sha = github.head
    commented = github.comment(served)
    assert commented.returncode == 0, commented.stderr
    [body] = served.bodies
    assert body is not None
    assert body.startswith(report)
    assert body.endswith(f"Commit {github.head}, [run](https://example.org/run/1)")


def test_a_report_is_about_what_the_merge_would_change(tmp_path: Path) -> None:
    """The base has moved on meanwhile, and is not compared from where the two parted."""
    github = GitHub(tmp_path, CHANGED)
    assert github.plan().returncode == 0
    assert "parted" not in (github.report / "plan.md").read_text()


def test_a_plan_that_could_not_be_made_replaces_the_older_one(tmp_path: Path) -> None:
    github = GitHub(tmp_path, CHANGED)
    github.sha = "0" * 40
    done = github.plan()
    assert done.returncode == 1
    report = (github.report / "plan.md").read_text()
    assert report.startswith(MARKER + "## gitvs plan: failed")
    assert "exit code 1" in report


def reported(folder: Path, served: Forge, text: str = MARKER + "fine\n") -> GitHub:
    """Return a pull request with a report, at whose head it is."""
    github = GitHub(folder, CHANGED)
    github.report.mkdir(parents=True)
    (github.report / "plan.md").write_text(text)
    (github.report / "pull-request").write_text("7\n")
    served.head_sha = github.head
    return github


def test_github_has_one_comment_that_later_runs_change(tmp_path: Path, served: Forge) -> None:
    github = reported(tmp_path, served)
    for number in range(120):
        served.say("ada", f"comment {number}")
    served.say(GITHUB_BOT, None)
    served.say("mallory", MARKER + "not by the bot")
    before = list(served.bodies)
    for text in ("first", "second", "third"):
        (github.report / "plan.md").write_text(f"{MARKER}{text}\n")
        done = github.comment(served)
        assert done.returncode == 0, done.stderr
        *others, last = served.bodies
        assert others == before
        assert last is not None
        assert last.startswith(f"{MARKER}{text}\n")


@pytest.mark.parametrize("text", ["x" * LONGEST_BODY, "é" * 65_480, "\U0001f4a5" * 200_000])
def test_a_report_that_is_too_long_is_replaced(tmp_path: Path, served: Forge, text: str) -> None:
    done = reported(tmp_path, served, f"{MARKER}{text}").comment(served)
    assert done.returncode == 0, done.stderr
    [body] = served.bodies
    assert body is not None
    assert body.startswith(MARKER)
    assert "too long" in body


def test_the_longest_report_of_gitvs_fits(tmp_path: Path, served: Forge) -> None:
    text = MARKER + "\U0001f4a5" * (60_000 - len(MARKER))
    done = reported(tmp_path, served, text).comment(served)
    assert done.returncode == 0, done.stderr
    [body] = served.bodies
    assert body is not None
    assert body.startswith(text)


@pytest.mark.parametrize(
    ("sha", "repository"), [("f" * 40, "fork/lb"), ("", "other/lb"), ("", None)]
)
def test_a_report_about_another_commit_is_not_shown(
    tmp_path: Path, served: Forge, sha: str, repository: str | None
) -> None:
    github = reported(tmp_path, served)
    served.head_sha = sha or github.head
    served.head_repository = repository
    done = github.comment(served)
    assert (done.returncode, served.comments) == (0, [])
    assert "at another commit" in done.stdout


@pytest.mark.parametrize("number", ["", "7/../8", "7 8", "-7", "7\n8", "$(id)"])
def test_a_number_that_is_none_is_refused(tmp_path: Path, served: Forge, number: str) -> None:
    github = reported(tmp_path, served)
    (github.report / "pull-request").write_text(number)
    done = github.comment(served)
    assert (done.returncode, served.comments) == (1, [])
    assert "names no pull request" in done.stderr


def test_a_link_is_not_followed(tmp_path: Path, served: Forge) -> None:
    github = reported(tmp_path, served)
    secret = tmp_path / "secret"
    (github.report / "plan.md").rename(secret)
    (github.report / "plan.md").symlink_to(secret)
    done = github.comment(served)
    assert (done.returncode, served.comments) == (1, [])
    assert "has no file plan.md" in done.stderr


def test_what_is_no_report_is_refused(tmp_path: Path, served: Forge) -> None:
    done = reported(tmp_path, served, "# Buy now\n").comment(served)
    assert (done.returncode, served.comments) == (1, [])
    assert "no report" in done.stderr


def test_a_refusal_of_the_forge_is_an_error(tmp_path: Path, served: Forge) -> None:
    done = reported(tmp_path, served).comment(served, GITHUB_TOKEN="wrong")
    assert done.returncode != 0
    assert "401" in done.stderr


class GitLab:
    """A clone of the project in which the jobs run."""

    def __init__(self, folder: Path, proposed: str, served: Forge) -> None:
        self.repository = Repository(folder)
        recipe = [CI / "plan.sh", *(CI / "gitlab").iterdir()]
        files: dict[str, str | bytes] = {
            f".gitlab/gitvs/{file.name}": file.read_bytes() for file in recipe
        }
        base = self.repository.commit({**files, "manifests/lb.yaml": SERVICE}, "Base")
        head = self.repository.commit({"manifests/lb.yaml": proposed}, "Proposed")
        self.variables = {
            "CI_API_V4_URL": served.url,
            "CI_COMMIT_SHA": head,
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "1",
            "CI_PIPELINE_URL": "https://example.org/pipeline/1",
            "GITVS_NOTE_TOKEN": TOKEN,
        }

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the script of a job."""
        job = load(CI / "gitlab" / "gitvs.yml")[name]
        lines = "\n".join(job["script"])
        variables = {**job["variables"], **self.variables}
        return steps_of_shell(lines, self.repository.folder, variables)


@pytest.mark.parametrize(
    ("proposed", "code", "severities"),
    [(CHANGED, 0, set()), (BLOCKED, 3, {"blocker"}), (INVALID, 4, {"blocker"})],
    ids=["changes", "blocked", "invalid"],
)
def test_gitlab_shows_every_verdict(
    tmp_path: Path, served: Forge, proposed: str, code: int, severities: set[str]
) -> None:
    gitlab = GitLab(tmp_path, proposed, served)
    done = gitlab.run("gitvs plan")
    assert done.returncode == code, done.stderr
    job = load(CI / "gitlab" / "gitvs.yml")["gitvs plan"]
    kept = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["codequality"]]
    assert all((tmp_path / path).stat().st_size for path in kept)
    quality = json.loads((tmp_path / kept[-1]).read_text())
    assert {issue["severity"] for issue in quality} - {"info"} == severities
    served.say("ada", MARKER + "mine")
    for _ in range(2):
        noted = gitlab.run("gitvs note")
        assert noted.returncode == 0, noted.stderr
    theirs, note = served.comments
    assert theirs.body == MARKER + "mine"
    assert (note.author, note.body) == (
        GITLAB_BOT,
        (tmp_path / "reports/plan.md").read_text()
        + f"\n\n---\n\nCommit {gitlab.variables['CI_COMMIT_SHA']}, [pipeline](https://example.org/pipeline/1)",
    )


def test_a_merged_results_pipeline_compares_with_the_target_branch(
    tmp_path: Path, served: Forge
) -> None:
    gitlab = GitLab(tmp_path, BLOCKED, served)
    head = gitlab.variables["CI_COMMIT_SHA"]
    gitlab.variables["CI_MERGE_REQUEST_TARGET_BRANCH_SHA"] = head
    assert gitlab.run("gitvs plan").returncode == 0
    gitlab.variables["CI_MERGE_REQUEST_TARGET_BRANCH_SHA"] = ""
    assert gitlab.run("gitvs plan").returncode == 3


def test_gitlab_gives_no_token_to_forks() -> None:
    note = load(CI / "gitlab" / "gitvs.yml")["gitvs note"]
    [rule] = note["rules"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID" in rule["if"]
    assert rule["if"].rstrip().endswith("&& $GITVS_NOTE_TOKEN")


# The hook


def hooked(repository: Repository, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the hooks on what is staged, with what pip needs to reach its index."""
    variables = {n: v for n, v in os.environ.items() if n != "PATH" and not n.startswith("GIT_")}
    home = {"PRE_COMMIT_HOME": str(folder / "home"), "GIT_CONFIG_GLOBAL": "/dev/null"}
    return steps_of_shell("pre-commit run", repository.folder, {**variables, **home})


def judge_hook(repository: Repository, folder: Path) -> None:
    """A sound change passes, a wrong one doesn't, nor does one that only takes a file away."""
    passes = hooked(repository, folder)
    assert passes.returncode == 0, passes.stdout + passes.stderr
    repository.write({"manifests/lb.yaml": INVALID})
    repository.git("add", "--all")
    fails = hooked(repository, folder)
    assert fails.returncode == 1
    assert "did you mean realServers?" in fails.stdout
    used = SERVICE.replace("realServers: [{address: 10.0.3.5, weight: 1}]", "pools: [web]")
    pool = "{apiVersion: gitvs/v1, kind: Pool, metadata: {name: web}, spec: {realServers: []}}\n"
    repository.commit({"manifests/lb.yaml": used, "manifests/pool.yaml": pool})
    assert hooked(repository, folder).returncode == 0
    repository.git("rm", "--quiet", "manifests/pool.yaml")
    fails = hooked(repository, folder)
    assert fails.returncode == 1, fails.stdout
    assert "unknown" in fails.stdout


def test_the_local_hook_judges_commits(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "manifests")
    config = (CI / "pre-commit" / "local.yaml").read_text()
    repository.commit({".pre-commit-config.yaml": config, "manifests/lb.yaml": SERVICE})
    judge_hook(repository, tmp_path)


def test_the_hook_of_this_repository_judges_commits(tmp_path: Path) -> None:
    """pre-commit installs what is here into an environment of its own."""
    gitvs = Repository(tmp_path / "gitvs")
    shipped = ["operator", "schemas", "systemd", "pyproject.toml", "README.md", "LICENSE"]
    listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *listing, *shipped, ".pre-commit-hooks.yaml"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, done.stdout.split("\0")):
        target = gitvs.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).exists():
            target.write_bytes((ROOT / name).read_bytes())
    revision = gitvs.commit()
    config = load(CI / "pre-commit" / ".pre-commit-config.yaml")
    config["repos"][0].update(repo=str(gitvs.folder), rev=revision)
    repository = Repository(tmp_path / "manifests")
    repository.commit(
        {".pre-commit-config.yaml": yaml.safe_dump(config), "manifests/lb.yaml": SERVICE}
    )
    judge_hook(repository, tmp_path)
