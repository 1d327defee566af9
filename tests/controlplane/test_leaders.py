"""Operators as processes that share one Lease: hand-over, crashes, outages, and what a former leader still sends.

Times of the Lease are scaled down; their proportions are those of production.
"""

import os
import signal
import time
from contextlib import ExitStack

import pytest

from redisop.kinds import GROUP
from redisop.lease import NAME
from tests.controlplane import operator_process
from tests.controlplane.gate import Gate
from tests.converged import install

pytestmark = pytest.mark.timeout(180)

DURATION = 3.0
WRITES = {"create", "update", "patch", "delete"}


def until(done, seconds=30.0, why="not true in time"):
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, why
        time.sleep(0.01)
    return found


class Replica:
    """One operator process behind a gate of its own, and thus a user of its own in the audit log."""

    def __init__(self, cluster, name, namespace, folder, duration=DURATION):
        self.cluster, self.namespace = cluster, namespace
        self.user = f"{name}-{namespace}"
        self.gate = Gate(cluster, self.user)
        arguments = ["-m", "redisop", "run", "-v", "--kubeconfig", str(self.gate.kubeconfig), "-n", namespace]
        lease = ["--lease-namespace", namespace, "--lease-duration", str(duration)]
        self.process = operator_process.Process([*arguments, *lease], folder / f"{name}.log", POD_NAME=name)

    def signal(self, number):
        os.kill(self.process.pid, number)

    @property
    def leads(self):
        holder = holder_of(self.cluster, self.namespace)
        return holder.startswith(self.user.removesuffix(self.namespace).removesuffix("-") + "_")

    def events(self):
        """Return this operator's requests in the order of the audit log, watches aside."""
        return [event for event in self.cluster.audit_events(user=self.user) if event["verb"] != "watch"]

    def accepted(self, resource=None):
        """Return its accepted writes as (audit id, resource, name), Lease and Events aside unless asked for."""
        found = []
        for event in self.events():
            ref = event.get("objectRef", {})
            aside = ref.get("resource") in {"leases", "events"} if resource is None else ref.get("resource") != resource
            if event["verb"] in WRITES and event["responseStatus"]["code"] < 300 and not aside:
                found.append((event["auditID"], ref.get("resource"), ref.get("name")))
        return found

    def stop(self):
        self.gate.open()
        if self.process.alive:
            self.signal(signal.SIGCONT)
        self.process.kill()
        self.gate.close()


def holder_of(cluster, namespace):
    shown = cluster.kubectl(
        "get", "lease", NAME, "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}", "--ignore-not-found"
    )
    return shown.stdout


@pytest.fixture(scope="module")
def cluster(own_control_plane):
    install(own_control_plane)
    return own_control_plane


@pytest.fixture
def replica(cluster, namespace, tmp_path):
    """Start a replica by name; all are killed at the end."""
    with ExitStack() as stack:

        def start(name, **more):
            started = Replica(cluster, name, namespace, tmp_path, **more)
            stack.callback(started.stop)
            return started

        yield start


@pytest.fixture
def pair(replica):
    """A leader and a standby whose caches are filled."""
    a = replica("a")
    a.process.wait_for("starting 8 workers")
    b = replica("b")
    b.process.wait_for("standing by")
    return a, b


def create(cluster, namespace, name):
    metadata = {"name": name, "namespace": namespace}
    kind = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "RedisHttpInstance"}
    cluster.apply({**kind, "metadata": metadata, "spec": {}})


def reconciled(cluster, namespace, name):
    """Tell whether all children are there and the status is about the present generation."""
    kinds = "statefulset,service,secret,configmap,networkpolicy,serviceaccount"
    found = cluster.kubectl("get", kinds, "-n", namespace, "-l", f"{GROUP}/instance={name}", "-o", "name").stdout
    template = "{.metadata.generation}={.status.observedGeneration}"
    status = cluster.kubectl("get", "redishttpinstance", name, "-n", namespace, "-o", f"jsonpath={template}").stdout
    generation, observed = status.split("=")
    return found.count("\n") >= 8 and generation == observed


def versions(cluster, namespace, name):
    """Return uid and resourceVersion of everything of one instance that the operator writes."""
    kinds = f"redishttpinstance.{GROUP},statefulset,service,secret,configmap,networkpolicy,serviceaccount"
    template = "{range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.resourceVersion}{'\\n'}{end}"
    shown = cluster.kubectl("get", kinds, "-n", namespace, "-o", f"jsonpath={template}").stdout
    return [line for line in shown.splitlines() if f"/{name} " in line or f"/{name}-" in line]


def test_a_standby_takes_over_at_once_when_the_leader_is_stopped(cluster, namespace, pair):
    a, b = pair
    assert b.accepted() == []
    create(cluster, namespace, "before")
    until(lambda: reconciled(cluster, namespace, "before"))
    started = time.monotonic()
    a.signal(signal.SIGTERM)
    b.process.wait_for("starting 8 workers")
    took = time.monotonic() - started
    print(f"SIGTERM to the next leader: {took * 1000:.0f} ms, the drain of the old one included")
    assert took < DURATION
    assert a.process.wait() == 0
    create(cluster, namespace, "after")
    until(lambda: reconciled(cluster, namespace, "after"))
    assert {name for *_, name in a.accepted()}.isdisjoint({"after", "after-redis"})


def test_stopping_while_it_writes_is_quick_and_releases_the_lease_last(cluster, namespace, replica):
    a = replica("a")
    a.process.wait_for("starting 8 workers")
    for number in range(12):
        create(cluster, namespace, f"one-of-many-{number}")
    until(lambda: len(a.accepted()) > 20)
    code, seconds = a.process.terminate()
    print(f"SIGTERM under load to exit: {seconds * 1000:.0f} ms")
    assert code == 0
    assert seconds < 5
    last = [event for event in a.events() if event["verb"] in WRITES][-1]
    assert (last["objectRef"]["resource"], last["verb"]) == ("leases", "update")
    assert holder_of(cluster, namespace) == ""
