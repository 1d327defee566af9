"""Mistakes that users of other operators paid for, each kept out by a test. docs/regressions.md has the whole list.

The real operator process on a real control plane; only the kubelet is faked.
"""

import asyncio
import copy
import json
import re
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from redisop import lease, operator
from redisop.client import Client
from redisop.crd import crds
from redisop.kinds import (
    CLAIM,
    CONFIG_MAP,
    DISRUPTION_BUDGET,
    INSTANCE,
    MANAGED_BY,
    MANAGER,
    NETWORK_POLICY,
    OBSERVED,
    OWNED,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Ref,
    kind_of,
)
from redisop.settings import Settings
from tests.cluster.fixtures import unavailable
from tests.controlplane import operator_process
from tests.controlplane.world import World, accepted, condition
from tests.resource_cases import WHOLE_INSTANCE, mutated

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("kubelet", "no_complaint")]

SELECTOR = {"app.kubernetes.io/name": "redis", "redis.kubegateway.io/instance": "demo"}
COMPLAINT = re.compile(r'\bERROR\b|\bCRITICAL\b|"level": ?"(error|critical)"|Traceback|  File "')
"""What the log has where a pass went wrong in a way that nobody foresaw."""


class Restartable:
    """`redisop run` for all namespaces; a test may stop and start it."""

    def __init__(self, kubeconfig, log):
        self.kubeconfig = kubeconfig
        self.log = log
        self._running: Any = None
        self.process: Any = None

    def start(self):
        # A log of its own each time: the start is recognised by what is written there.
        log = self.log / str(time.monotonic_ns())
        self._running = operator_process.operator(self.kubeconfig, log, "-v")
        self.process = self._running.__enter__()

    def stop(self):
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


@pytest.fixture(scope="module")
def operator_runs(own_control_plane, operator_user, tmp_path_factory):
    found = Restartable(own_control_plane.kubeconfig_for(operator_user), tmp_path_factory.mktemp("operator"))
    found.start()
    yield found
    found.stop()


@pytest.fixture
def no_complaint(operator_runs):
    """The operator runs at the start, and meets nothing unforeseen during the test."""
    if operator_runs._running is None:
        operator_runs.start()
    process = operator_runs.process
    begin = len(process.output)
    yield
    assert process.alive or operator_runs.process is not process, process.output
    found = COMPLAINT.search(process.output[begin:])
    assert found is None, process.output[begin:][max(0, found.start() - 500) : found.start() + 2000]


async def quiet(world, seconds=1.2):
    """Wait until the operator has written nothing for a while; return how many writes there are."""
    count = -1
    while count != (count := len(world.writes())):  # noqa: ASYNC110 - another process writes
        await asyncio.sleep(seconds)
    return count


async def patch(world, kind, name, body, **more):
    status, answer = await world.send("PATCH", ref(world, kind, name), body, **more)
    assert status == 200, answer
    return answer


def ref(world, kind, name):
    return Ref(kind.api_version, kind.name, world.namespace, name)


async def not_ready(world, within=10.0):
    async def done():
        obj = await world.get(INSTANCE, "demo")
        return obj if condition(obj).get("status") == "False" and obj["status"]["phase"] != "Running" else None

    return await world.until(done, within, "Ready never fell")


# Status empty, or Ready while Pods are dead.


@pytest.mark.parametrize("ready", ["False", "Unknown"])
async def test_a_pod_that_died_while_no_operator_ran_is_not_called_ready(world, operator_runs, ready):
    world.create("demo")
    await world.ready("demo")
    operator_runs.stop()
    down = {"status": {"conditions": [{"type": "Ready", "status": ready, "reason": "Died"}]}}
    await patch(world, POD, "demo-redis-0", down, kind_of_patch="strategic-merge-patch", subresource="status")
    operator_runs.start()
    obj = await not_ready(world)
    assert obj["status"]["readyReplicas"] == 0
    await world.send("DELETE", ref(world, POD, "demo-redis-0"))
    await world.ready("demo")


