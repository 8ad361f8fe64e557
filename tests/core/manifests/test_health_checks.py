"""Health checks of Services: what they are on a director, what is refused, what is warned about."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from gitvs.core.manifests.load import Loader
from gitvs.core.manifests.render import Renderer, render_director
from gitvs.core.model.health import (
    CheckTimes,
    DnsCheck,
    DnsProtocol,
    Health,
    HttpCheck,
    OnFailure,
    PingCheck,
    TcpCheck,
    Tls,
    UdpCheck,
)
from gitvs.core.model.resources import Endpoint, Protocol
from tests.support.manifests.writing import (
    LEFT_OUT,
    Doc,
    defaults,
    director,
    file_of,
    loaded,
    pool,
    problems_of,
    rules_of,
    server,
    service,
)

TCP: Doc = {"checks": [{"tcp": {}}]}
AT_8080: Doc = {"checks": [{"tcp": {"port": 8080}}]}
WWW = "www.example.org"
OTHERS: dict[str, Doc] = {
    **{"tcp": {"tcp": {}}, "http": {"http": {}}, "udp": {"udp": {"expect": "a"}}},
    **{"dns": {"dns": {"name": WWW}}, "dns by tcp": {"dns": {"name": WWW, "protocol": "tcp"}}},
    **{"ping": {"ping": {}}},
}
UDP = {"port": 53, "protocol": "udp"}
EXPIRE = "net.ipv4.vs.expire_quiescent_template"
NODEST = "net.ipv4.vs.expire_nodest_conn"


def health_of(*documents: Doc) -> list[Health]:
    return list(render_director(loaded(director(), *documents), "lb1").health.values())


def warnings_of(*documents: Doc) -> list[str]:
    return rules_of(loaded(*documents).warnings)


def test_a_service_without_health_is_not_checked() -> None:
    assert health_of(service()) == []
    assert health_of(service(health=None), defaults({"health": TCP})) == []


def test_what_is_left_out_has_the_defaults_of_the_model() -> None:
    assert health_of(service(health=TCP)) == [Health((TcpCheck(),))]


def test_every_value_that_is_written_is_rendered() -> None:
    greeting = {"port": 25, "send": "QUIT", "expect": "220"}
    written = {
        "interval": "2s",
        "timeout": "1500ms",
        "retryInterval": "700ms",
        "rise": 4,
        "fall": 5,
        "checks": [{"tcp": greeting}, {"tcp": {}}],
        "onFailure": "remove",
        "keepPercent": 75,
        "quorum": {"losePercent": 30, "gainPercent": 50},
    }
    checks = TcpCheck(25, "QUIT", "220"), TcpCheck()
    times = CheckTimes(2.0, 1.5, 0.7)
    expected = Health(checks, times, 4, 5, OnFailure.REMOVE, 75, 30, 50)
    assert health_of(service(health=written)) == [expected]


@pytest.mark.parametrize(
    ("interval", "times"),
    [
        ("500ms", CheckTimes(0.5, 0.5, 0.5)),
        ("1200ms", CheckTimes(1.2, 1.2, 0.5)),
        ("9s", CheckTimes(9.0, 2.0, 3.0)),
        ("10m", CheckTimes(600.0, 2.0, 200.0)),
    ],
)
def test_the_times_that_are_left_out_follow_the_interval(interval: str, times: CheckTimes) -> None:
    [health] = health_of(service(health={**TCP, "interval": interval}))
    assert health.times == times


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, OnFailure.DRAIN),
        ({"ports": [UDP], "health": AT_8080}, OnFailure.REMOVE),
        ({"ports": [{**UDP, "onePacket": True}], "health": AT_8080}, OnFailure.DRAIN),
        ({"ports": [UDP], "health": AT_8080, "scheduler": "sh"}, OnFailure.DRAIN),
        ({"scheduler": "sh"}, OnFailure.DRAIN),
        ({"scheduler": "dh", "drain": {"timeout": "0s"}}, OnFailure.REMOVE),
        ({"firewallMark": 7, "health": AT_8080}, OnFailure.DRAIN),
        ({"ports": [UDP], "health": {**AT_8080, "onFailure": "drain"}}, OnFailure.DRAIN),
    ],
    ids=str,
)
def test_the_protocol_and_the_scheduler_decide_what_happens_on_failure(
    spec: Doc, expected: OnFailure
) -> None:
    [health] = health_of(service(**{"health": TCP, **spec}))
    assert health.on_failure is expected


def test_each_virtual_service_of_a_service_has_its_own() -> None:
    dns = service(ports=[{"port": 53}, UDP], health={"checks": [{"tcp": {"port": 53}}]})
    desired = render_director(loaded(director(), dns), "lb1")
    reactions = {key: health.on_failure for key, health in desired.health.items()}
    address = ip_address("203.0.113.10")
    assert reactions == {
        Endpoint(Protocol.TCP, address, 53).key: OnFailure.DRAIN,
        Endpoint(Protocol.UDP, address, 53).key: OnFailure.REMOVE,
    }


@pytest.mark.parametrize(
    ("health", "rule", "place", "says"),
    [
        ({"interval": "400ms"}, "check-interval-out-of-range", "interval", "500ms to 10m"),
        ({"interval": "11m"}, "check-interval-out-of-range", "interval", "500ms to 10m"),
        ({"timeout": "6s"}, "check-time-out-of-range", "timeout", "10ms to the interval, 5s"),
        ({"timeout": "0s"}, "check-time-out-of-range", "timeout", "10ms to the interval, 5s"),
        ({"retryInterval": "6s"}, "check-time-out-of-range", "retryInterval", "500ms to the"),
        ({"retryInterval": "1ms"}, "check-time-out-of-range", "retryInterval", "500ms to the"),
        (
            {"quorum": {"losePercent": 30, "gainPercent": 20}},
            "quorum-crossed",
            "quorum/gainPercent",
            "give at least losePercent",
        ),
        ({"rise": 0}, "out-of-range", "rise", "allowed is 1 to 20"),
        ({"fall": 21}, "out-of-range", "fall", "allowed is 1 to 20"),
        ({"keepPercent": 101}, "out-of-range", "keepPercent", "allowed is 0 to 100"),
        ({"onFailure": "kill"}, "not-allowed", "onFailure", "drain, remove"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_can(
    health: Doc, rule: str, place: str, says: str
) -> None:
    for documents in (
        [service(health={**TCP, **health})],
        [service(), defaults({"health": {**TCP, **health}})],
        [service(health=TCP), defaults({"health": {**TCP, **health}})],
    ):
        found = problems_of(director(), *documents)
        assert rules_of(found) == len(found) * [rule]
        assert any(p.pointer.endswith(f"/health/{place}") and says in p.message for p in found)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"firewallMark": 7}, "has a firewall mark"),
        ({"ports": [{"port": 0}], "persistence": {"timeout": "5m"}}, "has port 0"),
        ({"ports": [{"port": 80, "protocol": "sctp"}]}, "has sctp port 80"),
        ({"ports": [{"port": 53}, UDP]}, "has udp port 53"),
    ],
)
def test_a_check_needs_a_port_where_the_real_servers_have_no_tcp_port(spec: Doc, says: str) -> None:
    [found] = problems_of(director(), service(**spec, health=TCP))
    assert found.rule == "check-without-port"
    assert found.pointer == "/spec/health/checks/0/tcp"
    assert says in found.message
    assert "write tcp: {port: 8080}" in found.message
    assert problems_of(director(), service(**spec, health=AT_8080)) == []


def http(kind: str = "http", **fields: Any) -> Doc:
    return {"checks": [{kind: fields}]}


def test_an_http_check_has_the_defaults_of_the_model() -> None:
    assert health_of(service(health=http())) == [Health((HttpCheck(),))]
    [health] = health_of(service(health=http("https", host=f"{WWW}:8443")))
    assert health == Health((HttpCheck(host=f"{WWW}:8443", tls=Tls(WWW)),))


def test_every_field_of_an_http_check_is_rendered() -> None:
    fields: Doc = {
        **{"port": 8080, "path": "/healthz?a=b", "method": "POST", "host": WWW, "expect": "ok"},
        **{"headers": {"X-Check": "gitvs"}, "status": [200, "301-302", "404"]},
        **{"serverName": "other.example.org", "verify": True, "caFile": "ca.pem"},
    }
    [health] = health_of(service(health=http("https", **fields)))
    statuses = ((200, 200), (301, 302), (404, 404))
    tls = Tls("other.example.org", verify=True, ca_file="ca.pem")
    headers = (("X-Check", "gitvs"),)
    check = HttpCheck(8080, "/healthz?a=b", "POST", WWW, headers, statuses, "ok", tls)
    assert health.checks == (check,)


@pytest.mark.parametrize(
    ("checks", "rule", "place", "says"),
    [
        (http(path="healthz"), "bad-format", "http/path", "a path begins with /"),
        (http(path="/a b"), "bad-format", "http/path", "no blanks"),
        (http(path="/\r\nX: y"), "bad-format", "http/path", "no blanks"),
        (http(host="a b"), "bad-format", "http/host", "a name or an address"),
        (http(host="a\r\nX: y"), "bad-format", "http/host", "a name or an address"),
        (http(headers={"X-A": "a\r\nb"}), "bad-format", "http/headers/X-A", "on one line"),
        (http(headers={"X A": "a"}), "bad-key", "http/headers/X A", "does not fit"),
        (http(headers={"Host": WWW}), "header-not-allowed", "http/headers/Host", f"host: {WWW}"),
        (
            http(headers={"content-length": "1"}),
            "header-not-allowed",
            "http/headers/content-length",
            "leave it out",
        ),
        (http(method="get"), "not-allowed", "http/method", "GET, HEAD"),
        (http(method="HEAD", expect="ok"), "expect-without-body", "http/expect", "method: GET"),
        (http(status=[600]), "out-of-range", "http/status/0", "100 to 599"),
        (http(status=["2xx"]), "bad-format", "http/status/0", "200-299"),
        (http(status=["299-200"]), "status-range-reversed", "http/status/0", "write 200-299"),
        (http(status=[]), "empty", "http/status", "at least one"),
        (http("https"), "missing-server-name", "https", "write host: www.example.org"),
        (http("https", serverName="a:443"), "bad-format", "https/serverName", "without a port"),
        (
            http("https", host=WWW, caFile="ca.pem"),
            "unused-ca-file",
            "https/caFile",
            "write verify: true",
        ),
        (
            http("https", host=WWW, verify=True, caFile="../ca.pem"),
            "bad-format",
            "https/caFile",
            "without a folder",
        ),
        ({"checks": [{"tcp": {}, "http": {}}]}, "too-many", "", "an entry of its own"),
    ],
)
def test_what_no_http_check_can_say_is_refused(
    checks: Doc, rule: str, place: str, says: str
) -> None:
    """In a Service, and in Defaults, where two Services have it from: once."""
    pointer = f"/health/checks/0/{place}".rstrip("/")
    two = service(), service("shop", vips=["203.0.113.11"])
    for documents in ([service(health=checks)], [*two, defaults({"health": checks})]):
        [found] = problems_of(director(), *documents)
        assert (found.rule, found.pointer.endswith(pointer)) == (rule, True)
        assert says in found.message


def test_the_other_types_are_rendered_with_every_field() -> None:
    checks = [
        {"udp": {"port": 123, "sendHex": "1b00", "expectHex": "1c"}},
        {"udp": {"send": "a", "expect": "b"}},
        {"dns": {"name": WWW}},
        {
            "dns": {
                **{"name": WWW, "port": 5353, "type": "AAAA", "rcode": "NXDOMAIN"},
                **{"expect": "2001:db8::1", "protocol": "tcp"},
            }
        },
        {"ping": {}},
    ]
    [health] = health_of(service(health={"checks": checks}))
    assert health.checks == (
        UdpCheck(123, send_hex="1b00", expect_hex="1c"),
        UdpCheck(send="a", expect="b"),
        DnsCheck(WWW),
        DnsCheck(WWW, 5353, "AAAA", "NXDOMAIN", "2001:db8::1", DnsProtocol.TCP),
        PingCheck(),
    )


@pytest.mark.parametrize(
    ("check", "rule", "place"),
    [
        ({"udp": {"send": "a", "sendHex": "61"}}, "exactly-one", "udp/sendHex"),
        ({"udp": {"expect": "a", "expectHex": "61"}}, "exactly-one", "udp/expectHex"),
        ({"udp": {"sendHex": "abc"}}, "bad-format", "udp/sendHex"),
        ({"dns": {}}, "missing-field", "dns"),
        ({"dns": {"name": "a b"}}, "bad-format", "dns/name"),
        ({"dns": {"name": "a" * 64}}, "bad-format", "dns/name"),
        ({"dns": {"name": "a..b"}}, "bad-format", "dns/name"),
        ({"dns": {"name": WWW, "type": "ANY"}}, "not-allowed", "dns/type"),
        ({"ping": {"port": 80}}, "unknown-field", "ping/port"),
    ],
)
def test_what_no_other_check_can_say_is_refused(check: Doc, rule: str, place: str) -> None:
    [found] = problems_of(director(), service(health={"checks": [check]}))
    assert (found.rule, found.pointer) == (rule, f"/spec/health/checks/0/{place}")


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        ({"ports": [UDP]}, {"tcp", "http", "dns by tcp"}),
        ({"ports": [{"port": 80, "protocol": "sctp"}]}, {*OTHERS} - {"ping"}),
        ({"firewallMark": 7}, {*OTHERS} - {"ping"}),
        ({"ports": [{"port": 53}]}, set()),
    ],
)
def test_each_type_needs_a_port_where_the_real_servers_have_none_for_it(
    spec: Doc, kinds: set[str]
) -> None:
    refused = set()
    for name, check in OTHERS.items():
        found = problems_of(director(), service(**spec, health={"checks": [check]}))
        assert rules_of(found) in ([], ["check-without-port"])
        refused |= {name} if found else set()
    assert refused == kinds


def test_udp_that_expects_nothing_is_no_check_alone() -> None:
    nothing: Doc = {"udp": {"send": "x"}}
    for checks, rules in (
        ([nothing], ["udp-without-answer"]),
        ([nothing, {"ping": {}}], []),
        ([{"udp": {"send": "x", "expect": "y"}}], []),
    ):
        assert warnings_of(director(), service(health={"checks": checks})) == rules


def test_an_http_check_needs_a_port_where_a_tcp_check_does() -> None:
    [found] = problems_of(director(), service(firewallMark=7, health=http()))
    assert (found.rule, found.pointer) == ("check-without-port", "/spec/health/checks/0/http")
    assert "write http: {port: 8080}" in found.message


def test_the_real_servers_are_never_removed_under_sh() -> None:
    removing = {**TCP, "onFailure": "remove"}
    [found] = problems_of(director(), service(scheduler="sh", health=removing))
    assert (found.rule, found.pointer) == ("remove-under-sh", "/spec/health/onFailure")


@pytest.mark.parametrize(
    ("spec", "host", "rules"),
    [
        ({"persistence": {"timeout": "5m"}}, {EXPIRE: 0}, ["persistence-keeps-clients"]),
        ({"persistence": {"timeout": "5m"}}, {}, []),
        ({}, {EXPIRE: 0}, []),
        (
            {"health": {**TCP, "onFailure": "remove"}},
            {NODEST: 0},
            ["removed-servers-keep-connections"],
        ),
        ({"health": {**TCP, "onFailure": "remove"}}, {}, []),
        ({}, {NODEST: 0}, []),
        (
            {"ports": [UDP], "health": {**AT_8080, "onFailure": "drain"}},
            {},
            ["drain-keeps-udp-clients"],
        ),
        ({"ports": [UDP], "health": AT_8080}, {}, []),
        ({"scheduler": "sh", "realServers": [server(weight=2)]}, {}, ["sh-moves-clients"]),
        ({"scheduler": "sh"}, {}, []),
        ({"scheduler": "mh", "realServers": [server(weight=2)]}, {}, []),
        (
            {"health": LEFT_OUT, "scheduler": "sh", "realServers": [server(weight=2)]},
            {EXPIRE: 0, NODEST: 0},
            [],
        ),
    ],
    ids=str,
)
def test_what_probably_is_not_meant_is_a_warning(spec: Doc, host: Doc, rules: list[str]) -> None:
    documents = director(sysctls=host), service(**{"health": TCP, **spec})
    assert warnings_of(*documents) == rules


def test_a_warning_names_only_the_directors_that_it_is_about() -> None:
    persistent = service(persistence={"timeout": "5m"}, health=TCP)
    directors = director("lb1", sysctls={EXPIRE: 0}), director("lb2")
    [warning] = loaded(*directors, persistent).warnings
    assert "is 0 on lb1:" in warning.message
    assert "set it to 1" in warning.message


def test_the_weights_of_a_pool_count_with_their_factor() -> None:
    hashed = service(scheduler="sh", pools=[{"name": "web", "weight": 3}], health=TCP)
    assert warnings_of(director(), hashed, pool("web", server())) == ["sh-moves-clients"]


def files(health: Any, weight: int = 2) -> list[Any]:
    one = service("a", scheduler="sh", realServers=[server(weight=weight)], health=health)
    other = service(
        "b", vips=["203.0.113.11"], scheduler="sh", health=TCP, realServers=[server(weight=2)]
    )
    return [file_of("d.yaml", director()), file_of("a.yaml", one), file_of("b.yaml", other)]


def test_loading_what_changed_has_the_warnings_and_checks_of_loading_everything() -> None:
    loader, renderer = Loader(), Renderer()
    for health, weight in ((TCP, 2), (AT_8080, 2), (AT_8080, 1), (LEFT_OUT, 2), (TCP, 2)):
        again = loader.load(files(health, weight))
        whole = Loader().load(files(health, weight))
        assert again.warnings == whole.warnings
        assert renderer.render(again, "lb1") == render_director(whole, "lb1")


def test_a_change_of_one_service_s_checks_shares_those_of_all_others() -> None:
    loader, renderer = Loader(), Renderer()
    before = renderer.render(loader.load(files(TCP)), "lb1")
    after = renderer.render(loader.load(files(AT_8080)), "lb1")
    assert before != after
    assert before.state == after.state
    mine, other = sorted(after.health)
    assert after.health[mine].checks == (TcpCheck(8080),)
    assert after.health[other] is before.health[other]
