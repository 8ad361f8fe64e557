"""Manifests for tests: builders, generators, a large repository."""