async def test_an_instance_without_a_pod_is_not_called_ready(world):
    world.create("demo")
    await world.ready("demo")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": world.namespace}}
    world.cluster.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    await world.send("DELETE", ref(world, POD, "demo-redis-0"))
    obj = await not_ready(world)
    await asyncio.sleep(1)
    obj = await world.get(INSTANCE, "demo")
    assert condition(obj)["status"] == "False"
    assert obj["status"]["readyReplicas"] == 0
    world.cluster.kubectl("delete", "resourcequota", "none", "-n", world.namespace)
    await world.ready("demo", 60)


async def test_a_status_that_somebody_emptied_comes_back(world):
    world.create("demo")
    before = (await world.ready("demo"))["status"]
    await quiet(world)
    await patch(world, INSTANCE, "demo", {"status": None}, subresource="status")

    async def back():
        return (await world.get(INSTANCE, "demo")).get("status", {}).get("phase") == "Running"

    await world.until(back, 5)
    status = (await world.get(INSTANCE, "demo"))["status"]
    assert {it["type"]: it["status"] for it in status["conditions"]} == {
        it["type"]: it["status"] for it in before["conditions"]
    }


# A changed password or ConfigMap never reaches Redis.


async def test_a_changed_password_reaches_the_aclfile(world):
    world.create("demo")
    await world.ready("demo")
    before = (await world.get(SECRET, "demo-redis-acl"))["data"]
    await patch(world, SECRET, "demo-redis-credentials", {"stringData": {"operator-password": "chosen-by-hand"}})

    async def followed():
        return (await world.get(SECRET, "demo-redis-acl"))["data"] != before

    await world.until(followed, 5)
    await quiet(world)
    assert await world.planned("demo") == []


# "updates to statefulset spec are forbidden", again and again, without the field.


async def test_a_stateful_set_that_cannot_be_changed_in_place_is_made_anew_once(world, operator_runs):
    world.create("demo")
    await world.ready("demo")
    await quiet(world)
    operator_runs.stop()
    before, pod = await world.get(STATEFUL_SET, "demo-redis"), await world.get(POD, "demo-redis-0")
    options = {"propagationPolicy": "Orphan"}
    await world.send("DELETE", ref(world, STATEFUL_SET, "demo-redis"), options)

    async def gone():
        return await world.find(STATEFUL_SET, "demo-redis") is None

    await world.until(gone)
    other = copy.deepcopy(before)
    other["metadata"] = {key: before["metadata"][key] for key in ("name", "labels", "ownerReferences")}
    other["spec"] |= {"serviceName": "another", "podManagementPolicy": "Parallel"}
    status, made = await world.send("POST", ref(world, STATEFUL_SET, "demo-redis"), other)
    assert status == 201, made
    since = len(world.writes())
    operator_runs.start()

    async def anew():
        found = await world.find(STATEFUL_SET, "demo-redis")
        return found is not None and found["metadata"]["uid"] != made["metadata"]["uid"]

    await world.until(anew, 10)
    await world.ready("demo")
    await quiet(world)
    verbs = [verb for verb, resource, *_, sub, _ in world.writes(since) if resource == "statefulsets" and sub is None]
    assert verbs == ["delete", "patch"]
    assert (await world.get(STATEFUL_SET, "demo-redis"))["spec"]["serviceName"] == before["spec"]["serviceName"]
    assert (await world.get(POD, "demo-redis-0"))["metadata"]["uid"] == pod["metadata"]["uid"], "the Pod was restarted"
    assert await world.planned("demo") == []


async def test_a_frozen_config_map_is_named_and_not_written_again_and_again(world):
    world.create("demo")
    await world.ready("demo")
    await patch(world, CONFIG_MAP, "demo-redis-config", {"immutable": True})
    since = await quiet(world)
    await patch(world, INSTANCE, "demo", {"spec": {"redisConfig": {"parameters": {"hz": 33}}}})
    await world.reason("demo", "ImmutableField")
    message = condition(await world.get(INSTANCE, "demo"))["message"]
    assert "ConfigMap/demo-redis-config" in message
    assert ".data" in message
    await quiet(world)
    assert [it for it in world.writes(since) if it[3] is None] == []
    # What the message says to do helps, and so does taking the change back.
    await patch(world, INSTANCE, "demo", {"spec": {"redisConfig": {"parameters": {"hz": None}}}})
    await world.ready("demo")
    await patch(world, INSTANCE, "demo", {"spec": {"redisConfig": {"parameters": {"hz": 33}}}})
    await world.reason("demo", "ImmutableField")
    await world.send("DELETE", ref(world, CONFIG_MAP, "demo-redis-config"))
    await world.ready("demo")


