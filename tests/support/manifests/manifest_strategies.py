"""Hypothesis strategies: manifests of a few directors in which everything meets everything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from gitvs.core.manifests.files import ManifestFile
from gitvs.core.manifests.load import load_manifest_files
from gitvs.core.problems import InvalidManifests
from tests.support.manifests.writing import Doc, defaults, director, document, policy, server

Files = Mapping[str, str]
"""What a commit holds, by path."""

CONNTRACK = "net.ipv4.vs.conntrack"
SITES = st.sampled_from([None, "ams", "lax"])
NODES = {"lb1": "192.0.2.1", "lb2": "192.0.2.2", "lb3": "192.0.2.3", "lb4": "192.0.2.4"}


@st.composite
def directors(draw: st.DrawFn, name: str) -> Doc:
    spec: Doc = {"addresses": {"node": draw(st.sampled_from([[], [NODES[name]]]))}}
    site = "ams" if name == "lb1" else draw(SITES)
    if draw(st.booleans()):
        spec["localRoutes"] = ["198.51.100.0/24"]
    if draw(st.booleans()):
        spec["timeouts"] = {"tcp": draw(st.sampled_from(["10m", "20m"]))}
    if draw(st.booleans()):
        spec["sysctls"] = {CONNTRACK: 1}
    if draw(st.integers(0, 3)) == 0:
        spec["interface"] = "gitvs1"
    if draw(st.integers(0, 3)) == 0:
        spec["standby"] = True
    return director(name, None if site is None else {"site": site}, **spec)


SELECTORS = st.sampled_from(
    [
        {"names": ["lb1"]},
        {"names": ["lb1", "lb2"]},
        {"names": ["lb2"]},
        {"matchLabels": {"site": "ams"}},
        {"matchLabels": {"site": ["ams", "lax"]}},
    ]
)
SERVERS = {
    "own": ["10.0.3.5", "10.0.3.6", "2001:db8:3::5"],
    "blue": ["10.0.3.7", "10.0.3.8", "2001:db8:3::7"],
    "green": ["10.0.3.9", "2001:db8:3::9"],
}
WEIGHTS = st.sampled_from([0, 1, 1, 2])


@st.composite
def servers(draw: st.DrawFn, addresses: Sequence[str], has_labels: bool = False) -> list[Doc]:
    made = []
    *ipv4, ipv6 = addresses
    some = draw(st.lists(st.sampled_from(ipv4), unique=True, min_size=int(has_labels)))
    for address in [*some, *([ipv6] if some else [])]:
        fields: Doc = {"weight": draw(WEIGHTS)}
        if has_labels:
            fields["labels"] = {"site": draw(st.sampled_from(["ams", "ams", "lax"]))}
        if draw(st.integers(0, 3)) == 0:
            fields["upperThreshold"] = 100
        if draw(st.integers(0, 5)) == 0:
            fields["name"] = "web1"
        made.append(server(address, **fields))
    return made


@st.composite
def vips(draw: st.DrawFn, addresses: Sequence[str]) -> list[Any]:
    made: list[Any] = []
    for address in draw(st.lists(st.sampled_from(addresses), unique=True, min_size=1)):
        vip: Doc = {"address": address}
        if draw(st.integers(0, 2)) == 0:
            vip["directors"] = draw(SELECTORS)
        if address.startswith("203.0.113.3"):
            vip["bind"] = False
        made.append(vip if len(vip) > 1 else address)
    return made


@st.composite
def services(draw: st.DrawFn, number: int) -> Doc:
    """A service. Those of other numbers share an address with it, and have other ports."""
    spec: Doc = {}
    addresses = ["203.0.113.10", f"203.0.113.{20 + number}", f"203.0.113.{30 + number}"]
    if draw(st.integers(0, 3)) == 0:
        spec["firewallMark"] = 70 + number
        spec["addressFamily"] = "ipv4"
    else:
        addresses.append("2001:db8::10")
        spec["ports"] = [{"port": port} for port in draw(PORTS[number])]
        if draw(st.integers(0, 2)) == 0:
            spec["hostAddresses"] = ["node"]
    spec["vips"] = draw(vips(addresses))
    if draw(st.booleans()):
        spec["directors"] = draw(SELECTORS)
    if draw(st.booleans()):
        spec["scheduler"] = draw(st.sampled_from(["wlc", "wrr", "sh", "mh"]))
    if draw(st.integers(0, 2)) == 0:
        spec["drain"] = {"timeout": draw(st.sampled_from(["0s", "2m"]))}
    if draw(st.integers(0, 2)) == 0:
        spec["forwarding"] = draw(st.sampled_from(["dr", "tun", "tun"]))
        spec["crossFamily"] = spec["forwarding"] == "tun" and draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        spec["persistence"] = {"timeout": "5m"}
    if draw(st.booleans()):
        spec["realServers"] = draw(servers(SERVERS["own"]))
    else:
        spec["pools"] = [draw(references(name)) for name in draw(POOLS)]
    return document("Service", draw(st.sampled_from([f"s{number}", f"t{number}"])), spec)


PORTS = [
    st.lists(st.sampled_from([80 + 10 * n, 443 + 10 * n]), min_size=1, unique=True)
    for n in range(4)
]
POOLS = st.sampled_from([["blue"], ["blue"], ["green"], ["blue", "green"]])


@st.composite
def references(draw: st.DrawFn, name: str) -> Doc:
    reference: Doc = {"name": name}
    if draw(st.integers(0, 3)) == 0:
        reference["sameLabels"] = ["site"]
    if draw(st.integers(0, 4)) == 0:
        reference["matchLabels"] = {"site": "ams"}
    if draw(st.booleans()):
        reference["weight"] = draw(st.integers(0, 2))
    return reference


@st.composite
def pools(draw: st.DrawFn, name: str) -> Doc:
    return document("Pool", name, {"realServers": draw(servers(SERVERS[name], has_labels=True))})


@st.composite
def defaults_documents(draw: st.DrawFn) -> Doc:
    for_services: Doc = draw(
        st.sampled_from([{}, {"scheduler": "wrr"}, {"drain": {"timeout": "5m"}}])
    )
    for_directors: Doc = draw(
        st.sampled_from([{}, {"timeouts": {"udp": "6m"}}, {"sysctls": {CONNTRACK: "1"}}])
    )
    return defaults(for_services, for_directors)


POLICIES = st.builds(
    policy,
    maxCapacityDropPercent=st.sampled_from([10, 100]),
    ignoreBelowObjects=st.sampled_from([1, 10]),
    protectedVips=st.sampled_from([[], ["203.0.113.10"]]),
)
SLOTS: dict[str, st.SearchStrategy[Doc]] = {
    **{f"director-{name}": directors(name) for name in NODES},
    **{f"service-{n}": services(n) for n in range(4)},
    "pool-blue": pools("blue"),
    "pool-green": pools("green"),
    "defaults": defaults_documents(),
    "defaults-a": defaults_documents(),
    "policy": POLICIES,
}
ALWAYS = ("director-lb1", "director-lb2", "pool-blue", "pool-green")
FOLDERS = st.sampled_from(["", "a/", "a/b/", "c/"])


@st.composite
def files_of(draw: st.DrawFn, slot: str) -> dict[str, str]:
    """One document in a file, in one of some folders; or none."""
    if slot not in ALWAYS and draw(st.integers(0, 4)) == 0:
        return {}
    folder = {"policy": "", "defaults": "", "defaults-a": "a/"}.get(slot)
    place = draw(FOLDERS) if folder is None else folder
    return {f"{place}{slot}.yaml": json.dumps(draw(SLOTS[slot]))}


@st.composite
def histories(draw: st.DrawFn, length: int) -> list[Files]:
    """What some commits hold, each made of the one before: much of it stays."""
    now = {slot: draw(files_of(slot)) for slot in SLOTS}
    commits = [sound(now)]
    for _ in range(length - 1):
        most = draw(st.sampled_from([1, 2, len(SLOTS)]))
        changing = st.lists(st.sampled_from(sorted(SLOTS)), min_size=1, max_size=most, unique=True)
        now = now | {slot: draw(files_of(slot)) for slot in draw(changing)}
        commits.append(sound(now))
    return commits


def sound(slots: Mapping[str, Files]) -> Files:
    """Leave out whatever has problems, until there is none."""
    files = {path: text for slot in slots.values() for path, text in slot.items()}
    while wrong := _wrong_in(files):
        files = {path: text for path, text in files.items() if path not in wrong}
    return files


def manifest_files(files: Files) -> list[ManifestFile]:
    return [ManifestFile(path, text.encode()) for path, text in files.items()]


def _wrong_in(files: Files) -> set[str]:
    """The files that have problems."""
    try:
        load_manifest_files(manifest_files(files))
    except InvalidManifests as error:
        return {problem.file for problem in error.problems}
    return set()


ABOVE_SERVICES = ["defaults", "defaults-a", "director-lb1", "director-lb2", "director-lb3"]
BROKEN = [
    "kind: [",
    "apiVersion: gitvs/v1\nkind: Defaults\nspec: {services: {x: 1}}\n",
    "apiVersion: gitvs/v1\nkind: Pool\nmetadata: {name: p}\nspec: {realServers: [{address: x}]}\n",
]


@st.composite
def redrawn(draw: st.DrawFn, files: Files, slot: str) -> Files:
    """The same files with one document drawn again."""
    rest = {p: text for p, text in files.items() if p.rpartition("/")[2] != f"{slot}.yaml"}
    return {**rest, **draw(files_of(slot))}


@st.composite
def edits(draw: st.DrawFn) -> list[Files]:
    """A history in which files are broken, doubled, moved, and come back as they were."""
    [files] = draw(histories(1))
    history = [files]
    for _ in range(draw(st.integers(1, 5))):
        match draw(st.sampled_from(["draw", "above", "above", "break", "double", "move", "back"])):
            case "draw":
                files = draw(redrawn(files, draw(st.sampled_from(sorted(SLOTS)))))
            case "above":
                files = draw(redrawn(files, draw(st.sampled_from(ABOVE_SERVICES))))
            case "break":
                path = draw(st.sampled_from(sorted(files)))
                files = {**files, path: draw(st.sampled_from(BROKEN))}
            case "double":
                path = draw(st.sampled_from(sorted(files)))
                files = {**files, f"{draw(FOLDERS)}x.yaml": files[path]}
            case "move":
                path = draw(st.sampled_from(sorted(files)))
                rest = {p: text for p, text in files.items() if p != path}
                files = {**rest, draw(FOLDERS) + path.rpartition("/")[2]: files[path]}
            case "back":
                files = draw(st.sampled_from(history))
        history.append(files)
    return history
