"""Loads the harness; fixtures live beside the tests that use them."""

pytest_plugins = ["tests.harness.plugin"]
