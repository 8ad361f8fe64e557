"""The story, scene by scene, in the network namespace of the calling process.

`python -m tests.demo.story` tells it on the kernel under us, as root, in a fresh namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.demo import commits, stage
from tests.demo.commits import Commit
from tests.demo.narrator import Narrator
from tests.demo.shell import Shell, Untrue, check
from tests.harness import namespace
from tests.harness.lab import Lab, run
from tests.harness.traffic import Connection
from tests.support.paths import EXAMPLES

DIRECTOR = "lb-ams"
QUICKSTART = EXAMPLES / "quickstart"

_SYSCTLS = ("expire_nodest_conn", "expire_quiescent_template")
_MOST_CONNECTIONS = 40
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 120.0


def main(arguments: Sequence[str]) -> int:
    """Tell the story in a fresh network namespace; return 1 if it is not true."""
    started_at = time.monotonic()
    narrator = Narrator(sys.stdout, is_coloured="--colour" in arguments)
    namespace.enter_fresh_namespace()
    with tempfile.TemporaryDirectory(prefix="gitvs-demo-") as folder:
        try:
            tell(narrator, Path(folder))
        except Untrue as error:
            narrator.fail(f"the story is not true: {error}")
            return 1
    narrator.say("")
    narrator.say(f"Told in {time.monotonic() - started_at:.0f} s, on Linux {os.uname().release}.")
    return 0


def tell(narrator: Narrator, folder: Path) -> None:
    """Tell the story; `folder` takes the repository and the director's state.

    Raises:
        Untrue: something that it claims did not happen.
    """
    namespace.rename_host(DIRECTOR)
    with stage.set_up() as lab:
        story = Story(narrator, _shell(narrator, folder), lab)
        story.first_sync()
        story.requests()
        story.drain()
        story.bad_commit()
        story.refused_by_the_kernel()
        story.blocked_by_a_gate()
        story.health()
        story.end()


def _shell(narrator: Narrator, folder: Path) -> Shell:
    repository = folder / "balancers"
    shutil.copytree(QUICKSTART, repository)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "GITVS_STATE_DIR": str(folder / "state"),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_NAME": "Ada" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "ada@example.org" for role in ("AUTHOR", "COMMITTER")},
    }
    return Shell(narrator, repository, environment)


class Story:
    """The scenes, in their order: each begins with what the one before has left."""

    def __init__(self, narrator: Narrator, shell: Shell, lab: Lab) -> None:
        self._narrator = narrator
        self._shell = shell
        self._lab = lab
        self._say = narrator.say
        self._confirm = narrator.confirm
        self._untouched = _kernel(shell)

    def first_sync(self) -> None:
        self._narrator.scene("The first sync")
        self._say("examples/quickstart becomes a Git repository; this host is its director lb-ams.")
        self._shell.show("git init --quiet --initial-branch=main")
        self._shell.show("git add .")
        self._shell.show("git commit --quiet -m Quickstart")
        plan = self._shell.show("gitvs plan --rev main", keep=(16, 9))
        check("to create" in plan.output, "the plan creates")
        check(_kernel(self._shell) == self._untouched, "a plan changes nothing")
        self._say("That was only a look. Now all of it, or nothing:")
        self._shell.show("gitvs apply --rev main", keep=(1, 1))
        self._confirm(f"the kernel has {_rules(self._shell).count('-A ')} virtual services")

    def requests(self) -> None:
        self._narrator.scene("Requests through the VIPs, from a client in another namespace")
        everyone = {"web1": 19, "web2": 19, "canary": 2}
        for vip in (stage.WEB_VIP, stage.WEB_VIP6):
            self._ask(vip, 80, 40, everyone)
        self._ask(stage.DNS_VIP, 53, 10, {"dns1": 5, "dns2": 5}, "udp")
        self._confirm("every request was answered, and shared out exactly by weight")

    def drain(self) -> None:
        self._narrator.scene("New weights, and a real server drained under open connections")
        staying, leaving = self._connect("web1"), self._connect("web2")
        self._say(
            "Two clients are connected, one served by web1 and one by web2, when Ada commits:"
        )
        self._commit(commits.DRAIN)
        self._shell.show("gitvs apply --rev main", keep=(6, 1))
        self._ask(stage.WEB_VIP, 80, 22, {"web1": 18, "canary": 4})
        self._shell.show(f"ipvsadm -Ln -t {stage.WEB_VIP}:443")
        check(staying.ask() == "web1", "the connection to web1 lives")
        check(leaving.ask() == "web2", "the connection to web2 lives")
        self._confirm("web2 gets no new client; both connections still carry data")
        leaving.close()
        self._say("The client of web2 hangs up. What a drain leaves is removed by a later pass:")
        self._shell.show("gitvs apply --rev main --wait", keep=(4, 1))
        check("10.1.0.12" not in _rules(self._shell), "web2 is gone")
        check(staying.ask() == "web1", "the connection to web1 still lives")
        staying.close()
        self._confirm("web2 has left; the connection to web1 has lived through it all")

    def bad_commit(self) -> None:
        self._narrator.scene("A bad commit")
        before = _kernel(self._shell)
        self._commit(commits.MISTYPED)
        refused = self._shell.show("gitvs apply --rev main", code=4)
        check("mail.yaml:8:3" in refused.errors, "the mistake has its line and column")
        check(_kernel(self._shell) == before, "a bad commit changes nothing")
        self._confirm("refused, with every mistake in it; the kernel is as it was")
        self._revert()

    def refused_by_the_kernel(self) -> None:
        self._narrator.scene("A good commit that the kernel refuses half-way")
        before = _kernel(self._shell)
        self._say("On this director's network, 10.1.0.255 is the broadcast address; no manifest")
        self._say("can know that. Clients keep coming while the commit is tried:")
        self._commit(commits.REFUSED)
        flood = self._lab.flood(stage.WEB_VIP, 80, rate=15)
        flood.run(10)
        with RuleWatch() as watch:
            self._shell.show("gitvs apply --rev main", code=6, keep=(1, 1))
        flood.run(10)
        report = flood.stop()
        check(_kernel(self._shell) == before, "a failed transaction leaves nothing")
        if watch.most > watch.first:
            self._say(
                f"IPVS had {watch.first} entries, then {watch.most} with what it took of the"
                f" commit, and now {watch.last}."
            )
        check(watch.last == watch.first, "the rules are as many as before")
        check(report.lost == {}, f"the flood lost nothing: {report.lost}")
        self._confirm(
            f"{report.attempts} new connections tried meanwhile, {report.failures.total()} failed"
        )
        self._confirm(
            f"{report.long_lived} open connections exchanged {report.exchanges} lines,"
            f" {report.broken.total()} broke"
        )
        self._revert()

    def blocked_by_a_gate(self) -> None:
        self._narrator.scene("A commit that removes too much")
        before = _kernel(self._shell)
        self._commit(commits.TOO_MUCH)
        self._shell.show("gitvs apply --rev main", code=3, keep=(5, 1))
        check(_kernel(self._shell) == before, "a gate changes nothing")
        self._confirm("blocked until somebody says that it is meant")
        self._revert()

    def health(self) -> None:
        self._narrator.scene("A real server dies and comes back; and a wrong check harms nobody")
        self._commit(commits.CHECKED)
        self._say("From here on the agent follows the branch, and checks the web servers.")
        with self._agent():
            self._until(lambda: self._standings() == {"up"}, "all web servers are up")
            self._say("web1 loses its network:")
            with self._lab.at("web1"):
                run("ip", "link", "set", "back", "down")
            self._until(lambda: self._weight("10.1.0.11") == 0, "web1 gets weight 0")
            self._shell.show("gitvs status", keep=(1, 0))
            self._ask(stage.WEB_VIP, 80, 10, {"canary": 10})
            self._confirm("web1 is out within seconds, and every request is answered")
            with self._lab.at("web1"):
                run("ip", "link", "set", "back", "up")
            self._until(lambda: self._standings() == {"up"}, "web1 is up again")
            check(self._weight("10.1.0.11") == 9, "web1 has its weight again")
            self._confirm("web1 is back, and has its weight again")
            self._commit(commits.WRONG_CHECK)
            self._until(self._is_on_trial, "the new check is on trial")
            self._shell.show("gitvs check web --director lb-ams --server 10.1.0.11", code=2)
            check(self._weight("10.1.0.11") == 9, "a wrong check takes nobody out")
            self._confirm("nobody passes the new check, so it counts nowhere: nobody is out")

    def end(self) -> None:
        self._narrator.scene("What is there, and how it goes")
        self._shell.show("ipvsadm -Ln")
        self._shell.show("ip addr show gitvs0")
        self._shell.show("gitvs teardown --yes", keep=(0, 1))
        check(_kernel(self._shell) == self._untouched, "nothing is left behind")
        self._confirm("nothing is left behind: no rule, address, route, interface or setting")

    @contextmanager
    def _agent(self) -> Iterator[None]:
        """Run the agent of this director; it follows the branch in the shell's folder."""
        config = self._shell.folder.with_name("gitvs.toml")
        config.write_text(
            f'director = "{DIRECTOR}"\nstate_dir = "{self._shell.folder.with_name("state")}"\n'
            f'[source]\nurl = "{self._shell.folder}"\nallow_local = true\npoll = "1s"\n'
            '[metrics]\nlisten = ""\n'
        )
        with self._shell.running(f"gitvs agent --config {config}"):
            yield

    def _until(self, condition: Callable[[], bool], claim: str) -> None:
        """Wait until something is so.

        Raises:
            Untrue: it does not come about.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            check(time.monotonic() < deadline, claim)
            time.sleep(0.2)

    def _health(self) -> list[Any]:
        """Return the health of each checked virtual service; none before the agent answers."""
        status = json.loads(self._shell.read("gitvs status --json"))
        return [s["health"] for s in status["services"] if s["health"] is not None]

    def _standings(self) -> set[str]:
        return {server["standing"] for each in self._health() for server in each["realServers"]}

    def _is_on_trial(self) -> bool:
        healths = self._health()
        return bool(healths) and all(each["onTrial"] for each in healths)

    def _weight(self, address: str) -> int:
        """Return the weight that a web server has in the kernel, for port 80."""
        [line] = [
            line
            for line in _rules(self._shell).splitlines()
            if line.startswith(f"-a -t {stage.WEB_VIP}:80 -r {address}:")
        ]
        return int(line.rpartition("-w ")[2])

    def _commit(self, commit: Commit) -> None:
        """Write a commit and show what it changes, line by line."""
        commit.write(self._shell.folder)
        self._shell.read("git add --all")
        self._shell.show(f"git commit --quiet -m '{commit.message}'")
        patch = "git show --format= --unified=0 --irreversible-delete"
        self._narrator.changes(self._shell.read(patch))

    def _revert(self) -> None:
        self._shell.show("git revert --no-edit HEAD", keep=(1, 0))

    def _ask(
        self, vip: str, port: int, count: int, expected: dict[str, int], protocol: str = "tcp"
    ) -> None:
        answers = self._lab.requests(vip, port, count, protocol)
        where = f"[{vip}]" if ":" in vip else vip
        self._say(f"{count} requests to {protocol} {where}:{port} are answered by")
        self._narrator.counts(answers)
        check(answers == Counter(expected), f"{expected} answer")

    def _connect(self, name: str) -> Connection:
        """Open a connection that this real server answers."""
        for _ in range(_MOST_CONNECTIONS):
            connection = self._lab.connect(stage.WEB_VIP, 443)
            if connection.ask() == name:
                return connection
            connection.close()
        raise Untrue(f"{name} answers one of {_MOST_CONNECTIONS} connections")


class RuleWatch:
    """Counts the virtual services and real servers in the kernel, over and over."""

    def __init__(self) -> None:
        self.first = self.most = self.last = _entries()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self.last = _entries()

    def _watch(self) -> None:
        while not self._is_over.wait(_POLL_SECONDS):
            self.most = max(self.most, _entries())


def _entries() -> int:
    """Source: Linux ip_vs_ctl.c, ip_vs_info_seq_show: after three lines, one for each entry."""
    with open("/proc/net/ip_vs") as table:
        return sum(1 for _ in table) - 3


def _kernel(shell: Shell) -> str:
    """Return all that the director has in the kernel, without what counts or passes."""
    commands = (
        "ipvsadm -Sn",
        "ip -brief link show type dummy",
        "ip -oneline address show type dummy",
        "ip route show table local",
        "ip -6 route show table local",
        *(f"cat /proc/sys/net/ipv4/vs/{name}" for name in _SYSCTLS),
    )
    return "".join(map(shell.read, commands))


def _rules(shell: Shell) -> str:
    return shell.read("ipvsadm -Sn")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
