"""Words about health checks: those of other programs, and those that this gitvs does not have yet.

From keepalived.conf(5), ldirectord(8), HAProxy, Envoy and Kubernetes. Words are looked up as in
`foreign_words`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CHECKS = "checks: [{tcp: {}}]"
_HTTP = "checks: [{http: {path: /healthz}}]"
_HTTPS = "checks: [{https: {host: www.example.org, path: /healthz}}]"
_GREETING = 'checks: [{tcp: {port: 25, expect: "220"}}]'
_HEALTH_WORDS: Mapping[str, str] = {
    "interval: 5s": "interval delayloop inter checkinterval period periodseconds",
    "timeout: 2s": "connecttimeout checktimeout negotiatetimeout timeoutseconds misctimeout",
    "retryInterval: 1s": "retryinterval delaybeforeretry fastinter downinter",
    "fall: 3": "fall retry nbgetretry failurecount failurethreshold unhealthythreshold checkcount"
    " negotiatecount",
    "rise: 2": "rise successthreshold healthythreshold",
    "onFailure: drain": "onfailure inhibitonfailure quiescent",
    "keepPercent: 50": "keeppercent panicthreshold healthypanicthreshold depoolthreshold",
    "quorum: {losePercent: 30, gainPercent: 50}": "quorum hysteresis losepercent gainpercent",
    _CHECKS: "health checks healthcheck healthchecks check checktype checker checkers monitor"
    " monitors tcpcheck livenessprobe readinessprobe healthz option outlierdetection connectport"
    " checkport connectip",
    _GREETING: "smtpcheck",
    _HTTP: "http httpget httpmethod httpcheck virtualhost request receive url",
    _HTTPS: "https sslget httpscheck",
    "checks: [{udp: {send: ping, expect: pong}}]": "udp udpcheck",
    "checks: [{dns: {name: www.example.org}}]": "dns dnscheck",
    "checks: [{ping: {}}]": "ping pingcheck icmp icmpcheck",
}
"""What `health` has for a word."""
_TYPE_WORDS: Mapping[str, str] = {
    "exec": "misccheck filecheck checkcommand externalcheck",
    "bfd": "bfdcheck",
}
"""Words for the types of checks that this gitvs does not have yet."""
_NOT_YET: Mapping[str, str] = {
    **dict.fromkeys(
        ("sorryservers", "sorryserver", "fallback", "fallbackcommand", "emergency"),
        "sorry servers",
    ),
    "withdraw": "addresses that are withdrawn with the quorum",
    "target": "checks of the VIP itself",
}
_NO_SCRIPTS = "gitvs runs no scripts; status, metrics and alerts say what changed"
_BY_ITSELF = "leave it out: a new real server is in once its checks have passed"
_EXPLAINED: Mapping[str, str] = {
    **dict.fromkeys(("quorumup", "quorumdown", "notifyup", "notifydown"), _NO_SCRIPTS),
    **dict.fromkeys(("alpha", "omega", "warmup"), _BY_ITSELF),
    "hasuspend": "leave it out: checks run wherever the agent runs",
}
_IN_TCP: Mapping[str, str] = {
    **dict.fromkeys(("port", "connectport", "checkport"), "port: 8080"),
    **dict.fromkeys(("send", "request", "payload", "data"), "send: …"),
    **dict.fromkeys(("expect", "receive", "match", "contains", "string", "response"), "expect: …"),
}
"""What a tcp check has for a word."""

_IN_HTTP: Mapping[str, str] = {
    word: text
    for text, words in {
        "port: 8080": "port connectport checkport",
        "path: /healthz": "url uri httppath requestpath testpath request",
        "method: GET": "httpmethod verb",
        "host: www.example.org": "virtualhost vhost hostname hostheader",
        "headers: {X-Check: gitvs}": "header httpheaders requestheaders",
        "status: [200-299]": "statuscode statuscodes code codes expectedstatus expectedstatuses",
        "expect: …": "receive match contains string response regex body digest",
        "serverName: www.example.org": "sni enablesni tlsservername",
        "verify: true": "insecure tlsverify insecureskipverify verifypeer ssl",
        "caFile: internal-ca.pem": "ca cacert cafilename capath",
    }.items()
    for word in words.split()
}
"""What an http or https check has for a word."""

_HEALTH = {word: text for text, words in _HEALTH_WORDS.items() for word in words.split()}
_TYPES = {word: name for name, words in _TYPE_WORDS.items() for word in words.split()}
_OUTSIDE = frozenset({"Service", "Pool", "realServers", "ports", "vips"})
_WEB = frozenset({"http", "https"})
_OF_ONE_CHECK = _WEB | {"checks", "tcp", "udp", "dns", "ping"}
_INSIDE = _OF_ONE_CHECK | {"health"}
_NUMBER = re.compile(r"\b[0-9]+(s?)$")
_MAX_NUMBER = 1_000_000
_RETRIES = frozenset({"retry", "nbgetretry"})
"""keepalived counts the retries, and gitvs all failures. Source: keepalived.conf(5)."""
_MILLISECONDS = frozenset({"inter", "fastinter", "downinter"})
"""HAProxy's numbers without a unit."""


