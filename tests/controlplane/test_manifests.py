"""The manifests against a real API server, in a namespace that enforces the `restricted` Pod Security Standard."""

import base64
import json
import time
from collections.abc import Iterable
from typing import Any

import pytest

from redisop.fieldset import diff, entry
from redisop.kinds import MANAGER, Object, Ref, ref_of
from redisop.manifests import Manifest, Names, build
from redisop.plan import resolve
from redisop.values import has_pending, materialise
from tests.cluster.fixtures import Cluster
from tests.unit.instances import SETTINGS, SPECS, instance, resource

pytestmark = pytest.mark.timeout(180)

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


class Applied:
    """An instance's children in a namespace. A ConfigMap stands for the custom resource as their owner."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name
        self.warnings = ""
        cluster.kubectl("label", "namespace", namespace, *(f"{key}={value}" for key, value in RESTRICTED.items()))
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}})
        self.owner = cluster.get("configmap", name, "-n", namespace)["metadata"]["uid"]
        self.live: dict[Ref, Object] = {}

    def build(self, **spec: Any) -> tuple[Manifest, ...]:
        given = resource(self.name, {**SPECS[self.name], **spec}, namespace=self.namespace, uid=self.owner)
        return build(type(instance(self.name)).model_validate(given), SETTINGS, self.live)

    def owned(self, obj: Object) -> Object:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": self.name, "uid": self.owner, "controller": True}
        return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}

    def apply(self, wanted: Iterable[Object], *options: str) -> dict[Ref, Object]:
        """Apply objects as the operator does, and return what the server answers."""
        done = self.cluster.kubectl(
            *("apply", "--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "--validate=strict"),
            *("--show-managed-fields", "-o", "json", "-f", "-", *options),
            input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(wanted)}),
        )
        self.warnings += done.stderr
        found = json.loads(done.stdout)
        return {ref_of(obj): obj for obj in (found["items"] if found["kind"] == "List" else [found])}

    def get(self, wanted: Iterable[Object]) -> dict[Ref, Object]:
        """Return the objects as they are now."""
        names = [f"{obj['kind'].lower()}/{obj['metadata']['name']}" for obj in wanted]
        found = self.cluster.get(*names, "-n", self.namespace, "--show-managed-fields")
        return {ref_of(obj): obj for obj in found["items"]}

    def settle(self) -> tuple[Object, ...]:
        """Apply what is not pending until nothing is; return the manifests as they were sent last."""
        for _ in range(2):
            wanted = tuple(self.owned(self.kept(obj)) for _, obj in self.build())
            ready = [materialise(obj) for obj in wanted if not has_pending(obj)]
            self.live |= self.apply(ready)
            if len(ready) == len(wanted):
                return wanted
        raise AssertionError("still pending")

    def kept(self, obj: Object) -> Object:
        """Return a manifest with the generated values that the live object has."""
        return resolve(obj, self.live.get(ref_of(obj)))


@pytest.fixture
def applied(request: pytest.FixtureRequest, control_plane: Cluster, namespace: str) -> Applied:
    return Applied(control_plane, namespace, request.param)


every_instance = pytest.mark.parametrize("applied", SPECS, indirect=True)


@every_instance
def test_accepted_without_a_warning_and_the_second_apply_changes_nothing(applied: Applied):
    wanted = applied.settle()
    applied.apply(wanted, "--dry-run=server")
    # Controllers write status meanwhile, and then the version is another: only a write of ours must change nothing.
    moving = set(map(ref_of, wanted))
    for _ in range(20):
        before, after = applied.get(wanted), applied.apply(wanted)
        assert before.keys() == after.keys() == set(map(ref_of, wanted))
        for ref, obj in after.items():
            metadata = before[ref]["metadata"]
            assert obj["metadata"].get("generation") == metadata.get("generation"), ref
            if obj["metadata"]["resourceVersion"] == metadata["resourceVersion"]:
                moving.discard(ref)
        if not moving:
            break
    assert not moving, "every apply changes them"
    assert applied.warnings == ""


@every_instance
def test_what_the_server_stores_equals_what_was_sent(applied: Applied):
    """Also in atomic leaves (volumeClaimTemplates, tolerations, ingress rules): no plan depends on having seen a response."""
    wanted = applied.settle()
    found = applied.get(wanted)
    for obj in wanted:
        live = found[ref_of(obj)]
        ours = entry(live, MANAGER)
        assert ours is not None
        assert diff(obj, ours.fields, live) == (), ref_of(obj)


@every_instance
def test_the_pod_is_admitted(applied: Applied):
    applied.settle()
    cluster, name, namespace = applied.cluster, applied.name, applied.namespace
    if SPECS[name].get("hibernated"):
        assert cluster.get("statefulset", f"{name}-redis", "-n", namespace)["spec"]["replicas"] == 0
        return
    if "priorityClassName" in SPECS[name].get("scheduling", {}):
        priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "important"}}
        cluster.apply({**priority, "value": 1000})
    cluster.kubectl("wait", "--for=create", f"pod/{name}-redis-0", "-n", namespace, "--timeout=60s")
    pod = cluster.get("pod", f"{name}-redis-0", "-n", namespace)
    assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume], "a token is mounted"
    assert pod["metadata"]["labels"].items() >= Names(name, namespace).labels.items()
    if SPECS[name].get("redisConfig", {}).get("persistence"):
        claim = cluster.get("pvc", f"data-{name}-redis-0", "-n", namespace)
        assert claim["metadata"]["labels"] == Names(name, namespace).labels


@pytest.mark.parametrize("applied", ["exporter"], indirect=True)
def test_the_exporter_off_removes_its_container_port_and_password(applied: Applied):
    applied.settle()
    applied.apply(applied.owned(applied.kept(obj)) for _, obj in applied.build(monitoring={}))
    name, namespace = applied.name, applied.namespace
    service = applied.cluster.get("service", f"{name}-redis", "-n", namespace)
    assert [port["name"] for port in service["spec"]["ports"]] == ["redis"]
    secret = applied.cluster.get("secret", f"{name}-redis-credentials", "-n", namespace)
    assert sorted(secret["data"]) == ["operator-password", "probe-password"]
    stateful_set = applied.cluster.get("statefulset", f"{name}-redis", "-n", namespace)
    assert [item["name"] for item in stateful_set["spec"]["template"]["spec"]["containers"]] == ["redis"]
    acl = applied.cluster.get("secret", f"{name}-redis-acl", "-n", namespace)
    assert b"user exporter" not in base64.b64decode(acl["data"]["users.acl"])


@pytest.mark.parametrize("applied", ["minimal"], indirect=True)
def test_draining_one_replica_is_never_blocked(applied: Applied):
    applied.settle()
    cluster, namespace = applied.cluster, applied.namespace
    cluster.kubectl("wait", "--for=create", "pod/minimal-redis-0", "-n", namespace, "--timeout=60s")
    before = cluster.get("pod", "minimal-redis-0", "-n", namespace)["metadata"]["uid"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "minimal-redis-0", "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/minimal-redis-0/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    deadline = time.monotonic() + 60
    while before in [item["metadata"]["uid"] for item in cluster.get("pod", "-n", namespace)["items"]]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
