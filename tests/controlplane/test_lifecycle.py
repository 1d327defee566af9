"""The life of an instance under the real operator process, on a real control plane; only the kubelet is faked."""

import asyncio
import copy
import json
from typing import Any

import pytest
from redis.asyncio import Redis

from redisop.kinds import (
    CLAIM,
    CONFIG_MAP,
    DISRUPTION_BUDGET,
    INSTANCE,
    KINDS,
    NETWORK_POLICY,
    OWNED,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Ref,
)
from tests.controlplane import operator_process
from tests.controlplane.world import accepted, condition
from tests.resource_cases import WHOLE_INSTANCE

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("kubelet", "operator")]

CHILDREN = {
    ("ServiceAccount", "demo-redis"),
    ("NetworkPolicy", "demo-redis"),
    ("PodDisruptionBudget", "demo-redis"),
    ("ConfigMap", "demo-redis-config"),
    ("Secret", "demo-redis-credentials"),
    ("Secret", "demo-redis-acl"),
    ("Service", "demo-redis"),
    ("Service", "demo-redis-headless"),
    ("StatefulSet", "demo-redis"),
}


async def settled(world, seconds=2.0):
    """Wait until the operator has written nothing for a while."""
    count = -1
    while count != (count := len(world.writes())):  # noqa: ASYNC110 - another process writes
        await asyncio.sleep(seconds)


async def test_creating_an_instance_creates_each_child_once_and_reports_ready(world):
    world.create("demo")
    obj = await world.ready("demo")
    children = await world.children("demo")
    assert {(ref.kind, ref.name) for ref in children} == CHILDREN | {("Pod", "demo-redis-0")}
    await settled(world)
    writes = world.writes()
    assert set(accepted(writes).values()) == {1}
    assert len(accepted(writes)) == len(CHILDREN)
    assert all(code < 300 for *_, code in writes), writes
    assert len([sub for *_, sub, _ in writes if sub == "status"]) <= 3
    assert obj["status"]["phase"] == "Running"
    assert obj["status"]["endpoint"]["redis"] == f"redis://demo-redis.{world.namespace}.svc:6379"
    assert await world.planned("demo") == []


async def test_a_restarted_operator_writes_nothing(world, operator_user, tmp_path):
    for name in ("one", "two", "three"):
        world.create(name, redisConfig={"persistence": name == "two"})
    for name in ("one", "two", "three"):
        await world.ready(name)
    await settled(world)
    before = len(world.writes())
    kubeconfig = world.cluster.kubeconfig_for(operator_user)
    with operator_process.operator(kubeconfig, tmp_path / "log", "-v", "-n", world.namespace) as process:
        process.wait_for("caches are filled: 3 instances")
        await asyncio.sleep(5)
    assert world.writes(before) == []


def leaves(value, path=()):
    """Yield the path of every leaf of a spec; a list is one leaf, as are the maps whose keys are the user's."""
    for name, item in value.items():
        if isinstance(item, dict) and name not in {"nodeSelector", "affinity"}:
            yield from leaves(item, (*path, name))
        else:
            yield (*path, name)


