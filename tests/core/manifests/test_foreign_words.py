"""What people bring from keepalived, ldirectord, HAProxy, Envoy, Kubernetes and ipvsadm."""

from __future__ import annotations

from typing import Any

import pytest

from gitvs.core.manifests.messages import foreign_words, health_words
from gitvs.core.manifests.schema import FOLDER_HINT
from tests.support.manifests.writing import (
    defaults,
    director,
    pool,
    problems_in,
    problems_of,
    server,
    service,
    text_file,
)

SERVICE_FIELDS = {
    "vip": ("10.0.0.1", "write vips: [10.0.0.1]"),
    "clusterIP": ("10.0.0.1", "write vips: [10.0.0.1]"),
    "virtual_address": ("10.0.0.1", "write vips: [10.0.0.1]"),
    "port": (443, "write ports: [{port: 443}]"),
    "protocol": ("TCP", "it is a field of each port"),
    "lb_algo": ("rr", "write scheduler: rr"),
    "lvs_sched": ("WRR", "write scheduler: wrr"),
    "balance": ("leastconn", "write scheduler: wlc"),
    "lb_policy": ("ROUND_ROBIN", "write scheduler: wlc"),
    "lb_kind": ("DR", "write forwarding: dr"),
    "lvs_method": ("masq", "write forwarding: nat"),
    "persistence_timeout": (300, "write persistence: {timeout: 300s}"),
    "sessionAffinity": ("ClientIP", "write persistence: {timeout: 5m}"),
    "real_server": ([], "write realServers: [{address: 10.1.0.1, port: 8080}]"),
    "backends": ([], "write realServers: [{address: 10.1.0.1, port: 8080}]"),
    "sorry_server": ("10.0.0.9", "this gitvs does not have sorry servers yet"),
    "sorryServers": ([], "this gitvs does not have sorry servers yet"),
    "withdraw": (True, "this gitvs does not have addresses that are withdrawn"),
    "quorum": (1, "write health: {quorum: {losePercent: 30"),
    "checks": ([], "write health: {checks: [{tcp: {}}]}"),
    "healthCheck": ({}, "write health: {checks: [{tcp: {}}]}"),
    "delay_loop": (6, "write health: {interval: 6s, checks: [{tcp: {}}]}"),
    "connect_timeout": (3, "write health: {timeout: 3s, checks"),
    "retry": (2, "write health: {fall: 3, checks"),
    "fastinter": (500, "write health: {retryInterval: 500ms, checks"),
    "rise": (4, "write health: {rise: 4, checks"),
    "inter": (2000, "write health: {interval: 2000ms, checks"),
    "TCP_CHECK": ({}, "write health: {checks: [{tcp: {}}]}"),
    "SMTP_CHECK": ({}, 'write health: {checks: [{tcp: {port: 25, expect: "220"}}]}'),
    "HTTP_GET": ({}, "write health: {checks: [{http: {path: /healthz}}]}"),
    "SSL_GET": ({}, "write health: {checks: [{https: {host: www.example.org, path: /healthz}}]}"),
    "MISC_CHECK": ({}, "this gitvs does not have exec checks yet"),
    "inhibit_on_failure": (True, "write health: {onFailure: drain, checks"),
    "notify_down": ("x.sh", "gitvs runs no scripts"),
    "livenessProbe": ({}, "write health: {checks: [{tcp: {}}]}"),
    "fwmark": (7, "write firewallMark: 7"),
    "ops": (True, "it is a field of each port"),
    "maxconn": (500, "write upperThreshold: 500"),
    "vrrp_instance": ({}, "VRRP stays with keepalived"),
    "selector": ({}, "matchLabels: {role: edge}"),
    "type": ("LoadBalancer", "a field of Kubernetes"),
    "tls": (True, "IPVS does not see HTTP or TLS"),
    "labels": ({}, "labels belong in metadata"),
    "slow_start": (10, "gitvs has no slow start"),
}
VALUES = {
    ("scheduler", "roundrobin"): "write rr",
    ("scheduler", "round_robin"): "write rr",
    ("scheduler", "WLC"): "write it as wlc",
    ("scheduler", "leastconn"): "write wlc",
    ("scheduler", "LEAST_REQUEST"): "write wlc",
    ("scheduler", "source"): "write mh",
    ("scheduler", "maglev"): "write mh",
    ("forwarding", "DR"): "write it as dr",
    ("forwarding", "masq"): "write nat",
    ("forwarding", "gate"): "write dr",
    ("forwarding", "ipip"): "write tun",
    ("forwarding", "fullnat"): "no full NAT",
}
SHAPES = [
    ({"ports": [80]}, "write {port: 80}"),
    ({"ports": ["80"]}, "write {port: 80}"),
    ({"ports": ["53/udp"]}, "write {port: 53, protocol: udp}"),
    ({"ports": ["80:8080"]}, "write {port: 80, targetPort: 8080}"),
    ({"ports": ["8000-8010"]}, "give firewallMark"),
    ({"ports": 443}, "write [{port: 443}]"),
    ({"ports": {"port": 443}}, "write [{port: 443}]"),
    ({"ports": [{"port": 80, "protocol": "TCP"}]}, "write it as tcp"),
    ({"ports": [{"port": 80, "protocol": "http"}]}, "write tcp"),
    ({"realServers": ["10.1.0.1:8080"]}, "write {address: 10.1.0.1, port: 8080}"),
    ({"realServers": ["10.1.0.1"]}, "write {address: 10.1.0.1}"),
    ({"realServers": ["2001:db8::5"]}, 'write {address: "2001:db8::5"}'),
    ({"realServers": ["[2001:db8::5]:80"]}, 'write {address: "2001:db8::5", port: 80}'),
    ({"realServers": [server(ip="10.1.0.9")]}, "write address: 10.1.0.9"),
    ({"vips": "10.0.0.1"}, "write [10.0.0.1]"),
    ({"vips": ["10.0.0.1/32"]}, "write 10.0.0.1 alone"),
    ({"vips": ["10.0.0.1-10"]}, "no ranges of addresses"),
    ({"vips": ["10.0.0.1:80"]}, "10.0.0.1 and port 80"),
    ({"vips": ["{{ vip }}"]}, "gitvs does not fill in templates"),
    ({"scheduler": "${SCHEDULER}"}, "gitvs does not fill in templates"),
    ({"persistence": True}, "write {timeout: 5m}"),
    ({"persistence": 300}, "write {timeout: 300s}"),
    ({"persistence": "5m"}, "write {timeout: 5m}"),
    ({"persistence": False}, "write null, or leave it out"),
    ({"drain": "60s"}, "write {timeout: 60s}"),
    ({"drain": {"timeout": 60}}, 'write "60s"'),
    ({"directors": ["lb1"]}, "write {names: [lb1]}"),
    ({"directors": "lb1"}, "write {names: [lb1]}"),
    ({"tunnel": "gue"}, "write {type: gue}"),
]
DIRECTOR_SHAPES = [
    ({"sysctls": {"net.ipv4.ip_forward": True}}, "write 1"),
    ({"sysctls": {"net.ipv4.ip_forward": "yes"}}, "write 1"),
    ({"sysctls": {"net.ipv4.ip_forward": "off"}}, "write 0"),
    ({"timeouts": {"tcp": 900}}, 'write "900s"'),
    ({"vips": ["10.0.0.1"]}, "VIPs and real servers belong in a Service"),
    ({"lvs_sync_daemon": {}}, "write syncDaemons"),
]


