"""Words that people bring from other programs, and what to write here instead.

From keepalived.conf(5), ipvsadm(8), ldirectord(8), PyBal, HAProxy, Envoy and Kubernetes. A word is
looked up without case, hyphens and underscores, so that `lb_algo`, `lbAlgo` and `LB-ALGO` are one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gitvs.core.manifests.messages.health_words import translated_health_field
from gitvs.core.model.resources import Forwarding, Scheduler

_VIPS = "write vips: [203.0.113.10]"
_SCHEDULER = "write scheduler: wlc, or another of IPVS's own names"
_FORWARDING = "write forwarding: nat, dr or tun"
_PERSISTENCE = "write persistence: {timeout: 5m}"
_REAL_SERVERS = "write realServers: [{address: 10.1.0.1, port: 8080}]"
_DIRECTORS = "write directors: {names: [lb1]} or directors: {matchLabels: {role: edge}}"
_VRRP = (
    "VRRP stays with keepalived; a VIP that it holds is written"
    " {address: 203.0.113.10, bind: false}"
)
_OF_EACH_PORT = (
    "it is a field of each port: ports:"
    " [{port: 53, protocol: udp, targetPort: 5353, onePacket: true}]"
)
_UPPER = "write upperThreshold: 1000, with each real server"
_LOWER = "write lowerThreshold: 800, with each real server"
_WEIGHT_0 = "weight: 0 takes a real server out"
_SYNC = "the Director has syncDaemons: [{role: primary, interface: eth1, id: 1}]"
_NO_HTTP = "IPVS does not see HTTP or TLS: it forwards packets, not requests"
_NO_NAMESPACES = "gitvs has no namespaces; use folders instead (Defaults, and owners of the Policy)"
_IN_SERVICES = (
    "VIPs and real servers belong in a Service; its field directors selects the Directors"
)
_KUBERNETES = "this is a field of Kubernetes, and gitvs has no equivalent"
_ONE_SERVICE = "each Service document is virtual servers: its vips × its ports"

_FIELD_WORDS: Mapping[str, str] = {
    _VIPS: "vip address addresses virtual virtualaddress virtualip virtualips virtualipaddress"
    " virtualipaddresses ip ips clusterip clusterips loadbalancerip externalip externalips listen"
    " bind bindaddress frontend frontends listeners",
    "write ports: [{port: 80}]": "port virtualport listenport",
    _OF_EACH_PORT: "protocol proto protocoltype targetport onepacket ops",
    _SCHEDULER: "lbalgo lbsched lvssched lvsscheduler lbpolicy lbalgorithm algorithm balance"
    " balancing lbmethod schedule scheduling schedulername loadbalancing strategy",
    "write schedulerFlags: [mh-port]": "schedflags schedulerflag schedflag hashtarget hashport",
    _FORWARDING: "lbkind lvsmethod method forward forwardmethod forwardingmethod"
    " packetforwardingmethod gate masq masquerade ipip directrouting dsr mode",
    _PERSISTENCE: "persistent persistencetimeout sticky stickiness sticktable sessionaffinity"
    " sessionaffinityconfig affinity sessionpersistence stickysessions cookie",
    "write persistence: {timeout: 5m, ipv4Prefix: 24}": "netmask persistencegranularity"
    " persistencenetmask granularity",
    "write persistence: {timeout: 5m, engine: sip}": "persistenceengine pename",
    _REAL_SERVERS: "real realserver realservers rs rips rip backend backends server servers member"
    " members endpoint endpoints node nodes target targets upstream upstreams destination"
    " destinations dests serverlist hosts lbendpoints",
    "this gitvs does not have sorry servers yet": "backup",
    "write firewallMark: 77": "fwmark fwm mark firewall fwmarks",
    _UPPER: "uthreshold uppersthreshold upperconnections maxconn maxconnections fullconn",
    _LOWER: "lthreshold minconn lowerconnections",
    _ONE_SERVICE: "virtualserver virtualservers virtualservergroup virtualservice virtualservices"
    " service services lbservice",
    "write a Pool document, and pools: [web] here": "pool realservergroup servergroup serverpool"
    " cluster clusters",
    _VRRP: "vrrp vrrpinstance vrrpinstances vrrpsyncgroup vrrpscript virtualrouterid"
    " virtualroutes notifymaster advertint priority",
    _SYNC: "lvssyncdaemon syncdaemon syncid startdaemon mcastinterface",
    "the interface of the VIPs is a field of the Director": "interface dev device nic",
    _NO_NAMESPACES: "namespace tenant",
    "write metadata: {description: …}": "annotations comment comments note notes",
    _DIRECTORS: "selector director nodeselector hostselector placement loadbalancers lvs",
    _KUBERNETES: "type externaltrafficpolicy internaltrafficpolicy loadbalancerclass ipfamilies"
    " ipfamilypolicy replicas template allocateloadbalancernodeports nodeport status",
    _WEIGHT_0: "enabled disabled enable disable pooled state active down",
    "write drain: {timeout: 2m}": "draintimeout draining gracefulshutdown graceperiod"
    " deregistrationdelay drainperiod gracetimeout",
    _NO_HTTP: "path host hostname sni tls ssl certificate cert redirect headers acl route routes"
    " url uri rewrite http https",
    "gitvs has no slow start; raise the weight commit by commit": "slowstart ramp",
    "IPVS does not change source addresses; with forwarding: nat the real servers"
    " answer through the director": "snat sourcenat fullnat proxyprotocol sendproxy",
}
_AT: Mapping[tuple[str, str], str] = {
    ("realServers", "ip"): "write address: 10.1.0.1",
    ("realServers", "host"): "write address: 10.1.0.1 (names are not looked up)",
    ("realServers", "hostname"): "write address: 10.1.0.1 (names are not looked up)",
    ("realServers", "addr"): "write address: 10.1.0.1",
    ("realServers", "rip"): "write address: 10.1.0.1",
    ("realServers", "server"): "write address: 10.1.0.1",
    ("realServers", "targetport"): "write port: 8080",
    ("realServers", "description"): "use a name instead: write name: web1",
    ("vips", "ip"): "write address: 203.0.113.10",
    ("vips", "vip"): "write address: 203.0.113.10",
    ("vips", "addr"): "write address: 203.0.113.10",
    ("vips", "port"): "the Service has ports: [{port: 80}]",
    ("ports", "name"): "ports have no names; # comments can name them",
    ("ports", "nodeport"): "leave it out; targetPort is the port of the real servers",
    ("ports", "proto"): "write protocol: udp",
    ("ports", "ops"): "write onePacket: true",
    ("ports", "published"): "write port: 80",
    ("ports", "target"): "write targetPort: 8080",
    ("ports", "appprotocol"): _NO_HTTP,
    ("timeouts", "tcpfin"): "write tcpFin: 2m",
    ("timeouts", "fin"): "write tcpFin: 2m",
    ("persistence", "netmask"): "write ipv4Prefix: 24",
    ("persistence", "granularity"): "write ipv4Prefix: 24",
    ("persistence", "prefix"): "write ipv4Prefix: 24",
    ("persistence", "seconds"): "write timeout: 5m",
    ("syncDaemons", "syncid"): "write id: 1",
    ("syncDaemons", "mcastinterface"): "write interface: eth1",
    ("syncDaemons", "state"): "write role: primary",
    ("directors", "labels"): "write matchLabels: {role: edge}",
    ("directors", "name"): "write names: [lb1]",
    ("metadata", "namespace"): _NO_NAMESPACES,
    ("metadata", "annotations"): "write description: …, or labels",
    ("metadata", "comment"): "write description: …",
    ("Director", "address"): "write addresses: {node: [192.0.2.1]}",
    ("Director", "ip"): "write addresses: {node: [192.0.2.1]}",
    ("Director", "vip"): _IN_SERVICES,
    ("Director", "vips"): _IN_SERVICES,
    ("Director", "services"): _IN_SERVICES,
    ("Director", "realservers"): _IN_SERVICES,
    ("Director", "scheduler"): "write it in a Service, or in a Defaults document",
    ("Director", "sysctl"): "write sysctls: {net.ipv4.ip_forward: 1}",
    ("Director", "routes"): "write localRoutes: [10.20.0.0/24]",
    ("Director", "hostname"): "write metadata: {name: lb1}",
    ("Director", "labels"): "labels belong in metadata",
    ("Director", "lvssyncdaemon"): "write syncDaemons: [{role: primary, interface: eth1, id: 1}]",
    ("Director", "syncdaemon"): "write syncDaemons: [{role: primary, interface: eth1, id: 1}]",
    ("Director", "health"): "write health: {checks: [{tcp: {}}]} in a Service",
    ("Director", "maintenance"): "write standby: true",
    ("Service", "labels"): "labels belong in metadata",
    ("Service", "name"): "the name belongs in metadata",
    ("Service", "description"): "the description belongs in metadata",
    ("Service", "weight"): "write it with each real server, or with a pool of pools",
    ("Pool", "servers"): _REAL_SERVERS,
    ("Defaults", "scheduler"): "write services: {scheduler: wlc}",
    ("Defaults", "service"): "write services",
    ("Defaults", "director"): "write directors",
}
_PLACES = frozenset({"Service", "Pool", "realServers", "ports", "vips", "persistence", "drain"})
"""Where a word from elsewhere has its meaning; in other places only `_AT` has it."""

_VALUE_WORDS: Mapping[str, Mapping[str, str]] = {
    "scheduler": {
        "write rr": "roundrobin",
        "write wrr": "weightedroundrobin staticrr swrr",
        "write wlc, which counts connections by weight (lc ignores weights)": "leastconn leastconns"
        " leastconnection leastconnections leastrequest leastrequests weightedleastconn"
        " weightedleastconnections weightedleastconnection leastcon",
        "write mh (most clients keep their real server when another leaves) or sh": "source"
        " sourcehash sourcehashing sourceip iphash srchash hash maglev ringhash"
        " consistenthash consistent consistenthashing",
        "write dh": "destinationhash destinationhashing desthash",
        "write twos, power of two choices": "random poweroftwo p2c",
        "write sed": "shortestexpecteddelay",
        "write nq": "neverqueue",
        "write fo": "first failover weightedfailover",
        "write ovf": "overflow weightedoverflow",
        _NO_HTTP: "uri url urlparam hdr header rdpcookie cookie",
    },
    "forwarding": {
        "write nat": "masq masquerade masquerading m",
        "write dr": "gate gatewaying g direct directrouting drouting dsr route",
        "write tun": "tunnel tunneling tunnelling ipip i",
        "leave it out: gitvs finds out itself that an address is local": "local localnode",
        "Linux's IPVS has no full NAT; nat is the nearest": "fullnat snat",
    },
    "protocol": {
        "write tcp": "http https tls ssl",
        "write udp": "quic dns",
        "write {port: 53}, and {port: 53, protocol: udp} beside it": "tcpudp both all any tcp+udp",
    },
    "role": {"write primary": "master active", "write backup": "slave secondary standby"},
    "addressFamily": {
        "write ipv4": "v4 4 inet ip4",
        "write ipv6": "v6 6 inet6 ip6",
        "leave it out: every family of the real servers is served": "dual both any all dualstack",
    },
}
_EXAMPLES_OF_TYPE: Mapping[type, tuple[str, ...]] = {
    int: ("80", "77", "1000", "800"),
    str: ("203.0.113.10", "10.1.0.1"),
}
"""What stands in the texts above for a number, and for an address."""
_PLAIN_VALUE = re.compile(r"[0-9]{1,10}|[0-9]{1,3}(\.[0-9]{1,3}){3}")
_IGNORED = re.compile("[-_. ]")


def _by_word(words_by_text: Mapping[str, str]) -> dict[str, str]:
    return {word: text for text, words in words_by_text.items() for word in words.split()}


_FIELDS = _by_word(_FIELD_WORDS)
_VALUES = {field: _by_word(words) for field, words in _VALUE_WORDS.items()}
_KEEPALIVEDS_FORWARDING = ("masq", "masquerade", "gate", "ipip", "tunnel")
_WORDS_OF_IPVS: Mapping[str, Mapping[str, str]] = {
    _SCHEDULER: {str(name): str(name) for name in Scheduler},
    _FORWARDING: {
        **{str(name): str(name) for name in Forwarding},
        **{w: _VALUES["forwarding"][w].removeprefix("write ") for w in _KEEPALIVEDS_FORWARDING},
    },
}
"""The values that a text with an example takes over: keepalived's are those of IPVS."""


