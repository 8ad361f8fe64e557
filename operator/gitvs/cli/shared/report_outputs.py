"""`--format` and `--out` of plans: one plan in several formats, each to its own file."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, assert_never

import click
from rich.text import Text

from gitvs import __version__
from gitvs.cli.shared.output import show, terminal_width
from gitvs.core.errors import FileUnusable, UsageError
from gitvs.core.model.resource_json import json_text
from gitvs.report.html.preview import preview_html
from gitvs.report.markdown.preview import preview_markdown
from gitvs.report.plan.plan_json import plan_json
from gitvs.report.plan.plan_text import plan_text
from gitvs.report.plan.plan_view import PlanSideKind
from gitvs.report.plan.preview_findings import report_findings
from gitvs.report.plan.preview_text import preview_text
from gitvs.report.plan.preview_view import Preview, with_places
from gitvs.report.text.places import forge_of
from gitvs.report.text.problems import ProblemFormat
from gitvs.report.text.times import utc_time_text

F = TypeVar("F", bound=Callable[..., Any])

_STANDARD_OUTPUT = Path("-")


class ReportFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    GITHUB = "github"
    GITLAB = "gitlab"
    SARIF = "sarif"


_FORMATS_BY_SUFFIX = {
    ".json": ReportFormat.JSON,
    ".md": ReportFormat.MARKDOWN,
    ".html": ReportFormat.HTML,
    ".htm": ReportFormat.HTML,
    ".sarif": ReportFormat.SARIF,
}


@dataclass(frozen=True, slots=True)
class ReportOutputs:
    """Formats, each with the file that it is written to."""

    outputs: tuple[tuple[ReportFormat, Path], ...]

    def write(self, preview: Preview) -> None:
        """Write a preview in every format.

        Raises:
            FileUnusable: a file cannot be written.
        """
        preview = with_places(preview, forge_of(os.environ))
        for form, file in self.outputs:
            if file != _STANDARD_OUTPUT:
                _write_file(render_report(preview, form), file)
            elif form is ReportFormat.TEXT:
                show(_preview_text(preview, terminal_width()))
            else:
                sys.stdout.write(render_report(preview, form))


def report_options(function: F) -> Callable[..., Any]:
    """Add `--format` and `--out`, passed on as `reports: ReportOutputs`."""

    @click.option(
        "--format",
        "forms",
        multiple=True,
        type=click.Choice([str(form) for form in ReportFormat]),
        help="Output format; may be repeated, each with its --out.  [default: from the name"
        " of --out]",
    )
    @click.option(
        "--out",
        "outs",
        multiple=True,
        type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
        metavar="FILE",
        help="Write it there instead of to standard output (-).",
    )
    @wraps(function)
    def with_reports(*args: Any, forms: Sequence[str], outs: Sequence[Path], **rest: Any) -> Any:
        return function(*args, reports=_pair_outputs(forms, outs), **rest)

    return with_reports


def _pair_outputs(forms: Sequence[str], outs: Sequence[Path]) -> ReportOutputs:
    report_formats = [ReportFormat(form) for form in forms]
    if not report_formats:
        report_formats = [_format_of(file) for file in outs] or [ReportFormat.TEXT]
    files = outs if len(report_formats) > 1 else outs or [_STANDARD_OUTPUT]
    if len(report_formats) != len(files):
        raise UsageError(
            f"{len(report_formats)} --format and {len(outs)} --out: with several formats each has"
            " its --out, in the same order; - is standard output"
        )
    for file, count in Counter(files).items():
        if count > 1:
            raise UsageError(f"--out {file} is there {count} times; give each format its own")
    return ReportOutputs(tuple(zip(report_formats, files, strict=True)))


def _format_of(file: Path) -> ReportFormat:
    """Return the format that the name of a file asks for."""
    return _FORMATS_BY_SUFFIX.get(file.suffix.lower(), ReportFormat.TEXT)


def _write_file(text: str, file: Path) -> None:
    try:
        file.write_text(text, "utf-8", errors="backslashreplace")
    except OSError as error:
        raise FileUnusable(f"{file} cannot be written: {error.strerror}") from error


def _preview_text(preview: Preview, width: int | None = None) -> Text:
    if preview.base.kind is PlanSideKind.COMMIT:
        return preview_text(preview, width)
    return plan_text(preview.base, preview.head, preview.plans, width)


def _origin() -> str:
    """Return what made a page, when, and of which repository, if a CI job names it."""
    names = ("GITHUB_REPOSITORY", "CI_PROJECT_PATH")
    repository = next((os.environ[name] for name in names if os.environ.get(name)), Path.cwd().name)
    return f"gitvs {__version__}, {utc_time_text(datetime.now(UTC))}, {repository}"


def render_report(preview: Preview, form: ReportFormat) -> str:
    """Return a preview in a format, as it is written to a file."""
    match form:
        case ReportFormat.TEXT:
            return _preview_text(preview).plain
        case ReportFormat.JSON:
            return json_text(plan_json(preview))
        case ReportFormat.MARKDOWN:
            return preview_markdown(preview)
        case ReportFormat.HTML:
            return preview_html(preview, _origin())
        case ReportFormat.GITHUB | ReportFormat.GITLAB | ReportFormat.SARIF:
            return report_findings(preview, ProblemFormat(form.value), __version__)
        case _:
            assert_never(form)
