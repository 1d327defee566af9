"""An instance that the CRD of another version admitted and this operator cannot read."""

import json
import time

import pytest
import yaml

from tests.cluster import ControlPlane
from tests.controlplane import operator_process
from tests.converged import install

pytestmark = pytest.mark.timeout(120)

INSTANCE = {
    "apiVersion": "redis.kubegateway.io/v1alpha1",
    "kind": "RedisHttpInstance",
    "metadata": {"name": "demo", "namespace": "default"},
}


@pytest.fixture
def lax():
    """A control plane of its own, whose CRD admits any text as memory."""
    with ControlPlane.start(scheduler=False) as cluster:
        install(cluster)
        crd = cluster.get("crd", "redishttpinstances.redis.kubegateway.io")
        root = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        spec = root["spec"]
        spec.pop("x-kubernetes-validations", None)
        spec["properties"]["redisConfig"]["properties"]["memory"] = {"type": "string"}
        patch = [{"op": "replace", "path": "/spec/versions", "value": crd["spec"]["versions"]}]
        name = "crd/redishttpinstances.redis.kubegateway.io"
        cluster.kubectl("patch", name, "--type=json", "-p", json.dumps(patch))
        yield cluster


def test_it_is_told_with_its_field_and_nothing_is_written_for_it(lax, tmp_path):
    broken = {**INSTANCE, "spec": {"redisConfig": {"memory": "a lot"}}}
    until(lambda: lax.kubectl("apply", "-f", "-", input=yaml.safe_dump(broken), check=False).returncode == 0)
    with operator_process.operator(lax.kubeconfig, tmp_path / "log"):
        ready = until(lambda: condition(lax, "InvalidSpec"))
        assert ready["status"] == "False"
        assert ready["message"].startswith("spec.redisConfig.memory: ")
        assert lax.get("rhi", "demo")["status"]["phase"] == "Failed"
        assert (
            lax.kubectl("get", "configmap,service", "-l", "app.kubernetes.io/managed-by=redisop", "-o", "name").stdout
            == ""
        )
        version = lax.get("rhi", "demo")["metadata"]["resourceVersion"]
        mended = {**INSTANCE, "spec": {"redisConfig": {"memory": "64Mi"}}}
        lax.kubectl("apply", "-f", "-", input=yaml.safe_dump(mended))
        until(lambda: lax.kubectl("get", "statefulset", "demo-redis", "--ignore-not-found", "-o", "name").stdout != "")
        assert lax.get("rhi", "demo")["metadata"]["resourceVersion"] != version


def condition(cluster, reason):
    conditions = cluster.get("rhi", "demo").get("status", {}).get("conditions", ())
    return next((it for it in conditions if it["type"] == "Ready" and it["reason"] == reason), None)


def until(found, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "not true in time"
        time.sleep(0.1)
    return result