@pytest.mark.parametrize(("word", "given"), SERVICE_FIELDS.items())
def test_a_field_of_another_program_is_answered_with_gitvs_s_own(
    word: str, given: tuple[Any, str]
) -> None:
    value, says = given
    [found] = [p for p in problems_of(service(**{word: value})) if p.rule == "unknown-field"]
    assert f'spec has no field "{word}"' in found.message
    assert says in found.message
    [found] = [
        p for p in problems_of(defaults({word: value}), director()) if p.rule == "unknown-field"
    ]
    assert says in found.message, "in Defaults too"


@pytest.mark.parametrize(("given", "says"), VALUES.items())
def test_a_value_of_another_program_is_answered_with_gitvs_s_own(
    given: tuple[str, str], says: str
) -> None:
    field, word = given
    [found] = problems_of(service(**{field: word}), director())
    assert found.rule == "not-allowed"
    assert says in found.message


@pytest.mark.parametrize(("spec", "says"), SHAPES)
def test_a_value_of_another_shape_is_answered_with_what_to_write(
    spec: dict[str, Any], says: str
) -> None:
    assert says in problems_of(service(**spec), director())[0].message


@pytest.mark.parametrize(("spec", "says"), DIRECTOR_SHAPES)
def test_so_is_one_of_a_director(spec: dict[str, Any], says: str) -> None:
    [found] = problems_of(director(**spec))
    assert says in found.message


