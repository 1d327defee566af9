"""One instance through its life, with real Pods and real Redis. Needs root."""

import base64
import http.client
import json
import os
from contextlib import suppress
from typing import Any

import pytest
import redis

from tests.cluster.node import BASE, REDIS
from tests.e2e.support import NO_REGISTRY, eventually

pytestmark = pytest.mark.timeout(300)

SMALL: dict[str, Any] = {"redisConfig": {"memory": "64Mi"}}
PERSISTENT: dict[str, Any] = {
    "redisConfig": {"memory": "64Mi", "persistence": True},
    "storage": {"size": "128Mi", "reclaimPolicy": "Delete"},
}
MIB = 2**20


def with_config(spec: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {**spec, "redisConfig": {**spec["redisConfig"], **config}}


CLIENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "client"},
    "spec": {
        "containers": [
            {
                "name": "client",
                "image": REDIS,
                "command": ["sleep", "600"],
                "env": [
                    {
                        "name": "REDISCLI_AUTH",
                        "valueFrom": {"secretKeyRef": {"name": "demo-redis-credentials", "key": "operator-password"}},
                    }
                ],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 0,
    },
}


def test_a_pod_of_the_namespace_uses_redis_through_its_service(team):
    team.apply(**SMALL)
    team.wait_ready()
    team.cluster.apply({**CLIENT, "metadata": {"name": "client", "namespace": team.namespace}})
    team.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
    host = f"demo-redis.{team.namespace}.svc.cluster.local"
    ask = ["exec", "client", "--", "redis-cli", "-h", host]
    assert team.kubectl(*ask, "--user", "operator", "SET", "greeting", "hello").strip() == "OK"
    assert team.kubectl(*ask, "--user", "operator", "GET", "greeting").strip() == "hello"
    address = team.get("service", "demo-redis")["spec"]["clusterIP"]
    assert team.redis(address).get("greeting") == "hello"
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(host=address, socket_timeout=5).ping()

    status = team.status
    assert status["phase"] == "Running"
    assert status["readyReplicas"] == 1
    assert status["endpoint"]["redis"] == f"redis://demo-redis.{team.namespace}.svc:6379"
    assert status["redisVersion"] == team.redis().info("server")["redis_version"]
    assert status["lastPlan"]["summary"].split(" ")[1].startswith("created")
    assert {it["type"]: it["status"] for it in status["conditions"]} == {
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
        "ConfigApplied": "True",
    }
    assert team.plan(**SMALL)[0] == 0


def test_memory_takes_effect_without_a_restart_where_the_container_has_room(team):
    team.apply(**SMALL)
    team.wait_ready()
    before = team.pod_uid()
    team.redis().set("key", "value")

    team.apply(redisConfig={"memory": "32Mi"})
    team.wait_ready()
    assert team.directive("maxmemory") == str(32 * MIB)
    assert "larger limit" in team.condition("Ready")["message"]

    team.apply(**SMALL)
    team.wait_ready()
    assert team.directive("maxmemory") == str(64 * MIB)
    assert team.pod_uid() == before
    assert team.redis().get("key") == "value"


def test_more_memory_resizes_the_pod_in_place_and_loses_nothing(team):
    team.apply(**SMALL)
    team.wait_ready()
    before = team.pod_uid()
    team.redis().set("key", "value")
    larger = with_config(SMALL, memory="96Mi")

    code, text = team.plan(**larger)
    assert code == 1
    assert "the Pod is resized in place" in text
    assert "limits.memory" in text
    assert "lost" not in text

    team.apply(**larger)
    team.wait_ready()
    assert team.pod_uid() == before
    pod = team.get("pod", "demo-redis-0")["status"]["containerStatuses"][0]
    assert pod["restartCount"] == 0
    assert pod["resources"]["limits"]["memory"] == "160Mi"
    assert team.directive("maxmemory") == str(96 * MIB)
    assert team.redis().get("key") == "value"
    assert "resized" in team.status["lastPlan"]["summary"]
    assert team.plan(**larger)[0] == 0


def test_what_no_resize_can_do_restarts_with_a_reason_and_keeps_persistent_data(team):
    team.apply(**PERSISTENT)
    team.wait_ready()
    before = team.pod_uid()
    team.redis().set("key", "value")
    limited = {**PERSISTENT, "resources": {"limits": {"cpu": "1"}}}

    code, text = team.plan(**limited)
    assert code == 1
    assert "the Pod restarts" in text
    assert "limits.cpu" in text
    assert "lost" not in text

    team.apply(**limited)
    team.wait_ready()
    assert team.pod_uid() != before
    assert team.redis().get("key") == "value"
    assert "restarted" in team.status["lastPlan"]["summary"]
    assert "limits.cpu" in team.status["lastPlan"]["summary"]


def test_more_memory_than_the_node_has_is_told_and_reverting_recovers(team):
    team.apply(**SMALL)
    team.wait_ready()
    before = team.pod_uid()
    team.redis().set("key", "value")
    team.apply(redisConfig={"memory": "900Gi"})
    found = team.wait_reason("ResizePending")
    assert "allocatable" in found["message"]
    assert team.directive("maxmemory") == str(64 * MIB)
    team.apply(**SMALL)
    team.wait_ready()
    assert team.pod_uid() == before
    assert team.redis().get("key") == "value"


def test_the_plan_says_when_a_restart_loses_what_is_in_memory(team):
    team.apply(**SMALL)
    team.wait_ready()
    code, text = team.plan(**with_config(SMALL, parameters={"databases": 32}))
    assert code == 1
    assert "databases 16 → 32" in text
    assert "data in memory is lost" in text


def test_a_parameter_changes_live_and_goes_back_when_it_is_removed(team):
    team.apply(**SMALL)
    team.wait_ready()
    before = team.pod_uid()
    for spec, hz in ((with_config(SMALL, parameters={"hz": 42}), "42"), (SMALL, "10")):
        team.apply(**spec)
        team.wait_ready()
        assert team.directive("hz") == hz
    assert team.pod_uid() == before


def test_a_directive_for_the_start_restarts_the_pod(team):
    team.apply(**SMALL)
    team.wait_ready()
    before = team.pod_uid()
    team.apply(**with_config(SMALL, parameters={"databases": 32}))
    team.wait_ready()
    assert team.pod_uid() != before
    assert team.directive("databases") == "32"


def test_a_hand_made_change_of_the_config_map_does_not_last(team):
    team.apply(**SMALL)
    team.wait_ready()
    before = team.get("configmap", "demo-redis-config")["data"]
    team.kubectl("patch", "configmap", "demo-redis-config", "--type=merge", "-p", '{"data":{"redis.conf":"port 1\\n"}}')
    eventually(lambda: team.get("configmap", "demo-redis-config")["data"] == before, "the ConfigMap repaired")


def test_data_outlives_the_pod(team):
    team.apply(**with_config(PERSISTENT, appendOnly=True))
    team.wait_ready()
    before = team.pod_uid()
    team.redis().set("key", "value")
    team.kubectl("delete", "pod", "demo-redis-0")
    eventually(lambda: team.exists("pod", "demo-redis-0") and team.pod_uid() != before, "another Pod")
    team.wait_ready()
    assert team.redis().get("key") == "value"


def test_ready_falls_when_the_pod_dies_and_comes_back_with_it(team):
    team.apply(**SMALL)
    team.wait_ready()
    first = team.condition("Ready")["lastTransitionTime"]
    team.kubectl("delete", "pod", "demo-redis-0", "--wait=false")
    eventually(lambda: team.condition("Ready").get("status") == "False", "Ready to fall")
    team.wait_ready()
    assert team.condition("Ready")["lastTransitionTime"] > first


def test_persistence_is_turned_on_and_off_for_a_running_instance(team):
    team.apply(**SMALL)
    team.wait_ready()
    code, text = team.plan(**PERSISTENT)
    assert code == 1
    assert "data in memory is lost" in text

    team.apply(**PERSISTENT)
    team.wait_ready()
    team.redis().set("key", "value")
    pod = team.pod_uid()
    team.kubectl("delete", "pod", "demo-redis-0")
    eventually(lambda: team.exists("pod", "demo-redis-0") and team.pod_uid() != pod, "another Pod")
    team.wait_ready()
    assert team.redis().get("key") == "value"

    volatile = {"redisConfig": {"memory": "64Mi"}, "storage": PERSISTENT["storage"]}
    code, text = team.plan(**volatile)
    assert code == 1
    assert "the data stays on the claim" in text
    team.apply(**volatile)
    team.wait_ready()
    assert team.redis().dbsize() == 0
    assert team.exists("pvc", "data-demo-redis-0")
    assert "storage" not in team.status
    assert team.plan(**volatile)[0] == 0


def test_storage_grows_without_a_restart(team):
    team.apply(**PERSISTENT)
    team.wait_ready()
    pod, parent = team.pod_uid(), team.get("statefulset", "demo-redis")["metadata"]["uid"]
    team.redis().set("key", "value")
    larger = {**PERSISTENT, "storage": {**PERSISTENT["storage"], "size": "256Mi"}}
    assert team.plan(**larger)[0] == 1

    team.apply(**larger)
    team.wait_ready()
    assert team.get("pvc", "data-demo-redis-0")["status"]["capacity"]["storage"] == "256Mi"
    assert team.status["storage"] == {"requested": "256Mi", "actual": "256Mi"}
    template = team.get("statefulset", "demo-redis")
    assert template["metadata"]["uid"] != parent
    assert template["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "256Mi"
    assert team.pod_uid() == pod
    assert team.redis().get("key") == "value"
    assert team.plan(**larger)[0] == 0


def test_storage_that_cannot_grow_is_said_and_the_instance_goes_on(team):
    fixed = {**PERSISTENT, "storage": {**PERSISTENT["storage"], "storageClassName": "local-fixed"}}
    team.apply(**fixed)
    team.wait_ready()
    pod = team.pod_uid()
    larger = {**fixed, "storage": {**fixed["storage"], "size": "256Mi"}}
    team.apply(**larger)
    found = team.wait_reason("ExpansionFailed")
    assert "allowVolumeExpansion" in found["message"]
    assert team.pod_uid() == pod
    assert team.status["phase"] == "Failed"
    assert team.status["readyReplicas"] == 1
    # The size cannot go back: nothing else may wait for it.
    team.apply(**with_config(larger, parameters={"databases": 32}))
    eventually(lambda: team.exists("pod", "demo-redis-0") and team.pod_uid() != pod, "the restart for another change")
    eventually(lambda: team.status["readyReplicas"] == 1, "the new Pod")
    assert team.directive("databases") == "32"
    assert team.wait_reason("ExpansionFailed")
    team.apply(**with_config(larger, parameters={"databases": 32, "hz": 42}))
    eventually(lambda: team.directive("hz") == "42", "the other change by CONFIG SET")


def test_hibernation_keeps_the_data(team):
    team.apply(**PERSISTENT)
    team.wait_ready()
    team.redis().set("key", "value")
    team.apply(**PERSISTENT, hibernated=True)
    eventually(lambda: team.status.get("phase") == "Hibernated", "hibernation")
    assert not team.exists("pod", "demo-redis-0")
    assert team.exists("pvc", "data-demo-redis-0")
    team.apply(**PERSISTENT)
    team.wait_ready()
    assert team.redis().get("key") == "value"


def test_hibernation_ends_a_crash_loop(team):
    team.apply(**SMALL, image=BASE)
    team.wait_reason("CrashLoop")
    team.apply(**SMALL, hibernated=True)
    eventually(lambda: team.status.get("phase") == "Hibernated", "hibernation")
    team.apply(**SMALL)
    team.wait_ready()


def test_an_image_that_cannot_be_pulled_is_told_and_reverting_recovers(team):
    team.apply(**PERSISTENT)
    team.wait_ready()
    team.redis().set("key", "value")
    team.apply(**PERSISTENT, image=NO_REGISTRY)
    found = team.wait_reason("ImagePullFailed")
    assert NO_REGISTRY in found["message"]
    assert team.status["phase"] == "Failed"
    team.apply(**PERSISTENT)
    team.wait_ready()
    assert team.redis().get("key") == "value"


def test_an_image_that_crashes_is_told_and_reverting_recovers(team):
    team.apply(**SMALL, image=BASE)
    found = team.wait_reason("CrashLoop")
    assert "kubectl logs demo-redis-0 -c redis --previous" in found["message"]
    eventually(lambda: team.status["phase"] == "Failed", "phase Failed")
    team.apply(**SMALL)
    team.wait_ready()


def test_an_image_outside_the_allow_list_changes_nothing(team):
    team.apply(**SMALL)
    team.wait_ready()
    pod = team.pod_uid()
    team.apply(**SMALL, image="docker.io/library/nginx:1")
    found = team.wait_reason("ImageNotAllowed")
    assert "image" in found["message"]
    assert team.pod_uid() == pod
    assert team.status["readyReplicas"] == 1
    team.apply(**SMALL)
    team.wait_ready()
    assert team.pod_uid() == pod


def test_a_memory_that_no_node_has_is_told_and_reverting_recovers(team):
    team.apply(redisConfig={"memory": "900Gi"})
    found = team.wait_reason("Unschedulable")
    assert "Insufficient memory" in found["message"]
    team.apply(**SMALL)
    team.wait_ready()


def test_a_full_redis_refuses_writes_and_is_never_killed(team):
    team.apply(**PERSISTENT)
    team.wait_ready()
    files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
    limit = team.kubectl("exec", "demo-redis-0", "-c", "redis", "--", "sh", "-c", f"cat {files} 2>/dev/null || true")
    assert limit.split() == [str(192 * MIB)], "the kernel enforces the limit"
    client = team.redis()
    kept = 0
    with suppress(redis.exceptions.OutOfMemoryError):
        while kept < 100:
            client.set(f"key-{kept}", os.urandom(MIB))
            kept += 1
    assert 40 < kept < 64
    # Without a little room even a write in place is refused.
    client.delete(*(f"key-{number}" for number in range(4)))
    for number in range(4, kept):
        # Every page is written to while a child saves: the worst case of copy-on-write.
        if number % 20 == 0:
            with suppress(redis.exceptions.ResponseError):
                client.bgsave()
        client.setrange(f"key-{number}", 0, os.urandom(MIB))
    eventually(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0, "the snapshot")
    assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"
    assert team.get("pod", "demo-redis-0")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_node_can_be_drained(team):
    team.apply(**PERSISTENT)
    team.wait_ready()
    before = team.pod_uid()
    team.redis().set("key", "value")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "demo-redis-0", "namespace": team.namespace},
    }
    team.cluster.api.request("POST", f"/api/v1/namespaces/{team.namespace}/pods/demo-redis-0/eviction", eviction)
    eventually(lambda: team.exists("pod", "demo-redis-0") and team.pod_uid() != before, "another Pod")
    team.wait_ready()
    assert team.redis().get("key") == "value"


