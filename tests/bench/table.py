"""How measurements are printed: a row per figure, each against its yardstick."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`value` and `yardstick` in `unit`; `goal` is what the ratio or the value should stay below, in words."""

    name: str
    value: float
    unit: str
    yardstick: float | None = None
    against: str = ""
    goal: str = ""


def show(title: str, rows: Sequence[Row]) -> None:
    print(f"\n{title}")
    for row in rows:
        ratio = (
            f"= {row.value / row.yardstick:.3g} × {row.against} ({row.yardstick:.4g} {row.unit})"
            if row.yardstick
            else ""
        )
        goal = f"   [goal: {row.goal}]" if row.goal else ""
        print(f"  {row.name:<52} {row.value:>10.4g} {row.unit:<8} {ratio}{goal}", flush=True)
