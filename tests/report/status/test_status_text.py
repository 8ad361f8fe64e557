"""What `gitvs status` says: the document, the verdict, and the text around it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rich.cells import cell_len

from gitvs.core.manifests.schema import schema_for
from gitvs.core.model.history import Commit, Outcome, Quarantine
from gitvs.core.model.resource_json import JsonObject
from gitvs.core.model.resources import Key
from gitvs.core.planning.gates import Gate
from gitvs.core.planning.operations import OperationKind, Operations
from gitvs.core.problems import Problem
from gitvs.core.status.agent_status import (
    AgentStatus,
    HookStatus,
    LastPass,
    ServiceStatus,
    SourceStatus,
)
from gitvs.report.status.headline import headline
from gitvs.report.status.services_table import MAX_SERVERS, MAX_SERVICES
from gitvs.report.status.status_json import status_json
from gitvs.report.status.status_text import status_text
from gitvs.report.text.counts import bytes_text
from gitvs.report.text.times import age_text, elapsed_text
from tests.support import paths
from tests.support.builders import endpoint, real_server, virtual_service
from tests.support.statuses import (
    NOW,
    A,
    B,
    commit,
    earlier,
    everything,
    in_sync,
    later,
    said,
    served,
    service_with,
    unknown,
)
from tests.support.work import work_of

STATUSES = {"unknown": unknown(), "in sync": in_sync(), "everything": everything()}


def sent(status: AgentStatus) -> JsonObject:
    """The document as it arrives from the agent."""
    document: JsonObject = json.loads(json.dumps(status_json(status)))
    return document


def lines(status: AgentStatus, *, show_all: bool = False) -> list[str]:
    return status_text(sent(status), NOW, show_all=show_all).plain.splitlines()


def first(status: AgentStatus) -> str:
    text, _ = headline(sent(status), NOW)
    assert lines(status)[0] == text.replace("\n", "\\u000a")
    return text


def last_pass(result: Outcome | None, commit: Commit | None = B, **known: Any) -> LastPass:
    return LastPass(result, earlier(seconds=5), 0.5, commit, "new commit", **known)


def behind(result: Outcome | None, **known: Any) -> AgentStatus:
    """A director that has A in force while B is the newest commit."""
    source = replace(in_sync().source, head=B)
    last = last_pass(result, **known)
    return in_sync(source=source, desired_commit=B, last_pass=last)


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
def test_every_status_is_as_the_schema_says(status: AgentStatus) -> None:
    Draft202012Validator(schema_for("status")).validate(sent(status))


def test_the_schema_knows_no_more_and_no_less_than_is_written() -> None:
    schema = schema_for("status")
    document = sent(everything())
    assert set(schema["properties"]) == set(schema["required"]) == set(document)
    assert schema["properties"]["formatVersion"]["const"] == document["formatVersion"]
    for name in ("virtual-service", "real-server", "endpoint", "firewallMark"):
        assert schema["$defs"][name] == schema_for("observation")["$defs"][name]


@pytest.mark.parametrize("field", sorted(sent(everything())))
def test_a_document_without_one_of_its_fields_is_against_the_schema(field: str) -> None:
    document = sent(everything())
    del document[field]
    assert not Draft202012Validator(schema_for("status")).is_valid(document)


def test_times_are_in_utc_wherever_they_come_from() -> None:
    here = datetime(2026, 1, 2, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    assert sent(in_sync(at=here))["at"] == "2026-01-02T12:00:00+00:00"


def test_the_document_counts_each_real_server() -> None:
    (web, _, _) = sent(everything())["services"]
    one, two, three = web["realServers"]
    assert one["connections"] == {"active": 120, "inactive": 120, "persistent": 0}
    assert one["object"]["weight"] == 10
    assert (two["isDrainedByHand"], three["isDrainedByHand"]) == (True, False)
    assert (two["drainingSeconds"], three["drainingSeconds"]) == (None, 42.2)
    assert web["counters"]["packetsIn"] == 8


PAUSE = said(OperationKind.PAUSE, "moving racks", later(minutes=42))
GATE = Gate("mass-removal", "9 of 10", "30 %", "9 of 10 VIPs would leave; --allow", False)

VERDICTS: list[tuple[AgentStatus, str]] = [
    (in_sync(), "lb1: in sync with aaaaaaaaaaaa (by Ada Lovelace, committed 3m ago)"),
    (unknown(), "this director: no agent is running; nothing applied"),
    (
        in_sync(started_at=None),
        "lb1: no agent is running; aaaaaaaaaaaa (by Ada Lovelace, committed 3m ago) is in force",
    ),
    (
        in_sync(started_at=None, is_transaction_open=True),
        "lb1: no agent is running, and a transaction is open; aaaaaaaaaaaa (by Ada Lovelace,"
        " committed 3m ago) was in force: start the agent, it finishes what was begun",
    ),
    (
        behind(Outcome.STUCK, failures=("tcp 192.0.2.1:80: EBUSY", "more", "more")),
        "lb1: STUCK, a change is neither applied nor undone: tcp 192.0.2.1:80: EBUSY (and 2 more)",
    ),
    (
        in_sync(is_transaction_open=True, last_pass=None),
        "lb1: STUCK, a change is neither applied nor undone: no reason was recorded",
    ),
    (
        in_sync(operations=Operations((PAUSE,))),
        "lb1: PAUSED by alice, 42m left: moving racks; aaaaaaaaaaaa stays in force",
    ),
    (
        in_sync(operations=Operations((PAUSE,)), is_standby=True),
        "lb1: PAUSED by alice, 42m left: moving racks; aaaaaaaaaaaa stays in force; on standby, no"
        " VIPs and local routes here",
    ),
    (
        in_sync(last_pass=last_pass(None, problems=("no IPVS in this kernel",))),
        "lb1: the last pass failed, aaaaaaaaaaaa stays in force: no IPVS in this kernel",
    ),
    (
        replace(
            in_sync(last_pass=last_pass(None, problems=("no commit was fetched yet",))),
            applied_commit=None,
            is_applied=False,
        ),
        "lb1: nothing is applied yet: no commit was fetched yet",
    ),
    (
        behind(Outcome.ROLLED_BACK, failures=("scheduler mh is unknown",)),
        "lb1: commit bbbbbbbbbbbb rolled back, aaaaaaaaaaaa stays in force: scheduler mh is"
        " unknown",
    ),
    (
        in_sync(last_pass=last_pass(Outcome.ROLLED_BACK, A, failures=("ENOMEM",))),
        "lb1: a repair failed and was rolled back: ENOMEM",
    ),
    (
        replace(
            behind(Outcome.CONVERGED, commit=A, problems=("commit b is not tried again",)),
            quarantined=(Quarantine(B.id, "scheduler mh is unknown", NOW),),
        ),
        "lb1: commit bbbbbbbbbbbb is in quarantine, aaaaaaaaaaaa stays in force: scheduler mh is"
        " unknown",
    ),
    (
        behind(Outcome.BLOCKED, gates=(GATE,)),
        "lb1: commit bbbbbbbbbbbb is blocked by mass-removal, aaaaaaaaaaaa stays in force:"
        " 9 of 10 VIPs would leave; --allow",
    ),
    (
        in_sync(last_pass=last_pass(Outcome.BLOCKED, A, gates=(replace(GATE, name="conflict"),))),
        "lb1: a repair is blocked by conflict, aaaaaaaaaaaa stays in force: 9 of 10 VIPs would"
        " leave; --allow",
    ),
    (
        behind(Outcome.CONVERGED, commit=A, problems=("a.yaml:1:1: one\na.yaml:2:1: two",)),
        "lb1: commit bbbbbbbbbbbb is not applied, aaaaaaaaaaaa stays in force: a.yaml:1:1: one"
        " (and 1 more)",
    ),
    (
        in_sync(last_pass=last_pass(Outcome.CONVERGED, A, problems=("no folder manifests",))),
        "lb1: aaaaaaaaaaaa stays in force, but: no folder manifests",
    ),
    (
        in_sync(unrepairable=everything().unrepairable),
        "lb1: aaaaaaaaaaaa stays in force, but not all of it can be repaired:"
        " 2001:db8::10/128 dev gitvs0: IPv6 is disabled (and 1 more)",
    ),
    (
        in_sync(
            is_standby=True, operations=Operations((said(OperationKind.STANDBY, "new kernel"),))
        ),
        "lb1: STANDBY by alice: new kernel; no VIPs and local routes here; aaaaaaaaaaaa stays in"
        " force",
    ),
    (
        in_sync(is_standby=True),
        "lb1: STANDBY, as Git says; no VIPs and local routes here; aaaaaaaaaaaa stays in force",
    ),
    (
        in_sync(
            source=replace(in_sync().source, error="timed out", last_answer_at=earlier(hours=2))
        ),
        "lb1: aaaaaaaaaaaa stays in force, but the source last answered 2h ago: timed out",
    ),
    (
        in_sync(source=replace(in_sync().source, error="timed out", last_answer_at=None)),
        "lb1: aaaaaaaaaaaa stays in force, but the source has never answered: timed out",
    ),
    (
        in_sync(
            source=replace(in_sync().source, head=B),
            operations=Operations((said(OperationKind.PIN, "502s", later(hours=2), A.id),)),
        ),
        "lb1: PINNED to aaaaaaaaaaaa by alice, 2h left: 502s; aaaaaaaaaaaa (by Ada Lovelace,"
        " committed 3m ago) is in force",
    ),
    (replace(in_sync(), applied_commit=None, is_applied=False), "lb1: nothing is applied yet"),
    (
        behind(Outcome.CONVERGED, commit=A),
        "lb1: commit bbbbbbbbbbbb (by Ada Lovelace, committed 1m ago) comes next, aaaaaaaaaaaa"
        " stays in force",
    ),
    (
        in_sync(last_pass=last_pass(Outcome.APPLIED, A, failures=("drift: tcp x",))),
        "lb1: aaaaaaaaaaaa stays in force, but: drift: tcp x",
    ),
    (
        in_sync(source=SourceStatus("/srv/lb"), applied_commit=None, desired_commit=None),
        "lb1: in sync with a folder of manifests (applied 2m ago)",
    ),
]


@pytest.mark.parametrize(("status", "text"), VERDICTS, ids=[text[:40] for _, text in VERDICTS])
def test_the_first_line_is_the_verdict(status: AgentStatus, text: str) -> None:
    assert first(status) == text
    Draft202012Validator(schema_for("status")).validate(sent(status))


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_status_with_everything_in_it_reads_as_it_should(width: int) -> None:
    plain = virtual_service(endpoint("2001:db8:1111:2222:3333:4444:5555:6666", 65535))
    servers = [
        served(real_server(plain.listener, "2001:db8:a::1", 8443, weight=3), "api-ams-1", 1204),
        served(real_server(plain.listener, "2001:db8:a::2", 8443), "api-ams-2", 399),
    ]
    given = everything()
    given = replace(given, services=(*given.services, service_with(plain, servers, "api")))
    text = status_text(sent(given), NOW, width=width).plain
    golden = paths.GOLDEN / f"status-{width}.txt"
    assert text == golden.read_text()
    assert max(map(cell_len, text.splitlines())) <= width


def test_rates_are_left_out_where_an_older_agent_answers() -> None:
    document = sent(in_sync())
    for each in document["services"]:
        for counters in (each["counters"], *(s["counters"] for s in each["realServers"])):
            for name in [name for name in counters if name.endswith("PerSecond")]:
                del counters[name]
    text = status_text(document, NOW, width=200).plain
    assert "Conns/s" in text
    assert " B " not in text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (34_000_000, "34 MB"),
        (10**18, "1000000 TB"),
    ],
)
def test_a_number_of_bytes_has_two_or_three_digits(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_a_pipe_gets_every_line_whole() -> None:
    text = status_text(sent(everything()), NOW).plain
    assert "until 2026-01-02 14:00:00 UTC: 502s (2h left)\n" in text
    assert text == status_text(sent(everything()), NOW, width=10_000).plain


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (behind(Outcome.ROLLED_BACK, failures=("tcp 192.0.2.1:80: EINVAL",)), "EINVAL"),
        (behind(Outcome.BLOCKED, gates=(GATE,)), "9 of 10 VIPs would leave"),
        (
            replace(
                behind(Outcome.CONVERGED, failures=("tcp 192.0.2.1:80: EINVAL",)),
                quarantined=(Quarantine(B.id, "tcp 192.0.2.1:80: EINVAL", NOW),),
            ),
            "EINVAL",
        ),
    ],
)
def test_a_reason_is_told_once(status: AgentStatus, reason: str) -> None:
    assert "\n".join(lines(status)).count(reason) == 1


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (HookStatus("[::1]:9713"), "hook       listens on [::1]:9713, no push yet"),
        (
            HookStatus("[::1]:9713", earlier(minutes=1), "the file is empty"),
            "hook       the file is empty",
        ),
    ],
)
def test_a_hook_is_shown_with_what_is_wrong_with_it(hook: HookStatus, text: str) -> None:
    assert text in lines(in_sync(hook=hook))


def test_an_agent_that_knows_of_no_hook_is_shown_without_one() -> None:
    sent_by_an_older_agent = {k: v for k, v in sent(in_sync()).items() if k != "hook"}
    assert status_text(sent_by_an_older_agent, NOW).plain.splitlines() == lines(in_sync())


def test_no_line_has_tabs_or_blanks_at_its_end_or_depends_on_a_width() -> None:
    for line in lines(everything()):
        assert "\t" not in line
        assert line == line.rstrip()
    long = commit(subject="x" * 500)
    assert not any(len(x) > 300 for x in lines(in_sync(applied_commit=long)))


@pytest.mark.parametrize("evil", ["[red]x[/red]", "x\x1b[31m\r\ny", "a\tb"])
def test_what_comes_from_git_and_people_does_nothing_to_a_terminal(evil: str) -> None:
    spoilt = commit("b", evil)
    status = in_sync(
        director=evil,
        applied_commit=replace(spoilt, author=evil),
        last_pass=last_pass(
            Outcome.BLOCKED, gates=(replace(GATE, message=evil),), problems=(evil,)
        ),
        operations=Operations((said(OperationKind.DRAIN, evil, subject=evil),)),
        quarantined=(Quarantine("c" * 40, evil, NOW),),
        services=(service_with(servers=[served(real_server(weight=0), evil)], name=evil),),
        drifted_keys=(Key(evil),),
        warnings=(Problem(evil, 1, 1, "", "rule", evil),),
        source=SourceStatus(evil, error=evil, signed_by=evil),
    )
    text = status_text(sent(status), NOW)
    assert all(line.isprintable() for line in text.plain.split("\n"))
    if evil.startswith("["):
        assert text.plain.count(evil) >= 9
    assert "red]" not in "".join(str(span.style) for span in text.spans)


def many(number: int, weight: int = 1) -> list[ServiceStatus]:
    found = []
    for n in range(number):
        listener = endpoint("203.0.113.10", 1000 + n)
        server = served(real_server(listener, weight=weight), active=1)
        found.append(service_with(virtual_service(listener), [server]))
    return found


def shown(text: list[str]) -> list[str]:
    return [line.split()[1] for line in text if line.startswith("  tcp ")]


def test_services_to_look_at_come_first_and_of_the_others_only_some() -> None:
    plain = many(MAX_SERVICES + 7)
    idle = service_with(virtual_service(endpoint("203.0.113.99")), [served(real_server(weight=0))])
    text = lines(in_sync(services=(*plain, idle)))
    assert "1 virtual service to look at" in text
    assert "50 of 57 other virtual services" in text
    assert shown(text)[0] == "203.0.113.99:80"
    assert len(shown(text)) == MAX_SERVICES + 1
    assert text[-1] == (
        "7 more virtual services without anything to look at: `gitvs status --all` shows them"
    )


def test_all_services_are_shown_if_asked_for() -> None:
    text = lines(in_sync(services=tuple(many(MAX_SERVICES + 7))), show_all=True)
    assert len(shown(text)) == MAX_SERVICES + 7
    assert "57 virtual services" in text


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"weight": 0}, "no active real server: clients are refused"),
        ({"remaining_drain_seconds": 90.0}, "draining, 1m30s left"),
        ({"is_drained_by_operator": True}, "drained by hand"),
    ],
)
def test_a_service_is_to_be_looked_at_for_one_of_its_servers(known: Any, words: str) -> None:
    weight = known.pop("weight", 1)
    found = service_with(servers=[served(real_server(weight=weight), **known)])
    text = lines(in_sync(services=(*many(1), found)))
    assert "1 virtual service to look at" in text
    assert "1 other virtual service" in text
    assert any(line.endswith(words) for line in text)


def test_a_service_without_servers_is_to_be_looked_at() -> None:
    text = lines(in_sync(services=(ServiceStatus(virtual_service()),)))
    assert any(line.endswith("no real server") for line in text)
    assert "1 virtual service to look at" in text


def test_of_very_many_servers_alike_the_rest_is_summed_up() -> None:
    servers = [served(real_server(address=f"10.0.1.{n}"), active=n) for n in range(1, 31)]
    odd = served(real_server(address="10.0.2.1"), is_drained_by_operator=True)
    status = in_sync(services=(service_with(servers=[*servers, odd]),))
    (rest,) = (line.split() for line in lines(status) if "and 10 more" in line)
    assert rest[3:5] == [str(sum(range(MAX_SERVERS + 1, 31)))] * 2
    assert any("10.0.2.1:8080" in line for line in lines(status))
    assert sum("10.0.1." in line for line in lines(status)) == MAX_SERVERS
    assert sum("10.0.1." in line for line in lines(status, show_all=True)) == 30


def test_the_work_of_a_status_grows_with_the_number_of_real_servers() -> None:
    assert work_of_a_status(1000) < 3 * work_of_a_status(500)


def work_of_a_status(count: int) -> float:
    listener = endpoint()
    servers = [served(real_server(listener, port=n)) for n in range(1, count + 1)]
    document = sent(in_sync(services=(service_with(virtual_service(listener), servers),)))
    texts = []
    work = work_of(lambda: texts.append(status_text(document, NOW, show_all=True)))
    assert texts[0].plain.count(" nat ") == count
    return work.total


def test_drift_says_whether_it_was_repaired() -> None:
    key = (Key("tcp 203.0.113.10:80"),)
    for result, words in ((Outcome.APPLIED, "and repaired"), (Outcome.BLOCKED, "not yet repaired")):
        text = lines(in_sync(drifted_keys=key, last_pass=last_pass(result)))
        assert f"Changed by another program, {words}" in text
        assert f"  {key[0]}" in text


def test_very_many_reasons_are_cut() -> None:
    text = lines(in_sync(drifted_keys=tuple(Key(f"k{n}") for n in range(25))))
    assert "  k19" in text
    assert "  k20" not in text
    assert "  and 5 more" in text


def test_a_draining_director_says_how_long_at_most() -> None:
    servers = [
        served(real_server(address=f"10.0.0.{n}", weight=0), remaining_drain_seconds=n * 30.0)
        for n in (1, 2)
    ]
    text = lines(in_sync(services=(service_with(servers=servers),)))
    assert any(
        x.startswith("draining") and x.endswith("2 real servers, at most 1m left") for x in text
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (0.4, "just now"),
        (59.9, "59s ago"),
        (60, "1m ago"),
        (7199, "1h ago"),
        (86400, "1d ago"),
        (30 * 86400, "30d ago"),
    ],
)
def test_ages_are_told_in_their_largest_unit(seconds: float, text: str) -> None:
    assert age_text(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0421, "0.042s"), (42.06, "42.1s"), (1200, "20m")])
def test_what_took_long_is_told_roughly(seconds: float, text: str) -> None:
    assert elapsed_text(seconds) == text


def test_now_is_the_readers_not_the_agents() -> None:
    text = status_text(sent(in_sync()), datetime(2026, 1, 2, 15, 0, tzinfo=UTC)).plain
    assert "in sync with aaaaaaaaaaaa (by Ada Lovelace, committed 3h ago)" in text


@pytest.mark.parametrize("is_headline", [True, False])
def test_why_the_source_failed_is_on_the_screen_once(is_headline: bool) -> None:
    source = replace(in_sync().source, error="cannot be reached", failure_count=3)
    operations = Operations(() if is_headline else (said(OperationKind.PAUSE),))
    last = last_pass(Outcome.CONVERGED, A, problems=("cannot be reached",))
    status = in_sync(source=source, last_pass=last, operations=operations)
    text = "\n".join(lines(status))
    assert text.count("cannot be reached") == 1
    assert text.count("3 times in a row") == 1
