"""The commits of the story, on top of examples/quickstart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Edit:
    """Text that stands once in a file, and what takes its place."""

    file: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Commit:
    """What somebody changes, and what they call it."""

    message: str
    edits: tuple[Edit, ...] = ()
    removed: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Change the files of a work tree.

        Raises:
            ValueError: they are not as the story expects them.
        """
        for edit in self.edits:
            path = folder / edit.file
            text = path.read_text()
            if text.count(edit.before) != 1:
                raise ValueError(f"{edit.file} has not one {edit.before!r}")
            path.write_text(text.replace(edit.before, edit.after))
        for name in self.removed:
            (folder / name).unlink()


DRAIN = Commit(
    "Take web2-ams out of service, and give the canary more",
    (
        Edit("web.yaml", "weight: 19}   # 19 of 20 c", "weight: 9}    # 9 of 10 c"),
        Edit("web.yaml", "# and 1 of 20 to", "# and 1 of 10 to"),
        Edit("web.yaml", "drain: {timeout: 2m}", "drain: {timeout: 10s}"),
        Edit("web.yaml", "    - {name: web2-ams, address: 10.1.0.12, labels: {site: ams}}\n", ""),
        Edit(
            "web.yaml",
            '    - {name: web2-ams-v6, address: "2001:db8:a:1::12", labels: {site: ams}}\n',
            "",
        ),
    ),
)

MISTYPED = Commit(
    "Balance mail by least connections",
    (
        Edit("mail.yaml", "  scheduler: wlc\n", "  shceduler: lc\n"),
        Edit("web.yaml", "targetPort: 8443}", "targetPort: 84430}"),
    ),
)

REFUSED = Commit(
    "Serve port 8000, and add web3-ams",
    (
        Edit(
            "web.yaml",
            "    - {port: 443, targetPort: 8443}\n",
            "    - {port: 443, targetPort: 8443}\n    - {port: 8000}\n",
        ),
        Edit(
            "web.yaml",
            "    - {name: web1-lax, a",
            "    - {name: web3-ams, address: 10.1.0.255, labels: {site: ams}}\n"
            "    - {name: web1-lax, a",
        ),
    ),
)

TOO_MUCH = Commit("DNS moves elsewhere", removed=("dns.yaml",))

_CHECKS = "  health: {interval: 1s, timeout: 500ms, checks: [{tcp: {}}]}\n"
_DRAIN = "  drain: {timeout: 10s}"

CHECKED = Commit(
    "Check the web servers every second", (Edit("web.yaml", _DRAIN, f"{_CHECKS}{_DRAIN}"),)
)

WRONG_CHECK = Commit(
    "Check the web servers on their new port",
    (Edit("web.yaml", "{tcp: {}}", "{tcp: {port: 9999}}"),),
)

ALL = (DRAIN, MISTYPED, REFUSED, TOO_MUCH, CHECKED)
