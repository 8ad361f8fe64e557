"""Loads the harness; fixtures live beside the tests that use them."""

import os

from tests.support.effort import register_profile

pytest_plugins = ["tests.harness.plugin"]

# Whoever runs the tests has a width and a taste for colours; what is tested has the terminal's.
for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)

# No test finds what others left in the cache, or leaves something there, unless it means to.
os.environ["GITVS_NO_CACHE"] = "1"

register_profile()
