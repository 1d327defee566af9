"""Operators as processes that share one Lease: hand-over, crashes, outages, and what a former leader still sends.

Times of the Lease are scaled down; their proportions are those of production.
"""

import os
import signal
import time
from contextlib import ExitStack

import pytest

from redisop.kinds import INSTANCE, INSTANCE_LABEL, LEASE, OWNED
from redisop.lease import NAME
from tests.cluster import ControlPlane
from tests.cluster.api import ApiError
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
    try:
        lease = cluster.api.get(LEASE.path(namespace, NAME))
    except ApiError:
        return ""
    return lease["spec"].get("holderIdentity", "")


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
    instance = {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.name, "metadata": metadata, "spec": {}}
    cluster.api.request("POST", INSTANCE.path(namespace), instance)


def children(cluster, namespace, name):
    """Return uid and resourceVersion of each child of an instance."""
    return {
        (kind.name, item["metadata"]["name"]): (item["metadata"]["uid"], item["metadata"]["resourceVersion"])
        for kind in OWNED
        for item in cluster.api.get(f"{kind.path(namespace)}?labelSelector={INSTANCE_LABEL}%3D{name}")["items"]
    }


def reconciled(cluster, namespace, name):
    """Tell whether the status is about the present generation, and the StatefulSet, which comes last, is there."""
    instance = cluster.api.get(INSTANCE.path(namespace, name))
    current = instance.get("status", {}).get("observedGeneration") == instance["metadata"]["generation"]
    return current and ("StatefulSet", f"{name}-redis") in children(cluster, namespace, name)


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


def test_a_crashed_leader_is_replaced_when_its_lease_has_expired(cluster, namespace, pair):
    a, b = pair
    create(cluster, namespace, "before")
    until(lambda: reconciled(cluster, namespace, "before"))
    started = time.monotonic()
    a.process.kill()
    create(cluster, namespace, "meanwhile")
    b.process.wait_for("starting 8 workers")
    took = time.monotonic() - started
    print(f"SIGKILL to the next leader: {took:.1f} s, with a Lease of {DURATION:g} s")
    # The proportion of the promise: 16 s with a Lease of 15 s. A machine under load may add to it.
    assert took < DURATION * 16 / 15 + 3
    until(lambda: reconciled(cluster, namespace, "meanwhile"))
    # What the dead one had finished is only looked at; its status may go on.
    assert not any(resource != INSTANCE.plural and name.startswith("before") for _, resource, name in b.accepted())


def test_a_frozen_leader_wakes_up_as_a_standby_and_can_lead_again(cluster, namespace, pair):
    a, b = pair
    a.signal(signal.SIGSTOP)
    b.process.wait_for("starting 8 workers")
    a.signal(signal.SIGCONT)
    a.process.wait_for("not leading any more")
    create(cluster, namespace, "demo")
    until(lambda: reconciled(cluster, namespace, "demo"))
    assert a.accepted() == []
    b.signal(signal.SIGTERM)
    until(lambda: led(a) == 2)
    create(cluster, namespace, "again")
    until(lambda: reconciled(cluster, namespace, "again"))
    assert a.process.alive


def late_writes(old, new):
    """Return the codes of what `old` wrote after `new` had acquired the Lease, which itself and Events are left out."""
    events = list(old.cluster.audit_events())
    renewed = [event["auditID"] for event in events].index(old.accepted("leases")[-1][0])
    theirs = {audit_id for audit_id, *_ in new.accepted("leases")}
    acquired = next(at for at, event in enumerate(events) if at > renewed and event["auditID"] in theirs)
    return [
        event["responseStatus"]["code"]
        for event in events[acquired:]
        if event["user"]["username"] == old.user
        and event["verb"] in WRITES
        and event["objectRef"]["resource"] not in {"leases", "events"}
    ]


def led(replica):
    return replica.process.output.count("starting 8 workers")


def lost(replica):
    return replica.process.output.count("not leading any more")


def test_no_stale_write_is_accepted_whichever_write_the_leader_was_frozen_at(cluster, namespace, pair):
    """Freeze the leader at its n-th write, let the other one act, deliver what was on its way, and wake the leader up."""
    leader, other = pair
    refused = {}
    # The first wave begins with 1, and the Secret of the ACL, the StatefulSet and the status come after 7.
    for number in (1, 4, 7, 8, 9, 10):
        name = f"demo-{number}"
        terms, losses = led(other), lost(leader)
        leader.gate.hold(number)
        create(cluster, namespace, name)
        until(lambda gate=leader.gate: gate.held, why=f"there was no write {number}")
        time.sleep(0.1)
        leader.signal(signal.SIGSTOP)
        until(lambda new=other, terms=terms: led(new) > terms)
        until(lambda name=name: reconciled(cluster, namespace, name))
        before = children(cluster, namespace, name)
        sent = len(leader.gate.held)
        leader.gate.open()
        until(lambda old=leader, new=other, sent=sent: len(late_writes(old, new)) >= sent)
        leader.signal(signal.SIGCONT)
        until(lambda old=leader, losses=losses: lost(old) > losses)
        time.sleep(0.5)
        refused[number] = late_writes(leader, other)
        assert set(refused[number]) == {409}, (number, refused[number], leader.gate.held)
        assert children(cluster, namespace, name) == before
        leader, other = other, leader
    print("late writes and their answers, by the write that the leader was frozen at:", refused)


def test_writes_that_the_network_delivers_after_the_term_are_refused(cluster, namespace, pair):
    """The leader is alive but cut off, with its renewals: it must stop by itself, and what it had sent must not count."""
    leader, other = pair
    leader.gate.hold(2, everything=True)
    create(cluster, namespace, "demo")
    until(lambda: leader.gate.held)
    cut_off = time.monotonic()
    until(lambda: lost(leader))
    stopped = time.monotonic() - cut_off
    assert led(other) == 0, "it stopped only when it saw the other one lead"
    until(lambda: led(other))
    print(f"cut off: stopped after {stopped:.1f} s, replaced after {time.monotonic() - cut_off:.1f} s")
    until(lambda: reconciled(cluster, namespace, "demo"))
    before = children(cluster, namespace, "demo")
    writes = [line for line in leader.gate.held if b"/leases" not in line]
    leader.gate.open()
    until(lambda: len(late_writes(leader, other)) >= len(writes))
    time.sleep(1)
    codes = late_writes(leader, other)
    print("late writes and their answers:", codes)
    assert set(codes) == {409}
    assert children(cluster, namespace, "demo") == before
    assert leader.process.alive


def test_an_api_server_that_is_away_ends_no_operator(tmp_path):
    with ControlPlane.start(audit=True, scheduler=False) as cluster, ExitStack() as stack:
        install(cluster)
        replicas = []
        for name in ("a", "b"):
            replicas.append(Replica(cluster, name, "default", tmp_path))
            stack.callback(replicas[-1].stop)
        create(cluster, "default", "before")
        until(lambda: reconciled(cluster, "default", "before"))
        for number, (end, begin) in enumerate(
            [(cluster.apiserver.pause, cluster.apiserver.resume), (cluster.apiserver.kill, cluster.apiserver.start)]
        ):
            losses = sum(map(lost, replicas))
            end()
            until(lambda losses=losses: sum(map(lost, replicas)) > losses)
            time.sleep(DURATION)
            begin()
            cluster.wait_ready()
            ready = time.monotonic()
            create(cluster, "default", f"after-{number}")
            until(lambda number=number: reconciled(cluster, "default", f"after-{number}"))
            print(f"from /readyz to a new instance reconciled: {time.monotonic() - ready:.1f} s")
            assert all(replica.process.alive for replica in replicas)
