"""Metrics for Prometheus: controller-runtime's and client-go's names where they have one, `redisop_` for what is ours.

Every label has a bounded set of values: kinds, actions and reasons are enums; of field managers, which anybody may name as he likes,
the first few are told apart. No metric names an object.
"""

from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from redisop import __version__
from redisop.conditions import Reason

CONTROLLER = "redishttpinstance"
MANAGERS = 20
"""Field managers told apart in a label; the rest is «other»."""

# controller-runtime, pkg/internal/controller/metrics.
_RECONCILE_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)


class Leading(Protocol):
    """A Lease that this process competes for."""

    name: str

    @property
    def leading(self) -> bool:
        """Whether it holds it now."""


class Metrics:
    """All metrics of one process, in a registry of their own."""

    content_type = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry(auto_describe=True)
        prometheus_client.ProcessCollector(registry=registry)
        prometheus_client.PlatformCollector(registry=registry)
        Gauge("redisop_build_info", "Always 1; the label tells the version.", ["version"], registry=registry).labels(
            __version__
        ).set(1)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._reconciles = counter(
            "controller_runtime_reconcile_total", "Reconciles by how they ended.", "controller", "result"
        )
        self._errors = counter("controller_runtime_reconcile_errors_total", "Reconciles that failed.", "controller")
        self._terminal = counter(
            "controller_runtime_terminal_reconcile_errors_total",
            "Reconciles that failed in a way that trying again cannot mend.",
            "controller",
        )
        self._seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "How long a reconcile took.",
            ["controller"],
            buckets=_RECONCILE_BUCKETS,
            registry=registry,
        )
        self._leader = Gauge(
            "leader_election_master_status", "1 while this process holds the Lease.", ["name"], registry=registry
        )
        self._requests = counter("rest_client_requests_total", "Answers of the API server.", "code", "method", "host")
        self._actions = counter("redisop_plan_actions_total", "Steps of plans carried out.", "kind", "action")
        self._planned = counter(
            "redisop_planned_actions_total", "Steps of plans told and not carried out: mode observe.", "kind", "action"
        )
        self._drift = counter(
            "redisop_drift_total", "Objects set back after somebody else changed a field of ours.", "kind", "manager"
        )
        self._conflicts = counter(
            "redisop_conflicts_total", "Times an instance came to stand in conflict with something.", "reason"
        )
        self._lag = Histogram(
            "redisop_event_loop_lag_seconds",
            "By how much the event loop was late for its beat of once a second.",
            buckets=(0.001, 0.01, 0.1, 0.5, 1, 5, 15),
            registry=registry,
        )
        self._events = counter("redisop_events_total", "Kubernetes Events by their fate.", "outcome")
        self._managers: set[str] = set()
        for result in ("success", "error", "requeue", "requeue_after"):
            self._reconciles.labels(CONTROLLER, result)
        for reason in (Reason.NAME_CONFLICT, Reason.FIELD_CONFLICT, Reason.IMMUTABLE_FIELD):
            self._conflicts.labels(reason)
        self._errors.labels(CONTROLLER)
        self._terminal.labels(CONTROLLER)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return prometheus_client.generate_latest(self.registry)

    def reconciled(self, result: str, seconds: float, *, terminal: bool = False) -> None:
        """Count one reconcile; `result` is success, error, requeue or requeue_after."""
        self._reconciles.labels(CONTROLLER, result).inc()
        self._seconds.labels(CONTROLLER).observe(seconds)
        if result == "error" or terminal:
            self._errors.labels(CONTROLLER).inc()
        if terminal:
            self._terminal.labels(CONTROLLER).inc()

    def done(self, kind: str, action: str) -> None:
        """Count one step carried out."""
        self._actions.labels(kind, action).inc()

    def planned(self, kind: str, action: str) -> None:
        """Count one step that was told and not carried out."""
        self._planned.labels(kind, action).inc()

    def drifted(self, kind: str, manager: str | None) -> None:
        """Count one object set back; `manager` is None where nobody is known to have changed it."""
        name = manager or "unknown"
        if name not in self._managers and len(self._managers) >= MANAGERS:
            name = "other"
        self._managers.add(name)
        self._drift.labels(kind, name).inc()

    def conflicted(self, reason: str) -> None:
        """Count an instance that came to stand in conflict."""
        self._conflicts.labels(reason).inc()

    def event(self, outcome: str) -> None:
        """Count one Event: written, dropped, limited or failed."""
        self._events.labels(outcome).inc()

    def lagged(self, seconds: float) -> None:
        """Take note of how late the event loop was."""
        self._lag.observe(seconds)

    def answered(self, method: str, code: str, host: str) -> None:
        """Count one answer of the API server."""
        self._requests.labels(code, method, host).inc()

    def follow(self, lease: Leading) -> None:
        """Show, whenever scraped, whether this process holds the Lease."""
        self._leader.labels(lease.name).set_function(lambda: float(lease.leading))

    def add(self, collector: Collector) -> None:
        """Add what is read when scraped."""
        self.registry.register(collector)