def test_kubectl_rollout_restart_works(team):
    team.apply(**SMALL)
    team.wait_ready()
    before = team.pod_uid()
    team.kubectl("rollout", "restart", "statefulset/demo-redis")
    eventually(lambda: team.exists("pod", "demo-redis-0") and team.pod_uid() != before, "the restart")
    team.wait_ready()
    assert "restartedAt" in team.status["lastPlan"]["summary"]


def test_a_quota_is_told_and_raising_it_recovers(team):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tight", "namespace": team.namespace},
        "spec": {"hard": {"services": "1"}},
    }
    team.cluster.apply(quota)
    eventually(lambda: "hard" in team.get("resourcequota", "tight").get("status", {}), "the quota in force")
    team.apply(**SMALL)
    found = team.wait_reason("QuotaExceeded")
    assert "exceeded quota: tight" in found["message"]
    team.kubectl("delete", "resourcequota", "tight")
    team.wait_ready()


def test_a_quota_without_room_for_the_pod_is_told(team):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tight", "namespace": team.namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    team.cluster.apply(quota)
    eventually(lambda: "hard" in team.get("resourcequota", "tight").get("status", {}), "the quota in force")
    team.apply(**SMALL)
    assert "quota" in team.wait_reason("PodMissing")["message"]
    eventually(lambda: team.condition("Degraded").get("status") == "True", "Degraded")
    assert team.status["phase"] == "Pending"