@pytest.mark.parametrize(
    ("health", "says"),
    [
        ({"withdraw": True}, "does not have addresses that are withdrawn"),
        ({"target": "vip"}, "does not have checks of the VIP itself yet"),
        ({"sorryServers": []}, "does not have sorry servers yet"),
        ({"delay_loop": 10}, "write interval: 10s"),
        ({"connect_timeout": 3}, "write timeout: 3s"),
        ({"retries": 3}, "it has interval, timeout"),
        ({"retry": 2}, "write fall: 3"),
        ({"TCP_CHECK": {}}, "write checks: [{tcp: {}}]"),
        ({"port": 80}, "write tcp: {port: 8080}"),
        *(
            ({"checks": [{kind: {}}]}, f"have {kind} checks yet, but tcp, http, https, udp, dns")
            for kind in ("exec",)
        ),
        ({"checks": [{"dns_check": {}}]}, "write dns: {name: www.example.org}"),
        ({"checks": [{"PING_CHECK": {}}]}, "write ping: {}"),
        ({"checks": [{"UDP_CHECK": {}}]}, "write udp: {send: ping, expect: pong}"),
        ({"httpGet": {}}, "write checks: [{http: {path: /healthz}}]"),
        ({"checks": [{"httpGet": {}}]}, "write http: {path: /healthz}"),
        ({"checks": [{"http": {"url": "/"}}]}, "write path: /healthz"),
        ({"checks": [{"http": {"virtualhost": "a"}}]}, "write host: www.example.org"),
        ({"checks": [{"http": {"status_code": 200}}]}, "write status: [200-299]"),
        ({"checks": [{"https": {"sni": "a"}}]}, "write serverName: www.example.org"),
        ({"checks": [{"https": {"insecure": True}}]}, "write verify: true"),
        ({"checks": [{"tcp": {}, "http": {}}]}, "tcp and http are together; give each an entry"),
        ({"checks": [{"tcp": {}, "interval": "1s"}]}, "does not have times of single checks yet"),
        ({"checks": [{"tcp": {"timeout": "1s"}}]}, "write timeout: 2s in health, for all checks"),
        ({"checks": [{"tcp": {"connect_port": 25}}]}, "write port: 8080"),
        ({"checks": [{"tcp": {"contains": "ok"}}]}, "write expect: "),
        ({"checks": ["tcp"]}, "write {tcp: {}}"),
        ({"checks": [{"tcp": None}]}, "write {}"),
        ({"checks": [{"tcp": 25}]}, "write {port: 25}"),
        ({"checks": {"tcp": {}}}, "write [{tcp: {}}]"),
        (
            {"checks": [{"tcp": {"port": n}} for n in range(1, 10)]},
            "9 entries, over the limit of 8",
        ),
        ({"checks": [{"tcp": {}}, {"tcp": {}}]}, "is listed twice"),
        ({"checks": []}, "give at least one entry"),
        ({"checks": [{}]}, "give at least one entry"),
        ({"interval": 5}, 'write "5s"'),
        ({"interval": "5"}, "a duration is a whole number and a unit"),
    ],
    ids=str,
)
def test_a_word_inside_of_health_is_answered_with_its_place_there(
    health: dict[str, Any], says: str
) -> None:
    given = service(health={"checks": [{"tcp": {}}], **health})
    assert says in " ".join(p.message for p in problems_of(given, director()))


def test_a_target_outside_of_health_is_what_it_was() -> None:
    found = problems_of(service(ports=[{"port": 80, "target": 8080}]), director())
    assert "write targetPort: 8080" in found[0].message


def test_what_a_pool_and_a_single_real_server_cannot_have_yet_is_said() -> None:
    spec = {"realServers": [server(check={})], "health": {}}
    messages = " ".join(p.message for p in problems_of({**pool("p"), "spec": spec}, director()))
    assert "does not have checks of a Pool yet; write health: {checks: [{tcp: {}}]} in" in messages
    assert "does not have checks of single ones yet" in messages


def test_a_word_has_one_translation_and_is_looked_up_as_it_is_written() -> None:
    health = health_words._HEALTH_WORDS, health_words._TYPE_WORDS
    for table in (foreign_words._FIELD_WORDS, *foreign_words._VALUE_WORDS.values(), *health):
        words = [word for text in table.values() for word in text.split()]
        assert len(words) == len(set(words)), sorted(w for w in words if words.count(w) > 1)
        assert [w for w in words if foreign_words.bare_word(w) != w] == []


def test_a_template_in_yaml_is_named() -> None:
    text = "apiVersion: gitvs/v1\nkind: Service\nmetadata: {name: x}\nspec: {vips: [{{ vip }}]}\n"
    [found] = problems_in(text_file("a.yaml", text))
    assert "`{{ … }}` of a template has to be filled in" in found.message


def test_a_document_of_kubernetes_is_called_one() -> None:
    [found] = problems_of({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}})
    assert 'this is a Kubernetes "Deployment", of apiVersion "apps/v1"' in found.message


def test_that_the_folder_may_be_the_wrong_one_is_said_once() -> None:
    files = [text_file(f"{n}.yaml", "services: {}\n") for n in range(5)]
    found = problems_in(*files)
    assert len(found) == 5
    assert [p.message.endswith(FOLDER_HINT) for p in found] == [True] + 4 * [False]


def test_what_belongs_below_spec_is_said_to() -> None:
    [found] = problems_of({**service(), "scheduler": "wlc"}, director())
    assert "all other fields belong below spec" in found.message


def test_an_example_is_replaced_as_a_whole_number_alone() -> None:
    assert "write lowerThreshold: 3," in foreign_words.translated_field(
        "realServers", "lthreshold", 3
    )