def nested(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


def at(value, path):
    for name in path:
        value = value[name]
    return value


NO_CHILD = {("networking", "subdomain"), ("paused",), ("redisConfig", "parameters", "activerehashing")}
"""No child follows: the gateway is yet to come, a paused instance is left alone, and this value is Redis' own default."""


async def test_every_field_of_the_spec_can_be_changed_while_it_runs(world):
    world.cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1},
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "fast.ssd"},
            "provisioner": "example.com/fake",
            "allowVolumeExpansion": True,
        },
    )
    world.create("demo")
    await world.ready("demo")
    # The class is chosen once, with the claim.
    wanted = {**copy.deepcopy(WHOLE_INSTANCE), "storage": {"size": "10Gi", "reclaimPolicy": "Delete"}}
    start = {"redisConfig": {"persistence": True}, "storage": {"size": "3Gi", "storageClassName": "fast.ssd"}}
    paths = [path for path in leaves(wanted) if path != ("redisConfig", "persistence")]
    for body in [start, *(nested(path, at(wanted, path)) for path in paths), {"version": None, "image": "redis:9"}]:
        before = await world.children("demo")
        status, answer = await world.send("PATCH", world.key("demo"), {"spec": body})
        assert status == 200, answer
        generation = answer["metadata"]["generation"]

        async def done(generation=generation):
            obj = await world.get(INSTANCE, "demo")
            return obj["status"]["observedGeneration"] == generation and await world.planned("demo") == []

        await world.until(done, 20, f"{body}: {await world.planned('demo')}")
        if body == {"paused": True}:
            await world.send("PATCH", world.key("demo"), {"spec": {"paused": False}})
        changed = versions(await world.children("demo")) - versions(before)
        path = next(iter(leaves(body)))
        if path not in NO_CHILD and "image" not in body:
            assert changed, f"{body} changed no child"
    obj = await world.get(INSTANCE, "demo")
    assert condition(obj)["reason"] == "ImageNotAllowed"
    claim = await world.get(CLAIM, "data-demo-redis-0")
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    # Back to where it began, but for what can only grow.
    reset: dict[str, Any] = dict.fromkeys(WHOLE_INSTANCE.keys() - {"storage"} | {"image"})
    reset["redisConfig"] = dict.fromkeys(WHOLE_INSTANCE["redisConfig"])
    status, answer = await world.send("PATCH", world.key("demo"), {"spec": reset})
    assert status == 200, answer
    await world.ready("demo")
    assert await world.planned("demo") == []


def versions(children):
    return {
        (ref, obj["metadata"]["uid"], json.dumps(obj.get("spec", obj.get("data")), sort_keys=True))
        for ref, obj in children.items()
    }


@pytest.mark.parametrize(
    ("kind", "name"),
    sorted(CHILDREN),
)
async def test_a_deleted_child_comes_back(world, kind, name):
    found = next(it for it in OWNED if it.name == kind)
    world.create("demo")
    await world.ready("demo")
    await settled(world, 1.0)
    before = len(world.writes())
    old = await world.get(found, name)
    await world.send("DELETE", Ref(found.api_version, kind, world.namespace, name))

    async def back():
        new = await world.find(found, name)
        return new is not None and new["metadata"]["uid"] != old["metadata"]["uid"]

    await world.until(back, 5)
    await world.ready("demo")
    await settled(world, 1.0)
    created = accepted(world.writes(before))
    assert created[found.plural, name] == 1, created
    assert await world.planned("demo") == []


@pytest.mark.parametrize("persistence", [False, True])
async def test_deleting_an_instance_leaves_nothing(world, persistence):
    world.create("demo", redisConfig={"persistence": persistence}, storage={"reclaimPolicy": "Delete"})
    world.create("other")
    await world.ready("demo")
    await world.ready("other")
    await settled(world, 1.0)
    before = len(world.writes())
    others = versions(await world.children("other"))
    await world.send("DELETE", world.key("demo"))

    async def gone():
        return not await world.children("demo")

    await world.until(gone, 40)
    assert [write for write in world.writes(before) if write[4] < 300] == [], "the operator fought garbage collection"
    assert versions(await world.children("other")) == others


async def test_a_claim_that_is_to_be_kept_is_found_again_by_the_next_instance_of_the_name(world):
    world.create("demo", redisConfig={"persistence": True})
    await world.ready("demo")
    old = await world.get(CLAIM, "data-demo-redis-0")
    await world.send("DELETE", world.key("demo"))

    async def gone():
        return {ref.kind for ref in await world.children("demo")} == {"PersistentVolumeClaim"}

    await world.until(gone, 40)
    world.create("demo", redisConfig={"persistence": True})
    await world.ready("demo")
    assert (await world.get(CLAIM, "data-demo-redis-0"))["metadata"]["uid"] == old["metadata"]["uid"]


