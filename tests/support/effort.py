"""How much is tested: `make test` tries a case of each kind, `make test-long` all of them."""

from __future__ import annotations

import os

from hypothesis import settings

IS_LONG = os.environ.get("GITVS_TEST_LONG") == "1"
"""Set by `make test-long`."""

LONG_FACTOR = 10


def examples(count: int) -> int:
    """Return how many examples a property gets: `count`, or ten times as many."""
    return count * LONG_FACTOR if IS_LONG else count


def register_profile() -> None:
    """Make properties repeatable in `make test`, and random in `make test-long`.

    No property measures time, so none has a deadline.
    """
    settings.register_profile(
        "gitvs",
        deadline=None,
        derandomize=not IS_LONG,
        max_examples=examples(100),
        print_blob=True,
    )
    settings.load_profile("gitvs")
