"""Candidates for one Lease on a real API server: hand-over, outages, and a Lease that others damage."""

import asyncio
import contextlib
import itertools
import json
import time

import anyio
import pytest

from redisop.client import Client
from redisop.election import Timing
from redisop.kinds import LEASE
from redisop.lease import NAME, Lease

FAST = Timing(duration=3.0, renew_deadline=2.0, retry_period=0.3)


class Candidate:
    """A Lease with its own connections; `terms` are the times at which it led, `held` says that it still does."""

    def __init__(self, kubeconfig, namespace, name):
        self.terms = []
        self.kubeconfig, self.namespace, self.name = kubeconfig, namespace, name
        self.started = asyncio.Event()
        self.task = asyncio.create_task(self.run())

    async def run(self):
        async with Client.connect(self.kubeconfig) as client:
            self.lease = Lease(client, self.namespace, candidate=self.name, timing=FAST)
            self.started.set()
            await self.lease.run(self.work)

    async def work(self):
        self.terms.append([time.monotonic(), None])
        try:
            await anyio.sleep_forever()
        finally:
            self.terms[-1][1] = time.monotonic()

    @property
    def leads(self):
        return bool(self.terms) and self.terms[-1][1] is None and self.lease.leading

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def candidate(control_plane, namespace):
    """Start a candidate by name; whatever still runs is stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(name):
            started = Candidate(control_plane.kubeconfig, namespace, name)
            stack.push_async_callback(started.stop)
            await started.started.wait()
            return started

        yield start


@pytest.fixture
async def admin(control_plane):
    async with Client.connect(control_plane.kubeconfig) as client:
        yield client


async def until(done, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


async def leader_and_standby(candidate):
    a = await candidate("a")
    await until(lambda: a.leads)
    b = await candidate("b")
    await until(lambda: b.lease.holder == "a")
    return a, b


def no_overlap(*candidates):
    terms = sorted(term for each in candidates for term in each.terms)
    return all(end is not None and end <= start for (_, end), (start, _) in itertools.pairwise(terms))


async def test_a_graceful_hand_over_is_immediate(candidate, admin, namespace):
    a, b = await leader_and_standby(candidate)
    before = await admin.get(LEASE, namespace, NAME)
    assert before["spec"]["holderIdentity"] == "a"
    started = time.monotonic()
    await a.stop()
    await until(lambda: b.leads)
    took = b.terms[0][0] - started
    print(f"graceful hand-over: {took * 1000:.0f} ms")
    # Without the watch it would be at least the duration of the Lease.
    assert took < 1.0
    assert no_overlap(a, b)
    after = await admin.get(LEASE, namespace, NAME)
    assert (after["spec"]["holderIdentity"], after["spec"]["leaseTransitions"]) == ("b", 1)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_the_last_to_stop_leaves_the_lease_free(candidate, admin, namespace):
    a = await candidate("a")
    await until(lambda: a.leads)
    await a.stop()
    left = await admin.get(LEASE, namespace, NAME)
    assert "holderIdentity" not in left["spec"]
    started = time.monotonic()
    b = await candidate("b")
    await until(lambda: b.leads)
    assert time.monotonic() - started < FAST.duration


async def test_a_leader_keeps_the_lease_and_a_standby_writes_nothing(own_control_plane, namespace, candidate):
    a, b = await leader_and_standby(candidate)
    await asyncio.sleep(1.5 * FAST.duration)
    assert len(a.terms) == 1
    assert a.leads
    assert b.terms == []

    def count(verb):
        return sum(1 for _ in own_control_plane.audit_events(verb=verb, resource="leases", namespace=namespace))

    assert count("create") == 1
    renewals = 1.5 * FAST.duration / FAST.retry_period
    assert 0.5 * renewals <= count("update") <= renewals + 4


async def test_of_many_candidates_one_leads(candidate):
    candidates = [await candidate(f"c{number}") for number in range(6)]
    for left in range(6, 1, -1):
        await until(lambda: any(each.leads for each in candidates))
        await asyncio.sleep(0.3)
        leading = [each for each in candidates if each.leads]
        assert len(leading) == 1
        await leading[0].stop()
        candidates.remove(leading[0])
        assert len(candidates) == left - 1


@pytest.mark.parametrize("damage", ["deleted", "emptied", "kept by a finalizer", "patched by kubectl"])
async def test_a_damaged_lease_is_put_right_by_its_leader(control_plane, candidate, admin, namespace, damage):
    a, b = await leader_and_standby(candidate)

    async def kubectl(verb, *arguments):
        await asyncio.to_thread(control_plane.kubectl, verb, "lease", NAME, "-n", namespace, *arguments)

    if damage == "deleted":
        await kubectl("delete")
    elif damage == "emptied":
        patch = json.dumps([{"op": "remove", "path": "/spec"}])
        await kubectl("patch", "--type=json", "-p", patch)
    elif damage == "kept by a finalizer":
        patch = json.dumps({"metadata": {"finalizers": ["redisop.test/kept"]}})
        await kubectl("patch", "--type=merge", "-p", patch)
        await kubectl("delete", "--wait=false")
    else:
        spec = {"renewTime": "1999-01-01T00:00:00.000000Z", "leaseDurationSeconds": 7, "leaseTransitions": 2**31 - 1}
        patch = json.dumps({"metadata": {"labels": {"team": "x"}}, "spec": spec})
        await kubectl("patch", "--type=merge", "-p", patch)
    await asyncio.sleep(1.5 * FAST.duration)
    assert len(a.terms) == 1
    assert a.leads
    assert b.terms == []
    now = await admin.get(LEASE, namespace, NAME)
    assert now["spec"]["holderIdentity"] == "a"
    assert now["spec"]["leaseDurationSeconds"] == 3
    if damage == "kept by a finalizer":
        await kubectl("patch", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


async def test_a_foreign_holder_stops_the_leader_at_once_and_expires(control_plane, candidate, namespace):
    a, b = await leader_and_standby(candidate)
    patch = json.dumps({"spec": {"holderIdentity": "intruder", "leaseDurationSeconds": 1}})
    await asyncio.to_thread(control_plane.kubectl, "patch", "lease", NAME, "-n", namespace, "--type=merge", "-p", patch)
    await until(lambda: not a.leads, seconds=FAST.renew_deadline / 2)
    started = time.monotonic()
    await until(lambda: a.leads or b.leads)
    assert time.monotonic() - started > FAST.duration * 0.8
    assert no_overlap(a, b)


async def test_a_namespace_that_is_not_there_yet_is_waited_for(control_plane):
    missing = "test-lease-not-yet"
    early = Candidate(control_plane.kubeconfig, missing, "early")
    try:
        await asyncio.sleep(1.5)
        assert not early.task.done()
        await asyncio.to_thread(control_plane.kubectl, "create", "namespace", missing)
        await until(lambda: early.leads)
    finally:
        await early.stop()
        await asyncio.to_thread(control_plane.kubectl, "delete", "namespace", missing, "--wait=false")


async def test_rights_to_this_one_lease_are_enough(own_control_plane, namespace, candidate):
    user = f"operator-{namespace}"
    rules = [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "update", "watch"],
            "resourceNames": [NAME],
        },
    ]
    metadata = {"name": "lease", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    own_control_plane.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    subject = {"kind": "User", "name": user, "apiGroup": rbac}
    reference = {"kind": "Role", "name": "lease", "apiGroup": rbac}
    own_control_plane.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [subject],
            "roleRef": reference,
        }
    )
    restricted = Candidate(own_control_plane.kubeconfig_for(user), namespace, "restricted")
    await until(lambda: restricted.leads)
    other = await candidate("other")
    await until(lambda: other.lease.holder == "restricted")
    await asyncio.sleep(2 * FAST.retry_period)
    await restricted.stop()
    await until(lambda: other.leads)
    refused = [
        event for event in own_control_plane.audit_events(user=user) if event["responseStatus"].get("code") == 403
    ]
    assert refused == []


@pytest.mark.timeout(180)
async def test_an_outage_ends_terms_and_no_process():
    from tests.cluster import ControlPlane

    with await asyncio.to_thread(ControlPlane.start, scheduler=False) as own:
        started: list[Candidate] = []

        async def candidate(name):
            started.append(Candidate(own.kubeconfig, "default", name))
            await started[-1].started.wait()
            return started[-1]

        a, b = await leader_and_standby(candidate)
        try:
            for fault, repair in (
                (own.apiserver.pause, own.apiserver.resume),
                (own.apiserver.kill, own.apiserver.start),
            ):
                held = next(each for each in started if each.leads)
                terms = len(held.terms)
                fault()
                await until(lambda held=held: not held.leads)
                await asyncio.sleep(1.5 * FAST.duration)
                assert not any(each.leads for each in started)
                repair()
                await asyncio.to_thread(own.wait_ready)
                await until(lambda: any(each.leads for each in started))
                assert not any(each.task.done() for each in started)
                assert len(held.terms) >= terms
                assert no_overlap(a, b)
        finally:
            await asyncio.gather(*(each.stop() for each in started))
