"""Makes metrics, Events and log lines of what the controller tells."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import anyio

from redisop import events, logs
from redisop.apply import is_terminal
from redisop.client import Client
from redisop.conditions import Reason
from redisop.errors import Disputed
from redisop.events import EventReason, EventSpec
from redisop.health import Heartbeat
from redisop.kinds import Object, Ref
from redisop.metrics import Metrics
from redisop.observer import Observer, Report
from redisop.plan import Action, Step
from redisop.recorder import Recorder

logger = logging.getLogger(__name__)

_CONFLICTS = {Reason.NAME_CONFLICT, Reason.FIELD_CONFLICT, Reason.IMMUTABLE_FIELD}


class Telemetry(Observer):
    """The observer of an operator that runs; `reporter` is the process as Events name it, `busy` whether instances wait."""

    def __init__(
        self, metrics: Metrics, client: Client, reporter: str, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self.metrics = metrics
        self.recorder = Recorder(client, reporter, counted=metrics.event, busy=busy)
        self.heartbeat = Heartbeat(metrics.lagged)

    async def run(self) -> None:
        """Write Events and beat, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.recorder.run)
            group.start_soon(self.heartbeat.run)

    def carried_out(self, instance: Object, done: Sequence[Step]) -> None:
        """Count the steps and tell about them."""
        for step in done:
            self.metrics.done(step.ref.kind, step.action)
            for manager in {change.manager for change in events.drift(step)}:
                self.metrics.drifted(step.ref.kind, manager)
        specs = events.events_of(instance["metadata"].get("generation", 0), done, instance.get("status") or {})
        for spec in specs:
            if spec.reason is EventReason.DRIFT_CORRECTED and spec.action == "Create" and spec.related:
                self.metrics.drifted(spec.related.kind, None)
        self._record(instance, specs)

    def status_written(self, instance: Object, status: Object) -> None:
        """Tell what turned."""
        specs = events.events_of(0, (), instance.get("status") or {}, status)
        for spec in specs:
            if spec.reason in _CONFLICTS:
                self.metrics.conflicted(spec.reason)
        self._record(instance, specs)

    def reconciled(self, report: Report) -> None:
        """Count the pass, and log it: what did something at info, what found nothing to do at debug."""
        conflicts = [step for step in report.plan.steps if step.action is Action.CONFLICT]
        terminal = any(is_terminal(failure.error) for failure in report.failures)
        self.metrics.reconciled(_result(report, conflicts), report.seconds, terminal=terminal)
        level = logging.INFO if report.done or report.failures else logging.DEBUG
        if logger.isEnabledFor(level):
            fields = logs.fields(
                generation=report.generation,
                plan={str(action): count for action, count in report.plan.counts().items() if count},
                done=dict(Counter(str(step.action) for step in (*report.done, *conflicts))),
                failed=len(report.failures),
                ms=round(report.seconds * 1000, 1),
            )
            logger.log(level, "reconciled", extra=fields)
        for failure in report.failures:
            what = logs.fields(action=str(failure.step.action), object=str(failure.step.ref), error=str(failure.error))
            logger.warning("step failed", extra=what)

    def crashed(self, key: Ref, seconds: float) -> None:
        """Count it; the controller logs it."""
        del key
        self.metrics.reconciled("error", seconds)

    def config_set(self, instance: Object, directives: Sequence[str]) -> None:
        """Tell which directives were set."""
        self._record(instance, (events.config_set(directives),))

    def planned(self, instance: Object, steps: Sequence[Step], notes: Sequence[str]) -> None:
        """Count the steps and tell about them."""
        for step in steps:
            self.metrics.planned(step.ref.kind, step.action)
        if steps or notes:
            self._record(instance, (events.planned(steps, notes),))

    def _record(self, instance: Object, specs: Sequence[EventSpec]) -> None:
        for spec in specs:
            self.recorder.record(instance, spec)


def _result(report: Report, conflicts: Sequence[Step]) -> str:
    """Return how a pass ended in the words of controller-runtime."""
    if any(not (is_terminal(failure.error) or isinstance(failure.error, Disputed)) for failure in report.failures):
        return "error"
    if report.again:
        return "requeue"
    return "requeue_after" if report.failures or conflicts else "success"
