"""What a pass of the controller becomes: a counter, a line, an Event; and what an unforeseen error must not become."""

import asyncio
import io
import json
import logging
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from redisop import logs
from redisop.controller import Controller
from redisop.errors import ApiError, ConnectionFailed, Disputed
from redisop.kinds import INSTANCE, Ref
from redisop.metrics import Metrics
from redisop.observation import Failure
from redisop.observer import Observer, Report
from redisop.plan import Action, Change, Op, Plan, Step
from redisop.settings import Settings
from redisop.telemetry import Telemetry
from redisop.workqueue import WorkQueue

PLANTED = "hunter2-planted"
KEY = Ref(INSTANCE.api_version, INSTANCE.name, "team", "demo")
LIVE: dict[str, Any] = {
    "apiVersion": INSTANCE.api_version,
    "kind": INSTANCE.name,
    "metadata": {"name": "demo", "namespace": "team", "uid": "u", "generation": 2},
}


@pytest.fixture
def telemetry():
    return Telemetry(Metrics(), cast("Any", None), "pod-1")


@pytest.fixture
def output():
    """Where lines of all levels go, as JSON; whatever stood before comes back."""
    root, ours = logging.getLogger(), logging.getLogger("redisop")
    before = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    logs.configure("json", ["debug"], stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before[:2]
    ours.setLevel(before[2])


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def value(telemetry, metric, **labels):
    for family in text_string_to_metric_families(telemetry.metrics.text().decode()):
        for sample in family.samples:
            if sample.name == metric and sample.labels == labels:
                return sample.value
    return None


def step(action, kind="ConfigMap", changes=(), **more):
    return Step(action, Ref("v1", kind, "team", "demo-redis"), 0, None, None, tuple(changes), **more)


def report(*steps, done=(), failures=(), **more):
    return Report(KEY, 2, Plan(KEY, steps), done, failures, 0.25, **more)


def failed(error):
    return Failure(step(Action.APPLY), error)


@pytest.mark.parametrize(
    ("found", "result", "errors", "terminal"),
    [
        (report(step(Action.UNCHANGED)), "success", 0, 0),
        (report(failures=[failed(ConnectionFailed("lost"))]), "error", 1, 0),
        (report(failures=[failed(ApiError("forbidden", code=403))]), "error", 1, 0),
        (report(failures=[failed(ApiError("invalid", code=422))]), "requeue_after", 1, 1),
        (report(failures=[failed(Disputed("somebody sets it"))]), "requeue_after", 0, 0),
        (report(step(Action.CONFLICT)), "requeue_after", 0, 0),
        (report(again=True), "requeue", 0, 0),
    ],
)
def test_a_pass_is_counted_by_how_it_ended(telemetry, found, result, errors, terminal):
    telemetry.reconciled(found)
    one = {"controller": "redishttpinstance"}
    assert value(telemetry, "controller_runtime_reconcile_total", result=result, **one) == 1
    assert value(telemetry, "controller_runtime_reconcile_errors_total", **one) == errors
    assert value(telemetry, "controller_runtime_terminal_reconcile_errors_total", **one) == terminal
    assert value(telemetry, "controller_runtime_reconcile_time_seconds_sum", **one) == 0.25


def test_a_pass_is_one_line_and_each_failure_another(telemetry, output):
    done = [step(Action.CREATE), step(Action.APPLY)]
    telemetry.reconciled(report(*done, step(Action.UNCHANGED), done=done, failures=[failed(ConnectionFailed("lost"))]))
    telemetry.reconciled(report(step(Action.UNCHANGED)))
    first, failure, quiet = lines(output)
    assert (first["level"], first["message"], first["generation"], first["ms"]) == ("info", "reconciled", 2, 250)
    assert first["plan"] == {"create": 1, "apply": 1, "unchanged": 1}
    assert (first["done"], first["failed"]) == ({"create": 1, "apply": 1}, 1)
    assert (failure["action"], failure["object"], failure["error"]) == ("apply", "ConfigMap/demo-redis", "lost")
    assert (quiet["level"], quiet["done"]) == ("debug", {})


def test_steps_and_drift_are_counted_and_told(telemetry):
    drifted = Change(".spec.replicas", Op.SET, 0, 1, "kubectl-scale", ours=False)
    again = Change(".spec.other", Op.SET, 0, 1, "kubectl-scale", ours=False)
    telemetry.carried_out(LIVE, [step(Action.APPLY, "StatefulSet", [drifted, again])])
    assert value(telemetry, "redisop_plan_actions_total", kind="StatefulSet", action="apply") == 1
    assert value(telemetry, "redisop_drift_total", kind="StatefulSet", manager="kubectl-scale") == 1
    assert len(telemetry.recorder) == 1
    known = {**LIVE, "status": {"phase": "Running", "observedGeneration": 2}}
    telemetry.carried_out(known, [step(Action.CREATE, "Service")])
    assert value(telemetry, "redisop_drift_total", kind="Service", manager="unknown") == 1


def test_a_conflict_is_counted_when_it_begins(telemetry):
    conditions = [{"type": "Degraded", "status": "True", "reason": "FieldConflict", "message": "m"}]
    bad = {"phase": "Pending", "observedGeneration": 2, "conditions": conditions}
    telemetry.status_written(LIVE, bad)
    telemetry.status_written({**LIVE, "status": bad}, bad)
    assert value(telemetry, "redisop_conflicts_total", reason="FieldConflict") == 1
    assert len(telemetry.recorder) == 1


async def test_an_unforeseen_error_is_counted_and_logged_without_its_text(telemetry, output):
    class Broken:
        def get(self, _ref):
            raise ValueError(PLANTED)

    queue = WorkQueue()
    controller = Controller(
        cast("Any", None), cast("Any", Broken()), queue, Settings(), cast("Any", None), observer=telemetry
    )
    queue.add(KEY)
    worker = asyncio.create_task(controller.work())
    async with asyncio.timeout(5):
        while not output.getvalue():  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.01)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    found = lines(output)[0]
    assert (found["key"], found["level"]) == ("team/demo", "error")
    assert "ValueError" in found["exception"]
    assert "in get" in found["exception"]
    assert PLANTED not in output.getvalue()
    assert (
        value(telemetry, "controller_runtime_reconcile_total", controller="redishttpinstance", result="error") or 0
    ) >= 1


def test_whoever_listens_to_nothing_can_be_told_everything():
    silent = Observer()
    silent.carried_out(LIVE, ())
    silent.status_written(LIVE, {})
    silent.reconciled(report())
    silent.crashed(KEY, 1.0)
    silent.config_set(LIVE, ())
