"""The script of a soak: what people push to a director's repository, and what befalls it.

All of it follows from a seed and is known before the first commit: who has the seed has the
same commits, mishaps and pauses again. Only moments differ, as they do in life.

`STEADY` is the service whose clients must never notice: it is always there, on its VIP, with
its first two real servers at a weight above 0. Everything else comes, changes and goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random

from tests.support.manifests.writing import Doc, director, file_of, server, service

STEADY = "steady"
STEADY_VIP, STEADY_PORT = "203.0.113.10", 80
STEADY_SERVERS = ("rs1", "rs2")
STEADY_GUEST = "rs3"
SERVER_PORT = 80
INTERFACE = "gitvs0"
BROADCAST = "10.0.2.255"
"""Of the director's network: no manifest can know that, and the kernel refuses it."""

SERVERS = {f"rs{number}": (f"10.0.2.{number}", f"fd00:2::{number}") for number in range(1, 5)}
STRANGER = "10.0.2.77"
_SIDE_PORTS = {"a": 8001, "b": 8002, "c": 8003, "d": 8004}
_SIDE_VIPS = (STEADY_VIP, "203.0.113.20", "203.0.113.21", "2001:db8::20")
_SCHEDULERS = ("wlc", "wrr", "sed", "nq", "sh", "mh")
_ALLOWED = "\n\nGitvs-Allow: capacity-drop\nGitvs-Allow: mass-removal"


MILLIONS_OF_RULES = service(
    "millions",
    vips=[f"198.51.{100 + number // 200}.{number % 200 + 1}" for number in range(400)],
    ports=[{"port": 10_000 + number} for number in range(300)],
    realServers=[server(f"10.0.3.{number + 1}") for number in range(9)],
)


class Push(StrEnum):
    """What is pushed."""

    VALID = "valid"
    INVALID = "invalid"
    REFUSED = "refused by the kernel"
    BLOCKED = "blocked by a gate"
    REVERT = "revert"
    REWRITE = "rewritten history"


BAD = (Push.INVALID, Push.REFUSED, Push.BLOCKED)


class Mishap(StrEnum):
    """What goes wrong meanwhile."""

    KILL = "kill -9"
    DRIFT = "drift"
    LINK_GONE = "the interface is deleted"
    REMOTE_AWAY = "the remote goes away"
    SICK = "IPv6 is switched off"


@dataclass(frozen=True, slots=True)
class Deed:
    """One mishap: `command` is what somebody runs by hand, `after_seconds` counts from the push.

    What is `aimed` waits for the next transaction, and comes in its midst.
    """

    mishap: Mishap
    after_seconds: float
    command: tuple[str, ...] = ()
    lasts_seconds: float = 0.0
    is_aimed: bool = False

    def __str__(self) -> str:
        when = f"after {self.after_seconds:.1f} s{', aimed' if self.is_aimed else ''}"
        return " ".join((self.mishap, when, *self.command))


@dataclass(frozen=True, slots=True)
class Step:
    """One push, what befalls the director afterwards, and how long until the next.

    `dropped` commits of the branch are rewritten away. After a step that is `awaited` nothing
    is pushed until the director has judged the commit.
    """

    push: Push
    text: str
    is_good: bool
    dropped: int = 0
    deeds: tuple[Deed, ...] = ()
    pause_seconds: float = 0.0
    is_awaited: bool = False

    @property
    def message(self) -> str:
        return f"{self.push}{_ALLOWED}"

    def __str__(self) -> str:
        words = [str(self.push), *map(str, self.deeds), *(["awaited"] if self.is_awaited else [])]
        return "; ".join(words)


@dataclass(frozen=True, slots=True)
class Balanced:
    """A service as the script plays with it."""

    port: int
    vips: tuple[str, ...]
    weights: tuple[tuple[str, int], ...]
    scheduler: str = "wlc"
    is_by_port: bool = False
    drain_seconds: int = 2

    def document(self, name: str) -> Doc:
        flags = [f"{self.scheduler}-port"] if self.is_by_port else []
        return service(
            name,
            vips=list(self.vips),
            ports=[{"port": self.port, "targetPort": SERVER_PORT}],
            scheduler=self.scheduler,
            schedulerFlags=flags if self.scheduler in ("sh", "mh") else [],
            drain={"timeout": f"{self.drain_seconds}s"},
            realServers=[
                server(address, weight=weight)
                for number in range(2 if any(":" in vip for vip in self.vips) else 1)
                for host, weight in self.weights
                for address in [SERVERS[host][number]]
            ],
        )


@dataclass(frozen=True, slots=True)
class Manifests:
    """All that a commit says."""

    services: dict[str, Balanced]
    tcp_minutes: int = 15

    def documents(self) -> list[Doc]:
        named = [balanced.document(name) for name, balanced in self.services.items()]
        return [director(timeouts={"tcp": f"{self.tcp_minutes}m"}), *named]

    def text(self, *more: Doc) -> str:
        return file_of("", *self.documents(), *more).data.decode()

    def having(self, name: str, balanced: Balanced) -> Manifests:
        return replace(self, services={**self.services, name: balanced})

    @property
    def sides(self) -> list[str]:
        return [name for name in self.services if name != STEADY]


