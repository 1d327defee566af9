"""What is counted and how; `promtool check metrics` judges a real scrape in tests/controlplane."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from redisop import metrics as metrics_module
from redisop.collectors import PHASES, CacheMetrics, QueueMetrics, WatchMetrics
from redisop.errors import ApiError
from redisop.kinds import CONFIG_MAP, INSTANCE, SECRET, SERVICE, Ref
from redisop.metrics import Metrics
from redisop.reflector import Reflector
from redisop.store import Store
from redisop.workqueue import WorkQueue
from tests.unit.wire import failure, reply, wire

KEY = Ref(INSTANCE.api_version, INSTANCE.name, "team", "demo")


def samples(metrics):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def value(metrics, metric, /, **labels):
    return samples(metrics).get((metric, *sorted(labels.items())))


def test_reconciles_are_counted_under_the_names_of_controller_runtime():
    metrics = Metrics()
    metrics.reconciled("success", 0.01)
    metrics.reconciled("error", 3)
    metrics.reconciled("requeue_after", 0.1, terminal=True)
    one = {"controller": "redishttpinstance"}
    assert value(metrics, "controller_runtime_reconcile_total", result="success", **one) == 1
    assert value(metrics, "controller_runtime_reconcile_total", result="requeue", **one) == 0, "known before it happens"
    assert value(metrics, "controller_runtime_reconcile_errors_total", **one) == 2
    assert value(metrics, "controller_runtime_terminal_reconcile_errors_total", **one) == 1
    assert value(metrics, "controller_runtime_reconcile_time_seconds_count", **one) == 3
    assert value(metrics, "controller_runtime_reconcile_time_seconds_bucket", le="0.01", **one) == 1


def test_two_processes_in_one_share_nothing():
    one, other = Metrics(), Metrics()
    one.done("Secret", "create")
    assert value(one, "redisop_plan_actions_total", kind="Secret", action="create") == 1
    assert value(other, "redisop_plan_actions_total", kind="Secret", action="create") is None


def test_whoever_names_field_managers_cannot_fill_the_memory():
    metrics = Metrics()
    for number in range(500):
        metrics.drifted("Service", f"tool-{number}")
    metrics.drifted("Service", None)
    metrics.drifted("Service", "tool-3")
    assert sum(name == "redisop_drift_total" for name, *_ in samples(metrics)) == metrics_module.MANAGERS + 1
    assert value(metrics, "redisop_drift_total", kind="Service", manager="tool-3") == 2
    assert value(metrics, "redisop_drift_total", kind="Service", manager="other") == 481


def test_the_queue_is_observed_from_adding_to_done():
    now = [100.0]
    metrics, queue = Metrics(), WorkQueue()
    observer = QueueMetrics(metrics.registry, queue, 4, clock=lambda: now[0])
    metrics.add(observer)
    observer.added(KEY)
    now[0] += 2
    observer.taken(KEY)
    now[0] += 3
    observer.retried()
    assert observer.longest() == 3
    name = {"name": "redishttpinstance"}
    assert value(metrics, "workqueue_longest_running_processor_seconds", **name) == 3
    assert value(metrics, "workqueue_unfinished_work_seconds", **name) == 3
    assert value(metrics, "controller_runtime_active_workers", controller="redishttpinstance") == 1
    observer.finished(KEY)
    assert observer.longest() == 0
    assert value(metrics, "workqueue_adds_total", **name) == 1
    assert value(metrics, "workqueue_retries_total", **name) == 1
    assert value(metrics, "workqueue_queue_duration_seconds_sum", **name) == 2
    assert value(metrics, "workqueue_work_duration_seconds_sum", **name) == 3
    assert value(metrics, "controller_runtime_max_concurrent_reconciles", controller="redishttpinstance") == 4


def test_a_queue_tells_its_observer_of_each_key_once():
    metrics, queue = Metrics(), WorkQueue()
    queue.observer = observer = QueueMetrics(metrics.registry, queue, 1)
    metrics.add(observer)
    name = {"name": "redishttpinstance"}
    queue.add(KEY)
    queue.add(KEY, 1)
    assert value(metrics, "workqueue_adds_total", **name) == value(metrics, "workqueue_depth", **name) == 1
    assert queue.take() == KEY
    queue.add(KEY)
    assert value(metrics, "workqueue_depth", **name) == 0
    queue.done(KEY)
    assert value(metrics, "workqueue_adds_total", **name) == 2
    assert value(metrics, "workqueue_work_duration_seconds_count", **name) == 1
    queue.drop(KEY)
    queue.retry(KEY)
    assert value(metrics, "workqueue_retries_total", **name) == 1
    assert observer._queued == observer._started == {}


def instance(name, status):
    metadata = {"name": name, "namespace": "team", "uid": name, "resourceVersion": "1"}
    return {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.name, "metadata": metadata, "status": status}


def test_instances_are_counted_by_phase_and_problem_when_scraped():
    metrics, store = Metrics(), Store()
    metrics.add(CacheMetrics(store, (INSTANCE, SECRET), lambda: 7))
    assert all(value(metrics, "redisop_instances", phase=phase) == 0 for phase in PHASES)
    bad = {"type": "Degraded", "status": "True", "reason": "CrashLoop"}
    forged = {"type": "Degraded", "status": "True", "reason": "Whatever-1"}
    for name, status in {
        "a": {"phase": "Running"},
        "b": {"phase": "Failed", "conditions": [bad]},
        "c": {"phase": "Odd", "conditions": [forged]},
        "d": {},
    }.items():
        store.put(instance(name, status))
    assert value(metrics, "redisop_instances", phase="Running") == 1
    assert value(metrics, "redisop_instances", phase="Pending") == 2
    assert value(metrics, "redisop_instances_degraded", reason="CrashLoop") == 1
    assert value(metrics, "redisop_instances_degraded", reason="other") == 1
    assert value(metrics, "redisop_cached_objects", kind="RedisHttpInstance") == 4
    assert value(metrics, "redisop_settled_objects") == 7


def test_watches_of_one_kind_in_many_namespaces_are_one_number():
    metrics = Metrics()
    nobody = cast("Any", None)
    reflectors = [
        Reflector(nobody, Store(), kind, namespace, changed=lambda _old, _new: None)
        for kind in (SERVICE, SECRET)
        for namespace in ("a", "b")
    ]
    for reflector in reflectors[:2]:
        reflector.lists, reflector.watches, reflector.failures, reflector.events = 2, 3, 1, 10
    metrics.add(WatchMetrics(reflectors))
    assert value(metrics, "redisop_watch_restarts_total", kind="Service") == 4
    assert value(metrics, "redisop_watch_restarts_total", kind="Secret") == 0
    assert value(metrics, "redisop_lists_total", kind="Service") == 4
    assert value(metrics, "redisop_watch_failures_total", kind="Service") == 2
    assert value(metrics, "redisop_watch_events_total", kind="Service") == 20


async def test_every_answer_of_the_api_server_is_counted_and_its_absence_too():
    metrics = Metrics()
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "t"}}
    async with wire(reply("200 OK", item), failure(503, "no")) as (client, _):
        client.answered = metrics.answered
        await client.get(CONFIG_MAP, "t", "c")
        for _ in range(2):
            with pytest.raises(ApiError):
                await client.apply(item)
        host = client._http.base_url.netloc.decode()
    counted = {key[1:]: n for key, n in samples(metrics).items() if key[0] == "rest_client_requests_total"}
    assert counted == {
        (("code", "200"), ("host", host), ("method", "GET")): 1,
        (("code", "503"), ("host", host), ("method", "PATCH")): 1,
        (("code", "500"), ("host", host), ("method", "PATCH")): 1,
    }


def test_nothing_but_the_server_loads_the_metrics_library():
    script = "import sys, redisop.commands.plan, redisop.controller, redisop.events, redisop.logs; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_lease_is_shown():
    metrics = Metrics()
    lease = SimpleNamespace(name="redisop", leading=True)
    metrics.follow(lease)
    assert value(metrics, "leader_election_master_status", name="redisop") == 1
    lease.leading = False
    assert value(metrics, "leader_election_master_status", name="redisop") == 0
