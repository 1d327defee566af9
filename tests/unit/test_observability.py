"""docs/observability.md names everything there is, and nothing else."""

import re
from pathlib import Path
from types import SimpleNamespace

from redisop.collectors import CacheMetrics, QueueMetrics, WatchMetrics
from redisop.events import EventReason
from redisop.metrics import Metrics
from redisop.store import Store
from redisop.workqueue import WorkQueue

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()


def test_every_metric_is_documented_and_every_documented_one_exists():
    metrics = Metrics()
    metrics.follow(SimpleNamespace(name="redisop", leading=True))
    metrics.add(QueueMetrics(metrics.registry, WorkQueue(), 1))
    metrics.add(CacheMetrics(Store(), ()))
    metrics.add(WatchMetrics([]))
    there = set(re.findall(r"^# TYPE (\S+)", metrics.text().decode(), re.MULTILINE))
    own = {name for name in there if not name.startswith(("process_", "python_"))}
    rows = [line for line in PAGE.splitlines() if line.startswith("| `") and "_" in line.split("|")[1]]
    documented = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert documented == own


def test_every_reason_of_an_event_is_documented():
    section = PAGE[PAGE.index("## Events") : PAGE.index("## Metrics")]
    assert {reason for reason in EventReason if f"`{reason}`" not in section} == set()