FIRST = Manifests(
    {
        STEADY: Balanced(STEADY_PORT, (STEADY_VIP,), (("rs1", 1), ("rs2", 1)), drain_seconds=6),
        "a": Balanced(_SIDE_PORTS["a"], _SIDE_VIPS[1:2], (("rs3", 1), ("rs4", 1))),
    }
)


@dataclass(slots=True)
class Author:
    """Writes the script: what the branch holds, and what comes on top of it."""

    random: Random
    branch: list[tuple[Manifests, str, bool]] = field(default_factory=list)
    """For each commit: the last manifests that were sound, its text, whether that is good."""

    def step(self, push: Push) -> Step:
        """Write one push on top of the branch."""
        dropped = 0
        if push is Push.REVERT and len(self.branch) > 1:
            manifests, text, is_good = self.branch[-2]
        else:
            if push is Push.REWRITE:
                dropped = min(self.random.randint(1, 3), len(self.branch) - 1)
                del self.branch[len(self.branch) - dropped :]
            manifests, text = self._written(push, self.branch[-1][0])
            is_good = push not in BAD
        self.branch.append((manifests, text, is_good))
        return Step(push, text, is_good, dropped)

    def _written(self, push: Push, before: Manifests) -> tuple[Manifests, str]:
        """Return the last sound manifests after a push, and its text."""
        changed = self.changed(before)
        match push:
            case Push.INVALID:
                return before, self._spoilt(changed.text())
            case Push.REFUSED:
                new = Balanced(8999, (STEADY_VIP,), (("rs4", 1),)).document("refused")
                new["spec"]["realServers"].append(server(BROADCAST))
                return before, changed.text(new)
            case Push.BLOCKED:
                off = changed.services[STEADY]
                idle = replace(off, weights=tuple((host, 0) for host, _ in off.weights))
                return before, changed.having(STEADY, idle).text()
        return changed, changed.text()

    def _spoilt(self, text: str) -> str:
        return self.random.choice(
            (
                text.replace('"scheduler"', '"shceduler"', 1),
                text[:-20],
                text.replace('"weight": ', '"weight": 70000', 1),
                text + text,
                text + file_of("", MILLIONS_OF_RULES).data.decode(),
            )
        )

    def changed(self, before: Manifests) -> Manifests:
        """Return other manifests, one to three changes away."""
        changes: tuple[Callable[[Manifests], Manifests], ...] = (
            self._other_weight,
            self._other_weight,
            self._other_scheduler,
            self._other_servers,
            self._other_servers,
            self._other_services,
            self._other_services,
            self._other_vips,
            self._other_drain,
            self._other_timeout,
        )
        changed = before
        for change in self.random.sample(changes, self.random.randint(1, 3)):
            changed = change(changed)
        return changed

    def _any(self, manifests: Manifests) -> tuple[str, Balanced]:
        return self.random.choice(list(manifests.services.items()))

    def _other_weight(self, manifests: Manifests) -> Manifests:
        name, balanced = self._any(manifests)
        weights = dict(balanced.weights)
        weights[self.random.choice(list(weights))] = self.random.randint(1, 50)
        return manifests.having(name, replace(balanced, weights=tuple(weights.items())))

    def _other_scheduler(self, manifests: Manifests) -> Manifests:
        name, balanced = self._any(manifests)
        scheduler = self.random.choice(_SCHEDULERS)
        is_by_port = self.random.random() < 0.5
        return manifests.having(name, replace(balanced, scheduler=scheduler, is_by_port=is_by_port))

    def _other_servers(self, manifests: Manifests) -> Manifests:
        name, balanced = self._any(manifests)
        weights = dict(balanced.weights)
        host = STEADY_GUEST if name == STEADY else self.random.choice(list(SERVERS))
        if host not in weights:
            weights[host] = self.random.randint(1, 50)
        elif len(weights) > 1:
            del weights[host]
        return manifests.having(name, replace(balanced, weights=tuple(weights.items())))

    def _other_services(self, manifests: Manifests) -> Manifests:
        name = self.random.choice(list(_SIDE_PORTS))
        if name in manifests.services:
            kept = {n: b for n, b in manifests.services.items() if n != name}
            return replace(manifests, services=kept)
        hosts = self.random.sample(list(SERVERS), self.random.randint(1, 3))
        weights = tuple((host, self.random.randint(1, 50)) for host in hosts)
        return manifests.having(name, Balanced(_SIDE_PORTS[name], self._vips(), weights))

    def _other_vips(self, manifests: Manifests) -> Manifests:
        if not manifests.sides:
            return self._other_services(manifests)
        name = self.random.choice(manifests.sides)
        return manifests.having(name, replace(manifests.services[name], vips=self._vips()))

    def _vips(self) -> tuple[str, ...]:
        return tuple(self.random.sample(_SIDE_VIPS, self.random.randint(1, 3)))

    def _other_drain(self, manifests: Manifests) -> Manifests:
        """The steady service keeps time for its clients to leave a real server by themselves."""
        name, balanced = self._any(manifests)
        seconds = self.random.randint(5, 8) if name == STEADY else self.random.randint(0, 3)
        return manifests.having(name, replace(balanced, drain_seconds=seconds))

    def _other_timeout(self, manifests: Manifests) -> Manifests:
        return replace(manifests, tcp_minutes=self.random.choice((15, 20, 30)))

    # What befalls the director

    def deeds(self, mishaps: Sequence[Mishap]) -> tuple[Deed, ...]:
        """Write out the mishaps of one step."""
        return tuple(self._deed(mishap) for mishap in mishaps)

    def _deed(self, mishap: Mishap) -> Deed:
        after = self.random.uniform(0, 1.5)
        match mishap:
            case Mishap.DRIFT:
                return Deed(mishap, after, self._drift(self.branch[-1][0]))
            case Mishap.LINK_GONE:
                return Deed(mishap, after, ("ip", "link", "delete", INTERFACE))
            case Mishap.KILL:
                lasts, is_aimed = self.random.uniform(0, 1), self.random.random() < 0.7
                return Deed(mishap, after, lasts_seconds=lasts, is_aimed=is_aimed)
        return Deed(mishap, after)

    def _drift(self, manifests: Manifests) -> tuple[str, ...]:
        """Return what somebody does by hand; the steady service's clients do not feel it."""
        if self.random.random() < 0.3 or not manifests.sides:
            listener = ("-t", f"{STEADY_VIP}:{STEADY_PORT}")
            host = f"{SERVERS[self.random.choice(STEADY_SERVERS)][0]}:{SERVER_PORT}"
            weight = str(self.random.randint(1, 99))
            by_weight = ("ipvsadm", "-e", *listener, "-r", host, "-m", "-w", weight)
            return self.random.choice((by_weight, ("ipvsadm", "-E", *listener, "-s", "rr")))
        side = manifests.services[self.random.choice(manifests.sides)]
        vip = self.random.choice(side.vips)
        version = 1 if ":" in vip else 0
        listener = ("-t", f"[{vip}]:{side.port}" if version else f"{vip}:{side.port}")
        address = SERVERS[self.random.choice(side.weights)[0]][version]
        host = f"[{address}]:{SERVER_PORT}" if version else f"{address}:{SERVER_PORT}"
        deeds: list[tuple[str, ...]] = [
            ("ipvsadm", "-e", *listener, "-r", host, "-m", "-w", "77"),
            ("ipvsadm", "-d", *listener, "-r", host),
            ("ipvsadm", "-a", *listener, "-r", f"{STRANGER}:{SERVER_PORT}", "-m"),
            ("ipvsadm", "-D", *listener),
        ]
        if vip != STEADY_VIP:
            deeds.append(("ip", "address", "delete", f"{vip}/{128 if version else 32}",
                          "dev", INTERFACE))  # fmt: skip
        return self.random.choice(deeds)


