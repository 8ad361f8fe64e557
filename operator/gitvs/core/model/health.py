"""How the real servers of a virtual service are checked, as the manifests say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gitvs.core.model.resources import IPAddress


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """A connection succeeds, and what the server says contains `expect`.

    `send` is written first; either may be empty. `port` is None for the real server's own.
    """

    port: int | None = None
    send: str = ""
    expect: str = ""

    @property
    def kind(self) -> str:
        return "tcp"

    @property
    def words(self) -> str:
        """The check in words, for people: `tcp port 25 expect "220"`."""
        parts = ["tcp"]
        if self.port is not None:
            parts.append(f"port {self.port}")
        for name, text in (("send", self.send), ("expect", self.expect)):
            if text:
                parts.append(f'{name} "{text}"')
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Tls:
    """How https is spoken. `server_name` is what is asked for (SNI).

    Where `verify` is set the certificate has to be valid, for that name, and issued by an authority
    that this host trusts, or by one of `ca_file`, a file in `/etc/gitvs/checks.d`.
    """

    server_name: str
    verify: bool = False
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """A request is answered with an allowed status, and the body contains `expect`.

    `status` are ranges, both ends included. An empty `host` stands for the address that is asked.
    `tls` is None for http. `port` is None for the real server's own.
    """

    port: int | None = None
    path: str = "/"
    method: str = "GET"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    status: tuple[tuple[int, int], ...] = ((200, 299),)
    expect: str = ""
    tls: Tls | None = None

    @property
    def kind(self) -> str:
        return "http" if self.tls is None else "https"

    @property
    def words(self) -> str:
        """The check in words, for people: `http /healthz host www.example.org expect "ok"`."""
        parts = [self.kind, *([] if self.method == "GET" else [self.method]), self.path]
        if self.port is not None:
            parts.append(f"port {self.port}")
        if self.host:
            parts.append(f"host {self.host}")
        if self.tls is not None and self.tls.server_name != self.host:
            parts.append(f"server name {self.tls.server_name}")
        if self.tls is not None and self.tls.verify:
            parts.append("verified" + (f" by {self.tls.ca_file}" if self.tls.ca_file else ""))
        parts += [f'header "{name}: {value}"' for name, value in self.headers]
        if self.status != DEFAULT_STATUS:
            parts.append("status " + ", ".join(status_range_text(each) for each in self.status))
        if self.expect:
            parts.append(f'expect "{self.expect}"')
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class UdpCheck:
    """A datagram is answered with one that contains what is expected.

    `send` and `expect` are texts, `send_hex` and `expect_hex` bytes in hexadecimal; of each pair
    one at most is given. Where nothing is expected, any answer passes, and none passes too once the
    time is over: only an ICMP error fails. `port` is None for the real server's own.
    """

    port: int | None = None
    send: str = ""
    send_hex: str = ""
    expect: str = ""
    expect_hex: str = ""

    @property
    def kind(self) -> str:
        return "udp"

    @property
    def words(self) -> str:
        """The check in words, for people: `udp port 123 send 1b00 expect "pong"`."""
        parts = ["udp"]
        if self.port is not None:
            parts.append(f"port {self.port}")
        for name, text, digits in (
            ("send", self.send, self.send_hex),
            ("expect", self.expect, self.expect_hex),
        ):
            if text:
                parts.append(f'{name} "{text}"')
            elif digits:
                parts.append(f"{name} hex {digits}")
        return " ".join(parts)


class DnsProtocol(StrEnum):
    UDP = "udp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class DnsCheck:
    """A question is answered with `rcode`, and an answer's text contains `expect`."""

    name: str = ""
    port: int | None = None
    type: str = "A"
    rcode: str = "NOERROR"
    expect: str = ""
    protocol: DnsProtocol = DnsProtocol.UDP

    @property
    def kind(self) -> str:
        return "dns"

    @property
    def words(self) -> str:
        """The check in words, for people: `dns www.example.org AAAA expect "2001:db8::1"`."""
        parts = ["dns", self.name, *([] if self.type == "A" else [self.type])]
        if self.port is not None:
            parts.append(f"port {self.port}")
        if self.protocol is DnsProtocol.TCP:
            parts.append("over tcp")
        if self.rcode != "NOERROR":
            parts.append(f"rcode {self.rcode}")
        if self.expect:
            parts.append(f'expect "{self.expect}"')
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class PingCheck:
    """The host answers an ICMP echo request."""

    @property
    def port(self) -> int | None:
        """0: a host is asked, not a port."""
        return 0

    @property
    def kind(self) -> str:
        return "ping"

    @property
    def words(self) -> str:
        return "ping"


DEFAULT_STATUS = ((200, 299),)


def status_range_text(status_range: tuple[int, int]) -> str:
    """Return `200-299`, or `404` for a single one."""
    first, last = status_range
    return str(first) if first == last else f"{first}-{last}"


Check = TcpCheck | HttpCheck | UdpCheck | DnsCheck | PingCheck


class OnFailure(StrEnum):
    """What happens to a real server that is down."""

    DRAIN = "drain"
    """Its weight becomes 0: open connections go on."""
    REMOVE = "remove"
    """It is removed: its connections end."""


@dataclass(frozen=True, slots=True)
class CheckTimes:
    """When a check runs: every `interval_seconds`, from start to start.

    After a result that differs from the run before, `retry_seconds` replaces the interval. A
    check fails if it takes longer than `timeout_seconds`, from connecting to the whole answer.
    """

    interval_seconds: float = 5.0
    timeout_seconds: float = 2.0
    retry_seconds: float = 5.0 / 3


@dataclass(frozen=True, slots=True)
class Health:
    """The `health` of a Service, for one of its virtual services.

    A real server comes back after `rise` passes in a row, and goes down after `fall` failures.
    At least `keep_percent` of the number of real servers stay in service. The quorum is lost when
    less than `lose_percent` of the weight is up, and gained again at `gain_percent`.
    """

    checks: tuple[Check, ...]
    times: CheckTimes = CheckTimes()
    rise: int = 2
    fall: int = 3
    on_failure: OnFailure = OnFailure.DRAIN
    keep_percent: float = 50.0
    lose_percent: float = 0.0
    gain_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One check of one address and port: equal ones of different Services run once."""

    check: Check
    address: IPAddress
    port: int
    times: CheckTimes


ProbeId = str
"""A short text that is the same for equal probes, in every process and version of gitvs."""


class Failure(StrEnum):
    """Why a check failed, from the hardest evidence of a dead server to the softest."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect-timeout"
    """No connection came about; or, without connections, nothing was heard of the host."""
    ANSWER_TIMEOUT = "answer-timeout"
    TLS = "tls"
    STATUS = "status"
    CONTENT = "content"

    @property
    def is_hard(self) -> bool:
        """Whether the server's host or network has said that nobody is there."""
        return self in (Failure.REFUSED, Failure.UNREACHABLE)

    @property
    def is_soft(self) -> bool:
        """Whether the server has answered, though not as the check wants it, or not in time."""
        return not self.is_hard and self is not Failure.CONNECT_TIMEOUT


@dataclass(frozen=True, slots=True)
class Run:
    """Results of the same kind in a row. Of failures, `failure` is the class of the newest one.

    A result that says nothing about the server (void) neither belongs to a run nor ends one.
    `text` says more about the newest result; `latency_seconds` is how long a pass took.
    """

    length: int = 0
    failure: Failure | None = None
    text: str = ""
    latency_seconds: float = 0.0
