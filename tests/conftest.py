"""Fixtures every tier of tests shares."""

pytest_plugins = ["tests.cluster.fixtures"]