def test_the_exporter_comes_and_goes_with_its_ports(team):
    def ports() -> set[int]:
        return {port["port"] for port in team.get("service", "demo-redis")["spec"]["ports"]}

    def containers() -> list[str]:
        return [it["name"] for it in team.get("pod", "demo-redis-0")["spec"]["containers"]]

    team.apply(**SMALL, monitoring={"exporter": True})
    team.wait_ready()
    assert containers() == ["redis", "exporter"]
    assert ports() == {6379, 9121}
    connection = http.client.HTTPConnection(team.get("pod", "demo-redis-0")["status"]["podIP"], 9121, timeout=10)
    connection.request("GET", "/metrics")
    metrics = connection.getresponse().read().decode()
    connection.close()
    assert "redis_up 1" in metrics
    assert team.password("exporter") not in metrics

    team.apply(**SMALL)
    team.wait_ready()
    assert containers() == ["redis"]
    assert ports() == {6379}


def test_a_name_that_somebody_else_has_is_not_taken(team):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "demo-redis", "namespace": team.namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    team.cluster.apply(service)
    team.apply(**SMALL)
    found = team.wait_reason("NameConflict")
    assert "Service/demo-redis" in found["message"]
    assert team.get("service", "demo-redis")["spec"]["selector"] == {"app": "theirs"}
    team.kubectl("delete", "service", "demo-redis")
    team.wait_ready()