@pytest.fixture
def admission(own_control_plane, namespace):
    """Make a MutatingAdmissionPolicy that applies an expression to all objects of a kind in the test's namespace."""
    if not own_control_plane.version.startswith("1.37"):
        unavailable("MutatingAdmissionPolicy is v1 since Kubernetes 1.36")
    made = []

    def make(kind, operations, expression):
        group, _, version = kind.api_version.rpartition("/")
        name = f"{namespace}-{kind.plural}"
        rule = {
            "apiGroups": [group],
            "apiVersions": [version],
            "operations": operations,
            "resources": [kind.plural],
        }
        api = "admissionregistration.k8s.io/v1"
        here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        policy: dict[str, Any] = {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [rule], "namespaceSelector": here},
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            },
        }
        binding = {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name},
        }
        own_control_plane.apply(policy, binding)
        made.append(name)

    yield make
    for name in made:
        both = [f"mutatingadmissionpolicybinding/{name}", f"mutatingadmissionpolicy/{name}"]
        own_control_plane.kubectl("delete", *both)


async def admission_acts(world, kind, name, body, acted):
    """Wait until a policy is in force: one takes a moment to be."""

    async def done():
        _, answer = await world.send(
            "POST", ref(world, kind, name), {"metadata": {"name": name}, **copy.deepcopy(body)}
        )
        await world.send("DELETE", ref(world, kind, name))
        return acted(answer)

    await world.until(done, 30, "the policy never acted")


async def test_admission_that_changes_a_field_for_life_starts_no_loop(world, admission):
    admission(
        STATEFUL_SET,
        ["CREATE"],
        '[JSONPatch{op: "add", path: "/spec/podManagementPolicy", value: "Parallel"}]',
    )
    probe = {
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        }
    }
    await admission_acts(
        world,
        STATEFUL_SET,
        "probe",
        probe,
        lambda answer: answer.get("spec", {}).get("podManagementPolicy") == "Parallel",
    )
    world.create("demo")
    await world.ready("demo")
    await quiet(world)
    assert (await world.get(STATEFUL_SET, "demo-redis"))["spec"]["podManagementPolicy"] == "Parallel"
    assert accepted(world.writes())["statefulsets", "demo-redis"] == 1


# Update loops against other writers.


async def test_admission_that_changes_our_fields_starts_no_loop(world, admission):
    admission(
        SERVICE_ACCOUNT,
        ["CREATE", "UPDATE"],
        '[JSONPatch{op: "add", path: "/metadata/labels", value: {"app.kubernetes.io/name": "theirs"}}]',
    )
    # Labels are replaced as a whole, so that even the watch does not see the object any more.
    await admission_acts(world, SERVICE_ACCOUNT, "probe", {}, lambda answer: "labels" in answer["metadata"])
    world.create("demo")
    await world.ready("demo")
    await quiet(world)
    assert (await world.get(SERVICE_ACCOUNT, "demo-redis"))["metadata"]["labels"]["app.kubernetes.io/name"] == "theirs"
    assert accepted(world.writes())["serviceaccounts", "demo-redis"] == 1
    await patch(world, INSTANCE, "demo", {"spec": {"monitoring": {"exporter": True}}})
    await world.ready("demo")
    await quiet(world)
    assert accepted(world.writes())["serviceaccounts", "demo-redis"] <= 2


async def test_what_others_add_is_kept_and_answered_by_nothing(world):
    world.create("demo")
    await world.ready("demo")
    since = await quiet(world)
    theirs = {"labels": {"team": "x"}, "annotations": {"example.com/note": "y"}, "finalizers": ["example.com/wait"]}
    children = [it for it in await world.children("demo") if it.kind != POD.name]
    for child in children:
        await patch(world, kind_of(child), child.name, {"metadata": theirs})
    await quiet(world)
    assert world.writes(since) == []
    await patch(world, INSTANCE, "demo", {"spec": {"monitoring": {"exporter": True}}})
    await world.ready("demo")
    for child in children:
        metadata = (await world.get(kind_of(child), child.name))["metadata"]
        assert metadata["labels"]["team"] == "x", child
        assert metadata["annotations"]["example.com/note"] == "y", child
        await patch(world, kind_of(child), child.name, {"metadata": {"finalizers": None}})


