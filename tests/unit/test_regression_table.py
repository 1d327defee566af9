"""docs/regressions.md names tests that exist, and all of those that were written for it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/regressions.md").read_text()
NAMED = set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TABLE))


def names_in(path):
    """Return the names of the tests of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_")}


def test_every_test_that_is_named_exists():
    assert NAMED
    assert {(path, name) for path, name in NAMED if name not in names_in(path)} == set()


def test_every_mistake_is_kept_out_by_a_test():
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
    assert rows
    assert [row for row in rows if "::test_" not in row] == []


def test_every_regression_test_is_in_the_table():
    path = "tests/controlplane/test_regressions.py"
    assert names_in(path) == {name for file, name in NAMED if file == path}
