"""Problems in manifests: what, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from gitvs.core.errors import ExitCode, GitvsError


def printable(text: str) -> str:
    """Return a text with its control characters escaped, so that it is safe on a terminal.

    So it is in the log of a CI job, where `##[` begins a command anywhere in a line.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return text.replace("##[", "##\\u005b")


def printable_line(text: str) -> str:
    """Return what may begin a line, as `printable` does.

    A line that begins with `::` is a command in the log of a CI job, however far it is indented.
    """
    text = printable(text)
    return text.replace(":", "\\u003a", 1) if text.lstrip().startswith("::") else text


def printable_lines(text: str) -> str:
    """Return a text of several lines with its control characters escaped, except line ends."""
    return "\n".join(map(printable_line, text.split("\n")))


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem in the manifests.

    `file` is relative to the chosen folder; `line` and `column` count from 1, and a line of 0 is
    the whole folder; `pointer` is a JSON pointer into the document; `rule` is the stable name of
    the rule that it breaks.
    """

    file: str
    line: int
    column: int
    pointer: str
    rule: str
    message: str
    named_places: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """The places that the message names: `web.yaml:13`, relative to the chosen folder."""

    def as_json(self) -> dict[str, str | int]:
        """Return it as JSON types."""
        fields = asdict(self)
        del fields["named_places"]
        return fields

    def __str__(self) -> str:
        return printable_line(f"{self.place}: {self.message} [{self.rule}]")

    @property
    def place(self) -> str:
        """Where it is, as editors and terminals know it."""
        file = printable_line(self.file)
        return f"{file}:{self.line}:{self.column}" if self.line else file


class InvalidManifests(GitvsError):
    """Manifests with problems; `problems` has all of them, in file order, beside the `warnings`.

    `may_have_more` where a part could not be judged: more may follow once these are mended.
    """

    exit_code = ExitCode.INVALID

    def __init__(
        self,
        problems: Sequence[Problem],
        may_have_more: bool = False,
        warnings: Sequence[Problem] = (),
    ) -> None:
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        self.may_have_more = may_have_more
        super().__init__("\n".join(str(p) for p in self.problems))
