"""Changes that cannot work: the status says what is wrong and what to do, nothing loops, and going back recovers.

Where the cluster itself refuses, it is the real API server, scheduler or quota that does; only image pulls are acted by the fake kubelet.
"""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import pytest

from redisop.kinds import CLAIM, CONFIG_MAP, INSTANCE, POD, STATEFUL_SET, Ref
from tests.controlplane.fake_kubelet import MISSING
from tests.controlplane.world import accepted, condition

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("kubelet", "operator")]

RECOVERY = 100.0
"""Seconds: what may come back without any object of ours changing, like a quota, is tried at least once a minute."""


async def change(world, **spec):
    status, answer = await world.send("PATCH", world.key("demo"), {"spec": spec})
    assert status == 200, answer


async def says(world, reason, *words, within=30.0):
    """Wait for the reason; return the condition, whose message has all of `words`."""
    await world.reason("demo", reason, within)
    found = condition(await world.get(INSTANCE, "demo"))
    assert found["status"] == "False"
    for word in words:
        assert word in found["message"], found["message"]
    return found


async def is_calm(world, seconds=4.0, writes=6):
    """Check that the operator does not hammer the API server while nothing can work."""
    before = len(world.writes())
    await asyncio.sleep(seconds)
    found = world.writes(before)
    assert len(found) <= writes, found


async def recovers(world):
    await world.ready("demo", RECOVERY)
    assert await world.planned("demo") == []


@pytest.mark.parametrize(
    ("bad", "reason", "words"),
    [
        (
            {"scheduling": {"nodeSelector": {"nowhere": "yes"}}},
            "Unschedulable",
            ["Pod/demo-redis-0 finds no node", "change spec.scheduling"],
        ),
        (
            {"version": MISSING},
            "ImagePullFailed",
            [f":{MISSING} cannot be pulled", "the registry has no such image", "Correct spec.version"],
        ),
        (
            {"scheduling": {"priorityClassName": "no-such-class"}},
            "PodMissing",
            ["Pod/demo-redis-0 is not there", "kubectl describe statefulset demo-redis"],
        ),
    ],
    ids=["unschedulable", "image-pull", "pod-refused"],
)
async def test_going_back_recovers(world, bad, reason, words):
    world.create("demo")
    await world.ready("demo")
    await change(world, **bad)
    await says(world, reason, *words)
    await is_calm(world)
    await change(world, **dict.fromkeys(bad))
    await recovers(world)
    assert (await world.get(INSTANCE, "demo"))["status"]["phase"] == "Running"


def quota(world, **hard):
    world.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "team-quota", "namespace": world.namespace},
            "spec": {"hard": hard},
        }
    )


async def counted(world, name):
    """Wait until the quota is enforced: the API server refuses everything it covers until it has been counted."""

    async def done():
        found = json.loads(world.cluster.kubectl("get", "resourcequota", "-n", world.namespace, "-o", "json").stdout)
        return name in found["items"][0].get("status", {}).get("used", {})

    await world.until(done)


@pytest.mark.parametrize("resource", ["services", "secrets"])
async def test_a_quota_on_what_we_make_is_named_and_raising_it_recovers(world, resource):
    quota(world, **{f"count/{resource}": "0"})
    await counted(world, f"count/{resource}")
    world.create("demo")
    await says(world, "QuotaExceeded", "exceeded quota: team-quota", "Raise the ResourceQuota", "demo-redis")
    # It is tried again, after 5 ms at first and twice as long each time.
    await is_calm(world, writes=24)
    quota(world, **{f"count/{resource}": "10"})
    await recovers(world)


async def test_a_claim_that_a_quota_keeps_from_growing_is_named_and_raising_it_recovers(world):
    fast = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "growing"},
        "provisioner": "example.com/fake",
        "allowVolumeExpansion": True,
    }
    world.cluster.apply(fast)
    quota(world, **{"requests.storage": "2Gi"})
    await counted(world, "requests.storage")
    world.create("demo", redisConfig={"persistence": True}, storage={"size": "1Gi", "storageClassName": "growing"})
    await world.ready("demo")
    await change(world, storage={"size": "5Gi"})
    await says(world, "QuotaExceeded", "PersistentVolumeClaim/data-demo-redis-0", "team-quota", "Raise")
    quota(world, **{"requests.storage": "10Gi"})
    await recovers(world)
    assert (await world.get(CLAIM, "data-demo-redis-0"))["status"]["capacity"]["storage"] == "5Gi"