async def test_client_side_apply_of_a_childs_own_manifest_starts_no_war(world):
    world.create("demo")
    await world.ready("demo")
    since = await quiet(world)
    for child, obj in (await world.children("demo")).items():
        if child.kind != POD.name:
            obj["metadata"] = {key: obj["metadata"][key] for key in ("name", "namespace", "labels")}
            obj.pop("status", None)
            world.cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": child.api_version, **obj}))
    await quiet(world)
    assert world.writes(since) == []
    # What kubectl owns now as well is still ours to change.
    await patch(world, INSTANCE, "demo", {"spec": {"monitoring": {"exporter": True}}})
    await world.ready("demo")
    assert len((await world.get(SERVICE, "demo-redis"))["spec"]["ports"]) == 2


async def test_a_port_that_somebody_renumbered_is_named_once_and_not_written_again_and_again(world):
    # An apply cannot take it away, and both may not have one name; a Service made anew would have another address.
    world.create("demo")
    await world.ready("demo")
    since = await quiet(world)
    ports = [{"name": "redis", "port": 7000, "protocol": "TCP", "targetPort": "redis"}]
    await patch(world, SERVICE, "demo-redis", {"spec": {"ports": ports}})
    obj = await not_ready(world)
    message = condition(obj)["message"]
    assert "Service/demo-redis" in message
    assert "spec.ports" in message
    await asyncio.sleep(3)
    assert len([it for it in world.writes(since) if it[1] == "services"]) == 1, world.writes(since)
    await world.send("DELETE", ref(world, SERVICE, "demo-redis"))
    await world.ready("demo")


# A bad change that reverting the CR does not recover.

BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "no such node": (
        {"scheduling": {"nodeSelector": {"nobody": "has-this"}}},
        {"scheduling": {"nodeSelector": None}},
        "Unschedulable",
    ),
    "image": ({"image": "docker.io/library/nginx:1"}, {"image": None}, "ImageNotAllowed"),
    "no such priority class": (
        {"scheduling": {"priorityClassName": "nobody-made-this"}},
        {"scheduling": {"priorityClassName": None}},
        None,
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_taking_a_bad_change_back_is_enough(world, case):
    bad, good, reason = BAD[case]
    world.create("demo")
    await world.ready("demo")
    await patch(world, INSTANCE, "demo", {"spec": bad})
    obj = await not_ready(world)
    if reason is not None:
        await world.reason("demo", reason)
    answer = await patch(world, INSTANCE, "demo", {"spec": good})
    assert "status" in obj
    obj = await world.ready("demo", 60)
    assert obj["metadata"]["generation"] == answer["metadata"]["generation"]
    await quiet(world)
    assert await world.planned("demo") == []


# Shrink and expand loops on the claim.


async def test_a_claim_that_somebody_made_larger_is_left_so(world):
    world.cluster.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "growing"},
            "provisioner": "example.com/fake",
            "allowVolumeExpansion": True,
        }
    )
    storage = {"size": "1Gi", "storageClassName": "growing"}
    world.create("demo", redisConfig={"persistence": True}, storage=storage)
    await world.ready("demo")
    since = await quiet(world)
    await patch(world, CLAIM, "data-demo-redis-0", {"spec": {"resources": {"requests": {"storage": "20Gi"}}}})

    async def grown():
        claim = await world.get(CLAIM, "data-demo-redis-0")
        return claim["status"]["capacity"]["storage"] == "20Gi"

    await world.until(grown)
    await quiet(world)
    assert [it for it in world.writes(since) if it[3] is None] == []
    # The instance may catch up, step by step, and the claim is never asked to shrink.
    for size, replaced in (("2Gi", 1), ("20Gi", 2)):
        await patch(world, INSTANCE, "demo", {"spec": {"storage": {"size": size}}})
        await world.ready("demo")
        await quiet(world)
        written = [it for it in world.writes(since) if it[3] is None]
        assert [it for it in written if it[1] == "persistentvolumeclaims"] == []
        assert [verb for verb, resource, *_ in written if resource == "statefulsets"] == ["delete", "patch"] * replaced
    claim = await world.get(CLAIM, "data-demo-redis-0")
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert await world.planned("demo") == []


