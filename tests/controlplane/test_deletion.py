"""Deletion is never stuck and never revived, whatever is missing meanwhile: the operator, its rights, the namespace, the CRD."""

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from redisop.client import Client
from redisop.kinds import CLAIM, INSTANCE, OBSERVED, OWNED, controller_of
from tests.cluster import ControlPlane
from tests.controlplane import operator_process
from tests.controlplane.world import World, accepted, condition
from tests.converged import install

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("kubelet")]


@pytest.fixture
def started(world, tmp_path):
    """Return a function that runs the operator for the test's namespace only."""

    def start(name="operator", user=None, **more):
        kubeconfig = world.cluster.kubeconfig_for(user or world.user)
        return operator_process.operator(kubeconfig, tmp_path / name, "-v", "-n", world.namespace, **more)

    return start


async def gone(world, name="demo", keep=()):
    async def done():
        return {ref.kind for ref in await world.children(name)} <= set(keep)

    await world.until(done, 60, f"left over: {sorted(map(str, await world.children(name)))}")


def owners(children):
    return {
        owner["uid"]
        for obj in children.values()
        if (owner := controller_of(obj)) is not None and owner["kind"] == INSTANCE.name
    }


async def test_a_namespace_is_deleted_without_the_operator_in_the_way(world, started):
    with started() as process:
        world.create("demo", redisConfig={"persistence": True}, storage={"reclaimPolicy": "Delete"})
        world.create("kept", redisConfig={"persistence": True})
        await world.ready("demo")
        await world.ready("kept")
        # One that is just being made, too.
        world.create("half")
        before = len(world.writes())
        world.cluster.kubectl("delete", "namespace", world.namespace, "--wait=false")

        async def vanished():
            answer = world.cluster.kubectl("get", "namespace", world.namespace, "--ignore-not-found", "-o", "name")
            return not answer.stdout.strip()

        await world.until(vanished, 90)
        assert process.alive
        refused = [write for write in world.writes(before) if write[3] is None and write[4] >= 400]
        # The namespace takes the children of three instances away one by one, before or after their instances.
        assert len(refused) <= 3 * 9 * 2, refused
        assert "Traceback" not in process.output


async def test_an_instance_deleted_while_the_operator_is_down_stays_deleted(world, started):
    with started():
        world.create("demo")
        await world.ready("demo")
    before = len(world.writes())
    await world.send("DELETE", world.key("demo"))
    await gone(world)
    with started("again"):
        await asyncio.sleep(3)
    assert world.writes(before) == []


async def test_an_instance_deleted_and_made_anew_while_the_operator_is_down_becomes_ready(world, started):
    with started():
        world.create("demo", redisConfig={"persistence": True})
        old = await world.ready("demo")
    await world.send("DELETE", world.key("demo"))
    world.create("demo", redisConfig={"persistence": True})
    with started("again"):
        new = await world.ready("demo", 90)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert owners(await world.children("demo")) == {new["metadata"]["uid"]}


@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.3, 0.6])
async def test_an_operator_that_was_frozen_writes_nothing_for_an_instance_of_the_past(world, started, after):
    """Stopped at any moment of making the children, it wakes with a cache and requests from before the name changed hands."""
    with started() as process:
        world.create("demo")
        await asyncio.sleep(after)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            old = await world.get(INSTANCE, "demo")
            await world.send("DELETE", world.key("demo"))
            world.create("demo", redisConfig={"memory": "64Mi"})
            new = await world.get(INSTANCE, "demo")
            assert new["metadata"]["uid"] != old["metadata"]["uid"]
        finally:
            os.kill(process.pid, signal.SIGCONT)
        obj = await world.ready("demo", 90)
        assert obj["metadata"]["uid"] == new["metadata"]["uid"]
        # The garbage collector removes what was made for the old one at the last moment.

        async def only_ours():
            return owners(await world.children("demo")) == {new["metadata"]["uid"]}

        await world.until(only_ours, 60)
        assert await world.planned("demo") == []


