"""Any value of any type, and sound values damaged in a few places."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

WORDS = sorted(
    {
        *("apiVersion", "kind", "metadata", "name", "labels", "spec", "directors", "names", "vips"),
        *("matchLabels", "hostAddresses", "ports", "port", "protocol", "targetPort", "onePacket"),
        *("scheduler", "schedulerFlags", "persistence", "timeout", "engine", "forwarding"),
        *("realServers", "address", "weight", "upperThreshold", "lowerThreshold", "tunnel"),
        *("pools", "sameLabels", "firewallMark", "addressFamily", "crossFamily", "drain"),
        *("interface", "addresses", "localRoutes", "sysctls", "timeouts", "syncDaemons", "role"),
        *("standby", "services", "maxRemovedPercent", "protectedVips", "owners", "path"),
        *(
            "checks",
            "tcp",
            "interval",
            "retryInterval",
            "rise",
            "onFailure",
            "quorum",
            "losePercent",
        ),
        *("health", "<<", "bind", "type", "checksum", "ipv4Prefix", "description", "id"),
        *("gitvs/v1", "gitvs/v2", "Service", "Pool", "Director", "Defaults", "Policy", "service"),
        *("10.0.0.1", "203.0.113.10", "2001:db8::1", "10.0.0.0/8", "0.0.0.0/0", "::ffff:1.2.3.4"),
        *("fe80::1%eth0", "010.0.0.1", "1.2.3.4/24", "web", "lb1", "rr", "mh", "mh-port", "sip"),
        *("yes", "010", "0x1f", "0o17", "1_000", "12:30", "5m", "90s", "0s", "99999999999h", "tun"),
        *(
            "",
            " ",
            "-",
            "/",
            "..",
            "a/b",
            "é",
            "\x1b[2J",
            "\u202e",
            "x" * 300,
            "net.ipv4.ip_forward",
        ),
        *("primary", "udp", "gue", "null", "true", "٣", "²", "1e400", "-1", "1.5"),
    }
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([0, 1, -1, 80, 65535, 65536, 2**31, 2**32, 2**63, 1e308, -0.0, 0.5]),
    st.sampled_from(WORDS),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), inner, max_size=4),
    ),
    max_leaves=8,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of a value and of everything in it."""
    if not isinstance(value, dict | list):
        return [path]
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(p for step, inner in steps for p in paths_of(inner, (*path, step)))]


@st.composite
def damaged(draw: st.DrawFn, *sound: Any) -> Any:
    """A sound value with up to four values in it replaced, added, repeated or removed."""
    root = [deepcopy(draw(st.sampled_from(sound)))]
    for _ in range(draw(st.integers(0, 4))):
        *outer, step = draw(st.sampled_from(paths_of(root)[1:] or [(0,)]))
        parent: Any = root
        for each in outer:
            parent = parent[each]
        match draw(st.sampled_from(["replace", "replace", "add", "repeat", "remove"])):
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(WORDS))] = draw(VALUES)
            case "repeat" if isinstance(parent, list):
                parent.append(deepcopy(parent[step]))
            case "remove" if outer:
                del parent[step]
            case _ if root:
                parent[step] = draw(VALUES)
    return root[0] if root else None
