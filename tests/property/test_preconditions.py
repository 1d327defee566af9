"""Contract: what the API server does with the preconditions of our writes, for every kind we write.

In part undocumented, so proven on every supported version (REDISOP_K8S_VERSION).
"""

import copy
import random

import pytest

from redisop.plan import Action, Step, plan_object, request
from tests.property.desired import MAKERS, SAMPLE_CRD, named
from tests.property.server import MERGE_PATCH, Server

pytestmark = pytest.mark.timeout(120)
KINDS = [name for name, (_, _, subresource) in MAKERS.items() if subresource is None]


@pytest.fixture(scope="module")
def server(control_plane):
    control_plane.apply(SAMPLE_CRD)
    control_plane.kubectl(
        "wait", "--for=condition=Established", f"crd/{SAMPLE_CRD['metadata']['name']}", "--timeout=30s"
    )
    client = Server(control_plane)
    yield client
    client.close()


class Object:
    """One object on the server, and the steps a plan has for it."""

    def __init__(self, server: Server, namespace: str, kind: str) -> None:
        make, collection, _ = MAKERS[kind]
        self.server, self.path = server, collection.format(namespace) + "subject"
        for seed in range(50):
            want = named(random.Random(seed), make(random.Random(seed)), "subject", {}, bare=False)
            want["metadata"] = {"name": "subject", "namespace": namespace, "annotations": {"count": "1"}}
            if server.apply(self.path, want, dryRun="All").ok:
                break
        self.want = want

    def step(self, live=None, count="1", subresource=None) -> Step:
        want = copy.deepcopy(self.want)
        if subresource:
            want = {name: want[name] for name in ("apiVersion", "kind")}
            want |= {"metadata": {"name": "subject"}, "status": {"text": count}}
        else:
            want["metadata"]["annotations"]["count"] = count
        return plan_object(want, live, {}, owner_uid=None, subresource=subresource)

    def send(self, step: Step, **metadata):
        body = request(step)
        body = {**body, "metadata": {**body["metadata"], **metadata}}
        return self.server.apply(self.path + (f"/{step.subresource}" if step.subresource else ""), body)

    def read(self):
        return self.server.get(self.path)

    def delete(self, **preconditions):
        body = {"preconditions": preconditions} if preconditions else None
        return self.server.request("DELETE", self.path, body)

    def delete_for_good(self) -> None:
        self.server.request("PATCH", self.path, {"metadata": {"finalizers": None}}, MERGE_PATCH)
        assert self.delete().ok
        self.server.request("PATCH", self.path, {"metadata": {"finalizers": None}}, MERGE_PATCH)
        assert self.read().status == 404


@pytest.fixture(params=KINDS)
def subject(request, server, namespace):
    return Object(server, namespace, request.param)


def test_a_create_never_touches_what_exists(subject):
    step = subject.step()
    assert step.action is Action.CREATE
    assert subject.send(step).status == 201
    before = subject.read().body
    assert subject.send(step).status == 409
    assert subject.send(subject.step(count="2")).status == 409
    assert subject.read().body["metadata"]["annotations"] == before["metadata"]["annotations"]


def test_a_created_object_is_ours_by_apply(subject):
    live = subject.send(subject.step()).body
    ours = [entry for entry in live["metadata"]["managedFields"] if entry["manager"] == "redisop"]
    assert [entry["operation"] for entry in ours] == ["Apply"]
    assert subject.step(live).action in {Action.UNCHANGED, Action.APPLY}


def test_a_change_goes_through_only_against_what_was_planned(subject):
    subject.send(subject.step())
    stale = subject.step(subject.read().body, count="2")
    assert stale.action is Action.APPLY
    merged = subject.server.request("PATCH", subject.path, {"metadata": {"labels": {"x": "y"}}}, MERGE_PATCH)
    assert merged.ok
    assert subject.send(stale).status == 409
    fresh = subject.step(subject.read().body, count="2")
    assert subject.send(fresh, uid="00000000-0000-0000-0000-000000000000").status in {409, 422}
    assert subject.read().body["metadata"]["annotations"]["count"] == "1"
    for _ in range(20):
        # A controller may have written its status meanwhile.
        answer = subject.send(subject.step(subject.read().body, count="2"))
        if answer.status != 409:
            break
    assert answer.status == 200
    assert answer.body["metadata"]["annotations"]["count"] == "2"
    assert answer.body["metadata"]["labels"] == {"x": "y"}


def test_a_change_never_resurrects(subject):
    subject.send(subject.step())
    late = subject.step(subject.read().body, count="2")
    subject.delete_for_good()
    assert subject.send(late).status == 409
    assert subject.read().status == 404


def test_a_change_never_hits_a_successor_of_the_same_name(subject):
    subject.send(subject.step())
    late = subject.step(subject.read().body, count="2")
    subject.delete_for_good()
    assert subject.send(subject.step()).status == 201
    assert subject.send(late).status in {409, 422}
    successor = subject.read().body["metadata"]
    assert subject.send(late, resourceVersion=successor["resourceVersion"]).status in {409, 422}
    assert subject.read().body["metadata"]["annotations"]["count"] == "1"


def test_a_delete_hits_only_what_was_planned(subject):
    subject.send(subject.step())
    old = subject.read().body["metadata"]
    subject.server.request("PATCH", subject.path, {"metadata": {"labels": {"x": "y"}}}, MERGE_PATCH)
    assert subject.delete(uid=old["uid"], resourceVersion=old["resourceVersion"]).status == 409
    for _ in range(20):
        new = subject.read().body["metadata"]
        assert subject.delete(uid="other", resourceVersion=new["resourceVersion"]).status == 409
        assert "deletionTimestamp" not in subject.read().body["metadata"]
        answer = subject.delete(uid=new["uid"], resourceVersion=new["resourceVersion"])
        if answer.status != 409:
            break
    assert answer.ok


def test_a_status_goes_through_only_against_what_was_planned(server, namespace):
    """The server does not check the uid of a custom resource's status; the resourceVersion says as much."""
    subject = Object(server, namespace, "Sample")
    subject.send(subject.step())
    first = subject.step(subject.read().body, subresource="status")
    assert subject.send(first).status == 200
    assert subject.send(first).status == 409
    assert subject.send(subject.step(subject.read().body, count="2", subresource="status")).status == 200
    assert subject.read().body["status"] == {"text": "2"}
    late = subject.step(subject.read().body, count="3", subresource="status")
    subject.delete_for_good()
    assert subject.send(late).status in {404, 409}
    assert subject.read().status == 404
    assert subject.send(subject.step()).status == 201
    assert subject.send(late).status == 409
    assert "status" not in subject.read().body
