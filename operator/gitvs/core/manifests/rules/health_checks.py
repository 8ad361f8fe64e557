"""Rules about the health checks of a Service: what cannot work, and what is probably not meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gitvs.core.manifests.placement import DirectorIndex, PlacedService, on_failure_of
from gitvs.core.manifests.syntax.source_positions import Origin
from gitvs.core.manifests.types import ManifestHealth, ManifestPort, Service
from gitvs.core.model.health import (
    Check,
    DnsCheck,
    DnsProtocol,
    HttpCheck,
    OnFailure,
    UdpCheck,
)
from gitvs.core.model.resources import Protocol, Scheduler
from gitvs.core.problems import Problem

_KEEPS_CLIENTS = "net.ipv4.vs.expire_quiescent_template"
_KEEPS_CONNECTIONS = "net.ipv4.vs.expire_nodest_conn"
_FRAMING_HEADERS = ("content-length", "transfer-encoding", "expect")


def health_problems(service: Service) -> Iterator[Problem]:
    """Yield what is wrong with the health checks of a Service document."""
    health = service.health
    if health is None:
        return
    if health.on_failure is OnFailure.REMOVE and service.scheduler is Scheduler.SH:
        message = f"service {service.name} has scheduler sh, under which removing one real server"
        message += " moves most clients of the others; write onFailure: drain, or scheduler: mh"
        yield (health.origin / "onFailure").problem("remove-under-sh", message)
    for written in health.checks:
        check, origin = written.check, written.origin / written.check.kind
        if isinstance(check, HttpCheck):
            yield from _http_problems(origin, check)
        elif isinstance(check, UdpCheck):
            yield from _udp_problems(origin, check)
        reason = _no_port_reason(service, check) if check.port is None else ""
        if reason:
            kind, protocol = check.kind, "UDP" if _is_by_udp(check) else "TCP"
            message = f"service {service.name} {reason}, so a {kind} check needs a port of its own;"
            message += f" write {kind}: {{port: 8080}}, with the {protocol} port to check"
            yield origin.problem("check-without-port", message)


def _is_by_udp(check: Check) -> bool:
    is_dns_by_udp = isinstance(check, DnsCheck) and check.protocol is DnsProtocol.UDP
    return is_dns_by_udp or isinstance(check, UdpCheck)


def _http_problems(origin: Origin, check: HttpCheck) -> Iterator[Problem]:
    """Yield what no schema can say of an http or https check."""
    for index, (first, last) in enumerate(check.status):
        if first > last:
            message = f"status {first}-{last} ends before it begins; write {last}-{first}"
            yield (origin / "status" / index).problem("status-range-reversed", message)
    for name, value in check.headers:
        if name.lower() == "host":
            message = f"the host is no header here; write host: {value}"
            yield (origin / "headers" / name).problem("header-not-allowed", message)
        elif name.lower() in _FRAMING_HEADERS:
            message = f"header {name} is about a body, and a check sends none; leave it out"
            yield (origin / "headers" / name).problem("header-not-allowed", message)
    if check.method == "HEAD" and check.expect:
        message = "an answer to HEAD has no body in which anything could be expected; write"
        message += " method: GET, or leave expect out"
        yield (origin / "expect").problem("expect-without-body", message)
    tls = check.tls
    if tls is not None and not tls.server_name:
        message = "an https check needs the name to ask for; write host: www.example.org, or"
        message += " serverName where the two differ"
        yield origin.problem("missing-server-name", message)
    if tls is not None and tls.ca_file and not tls.verify:
        message = "caFile has no meaning unless the certificate is verified; write verify: true"
        yield (origin / "caFile").problem("unused-ca-file", message)


def _udp_problems(origin: Origin, check: UdpCheck) -> Iterator[Problem]:
    for name, text, digits in (
        ("send", check.send, check.send_hex),
        ("expect", check.expect, check.expect_hex),
    ):
        if text and digits:
            message = f"{name} and {name}Hex are both there; write one of them"
            yield (origin / f"{name}Hex").problem("exactly-one", message)


def _no_port_reason(service: Service, check: Check) -> str:
    """Return why a check cannot use the real servers' own port; empty if it can.

    Who asks by UDP may use the number of a TCP port, since name servers have both. Not the other
    way round: few servers of UDP listen for TCP.
    """
    if service.firewall_mark is not None:
        return "has a firewall mark and no ports"
    for port in service.ports:
        is_udp = port.protocol is Protocol.UDP
        if port.protocol is Protocol.SCTP or (is_udp and not _is_by_udp(check)):
            return f"has {port}"
        if port.port == 0:
            return "has port 0, behind which real servers have no port of their own"
    return ""


def health_warnings(
    services: Iterable[PlacedService], directors: DirectorIndex
) -> Iterator[Problem]:
    """Yield what is allowed in the health checks of services, and probably not meant."""
    for placed in services:
        if placed.service.health is not None:
            yield from _health_warnings(placed, placed.service.health, directors)


def _health_warnings(
    placed: PlacedService, health: ManifestHealth, directors: DirectorIndex
) -> Iterator[Problem]:
    service = placed.service
    ports: tuple[ManifestPort | None, ...] = service.ports or (None,)
    reactions = {on_failure_of(service, port) for port in ports}
    origin = health.origin if health.on_failure is None else health.origin / "onFailure"
    keeping = placed.directors & directors.having_sysctl(_KEEPS_CLIENTS, "0")
    if service.persistence is not None and OnFailure.DRAIN in reactions and keeping:
        message = (
            f"service {service.name} has persistence, and {_KEEPS_CLIENTS} is 0"
            f"{directors.on_text(keeping)}: clients stay with a real server that is down; set it to"
            " 1, or write onFailure: remove"
        )
        yield origin.problem("persistence-keeps-clients", message)
    keeping = placed.directors & directors.having_sysctl(_KEEPS_CONNECTIONS, "0")
    if OnFailure.REMOVE in reactions and keeping:
        message = (
            f"service {service.name} removes real servers that are down, and {_KEEPS_CONNECTIONS}"
            f" is 0{directors.on_text(keeping)}: their connections hang until they expire; set it"
            " to 1"
        )
        yield origin.problem("removed-servers-keep-connections", message)
    flows = [p for p in service.ports if p.protocol is Protocol.UDP and not p.is_one_packet]
    if health.on_failure is OnFailure.DRAIN and flows:
        message = (
            f"service {service.name} has {flows[0]}: a client that goes on sending stays with a"
            " real server at weight 0 for ever; leave onFailure out, so that udp has remove"
        )
        yield origin.problem("drain-keeps-udp-clients", message)
    checks = [written.check for written in health.checks]
    if all(isinstance(c, UdpCheck) and not (c.expect or c.expect_hex) for c in checks):
        message = (
            f"service {service.name} is checked by udp alone, and expects no answer: only a host"
            " that says that the port is closed fails; write expect, or add a ping check"
        )
        yield (health.checks[0].origin / "udp").problem("udp-without-answer", message)
    if service.scheduler is Scheduler.SH and _has_weights_over_1(placed):
        message = (
            f"service {service.name} has scheduler sh and weights over 1: its table follows the"
            " weights, so one real server at weight 0 moves most clients of the others; write"
            " scheduler: mh, or weights of 1"
        )
        yield service.origin_of("scheduler").problem("sh-moves-clients", message)


def _has_weights_over_1(placed: PlacedService) -> bool:
    return any(chosen.weight > 1 for variant in placed.variants for chosen in variant.servers)