def translated_health_field(parent: str, bare: str, value: object) -> str:
    """Return what to write instead of a field about health checks; empty if it is not known.

    `parent` and `value` are as in `foreign_words.translated_field`, `bare` is as `bare_word`
    returns it.
    """
    is_inside = parent in _INSIDE
    if not is_inside and (parent not in _OUTSIDE or bare == "target"):
        return ""
    if bare in _NOT_YET:
        return f"this gitvs does not have {_NOT_YET[bare]} yet"
    if bare in _EXPLAINED:
        return _EXPLAINED[bare]
    if parent in _WEB and bare in _IN_HTTP:
        return f"write {_IN_HTTP[bare]}"
    if is_inside and bare in _IN_TCP and parent not in _WEB:
        return f"write {_IN_TCP[bare]}" if parent == "tcp" else f"write tcp: {{{_IN_TCP[bare]}}}"
    check_type = _TYPES.get(bare) or (bare if is_inside and bare in _TYPE_WORDS else "")
    if check_type:
        remedy = "write tcp: {}" if parent in _OF_ONE_CHECK else _where(parent, _CHECKS)
        have = "but tcp, http, https, udp, dns and ping"
        return f"this gitvs does not have {check_type} checks yet, {have}; {remedy}"
    text = "timeout: 2s" if is_inside and bare == "timeout" else _HEALTH.get(bare, "")
    return text and _where(parent, _with_value(text, bare, value))


def _with_value(text: str, bare: str, value: object) -> str:
    """Return a text with the number that was given, in the unit that its program counts in."""
    if type(value) is not int or not 0 < value < _MAX_NUMBER:
        return text
    number, unit = value + (bare in _RETRIES), "ms" if bare in _MILLISECONDS else "s"
    return _NUMBER.sub(lambda match: f"{number}{unit if match[1] else ''}", text)


def _where(parent: str, text: str) -> str:
    """Return that a text is to be written, and where."""
    is_checks = text.startswith("checks: ")
    if is_checks and parent == "checks":
        return f"write {text.removeprefix('checks: [{').removesuffix('}]')}"
    if parent == "health":
        return f"write {text}"
    if parent in _OF_ONE_CHECK:
        several = "" if is_checks else "this gitvs does not have times of single checks yet; "
        return f"{several}write {text} in health, for all checks"
    whole = f"write health: {{{text if is_checks else f'{text}, {_CHECKS}'}}}"
    if parent == "Service":
        return whole
    what = "checks of a Pool" if parent == "Pool" else "checks of single ones"
    return f"this gitvs does not have {what} yet; {whole} in the Service"