async def test_an_instance_deleted_and_made_again_at_once_becomes_ready(world):
    world.create("demo")
    await world.ready("demo")
    old = await world.get(INSTANCE, "demo")
    await world.send("DELETE", world.key("demo"))
    world.create("demo")
    new = await world.ready("demo", 60)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    children = await world.children("demo")
    owners = {
        reference["uid"]
        for ref, obj in children.items()
        if ref.kind != "Pod"
        for reference in obj["metadata"]["ownerReferences"]
    }
    assert owners == {new["metadata"]["uid"]}


STRANGERS: dict[Kind, dict[str, Any]] = {
    SERVICE_ACCOUNT: {},
    NETWORK_POLICY: {"spec": {"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"]}},
    DISRUPTION_BUDGET: {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}}},
    CONFIG_MAP: {"data": {"theirs": "yes"}},
    SECRET: {"stringData": {"theirs": "yes"}},
    SERVICE: {"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}},
    STATEFUL_SET: {
        "spec": {
            "replicas": 0,
            "serviceName": "x",
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "theirs"}]},
            },
        }
    },
}


@pytest.mark.parametrize("owned", [False, True], ids=["unowned", "foreign-owned"])
async def test_what_is_not_ours_is_never_touched(world, owned):
    owner = None
    if owned:
        ref = Ref("v1", "ConfigMap", world.namespace, "owner")
        _, owner = await world.send("POST", ref, {"metadata": {"name": "owner"}})
    taken = {}
    for index, (kind, suffix) in enumerate(sorted((kind, name.removeprefix("demo")) for kind, name in CHILDREN)):
        found = next(it for it in OWNED if it.name == kind)
        name = f"demo{index}{suffix}"
        metadata: dict[str, Any] = {"name": name}
        if index % 2:
            # Not even our own label makes it ours.
            metadata["labels"] = {"app.kubernetes.io/managed-by": "redisop"}
        if owner is not None:
            metadata["ownerReferences"] = [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": "owner",
                    "uid": owner["metadata"]["uid"],
                    "controller": True,
                }
            ]
        ref = Ref(found.api_version, kind, world.namespace, name)
        status, obj = await world.send("POST", ref, {"metadata": metadata, **STRANGERS[found]})
        assert status == 201, obj
        taken[f"demo{index}"] = (found, name)
    stable = {}
    await asyncio.sleep(1)
    for found, name in taken.values():
        stable[name, found] = await world.get(found, name)
    for instance in taken:
        world.create(instance)
    for instance in taken:
        await world.reason(instance, "NameConflict")
    await settled(world)
    for found, name in taken.values():
        now = await world.get(found, name)
        before = stable[name, found]
        assert without_status(now) == without_status(before), f"{found.name}/{name} was touched"
    names = {(found.plural, name) for found, name in taken.values()}
    assert not [it for it in world.writes() if (it[1], it[2]) in names and it[4] < 300 and it[3] is None]


def without_status(obj):
    kept = copy.deepcopy(obj)
    kept.pop("status", None)
    for name in ("resourceVersion", "managedFields"):
        kept["metadata"].pop(name, None)
    return kept


async def test_a_name_that_becomes_free_is_taken(world):
    ref = Ref("v1", "ConfigMap", world.namespace, "demo-redis-config")
    await world.send("POST", ref, {"metadata": {"name": ref.name}})
    world.create("demo")
    await world.reason("demo", "NameConflict")
    assert await world.find(STATEFUL_SET, "demo-redis") is None, "nothing may use a configuration that is not ours"
    await world.send("DELETE", ref)
    await world.ready("demo", 60)


