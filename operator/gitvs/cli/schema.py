"""`gitvs schema`: the JSON Schema of a kind, such as Service or Plan."""

from __future__ import annotations

import re

import click

from gitvs.cli.shared.completion import quietly
from gitvs.cli.shared.options import common_options
from gitvs.cli.shared.output import show_json
from gitvs.core.errors import ExitCode, UsageError
from gitvs.core.manifests.messages.schema_messages import did_you_mean
from gitvs.core.manifests.schema import DOCUMENT_KINDS, schema_for

SCHEMA_KINDS = (
    *("Manifest", *DOCUMENT_KINDS),
    *("Plan", "Observation", "Status", "History", "Transaction", "Settings"),
)


@click.command()
@click.argument(
    "kind",
    required=False,
    shell_complete=quietly(lambda context: ((kind, "") for kind in SCHEMA_KINDS)),
)
@common_options
def schema(kind: str | None) -> int:
    """Print the JSON Schema of a kind of document; without KIND, say what each is for.

    Editors complete and explain manifests with it. Manifest is for files with documents of any
    kind.

    \b
    Examples:
      gitvs schema
      gitvs schema Manifest > .manifest.schema.json
      gitvs schema Plan                         what `gitvs plan --format json` prints
    """
    if kind is None:
        width = max(map(len, SCHEMA_KINDS))
        for name in SCHEMA_KINDS:
            click.echo(f"{name:{width}}  {_purpose_of(name)}")
    else:
        show_json(schema_for(_known_kind(kind)))
    return ExitCode.DONE


def _purpose_of(kind: str) -> str:
    """Return the first sentence of a schema's description: what the kind is for."""
    description: str = schema_for(kind)["description"]
    return re.split(r"[.;] ", f"{description} ", maxsplit=1)[0]


def _known_kind(kind: str) -> str:
    for known in SCHEMA_KINDS:
        if known.lower() == kind.lower():
            return known
    hint = did_you_mean(kind, SCHEMA_KINDS) or f"; there are {', '.join(SCHEMA_KINDS)}"
    raise UsageError(f"{kind} is not a kind of document{hint}")