# A removed Service annotation that stays.


async def test_an_annotation_that_an_earlier_version_set_goes_and_one_of_others_stays(world):
    world.create("demo")
    await world.ready("demo")
    since = await quiet(world)
    await patch(world, SERVICE, "demo-redis", {"metadata": {"annotations": {"example.com/theirs": "y"}}})
    live = await world.get(SERVICE, "demo-redis")
    metadata = {key: live["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    annotations = {key: value for key, value in live["metadata"]["annotations"].items() if key != "example.com/theirs"}
    metadata["annotations"] = annotations | {"redis.kubegateway.io/former": "x"}
    spec = {key: live["spec"][key] for key in ("type", "selector", "ports")}
    await world.client.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})

    async def gone():
        found = (await world.get(SERVICE, "demo-redis"))["metadata"]["annotations"]
        return "redis.kubegateway.io/former" not in found and found

    assert await world.until(gone, 5) == annotations | {"example.com/theirs": "y"}
    await quiet(world)
    assert accepted(world.writes(since)) == {("services", "demo-redis"): 1}


# Operator panics on legal but empty fields.


def fields_of(schema, path=()):
    """Yield (path, schema, whether it may be left out) of every field below a schema; "*" stands for an entry of a list or map."""
    for name, field in schema.get("properties", {}).items():
        yield (*path, name), field, name not in schema.get("required", ())
        yield from fields_of(field, (*path, name))
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield (*path, "*"), schema[word], word != "items"
            yield from fields_of(schema[word], (*path, "*"))