def test_pausing_leaves_everything_alone(team):
    team.apply(**SMALL)
    team.wait_ready()
    team.apply(**SMALL, paused=True)
    eventually(lambda: team.status.get("phase") == "Paused", "the pause")
    team.kubectl("delete", "service", "demo-redis")
    team.apply(**with_config(SMALL, parameters={"hz": 50}), paused=True)
    eventually(lambda: team.condition("Ready").get("reason") == "Paused", "the pause of the new generation")
    assert not team.exists("service", "demo-redis")
    assert team.directive("hz") == "10"
    team.apply(**with_config(SMALL, parameters={"hz": 50}))
    team.wait_ready()
    assert team.exists("service", "demo-redis")
    assert team.directive("hz") == "50"


def test_passwords_that_are_lost_are_made_anew_and_reach_redis(team):
    team.apply(**PERSISTENT)
    team.wait_ready()
    team.redis().set("key", "value")
    before, pod = team.password(), team.pod_uid()
    team.kubectl("delete", "secret", "demo-redis-credentials")
    eventually(lambda: team.exists("pod", "demo-redis-0") and team.pod_uid() != pod, "the restart")
    team.wait_ready()
    assert team.password() != before
    assert team.redis().get("key") == "value"
    assert "passwords" in team.status["lastPlan"]["summary"]