async def test_two_instances_at_once_do_not_meet(world):
    world.create("one", redisConfig={"memory": "64Mi"})
    world.create("two", redisConfig={"memory": "512Mi"})
    for name in ("one", "two"):
        await world.ready(name)
    one, two = await world.children("one"), await world.children("two")
    assert len(one) == len(two) == len(CHILDREN) + 1
    assert not one.keys() & two.keys()
    config = {
        name: (await world.get(CONFIG_MAP, f"{name}-redis-config"))["data"]["redis.conf"] for name in ("one", "two")
    }
    assert f"maxmemory {64 * 2**20}\n" in config["one"]
    assert f"maxmemory {512 * 2**20}\n" in config["two"]
    secrets = [(await world.get(SECRET, f"{name}-redis-credentials"))["data"] for name in ("one", "two")]
    assert not set(secrets[0].values()) & set(secrets[1].values())


async def test_a_paused_instance_is_left_alone_until_it_goes_on(world):
    world.create("demo")
    await world.ready("demo")
    await world.send("PATCH", world.key("demo"), {"spec": {"paused": True, "redisConfig": {"memory": "64Mi"}}})

    async def paused():
        return (await world.get(INSTANCE, "demo"))["status"]["phase"] == "Paused"

    await world.until(paused)
    await world.send("DELETE", Ref("v1", "Service", world.namespace, "demo-redis"))
    await asyncio.sleep(2)
    assert await world.find(SERVICE, "demo-redis") is None
    await world.send("PATCH", world.key("demo"), {"spec": {"paused": False}})
    await world.until(lambda: world.find(SERVICE, "demo-redis"))
    await world.ready("demo")


async def test_a_hibernated_instance_has_no_pod_and_wakes_again(world):
    world.create("demo")
    await world.ready("demo")
    await world.send("PATCH", world.key("demo"), {"spec": {"hibernated": True}})

    async def asleep():
        status = (await world.get(INSTANCE, "demo"))["status"]
        return status["phase"] == "Hibernated" and await world.find(POD, "demo-redis-0") is None

    await world.until(asleep)
    await world.send("PATCH", world.key("demo"), {"spec": {"hibernated": False}})
    await world.ready("demo")


async def test_readiness_falls_with_the_pod_and_comes_back(world):
    world.create("demo")
    await world.ready("demo")
    pod = Ref("v1", "Pod", world.namespace, "demo-redis-0")
    down = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]
    await world.send(
        "PATCH", pod, {"status": {"conditions": down}}, kind_of_patch="strategic-merge-patch", subresource="status"
    )

    async def fallen():
        obj = await world.get(INSTANCE, "demo")
        return condition(obj)["status"] == "False" and obj["status"]["phase"] != "Running"

    await world.until(fallen, 5)
    await world.send("DELETE", pod)
    await world.ready("demo")


async def test_a_running_redis_takes_a_new_directive_without_a_restart(world, pod_ip):
    world.create("demo")
    await world.ready("demo")
    pod = await world.get(POD, "demo-redis-0")
    await world.send("PATCH", world.key("demo"), {"spec": {"redisConfig": {"parameters": {"slowlogMaxLen": 77}}}})
    obj = await world.ready("demo")
    assert condition(obj, "ConfigApplied")["status"] == "True"
    async with Redis(host=pod_ip, username="operator", password="any", decode_responses=True) as server:
        assert await server.config_get("slowlog-max-len") == {"slowlog-max-len": "77"}
    assert (await world.get(POD, "demo-redis-0"))["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_directive_read_at_start_only_restarts_the_pod_once(world):
    world.create("demo")
    await world.ready("demo")
    pod = await world.get(POD, "demo-redis-0")
    await world.send("PATCH", world.key("demo"), {"spec": {"redisConfig": {"parameters": {"databases": 3}}}})

    async def restarted():
        new = await world.find(POD, "demo-redis-0")
        return new is not None and new["metadata"]["uid"] != pod["metadata"]["uid"]

    await world.until(restarted)
    await world.ready("demo")
    await settled(world)
    assert [name for verb, resource, name, _, code in world.writes() if (verb, resource) == ("delete", "pods")] == [
        "demo-redis-0"
    ]


def test_every_kind_of_child_is_covered():
    assert {kind for kind, _ in CHILDREN} == {kind.name for kind in OWNED}
    assert set(STRANGERS) == set(OWNED) <= set(KINDS.values())
