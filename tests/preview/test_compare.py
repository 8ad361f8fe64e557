"""Commit against commit: which commits, whose plans, and what lifts a gate. Real repositories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gitvs.adapters.git.commits import open_commits
from gitvs.core.errors import ExitCode, SourceError, UnknownDirector
from gitvs.preview.compare import Comparison, compare
from gitvs.preview.starting_point import MAX_COMMITS_BACK
from gitvs.report.plan.plan_view import Presence
from gitvs.report.plan.preview_view import Preview, Verdict
from tests.support.git.repositories import Repository
from tests.support.manifests.writing import Doc, director, file_of, policy, server, service

FOLDER = "manifests"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def commit(repository: Repository, *documents: Doc, message: str = "Change") -> str:
    """Commit these documents as all manifests that there are."""
    return repository.commit({f"{FOLDER}/all.yaml": file_of("", *documents).data}, message)


def compared(
    repository: Repository,
    base: str,
    head: str = "HEAD",
    directors: Sequence[str] = (),
    allowed: Sequence[str] = (),
) -> Preview:
    question = Comparison(base, head, tuple(directors), frozenset(allowed))
    with open_commits(repository.folder / FOLDER) as commits:
        return compare(commits, question)


def keys(preview: Preview, name: str) -> list[str]:
    """The changes of one director, as `action key`."""
    [plan] = [plan for plan in preview.plans if plan.director == name]
    return [f"{change.action} {change.key}" for change in plan.plan.changes]


BOTH = (director("lb1"), director("lb2"))
ANOTHER = service("db", vips=["203.0.113.11"])
ON_LB1 = {"directors": {"names": ["lb1"]}}


def test_every_director_that_changes_has_its_plan_and_the_others_are_counted(
    repository: Repository,
) -> None:
    base = commit(repository, *BOTH, service())
    head = commit(repository, *BOTH, service(), service("db", vips=["203.0.113.11"], **ON_LB1))
    preview = compared(repository, base)
    assert (preview.base.commit, preview.head.commit) == (base, head)
    assert keys(preview, "lb1") == [
        "create tcp 203.0.113.11:443",
        "create tcp 203.0.113.11:443 -> 10.0.3.5:443",
        "create 203.0.113.11/32 dev gitvs0",
    ]
    assert preview.unchanged == 1
    assert preview.folder == FOLDER
    assert preview.verdict is Verdict.CHANGES
    assert (preview.remarks, preview.problems) == ((), ())


def test_a_change_of_words_alone_changes_nothing(repository: Repository) -> None:
    base = commit(repository, *BOTH, service())
    commit(repository, *BOTH, service("renamed"))
    preview = compared(repository, base)
    assert (preview.verdict, preview.unchanged, preview.plans) == (Verdict.NONE, 2, ())


def test_directors_that_appear_get_everything_and_those_that_leave_keep_it(
    repository: Repository,
) -> None:
    base = commit(repository, director("lb1"), service())
    commit(repository, director("lb2"), service())
    preview = compared(repository, base)
    assert preview.directors_with(Presence.DISAPPEARS) == ("lb1",)
    assert preview.directors_with(Presence.APPEARS) == ("lb2",)
    assert keys(preview, "lb1") == []
    assert "create tcp 203.0.113.10:443" in keys(preview, "lb2")
    assert preview.verdict is Verdict.BLOCKED


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ("Rebuild lb2", Verdict.BLOCKED),
        ("Gitvs-Allow: director-leaves", Verdict.CHANGES),
        ("Gitvs-Allow: director-leaves lb2", Verdict.CHANGES),
        ("Gitvs-Allow: director-leaves lb1", Verdict.BLOCKED),
    ],
)
def test_a_director_that_leaves_has_to_be_meant(
    repository: Repository, message: str, verdict: Verdict
) -> None:
    base = commit(repository, *BOTH, service())
    commit(repository, director("lb1"), service(), message=message)
    commit(repository, director("lb1"), service(scheduler="wrr"))
    preview = compared(repository, base)
    assert preview.verdict is verdict
    assert preview.directors_with(Presence.DISAPPEARS) == ("lb2",)
    [gate] = next(plan for plan in preview.plans if plan.director == "lb2").gates
    assert (gate.name, gate.is_allowed) == ("director-leaves", verdict is Verdict.CHANGES)


def test_a_line_from_before_a_director_left_says_nothing_of_it(repository: Repository) -> None:
    base = commit(repository, *BOTH, service())
    commit(repository, *BOTH, service(scheduler="wrr"), message="Gitvs-Allow: director-leaves")
    commit(repository, director("lb1"), service(scheduler="wrr"))
    assert compared(repository, base).verdict is Verdict.BLOCKED


def test_manifests_without_a_director_are_no_green_preview(repository: Repository) -> None:
    base = commit(repository, director("lb1"), service())
    commit(repository, service(scheduler="wrr"))
    preview = compared(repository, base)
    assert (preview.verdict, preview.exit_code) == (Verdict.INVALID, ExitCode.INVALID)
    assert [problem.rule for problem in preview.problems] == ["no-director"]


def test_only_the_directors_that_were_asked_for(repository: Repository) -> None:
    base = commit(repository, *BOTH)
    commit(repository, *BOTH, service())
    preview = compared(repository, base, directors=["lb2"])
    assert [plan.director for plan in preview.plans] == ["lb2"]
    assert preview.unchanged == 0


def test_a_director_that_neither_side_has_is_refused(repository: Repository) -> None:
    base = commit(repository, *BOTH, service())
    with pytest.raises(UnknownDirector, match="lb11; did you mean lb1") as caught:
        compared(repository, base, directors=["lb11"])
    assert caught.value.exit_code is ExitCode.INVALID


# Which commits


def test_a_branch_is_compared_from_where_it_parted(repository: Repository) -> None:
    fork = commit(repository, *BOTH, service())
    repository.git("switch", "--quiet", "--create", "topic")
    commit(repository, *BOTH, service(realServers=[server(weight=5)]))
    repository.git("switch", "--quiet", "main")
    main = commit(repository, *BOTH, service(scheduler="wrr"))
    preview = compared(repository, "main", "topic")
    assert preview.base.commit == fork
    assert keys(preview, "lb1") == ["update tcp 203.0.113.10:443 -> 10.0.3.5:443"]
    assert (
        preview.remarks
        == (
            f"commit {main[:12]} has 1 commit that commit {preview.head.commit[:12]} lacks:"  # type: ignore[index]
            f" compared from their common ancestor, commit {fork[:12]}",
        )
    )


def test_branches_that_were_merged_into_each_other_are_remarked(repository: Repository) -> None:
    fork = commit(repository, *BOTH)
    repository.git("switch", "--quiet", "--create", "topic")
    one = repository.commit({f"{FOLDER}/one.yaml": file_of("", service()).data})
    repository.git("switch", "--quiet", "main")
    other = repository.commit({f"{FOLDER}/other.yaml": file_of("", ANOTHER).data})
    repository.git("merge", "--quiet", "--no-ff", "--message=Merge", one)
    repository.git("switch", "--quiet", "topic")
    repository.git("merge", "--quiet", "--no-ff", "--message=Merge", other)
    preview = compared(repository, "main", "topic")
    assert preview.base.commit in (one, other)
    assert (
        "they have 2 common ancestors, because they were merged into each other"
        in preview.remarks[1]
    )
    assert len(compared(repository, fork, "topic").remarks) == 0


def test_the_way_back_is_the_reverse(repository: Repository) -> None:
    old = commit(repository, *BOTH)
    new = commit(repository, *BOTH, service(drain={"timeout": "0s"}), message="Gitvs-Allow: x")
    preview = compared(repository, new, old, allowed=["empty-state"])
    assert (preview.base.commit, preview.head.commit) == (new, old)
    assert "delete tcp 203.0.113.10:443" in keys(preview, "lb1")
    assert preview.problems == ()


def test_histories_with_nothing_in_common_are_compared_as_they_are(
    repository: Repository,
) -> None:
    base = commit(repository, *BOTH)
    repository.git("switch", "--quiet", "--orphan", "other")
    commit(repository, *BOTH, service())
    preview = compared(repository, base)
    assert preview.base.commit == base
    assert "no commit in common" in preview.remarks[0]


def test_a_shallow_clone_without_the_base_says_how_to_get_it(
    repository: Repository, tmp_path: Path
) -> None:
    base = commit(repository, *BOTH)
    commit(repository, *BOTH, service())
    clone = Repository(tmp_path / "clone")
    clone.git("fetch", "--quiet", "--depth=1", f"file://{repository.folder}", "main")
    clone.git("switch", "--quiet", "--detach", "FETCH_HEAD")
    with pytest.raises(SourceError, match="fetch-depth: 0"):
        compared(clone, base)


def test_a_shallow_clone_that_lacks_the_way_to_the_base_says_how_to_get_it(
    repository: Repository, tmp_path: Path
) -> None:
    base = commit(repository, *BOTH)
    commit(repository, *BOTH, service(scheduler="wrr"))
    commit(repository, *BOTH, service())
    clone = Repository(tmp_path / "clone")
    url = f"file://{repository.folder}"
    clone.git("fetch", "--quiet", "--depth=1", url, "main:new")
    repository.git("branch", "old", base)
    clone.git("fetch", "--quiet", "--depth=1", url, "old:old")
    clone.git("switch", "--quiet", "new")
    with pytest.raises(SourceError, match="nothing in common here; this clone is shallow"):
        compared(clone, "old")


def test_a_shallow_clone_that_lacks_messages_says_so(
    repository: Repository, tmp_path: Path
) -> None:
    base = commit(repository, *BOTH)
    repository.git("switch", "--quiet", "--create", "topic")
    commit(repository, *BOTH, service(), message="Gitvs-Allow: empty-state")
    last = commit(repository, *BOTH, service(scheduler="wrr"))
    repository.git("switch", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--message=Merge", "topic")
    clone = Repository(tmp_path / "clone")
    clone.git("fetch", "--quiet", "--depth=2", f"file://{repository.folder}", "main")
    clone.git("switch", "--quiet", "--detach", "FETCH_HEAD")
    [remark] = compared(clone, base).remarks
    assert remark.startswith(
        f"`Gitvs-Allow` lines of commits before {last[:12]} could not be read; this"
    )
    clone.git("fetch", "--quiet", "--unshallow", f"file://{repository.folder}", "main")
    assert compared(clone, base).remarks == ()


def test_a_remote_branch_is_offered_where_the_local_one_is_missing(
    repository: Repository, tmp_path: Path
) -> None:
    commit(repository, *BOTH)
    clone = Repository(tmp_path / "clone")
    clone.git("remote", "add", "origin", str(repository.folder))
    clone.git("fetch", "--quiet", "origin")
    clone.git("switch", "--quiet", "--create", "topic", "origin/main")
    with pytest.raises(SourceError, match="did you mean origin/main"):
        compared(clone, "main")


def test_without_the_folder_at_the_base_everything_is_new(repository: Repository) -> None:
    base = repository.commit({"README.md": "x"})
    commit(repository, director("lb1"), service())
    preview = compared(repository, base)
    assert preview.directors_with(Presence.APPEARS) == ("lb1",)
    assert preview.remarks == (
        f"commit {base[:12]} has no folder manifests, and no sound one is before it:"
        " everything is new",
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("elsewhere", "has no folder manifests"),
        (FOLDER, "has no folder manifests"),
        (f"{FOLDER}/\udce9.yaml", r"cannot be read (file name \xe9.yaml is not UTF-8; rename it)"),
    ],
)
def test_agents_stay_with_an_older_commit_where_the_base_has_nothing_to_read(
    repository: Repository, path: str, words: str
) -> None:
    """The folder is gone, a file, or has a file that cannot be read."""
    sound = commit(repository, *BOTH, service())
    repository.git("rm", "--quiet", "-r", FOLDER)
    base = repository.commit({path: "x"})
    repository.git("rm", "--quiet", "-r", ".")
    commit(repository, *BOTH, service(scheduler="wrr"))
    preview = compared(repository, base)
    assert preview.base.commit == sound
    assert preview.remarks == (
        f"commit {base[:12]} {words}, so that agents stay with an older commit",
        f"compared from commit {sound[:12]}, the newest sound commit",
    )
    assert keys(preview, "lb1") == ["update tcp 203.0.113.10:443"]


def test_without_the_folder_at_the_head_there_is_nothing_to_look_at(
    repository: Repository,
) -> None:
    head = repository.commit({"README.md": "x"})
    commit(repository, director("lb1"), service())
    preview = compared(repository, "HEAD", head)
    assert (preview.verdict, preview.exit_code) == (Verdict.INVALID, ExitCode.INVALID)
    assert [problem.rule for problem in preview.problems] == ["no-manifests"]


def test_neither_is_there_without_manifests_in_it(repository: Repository) -> None:
    base = commit(repository, director("lb1"), service())
    repository.git("mv", f"{FOLDER}/all.yaml", f"{FOLDER}/all.txt")
    repository.commit()
    preview = compared(repository, base)
    assert preview.verdict is Verdict.INVALID
    [problem] = preview.problems
    assert str(problem).startswith(".: no manifests (*.yaml, *.yml, *.json) in manifests at commit")


# Invalid manifests


def test_an_invalid_head_has_problems_and_no_plans(repository: Repository) -> None:
    base = commit(repository, *BOTH, service())
    commit(repository, *BOTH, service(shceduler="wrr"))
    preview = compared(repository, base)
    assert preview.verdict is Verdict.INVALID
    assert preview.exit_code is ExitCode.INVALID
    assert [problem.rule for problem in preview.problems] == ["unknown-field"]
    assert preview.plans == ()


def test_an_invalid_base_stands_for_the_newest_sound_commit_before_it(
    repository: Repository,
) -> None:
    sound = commit(repository, *BOTH, service())
    commit(repository, *BOTH, service(scheduler="x"), message="Gitvs-Allow: last-real-server")
    base = commit(repository, *BOTH, service(scheduler="y"))
    commit(repository, *BOTH, service(realServers=[server(weight=0)]))
    preview = compared(repository, base)
    assert preview.base.commit == sound
    invalid = repository.git("rev-parse", f"{base}~1")
    assert preview.remarks == (
        f"commit {base[:12]} is invalid (1 problem), so that agents stay with an older commit",
        f"compared from commit {sound[:12]}, the newest sound commit",
        f"`Gitvs-Allow` in commit {invalid[:12]} is ignored: it is invalid (1 problem)",
    )
    gates = {gate.name: gate.is_allowed for gate in preview.plans[0].gates}
    assert gates == {"last-real-server": False, "capacity-drop": False}


def test_with_no_sound_commit_before_it_everything_is_new(repository: Repository) -> None:
    base = commit(repository, *BOTH, service(scheduler="x"))
    commit(repository, *BOTH, service())
    preview = compared(repository, base)
    assert preview.directors_with(Presence.APPEARS) == ("lb1", "lb2")
    assert "and no sound one is before it: everything is new" in preview.remarks[-1]
    for number in range(MAX_COMMITS_BACK + 1):
        base = commit(repository, *BOTH, service(scheduler=f"x{number}"))
    commit(repository, *BOTH, service())
    assert "is among the 50 before it" in compared(repository, base).remarks[-1]


# Gates


def off(repository: Repository, message: str) -> Preview:
    """A service loses its last active real server, with this message."""
    base = commit(repository, *BOTH, service(), policy(maxCapacityDropPercent=100))
    documents = (*BOTH, service(realServers=[server(weight=0)]))
    commit(repository, *documents, policy(maxCapacityDropPercent=100), message=message)
    return compared(repository, base)


def verdicts(preview: Preview) -> dict[str, bool]:
    """Whether what the plans meet is allowed, by director."""
    return {p.director: all(g.is_allowed for g in p.gates) for p in preview.plans if p.gates}


def test_a_blocked_plan_is_whole(repository: Repository) -> None:
    preview = off(repository, "Switch off")
    assert preview.exit_code is ExitCode.BLOCKED
    assert verdicts(preview) == {"lb1": False, "lb2": False}
    assert keys(preview, "lb1") == ["update tcp 203.0.113.10:443 -> 10.0.3.5:443"]


def test_a_message_lifts_a_gate_on_every_director_or_on_those_it_names(
    repository: Repository,
) -> None:
    everywhere = off(repository, "Switch off\n\nGitvs-Allow: last-real-server")
    assert verdicts(everywhere) == {"lb1": True, "lb2": True}
    there = off(repository, "Switch off\n\ngitvs-allow: last-real-server lb2")
    assert verdicts(there) == {"lb1": False, "lb2": True}


def test_messages_of_a_merged_branch_count(repository: Repository) -> None:
    base = commit(repository, *BOTH, service())
    repository.git("switch", "--quiet", "--create", "topic")
    message = "Off\n\nGitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop"
    commit(repository, *BOTH, service(realServers=[server(weight=0)]), message=message)
    repository.git("switch", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--message=Merge", "topic")
    assert verdicts(compared(repository, base)) == {"lb1": True, "lb2": True}


def test_a_line_does_not_cover_what_comes_after_it(repository: Repository) -> None:
    base = commit(repository, *BOTH, service(), ANOTHER)
    lines = "\n\nGitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop"
    off = service(realServers=[server(weight=0)])
    commit(repository, *BOTH, off, ANOTHER, message=f"Off{lines}")
    assert verdicts(compared(repository, base)) == {"lb1": True, "lb2": True}
    other_off = service("db", vips=["203.0.113.11"], realServers=[server(weight=0)])
    commit(repository, *BOTH, off, other_off)
    assert verdicts(compared(repository, base)) == {"lb1": False, "lb2": False}
    commit(repository, *BOTH, off, other_off, message=f"That too{lines}")
    assert verdicts(compared(repository, base)) == {"lb1": True, "lb2": True}


def test_a_line_of_an_invalid_commit_lifts_nothing_and_is_remarked(repository: Repository) -> None:
    base = commit(repository, *BOTH, service())
    lines = "Gitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop"
    invalid = commit(repository, *BOTH, service(scheduler="x"), message=lines)
    commit(repository, *BOTH, service(realServers=[server(weight=0)]))
    preview = compared(repository, base)
    assert verdicts(preview) == {"lb1": False, "lb2": False}
    assert preview.remarks == (
        f"`Gitvs-Allow` in commit {invalid[:12]} is ignored: it is invalid (1 problem)",
    )


def test_lines_of_a_branch_that_forked_before_the_base_count_in_its_merge_alone(
    repository: Repository,
) -> None:
    lines = "\n\nGitvs-Allow: last-real-server\nGitvs-Allow: capacity-drop"
    lines += "\nGitvs-Allow: director-leaves"
    commit(repository, *BOTH)
    repository.git("switch", "--quiet", "--create", "topic")
    side = commit(
        repository, director("lb1"), service(realServers=[server(weight=0)]), message=f"Off{lines}"
    )
    repository.git("switch", "--quiet", "main")
    base = commit(repository, *BOTH, service())
    repository.git("merge", "--quiet", "--no-ff", "--no-commit", "--strategy=ours", "topic")
    commit(repository, director("lb1"), service(realServers=[server(weight=0)]), message="Merge")
    preview = compared(repository, base)
    assert verdicts(preview) == {"lb1": False, "lb2": False}
    assert preview.remarks == (
        f"`Gitvs-Allow` in commit {side[:12]} is ignored: its branch began before commit"
        f" {base[:12]}, so it does not cover later changes; put the line into the merge"
        " commit",
    )
    repository.git("commit", "--quiet", "--amend", f"--message=Merge{lines}")
    assert verdicts(compared(repository, base)) == {"lb1": True, "lb2": True}


def test_messages_before_the_base_do_not_count(repository: Repository) -> None:
    commit(repository, *BOTH, message="Gitvs-Allow: last-real-server")
    assert verdicts(off(repository, "Switch off")) == {"lb1": False, "lb2": False}


def test_a_gate_that_is_none_is_a_warning_and_lifts_nothing(repository: Repository) -> None:
    preview = off(repository, "Switch off\n\nGitvs-Allow: last-real-servers")
    [problem] = preview.warnings
    assert preview.problems == ()
    assert preview.head.commit is not None
    assert problem.file == f"commit {preview.head.commit[:12]}"
    assert (problem.line, problem.rule) == (3, "unknown-gate")
    assert '"last-real-servers" is no gate' in problem.message
    assert "did you mean last-real-server?" in problem.message
    assert preview.exit_code is ExitCode.BLOCKED
    assert verdicts(preview) == {"lb1": False, "lb2": False}


def test_a_gate_that_is_none_stops_nothing_that_needs_no_gate(repository: Repository) -> None:
    base = commit(repository, *BOTH, service())
    commit(repository, *BOTH, service(scheduler="rr"), message="Change\n\nGitvs-Allow: none")
    preview = compared(repository, base)
    assert [w.rule for w in preview.warnings] == ["unknown-gate"]
    assert preview.exit_code is ExitCode.CHANGES


def test_a_director_that_is_none_in_a_message_is_remarked(repository: Repository) -> None:
    preview = off(repository, "Switch off\n\nGitvs-Allow: last-real-server lb22")
    assert "lifts a gate on lb22, which is no director; did you mean lb2?" in preview.remarks[0]