def script(seed: int, commits: int) -> list[Step]:
    """Write the script of a soak; the last two are a good commit and a bad one, both awaited."""
    author = Author(Random(seed), [(FIRST, FIRST.text(), True)])
    random = author.random
    pushes = _pushes(random, commits - 2)
    mishaps = _mishaps(random, len(pushes))
    steps = []
    for push, befalling in zip(pushes, mishaps, strict=True):
        step = author.step(push)
        steps.append(
            replace(
                step,
                deeds=author.deeds(befalling),
                pause_seconds=random.uniform(0, 1.5),
                is_awaited=random.random() < 0.3,
            )
        )
    for push in (Push.VALID, random.choice(BAD)):
        steps.append(replace(author.step(push), is_awaited=True))
    return steps


def _pushes(random: Random, count: int) -> list[Push]:
    """Return so many, some of each kind, in any order."""
    each = [Push.VALID, *BAD, Push.REVERT, Push.REWRITE]
    more = random.choices(each, weights=(60, 10, 10, 5, 10, 5), k=max(count - len(each), 0))
    pushes = [*each, *more][:count]
    random.shuffle(pushes)
    return pushes


def _mishaps(random: Random, count: int) -> list[list[Mishap]]:
    """Return what befalls each step: some of each kind at least."""
    each = [*Mishap, Mishap.KILL, Mishap.DRIFT, Mishap.DRIFT]
    more = random.choices(list(Mishap), weights=(30, 60, 4, 6, 10), k=count // 2)
    befalling: list[list[Mishap]] = [[] for _ in range(count)]
    for mishap in [*each, *more]:
        random.choice(befalling).append(mishap)
    return befalling