@asynccontextmanager
async def refused_by_policy(world, text):
    """Let a ValidatingAdmissionPolicy refuse every ConfigMap of this namespace whose redis.conf holds `text`."""
    name = world.namespace
    kind = {"apiVersion": "admissionregistration.k8s.io/v1"}
    expression = f"!has(object.data) || !('redis.conf' in object.data) || !object.data['redis.conf'].contains('{text}')"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]
    world.cluster.apply(
        kind
        | {
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": rules},
                "matchConditions": [{"name": "here", "expression": f"object.metadata.namespace == '{name}'"}],
                "validations": [{"expression": expression, "message": "ask the platform team first"}],
            },
        },
        kind
        | {
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    )
    probe = Ref("v1", "ConfigMap", name, "probe")

    async def enforced():
        status, _ = await world.send("POST", probe, {"metadata": {"name": "probe"}, "data": {"redis.conf": text}})
        if status < 300:
            await world.send("DELETE", probe)
        return status == 422

    await world.until(enforced, 30)
    try:
        yield
    finally:
        world.cluster.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)


def sent(world, since):
    """Return the codes of what was sent about the ConfigMap."""
    return [code for _, _, name, _, code in world.writes(since) if name == "demo-redis-config"]


async def test_a_policy_that_refuses_is_named_asked_once_per_change_and_going_back_recovers(world):
    world.create("demo")
    await world.ready("demo")
    slow: dict[str, Any] = {"redisConfig": {"parameters": {"slowlogMaxLen": 777}}}
    async with refused_by_policy(world, "slowlog-max-len 777"):
        before = len(world.writes())
        await change(world, **slow)
        await says(
            world, "AdmissionRefused", "ConfigMap/demo-redis-config", "ask the platform team first", "Change the policy"
        )
        # Passes that other events bring about do not ask again, and neither does time.
        for index in range(5):
            pod = Ref("v1", "Pod", world.namespace, "demo-redis-0")
            await world.send("PATCH", pod, {"metadata": {"annotations": {"index": str(index)}}})
            await asyncio.sleep(0.5)
        assert sent(world, before) == [422]
        await change(world, networking={"allowedNamespaces": ["team-b"]})

        async def asked_again():
            return sent(world, before) == [422, 422]

        await world.until(asked_again)
        await change(world, redisConfig={"parameters": {"slowlogMaxLen": None}})
        await recovers(world)
        await change(world, **slow)
        await says(world, "AdmissionRefused")
    # With the policy gone, any change of the instance brings another attempt.
    await asyncio.sleep(2)
    await change(world, networking={"allowedNamespaces": ["team-c"]})
    await recovers(world)


async def test_a_storage_class_that_is_not_there_is_named_and_creating_it_or_choosing_another_recovers(world):
    world.create("demo", redisConfig={"persistence": True}, storage={"storageClassName": MISSING})
    await says(
        world, "StorageClassMissing", f'no storage class "{MISSING}"', "Create it, or delete the instance and its claim"
    )
    await is_calm(world)
    await world.send("DELETE", world.key("demo"))
    await world.send("DELETE", Ref("v1", "PersistentVolumeClaim", world.namespace, "data-demo-redis-0"))

    async def gone():
        return not await world.children("demo")

    await world.until(gone, 40)
    world.create("demo", redisConfig={"persistence": True})
    await recovers(world)


async def test_a_child_somebody_made_immutable_is_named_without_a_loop_and_going_back_or_deleting_it_recovers(world):
    world.create("demo")
    await world.ready("demo")
    config = Ref("v1", "ConfigMap", world.namespace, "demo-redis-config")
    status, answer = await world.send("PATCH", config, {"immutable": True})
    assert status == 200, answer
    before = len(world.writes())
    await change(world, redisConfig={"parameters": {"slowlogMaxLen": 77}})
    await says(world, "ImmutableField", "ConfigMap/demo-redis-config", ".data", "Set it back, or delete the ConfigMap")
    await is_calm(world)
    assert sent(world, before) == [], "a write that cannot succeed is not sent"
    await change(world, redisConfig={"parameters": {"slowlogMaxLen": None}})
    await recovers(world)
    await change(world, redisConfig={"parameters": {"slowlogMaxLen": 77}})
    await says(world, "ImmutableField")
    await world.send("DELETE", config)
    await recovers(world)
    assert "slowlog-max-len 77\n" in (await world.get(CONFIG_MAP, config.name))["data"]["redis.conf"]


async def test_a_change_undone_before_it_took_effect_leaves_the_pod_alone(world):
    world.create("demo", hibernated=True)

    async def asleep():
        return (await world.get(INSTANCE, "demo")).get("status", {}).get("phase") == "Hibernated"

    await world.until(asleep)
    await change(world, version=MISSING)
    await change(world, version=None, hibernated=False)
    await recovers(world)
    pod, parent = await world.get(POD, "demo-redis-0"), await world.get(STATEFUL_SET, "demo-redis")
    assert pod["metadata"]["labels"]["controller-revision-hash"] == parent["status"]["updateRevision"]
    assert accepted(world.writes())["pods", "demo-redis-0"] == 0