def places(value, path=()):
    """Yield the path of every place of a value."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(item, (*path, key))


def with_value(spec, path, value):
    changed = copy.deepcopy(spec)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


def empties():
    """Yield (instance, spec) with one optional place null or empty: of a whole spec, and of one with nothing but that place."""
    crd = next(it for it in crds() if it["spec"]["names"]["kind"] == INSTANCE.name)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    optional = {path: field for path, field, may in fields_of(schema) if may}
    known = {path for path, *_ in fields_of(schema)}
    whole = {**copy.deepcopy(WHOLE_INSTANCE), "paused": False}
    # No image beside a version.
    covered = {("image",)}
    yield "demo", {"image": None}
    for path in places(whole):
        name: tuple[Any, ...] = ()
        for key in path:
            name = (*name, key) if (*name, key) in known else (*name, "*")
        if name not in optional:
            continue
        covered.add(name)
        empty: Any = {"object": {}, "array": []}.get(optional[name].get("type"))
        inside_list = any(isinstance(key, int) for key in path)
        for value in (None,) if empty is None else (None, empty):
            if inside_list or empty is not None:
                yield "whole", with_value(whole, path, value)
            if not inside_list:
                bare: Any = value
                for key in reversed(path):
                    bare = {key: bare}
                # Storage cannot be removed again.
                yield "stored" if path[0] == "storage" else "demo", bare
    assert covered == optional.keys()


async def test_no_legal_but_empty_field_is_too_much(world):
    specs = list(empties())
    for name in {name for name, _ in specs}:
        # Without a Pod where the spec names nodes that are not there.
        world.create(name, hibernated=name == "whole")
    verdicts: Counter[int] = Counter()
    for name, spec in specs:
        status, answer = await put(world, name, spec)
        verdicts[status] += 1
        if status == 200:
            await seen(world, name, answer["metadata"]["generation"])
    assert verdicts.keys() <= {200, 422}
    assert verdicts[200] > 0.7 * len(specs), verdicts
    await patch(world, INSTANCE, "demo", {"spec": {"paused": False, "hibernated": False}})
    await world.ready("demo")
    assert await world.planned("demo") == []


async def seen(world, name, generation):
    async def done():
        return (await world.get(INSTANCE, name)).get("status", {}).get("observedGeneration") == generation

    await world.until(done, 10, f"{name}: nobody looked at generation {generation}")


async def test_children_without_labels_annotations_and_managers_are_put_right(world):
    world.create("demo")
    await world.ready("demo")
    await quiet(world)
    before = {child: obj for child, obj in (await world.children("demo")).items() if child.kind != POD.name}
    bodies: tuple[dict[str, Any], ...] = (
        {"labels": None, "annotations": None},
        {"managedFields": [{}]},
        {"ownerReferences": None},
    )
    for body in bodies:
        since = len(world.writes())
        for child in before:
            await patch(world, kind_of(child), child.name, {"metadata": body})

        async def right():
            now = await world.children("demo")
            return all(
                child in now
                and all(
                    now[child]["metadata"].get(key) == obj["metadata"].get(key)
                    for key in ("labels", "annotations", "ownerReferences")
                )
                and any(entry["manager"] == MANAGER for entry in now[child]["metadata"].get("managedFields", ()))
                for child, obj in before.items()
            )

        await world.until(right, 20, f"{body} was never put right")
        await world.ready("demo")
        await quiet(world)
        assert await world.planned("demo") == []
        most = max(accepted(world.writes(since)).values())
        assert most <= 2, world.writes(since)


# Deletion stuck when the namespace or the operator is gone.


async def test_a_namespace_goes_with_its_instances(world):
    for name in ("demo", "other"):
        world.create(name, redisConfig={"persistence": name == "demo"})
    for name in ("demo", "other"):
        await world.ready(name)
    world.cluster.kubectl("delete", "namespace", world.namespace, "--timeout=60s", timeout=70)


async def test_an_instance_deleted_while_no_operator_runs_leaves_nothing(world, operator_runs):
    world.create("demo")
    await world.ready("demo")
    operator_runs.stop()
    await world.send("DELETE", world.key("demo"))
    operator_runs.start()

    async def gone():
        return await world.find(INSTANCE, "demo") is None and not await world.children("demo")

    await world.until(gone, 40)


# Annotations growing past 262,144 bytes.


async def test_annotations_do_not_grow_with_the_number_of_changes(world):
    large = {"example.com/large": "x" * 200_000}
    world.create("demo")
    await patch(world, INSTANCE, "demo", {"metadata": {"annotations": large}})
    await world.ready("demo")
    await quiet(world)

    async def sizes():
        found = {
            child: len(json.dumps(obj["metadata"].get("annotations", {})))
            for child, obj in (await world.children("demo")).items()
        }
        metadata = (await world.get(INSTANCE, "demo"))["metadata"]
        return found | {"instance": len(json.dumps(metadata["annotations"]))}

    before = await sizes()
    for turn in range(6):
        body = {"redisConfig": {"memory": f"{256 - turn}Mi", "parameters": {"slowlogMaxLen": 200 + turn}}}
        await patch(world, INSTANCE, "demo", {"spec": body})
        await world.ready("demo")
    await quiet(world)
    assert await sizes() == before
    assert max(size for child, size in before.items() if child != "instance") < 2000


# User labels leaking into selectors.


async def test_labels_of_an_instance_reach_no_selector(world):
    world.create("demo")
    await patch(world, INSTANCE, "demo", {"metadata": {"labels": {"app": "shop", "app.kubernetes.io/name": "shop"}}})
    await world.ready("demo")
    since = await quiet(world)
    await patch(world, INSTANCE, "demo", {"metadata": {"labels": {"app": "market", "tier": "db"}}})
    await quiet(world)
    assert [it for it in world.writes(since) if it[3] is None] == []
    found = [
        (await world.get(STATEFUL_SET, "demo-redis"))["spec"]["selector"]["matchLabels"],
        (await world.get(DISRUPTION_BUDGET, "demo-redis"))["spec"]["selector"]["matchLabels"],
        (await world.get(NETWORK_POLICY, "demo-redis"))["spec"]["podSelector"]["matchLabels"],
        (await world.get(SERVICE, "demo-redis"))["spec"]["selector"],
        (await world.get(SERVICE, "demo-redis-headless"))["spec"]["selector"],
    ]
    assert found == [SELECTOR] * len(found)
    pod = await world.get(POD, "demo-redis-0")
    assert "app" not in pod["metadata"]["labels"]


# A PodDisruptionBudget of a single replica that blocks drains.


async def test_a_ready_pod_can_be_evicted_and_comes_back(world):
    world.create("demo")
    await world.ready("demo")
    pod = await world.get(POD, "demo-redis-0")

    async def counted():
        status = (await world.get(DISRUPTION_BUDGET, "demo-redis")).get("status", {})
        return status.get("expectedPods") == 1

    await world.until(counted, 20)
    path = f"{POD.path(world.namespace, 'demo-redis-0')}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "demo-redis-0"}}
    world.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))

    async def another():
        found = await world.find(POD, "demo-redis-0")
        return found is not None and found["metadata"]["uid"] != pod["metadata"]["uid"]

    await world.until(another)
    await world.ready("demo")


# Lease renamed between versions: two leaders.


async def test_an_operator_with_no_word_about_it_competes_for_the_lease_it_always_did(world, operator_user, tmp_path):
    assert lease.NAME == "redisop"
    older = lease.Lease(world.client, world.namespace, "redisop", candidate="an-earlier-version")
    leads = anyio.Event()

    async def work():
        leads.set()
        await anyio.sleep_forever()

    kubeconfig = world.cluster.kubeconfig_for(operator_user)
    options = ["--lease-namespace", world.namespace, "-n", world.namespace]
    async with anyio.create_task_group() as group:
        group.start_soon(older.run, work)
        await leads.wait()
        with operator_process.operator(kubeconfig, tmp_path / "log", *options, elect=True) as process:
            process.wait_for("is held by an-earlier-version")
            assert "leading" not in process.output
            group.cancel_scope.cancel()
            await anyio.to_thread.run_sync(process.wait_for, "leading:", abandon_on_cancel=True)


# Operator memory growing with the cluster instead of its work.

STRANGERS = 500
"""Of each of two kinds."""


async def test_objects_of_others_are_not_kept_in_memory(world, operator_runs):
    world.create("demo")
    await world.ready("demo")
    before = resident(operator_runs.process.pid)
    limit = anyio.CapacityLimiter(32)

    async def make(kind, name):
        async with limit:
            body = {"metadata": {"name": name, "labels": {"team": "x"}}, "data": {"a": "eHh4" * 250}}
            status, answer = await world.send("POST", ref(world, kind, name), body)
            assert status == 201, answer

    async with anyio.create_task_group() as group:
        for index in range(STRANGERS):
            for kind in (CONFIG_MAP, SECRET):
                group.start_soon(make, kind, f"theirs-{index}")
    await world.client.list(CONFIG_MAP, world.namespace)
    await asyncio.sleep(1)
    # Two thousand of them hold two million bytes of data; kept as objects they would take five times that.
    assert resident(operator_runs.process.pid) - before < 4 * 2**20
    # A start lists everything anew.
    found = await cached(world)
    assert found["ConfigMap"] == {"demo-redis-config"}
    assert found["Secret"] == {"demo-redis-credentials", "demo-redis-acl"}


def resident(pid):
    """Return the bytes of memory that a process occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * 4096


