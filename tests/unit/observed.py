"""An instance `demo` in namespace `team`, and its objects as a cluster (1.37) shows them."""

from copy import deepcopy
from typing import Any

from redisop.api import RedisHttpInstance
from redisop.kinds import Object, Ref, ref_of
from redisop.observation import Observation
from redisop.plan import Plan

NOW = "2026-03-01T12:00:00Z"
UID = "0b6f6a2e-0000-4000-8000-000000000001"
SET_UID = "0b6f6a2e-0000-4000-8000-000000000002"
KEY = Ref("redis.kubegateway.io/v1alpha1", "RedisHttpInstance", "team", "demo")
OLD, NEW = "demo-redis-5f6d8c9b7", "demo-redis-7c4b9d6f5"


def instance(generation: int = 1, deleted: str | None = None, **spec: Any) -> RedisHttpInstance:
    metadata: Object = {"name": "demo", "namespace": "team", "uid": UID, "generation": generation}
    if deleted:
        metadata["deletionTimestamp"] = deleted
    return RedisHttpInstance.model_validate(
        {"apiVersion": KEY.api_version, "kind": KEY.kind, "metadata": metadata, "spec": spec}
    )


def persistent(**spec: Any) -> RedisHttpInstance:
    return instance(redisConfig={"persistence": True}, storage={"size": "2Gi"}, **spec)


def owned(uid: str, kind: str, name: str) -> Object:
    return {"uid": uid, "kind": kind, "name": name, "controller": True, "apiVersion": "v1"}


def template(image: str = "docker.io/library/redis:8.2", memory: str = "320Mi") -> Object:
    return {
        "metadata": {
            "labels": {"app.kubernetes.io/name": "redis", "redis.kubegateway.io/instance": "demo"},
            "annotations": {
                "redis.kubegateway.io/restart-config": "aaaa",
                "redis.kubegateway.io/template-digest": f"digest of a template with {image}",
            },
        },
        "spec": {
            "containers": [
                {
                    "name": "redis",
                    "image": image,
                    "args": ["/etc/redis/redis.conf"],
                    "ports": [{"containerPort": 6379, "name": "redis", "protocol": "TCP"}],
                    "resources": {"limits": {"memory": memory}, "requests": {"cpu": "100m", "memory": memory}},
                    "volumeMounts": [{"mountPath": "/etc/redis", "name": "config"}],
                }
            ],
            "securityContext": {"runAsUser": 999},
            "volumes": [{"name": "config", "configMap": {"name": "demo-redis-config"}}],
        },
    }


def stateful_set(revision: str = NEW, generation: int = 1, observed: int | None = None, **of_template: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": "demo-redis",
            "namespace": "team",
            "uid": SET_UID,
            "generation": generation,
            "ownerReferences": [owned(UID, "RedisHttpInstance", "demo")],
        },
        "spec": {"replicas": 1, "template": template(**of_template)},
        "status": {
            "observedGeneration": generation if observed is None else observed,
            "currentRevision": OLD,
            "updateRevision": revision,
        },
    }


def pod(revision: str = NEW, **of_template: Any) -> Object:
    """Return a Pod that serves, with what admission and the StatefulSet controller added."""
    made = template(**of_template)
    metadata = {
        **made["metadata"],
        "name": "demo-redis-0",
        "namespace": "team",
        "uid": "pod-1",
        "resourceVersion": "77",
        "ownerReferences": [owned(SET_UID, "StatefulSet", "demo-redis")],
    }
    metadata["labels"] = {
        **metadata["labels"],
        "controller-revision-hash": revision,
        "statefulset.kubernetes.io/pod-name": "demo-redis-0",
    }
    spec = {**made["spec"], "nodeName": "node-1", "hostname": "demo-redis-0", "tolerations": [{"key": "not-ready"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec,
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T11:58:00Z"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T11:59:00Z"},
            ],
            "containerStatuses": [
                {
                    "name": "redis",
                    "image": made["spec"]["containers"][0]["image"],
                    "ready": True,
                    "started": True,
                    "resources": made["spec"]["containers"][0]["resources"],
                    "restartCount": 0,
                    "state": {"running": {"startedAt": "2026-03-01T11:58:30Z"}},
                    "lastState": {},
                }
            ],
        },
    }


def unready(
    state: Object,
    *,
    since: str = "2026-03-01T11:58:00Z",
    name: str = "redis",
    revision: str = NEW,
    of_template: Object | None = None,
    **status: Any,
) -> Object:
    """Return a Pod of which one container is in `state` and keeps it from being ready."""
    made = pod(revision, **(of_template or {}))
    made["status"]["phase"] = "Running" if "running" in state else "Pending"
    made["status"]["conditions"][1].update(status="False", reason="ContainersNotReady", lastTransitionTime=since)
    container = {**made["status"]["containerStatuses"][0], "name": name, "ready": False, "state": state, **status}
    made["status"]["containerStatuses"] = [container]
    return made


def waiting(reason: str, message: str = "", **status: Any) -> Object:
    return unready({"waiting": {"reason": reason, "message": message}}, started=False, **status)


def unscheduled(message: str) -> Object:
    made = pod()
    made["spec"].pop("nodeName")
    made["status"] = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
        ],
    }
    return made


def config_map(written: str = "2026-03-01T11:57:00Z", text: str = "databases 16\n") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "demo-redis-config",
            "namespace": "team",
            "uid": "config-1",
            "ownerReferences": [owned(UID, "RedisHttpInstance", "demo")],
            "managedFields": [{"manager": "redisop", "operation": "Apply", "time": written}],
        },
        "data": {"redis.conf": text},
    }


def service(uid: str = UID) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "demo-redis",
            "namespace": "team",
            "uid": "service-1",
            "ownerReferences": [owned(uid, "RedisHttpInstance", "demo")],
        },
    }


def claim(phase: str = "Bound", capacity: str | None = "2Gi", **more: Any) -> Object:
    status: Object = {"phase": phase, **more}
    if capacity is not None:
        status["capacity"] = {"storage": capacity}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-demo-redis-0", "namespace": "team", "uid": "claim-1"},
        "spec": {
            "storageClassName": "fast",
            "volumeName": "pv-7",
            "resources": {"requests": {"storage": "2Gi"}},
        },
        "status": status,
    }


def seen(*objects: Object, **more: Any) -> Observation:
    live = {ref_of(obj): deepcopy(obj) for obj in objects}
    return Observation(live=live, plan=more.pop("plan", Plan(KEY, ())), **more)