RULES = [
    *(
        {"apiGroups": [kind.api_version.rpartition("/")[0]], "resources": [kind.plural], "verbs": [*verbs]}
        for kind, verbs in [
            (INSTANCE, ("get", "list", "watch")),
            *((kind, ("get", "list", "watch", "create", "patch", "delete")) for kind in OWNED),
            *((kind, ("get", "list", "watch", "patch", "delete")) for kind in OBSERVED),
        ]
    ),
    {"apiGroups": ["redis.kubegateway.io"], "resources": ["redishttpinstances/status"], "verbs": ["patch"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
]


def grant(world, user, without=(None, None)):
    """Give `user` what the operator needs in this namespace, but for one verb on one resource."""
    resource, verb = without
    rules = [
        {**rule, "verbs": [it for it in rule["verbs"] if (rule["resources"], it) != ([resource], verb)]}
        for rule in RULES
    ]
    api = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    metadata = {"name": user, "namespace": world.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    world.cluster.apply(
        {**api, "kind": "Role", "metadata": metadata, "rules": rules},
        {**api, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]},
    )


@pytest.mark.parametrize(
    ("resource", "verb", "name"),
    [
        ("services", "create", "demo-redis"),
        ("secrets", "create", "demo-redis-credentials"),
        ("statefulsets", "patch", "demo-redis"),
    ],
)
async def test_a_missing_right_is_named_and_deletion_needs_none(world, started, resource, verb, name):
    user = f"limited-{world.namespace}"
    grant(world, user, (resource, verb))
    with started(user=user):
        world.create("demo")
        await world.reason("demo", "Forbidden")
        message = condition(await world.get(INSTANCE, "demo"))["message"]
        assert f'cannot {verb} resource "{resource}"' in message
        assert name in message
        assert "RBAC" in message
        world.create("doomed")
        await world.reason("doomed", "Forbidden")
        await world.send("DELETE", world.key("doomed"))
        await gone(world, "doomed")
        grant(world, user)
        await world.ready("demo", 100)


async def test_the_namespaced_rights_of_this_test_are_enough(world, started):
    """So that the test above fails for the one verb it takes away, and for no other."""
    user = f"limited-{world.namespace}"
    grant(world, user)
    with started(user=user):
        world.create("demo", redisConfig={"persistence": True}, storage={"reclaimPolicy": "Delete"})
        await world.ready("demo")
    world.writes()
    refused = [
        event for event in world.cluster.audit_events(user=user) if event.get("responseStatus", {}).get("code") == 403
    ]
    assert refused == [], json.dumps(refused[:3])


async def test_removing_the_crd_removes_everything_and_the_operator_goes_on_when_it_is_back(tmp_path, pod_ip):
    """On a control plane of its own, since it takes every instance with it."""
    with ControlPlane.start(audit=True) as cluster:
        install(cluster)
        cluster.kubectl("create", "clusterrolebinding", "op", "--clusterrole=cluster-admin", "--user=op")
        kubeconfig = cluster.kubeconfig_for("op")
        with (
            operator_process.fake_kubelet(cluster.kubeconfig, tmp_path / "kubelet", "--pod-ip", pod_ip),
            operator_process.operator(kubeconfig, tmp_path / "operator", "-v") as process,
        ):
            async with Client.connect(cluster.kubeconfig) as client:
                world = World(cluster, "default", client, "op")
                spec: dict[str, Any] = {"redisConfig": {"persistence": True}}
                world.create("demo", **spec)
                await world.ready("demo")
                claim = await world.get(CLAIM, "data-demo-redis-0")
                # The garbage collector knows a new kind only after half a minute, and could not clean up after it before.
                world.create("first")
                await world.ready("first")
                await world.send("DELETE", world.key("first"))
                await gone(world, "first")
                cluster.kubectl("delete", "crd", "redishttpinstances.redis.kubegateway.io", "--timeout=60s")
                await gone(world, keep=["PersistentVolumeClaim"])
                before = len(world.writes())
                await asyncio.sleep(5)
                assert process.alive
                assert accepted(world.writes(before)) == {}
                install(cluster)
                world.create("demo", **spec)
                await world.ready("demo", 90)
                assert (await world.get(CLAIM, "data-demo-redis-0"))["metadata"]["uid"] == claim["metadata"]["uid"]