def test_a_password_that_somebody_changed_is_told_and_what_to_do_helps(team):
    team.apply(**SMALL)
    team.wait_ready()
    new = base64.b64encode(b"chosen-by-hand").decode()
    patch = json.dumps({"data": {"operator-password": new, "probe-password": new}})
    team.kubectl("patch", "secret", "demo-redis-credentials", "--type=merge", "-p", patch)
    found = team.wait_reason("LoginRefused")
    assert "Delete the Pod" in found["message"]
    assert "chosen-by-hand" not in str(team.status)
    team.kubectl("delete", "pod", "demo-redis-0")
    team.wait_ready()
    assert team.password() == "chosen-by-hand"
    assert team.redis().ping()


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_deleting_leaves_nothing_but_what_is_to_be_kept(team, policy):
    team.apply(**{**PERSISTENT, "storage": {**PERSISTENT["storage"], "reclaimPolicy": policy}})
    team.wait_ready()
    team.kubectl("delete", "rhi", "demo", "--timeout=60s")
    kinds = "statefulset,pod,service,configmap,secret,serviceaccount,networkpolicy,poddisruptionbudget"
    ours = ("get", kinds, "-l", "app.kubernetes.io/managed-by=redisop", "-o", "name")
    eventually(lambda: team.kubectl(*ours).strip() == "", "the children gone")
    if policy == "Delete":
        eventually(lambda: not team.exists("pvc", "data-demo-redis-0"), "the claim gone")
    else:
        assert team.exists("pvc", "data-demo-redis-0")


def test_no_secret_is_shown(team):
    team.apply(**SMALL, monitoring={"exporter": True})
    team.wait_ready()
    passwords = [team.password(user) for user in ("operator", "probe", "exporter")]
    shown = [
        team.operator.log.read_text(),
        team.kubectl("get", "rhi,events,configmap,statefulset,pod", "-o", "json"),
        team.plan(**with_config(SMALL, memory="96Mi"))[1],
    ]
    for password in passwords:
        assert not any(password in text for text in shown)
