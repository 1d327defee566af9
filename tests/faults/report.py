"""Results as a table in Markdown."""

from collections.abc import Iterable

from tests.faults.plans import Result
from tests.faults.rows import ROWS


def table(results: Iterable[Result]) -> str:
    """Return a line per row: plans tried (those that had such a point), passed, slowest recovery in seconds."""
    found = list(results)
    lines = ["| row | tried | passed | slowest recovery |", "|---|---|---|---|"]
    for name in ROWS:
        tried = [it for it in found if it.plan.row == name and (it.struck or it.problems)]
        if tried:
            passed = [it for it in tried if not it.problems]
            slowest = max((it.recovery for it in passed), default=0.0)
            lines.append(f"| {name} | {len(tried)} | {len(passed)} | {slowest:.1f} s |")
    tried = [it for it in found if it.struck or it.problems]
    lines.append(f"| all | {len(tried)} | {sum(not it.problems for it in tried)} | |")
    return "\n".join(lines)
