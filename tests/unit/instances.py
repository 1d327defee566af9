"""Representative instances and the cluster state their manifests are built from."""

import base64
from collections.abc import Mapping
from typing import Any

from redisop.api import RedisHttpInstance
from redisop.kinds import INSTANCE, SECRET, Object, Ref, ref_of
from redisop.settings import Settings

UID = "11111111-2222-3333-4444-555555555555"
SECRET_UID = "66666666-7777-8888-9999-000000000000"
NAMESPACE = "team-a"
SETTINGS = Settings(
    image_allow_list=("registry.example/team/",), operator_namespace="redisop-system", gateway_namespace="gateway"
)

SPECS: Mapping[str, dict[str, Any]] = {
    "minimal": {},
    "persistent": {
        "version": "7.4",
        "redisConfig": {"memory": "1Gi", "persistence": True},
        "storage": {"size": "10240Mi", "storageClassName": "fast", "reclaimPolicy": "Delete"},
    },
    "appendonly": {
        "redisConfig": {
            "memory": "300Mi",
            "maxmemoryPolicy": "volatile-ttl",
            "persistence": True,
            "appendOnly": True,
            "parameters": {"databases": 4, "appendfsync": "always", "notifyKeyspaceEvents": "Ex", "dynamicHz": False},
        },
        "resources": {"requests": {"cpu": "1000m", "memory": "2Gi"}, "limits": {"cpu": "1.5"}},
    },
    "exporter": {
        "monitoring": {"exporter": True},
        "networking": {"subdomain": "cache", "allowedNamespaces": ["web", "batch", "gateway"]},
    },
    "hibernated": {"hibernated": True, "redisConfig": {"persistence": True}},
    "scheduled": {
        "image": "registry.example/team/redis:8.2-hardened",
        "scheduling": {
            "nodeSelector": {"disk": "ssd", "spot": ""},
            "tolerations": [
                {"key": "dedicated", "operator": "Equal", "value": "redis", "effect": "NoSchedule"},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
            ],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
                        ]
                    }
                },
                "podAffinity": {},
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 100,
                            "podAffinityTerm": {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {
                                    "matchLabels": {"app.kubernetes.io/name": "redis"},
                                    "matchExpressions": [],
                                },
                            },
                        }
                    ]
                },
            },
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {},
                    "minDomains": 2,
                    "nodeTaintsPolicy": "Honor",
                }
            ],
            "priorityClassName": "important",
        },
    },
}
"""Spec by name of the instance."""


def resource(name: str, spec: Mapping[str, Any] | None = None, **metadata: Any) -> Object:
    """Return the custom resource `name` with its spec of SPECS, or another, and more metadata."""
    return {
        "apiVersion": INSTANCE.api_version,
        "kind": INSTANCE.name,
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": UID, "generation": 1, **metadata},
        "spec": SPECS[name] if spec is None else spec,
    }


def instance(name: str, spec: Mapping[str, Any] | None = None, **metadata: Any) -> RedisHttpInstance:
    """Return the same as a model."""
    return RedisHttpInstance.model_validate(resource(name, spec, **metadata))


def credentials(name: str, users: tuple[str, ...] = ("operator", "probe", "exporter"), owner: str = UID) -> Object:
    """Return the live Secret of an instance's passwords."""
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "metadata": {
            "name": f"{name}-redis-credentials",
            "namespace": NAMESPACE,
            "uid": SECRET_UID,
            "ownerReferences": [
                {
                    "apiVersion": INSTANCE.api_version,
                    "kind": INSTANCE.name,
                    "name": name,
                    "uid": owner,
                    "controller": True,
                }
            ],
        },
        "type": "Opaque",
        "data": {f"{user}-password": base64.b64encode(f"planted-{user}".encode()).decode() for user in users},
    }


def live(*objects: Object) -> dict[Ref, Object]:
    """Return the objects by Ref."""
    return {ref_of(obj): obj for obj in objects}