async def cached(world):
    """Return the names, by kind, that the caches of an operator without workers hold of the test's namespace."""
    async with Client.connect(world.cluster.kubeconfig) as client:
        found = operator.Operator(client, Settings(), (), 0, None)
        async with anyio.create_task_group() as group:
            group.start_soon(found.run)
            with anyio.fail_after(30):
                while len(found.reflectors) < len((INSTANCE, *OWNED, *OBSERVED)):  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                for reflector in found.reflectors:
                    await reflector.synced.wait()
            group.cancel_scope.cancel()
        kinds = (*OWNED, *OBSERVED)
        everything = [obj for kind in kinds for obj in found.store.of_kind(kind)]
        assert all(obj["metadata"]["labels"][MANAGED_BY] == MANAGER for obj in everything)
        return {
            kind.name: {
                obj["metadata"]["name"]
                for obj in found.store.of_kind(kind)
                if obj["metadata"]["namespace"] == world.namespace
            }
            for kind in kinds
        }


# Users not ours wiped when the ACL changes.


async def test_a_user_that_somebody_added_outlives_a_change_of_the_configuration(world, pod_ip):
    world.create("demo")
    await world.ready("demo")
    async with Redis(host=pod_ip, username="operator", password="any", decode_responses=True) as server:
        await server.acl_setuser("stranger", enabled=True, nopass=True, commands=["+ping"])
        await patch(world, INSTANCE, "demo", {"spec": {"redisConfig": {"parameters": {"slowlogMaxLen": 99}}}})
        await patch(world, INSTANCE, "demo", {"spec": {"monitoring": {"exporter": True}}})
        await world.ready("demo")
        await quiet(world)
        assert await server.config_get("slowlog-max-len") == {"slowlog-max-len": "99"}
        assert "stranger" in await server.acl_users()