def bare_word(word: str) -> str:
    """Return a word as it is looked up: without case, hyphens, underscores, dots and spaces."""
    return _IGNORED.sub("", word).lower()


def translated_field(parent: str, word: str, value: object) -> str:
    """Return what to write instead of a field; empty if the word is not known from elsewhere.

    `parent` is the name of the field that it stands in, or the kind of the spec; `value` is what
    was given, which is used instead of the example where it can be.
    """
    bare = bare_word(word)
    if about_health := translated_health_field(parent, bare, value):
        return about_health
    text = _AT.get((parent, bare)) or (_FIELDS.get(bare, "") if parent in _PLACES else "")
    if type(value) in (int, str) and _PLAIN_VALUE.fullmatch(str(value)):
        for example in _EXAMPLES_OF_TYPE[type(value)]:
            text = re.sub(rf"\b{re.escape(example)}\b", str(value), text)
    if text == _PERSISTENCE and type(value) is int and value > 0:
        return text.replace("5m", f"{value}s")
    own_word = _WORDS_OF_IPVS.get(text, {}).get(bare_word(str(value)))
    return f"{text.partition(':')[0]}: {own_word}" if own_word else text


def translated_value(field: str, word: str) -> str:
    """Return what to write instead of a value of a field; empty if the word is not known."""
    return _VALUES.get(field, {}).get(bare_word(word), "")
