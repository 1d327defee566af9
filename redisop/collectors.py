"""Metrics of what has a state elsewhere (work queue, cache, watches): read when scraped, so that they cannot fall out of step."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from redisop.conditions import Reason, Type, find
from redisop.kinds import INSTANCE, Kind, Ref
from redisop.metrics import CONTROLLER
from redisop.reflector import Reflector
from redisop.store import Store
from redisop.workqueue import QueueObserver, WorkQueue

PHASES = ("Pending", "Running", "Failed", "Paused", "Hibernated", "Terminating")

# controller-runtime, pkg/metrics/workqueue.go, from 1 µs on: nothing here is faster.
_BUCKETS = (1e-06, 1e-05, 1e-04, 1e-03, 1e-02, 1e-01, 1, 10, 100, 1000)


class QueueMetrics(QueueObserver, Collector):
    """Observes a work queue: client-go's `workqueue_` metrics and how long each key has been worked on."""

    def __init__(
        self, registry: CollectorRegistry, queue: WorkQueue, workers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        self._workers = workers
        self._clock = clock
        self._queued: dict[Ref, float] = {}
        self._started: dict[Ref, float] = {}

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, ["name"], registry=registry).labels(CONTROLLER)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(name, text, ["name"], buckets=_BUCKETS, registry=registry).labels(CONTROLLER)

        self._adds = counter("workqueue_adds_total", "Keys queued.")
        self._retries = counter("workqueue_retries_total", "Keys to be tried again after a back-off.")
        self._waited = histogram("workqueue_queue_duration_seconds", "How long a key was queued before it was taken.")
        self._worked = histogram("workqueue_work_duration_seconds", "How long a key was worked on.")

    def added(self, key: Ref) -> None:
        """Take note that `key` was queued."""
        self._adds.inc()
        self._queued.setdefault(key, self._clock())

    def retried(self) -> None:
        """Take note that a key is to be tried again."""
        self._retries.inc()

    def taken(self, key: Ref) -> None:
        """Take note that a worker took `key`."""
        now = self._clock()
        self._waited.observe(now - self._queued.pop(key, now))
        self._started[key] = now

    def finished(self, key: Ref) -> None:
        """Take note that `key` is done."""
        started = self._started.pop(key, None)
        if started is not None:
            self._worked.observe(self._clock() - started)

    def dropped(self, key: Ref) -> None:
        """Take note that `key` is no longer queued."""
        self._queued.pop(key, None)

    def longest(self) -> float:
        """Return for how many seconds the key has been worked on that has been worked on longest."""
        now = self._clock()
        return max((now - started for started in self._started.values()), default=0.0)

    def collect(self) -> Iterator[Metric]:
        """Yield what has a state."""
        now = self._clock()
        unfinished = sum(now - started for started in self._started.values())
        for name, text, value in (
            ("workqueue_depth", "Keys queued now.", len(self._queue)),
            ("workqueue_unfinished_work_seconds", "Seconds of work on keys not done yet, summed up.", unfinished),
            (
                "workqueue_longest_running_processor_seconds",
                "Seconds since the key was taken that has been worked on longest.",
                self.longest(),
            ),
        ):
            yield _gauge(name, text, ["name"], [((CONTROLLER,), value)])
        for name, text, value in (
            ("controller_runtime_active_workers", "Keys being worked on.", len(self._started)),
            ("controller_runtime_max_concurrent_reconciles", "Keys worked on at once at most.", self._workers),
        ):
            yield _gauge(name, text, ["controller"], [((CONTROLLER,), value)])


class CacheMetrics(Collector):
    """Instances by phase and problem, and the size of what is remembered; `settled` counts the applies."""

    def __init__(self, store: Store, kinds: Iterable[Kind], settled: Callable[[], int] = lambda: 0) -> None:
        self._store = store
        self._kinds = tuple(kinds)
        self._settled = settled

    def collect(self) -> Iterator[Metric]:
        """Count."""
        phases, problems = Tally(dict.fromkeys(PHASES, 0)), Tally[str]()
        known = {str(reason) for reason in Reason}
        for instance in self._store.of_kind(INSTANCE):
            status = instance.get("status") or {}
            phase = status.get("phase")
            phases[phase if phase in PHASES else "Pending"] += 1
            bad = find(status.get("conditions") or (), Type.DEGRADED) or {}
            if bad.get("status") == "True":
                reason = bad.get("reason", "")
                problems[reason if reason in known else "other"] += 1
        yield _gauge("redisop_instances", "Instances by phase.", ["phase"], [((key,), n) for key, n in phases.items()])
        yield _gauge(
            "redisop_instances_degraded",
            "Instances with a problem, by its reason.",
            ["reason"],
            [((key,), n) for key, n in problems.items()],
        )
        sizes = [((kind.name,), len(self._store.of_kind(kind))) for kind in self._kinds]
        yield _gauge("redisop_cached_objects", "Objects in the cache.", ["kind"], sizes)
        yield _gauge("redisop_settled_objects", "Objects whose last apply is remembered.", [], [((), self._settled())])


class WatchMetrics(Collector):
    """What the reflectors have been through, by kind."""

    def __init__(self, reflectors: Sequence[Reflector]) -> None:
        self._reflectors = reflectors

    def collect(self) -> Iterator[Metric]:
        """Sum up."""
        for name, text, value in (
            ("redisop_lists", "Complete lists read: one at the start, more where a watch could not go on.", "lists"),
            (
                "redisop_watch_restarts",
                "Watches opened again; the server ends each after about 30 s.",
                "restarts",
            ),
            ("redisop_watch_failures", "Lists and watches that failed.", "failures"),
            ("redisop_watch_events", "Changes seen by watches.", "events"),
        ):
            family = CounterMetricFamily(name, text, labels=["kind"])
            total = Tally[str]()
            for reflector in self._reflectors:
                total[reflector.kind.name] += (
                    max(0, reflector.watches - 1) if value == "restarts" else int(getattr(reflector, value))
                )
            for kind, count in total.items():
                family.add_metric([kind], count)
            yield family


def _gauge(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family