# State that depends on how it was reached.

SEEDS = range(3)
STEPS = 3


@pytest.fixture
def fresh(world):
    name = f"{world.namespace}-fresh"
    world.cluster.kubectl("create", "namespace", name)
    yield World(world.cluster, name, world.client, world.user)
    world.cluster.kubectl("delete", "namespace", name, "--wait=false")


BY_DESIGN = (
    # A digest of the template, and in it the uid of the Secret.
    (re.compile(r'("redis.kubegateway.io/template-digest": )"[^"]*"'), r'\1"DIGEST"'),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r'("clusterIPs?": )(\["[0-9][^\]]*\]|"[0-9][^"]*")'), r'\1"IP"'),
)
"""What must differ between two instances of the same spec."""


async def state(world, name):
    """Return what the instance's own children say, by child."""
    found = {}
    for child, obj in (await world.children(name)).items():
        if child.kind in {POD.name, CLAIM.name}:
            continue
        parts: dict[str, Any] = {key: obj["metadata"].get(key) for key in ("labels", "annotations", "finalizers")}
        parts["spec"] = obj.get("spec")
        parts["data"] = sorted(obj["data"]) if child.kind == SECRET.name else obj.get("data")
        text = json.dumps(parts).replace(world.namespace, "NAMESPACE")
        for pattern, word in BY_DESIGN:
            text = pattern.sub(word, text)
        found[str(child)] = json.loads(text)
    return found


async def mutate(world, name, spec, rng):
    """Change the spec at random, step by step; return what it is in the end."""
    for _ in range(STEPS):
        status = 422
        while status == 422:
            status, answer = await put(world, name, {**mutated(spec, rng), "paused": False})
        assert status == 200, answer
        spec = answer["spec"]
        await seen(world, name, answer["metadata"]["generation"])
    return spec


async def test_what_was_changed_at_random_equals_what_was_made_so_and_reverting_recovers(world, fresh):
    growing = {"provisioner": "example.com/fake", "allowVolumeExpansion": True, "metadata": {"name": "random"}}
    world.cluster.apply({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", **growing})
    good: dict[str, Any] = {**copy.deepcopy(WHOLE_INSTANCE), "paused": False, "hibernated": False}
    good["storage"]["storageClassName"] = "random"
    # Nodes like these are not there.
    scheduling = good.pop("scheduling")
    names = [f"seed{seed}" for seed in SEEDS]
    for name in names:
        world.create(name, **good)
    specs = {}
    for seed, name in zip(SEEDS, names, strict=True):
        await world.ready(name, 60)
        specs[name] = await mutate(world, name, {**good, "scheduling": scheduling}, Random(seed))
        fresh.create(name, **specs[name])
    for name in names:
        await seen(fresh, name, 1)
    await quiet(fresh)
    await quiet(world)
    for name, spec in specs.items():
        assert await state(world, name) == await state(fresh, name), f"{name}: {json.dumps(spec)}"
        assert await world.planned(name) == []
        status, answer = await put(world, name, good)
        assert status == 200, answer
    for name in names:
        await world.ready(name, 60)
    await quiet(world)
    for name in names:
        assert await world.planned(name) == []


async def put(world, name, spec):
    """Replace the spec of an instance, whatever the operator wrote to its status meanwhile."""
    status = 409
    while status == 409:
        obj = await world.get(INSTANCE, name)
        status, answer = await world.send("PUT", world.key(name), {**obj, "spec": spec})
    return status, answer
