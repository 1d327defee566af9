"""Random manifests of every kind redisop writes, and of one whose schema has every kind of list and map."""

import base64
import random
from collections.abc import Callable
from typing import Any

from redisop.kinds import INSTANCE

Manifest = dict[str, Any]
Random = random.Random

GROUP = "oracle.test"
SAMPLE_CRD: Manifest = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"samples.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "samples", "singular": "sample", "kind": "Sample", "listKind": "SampleList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {}}},
            }
        ],
    },
}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_ITEM = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _TEXT,
        "value": _TEXT,
        "defaulted": {"type": "string", "default": "d"},
        "tags": {**_TEXTS, "x-kubernetes-list-type": "set"},
        "inner": {"type": "object", "additionalProperties": _TEXT},
    },
}
_ITEMS = {"type": "array", "items": _ITEM, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
_BODY = {
    "type": "object",
    "properties": {
        "text": _TEXT,
        "number": {"type": "number"},
        "count": {"type": "integer"},
        "flag": {"type": "boolean"},
        "either": {"x-kubernetes-int-or-string": True},
        "set": {**_TEXTS, "x-kubernetes-list-type": "set"},
        "numbers": {"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "set"},
        "atomicList": {"type": "array", "items": _ITEM},
        "atomicMap": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": _TEXT},
        "map": {"type": "object", "additionalProperties": _TEXT},
        "objects": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"a": _TEXT, "b": {"type": "integer"}}},
        },
        "items": _ITEMS,
        "pairs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["port", "protocol"],
                "properties": {"port": {"type": "integer"}, "protocol": _TEXT, "label": _TEXT, "more": _ITEMS},
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
        },
    },
}
SAMPLE_CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = {"spec": _BODY, "status": _BODY}

NAMES = ("alpha", "beta", "gamma", "delta")
TEXTS = ("x", "y", "7", "true", "", "é\u2028", "a b", 'q"q', "-")


def some(rng: Random, values: tuple[Any, ...], most: int = 3) -> list[Any]:
    return rng.sample(values, rng.randint(0, min(most, len(values))))


def maybe(rng: Random, chance: float = 0.6) -> bool:
    return rng.random() < chance


def texts(rng: Random, names: tuple[str, ...] = NAMES, values: tuple[str, ...] = TEXTS) -> dict[str, str]:
    return {name: rng.choice(values) for name in some(rng, names)}


def label_values(rng: Random) -> dict[str, str]:
    return texts(rng, ("app", "tier", "example.com/team"), ("x", "y", "7", ""))


def optional(rng: Random, **makers: Callable[[], Any]) -> dict[str, Any]:
    """Return a random part of what the makers make; an empty value is kept sometimes."""
    made = {name: make() for name, make in makers.items() if maybe(rng)}
    return {name: value for name, value in made.items() if value not in ({}, []) or maybe(rng, 0.15)}


def config_map(rng: Random) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        **optional(
            rng,
            data=lambda: texts(rng, ("redis.conf", "a", "b", "c"), ("maxmemory 1\nsave 60 1\n", *TEXTS)),
            binaryData=lambda: {name: base64.b64encode(rng.randbytes(4)).decode() for name in some(rng, ("x", "y"))},
        ),
    }


def secret(rng: Random) -> Manifest:
    data = {name: base64.b64encode(rng.randbytes(8)).decode() for name in some(rng, ("operator", "probe", "exporter"))}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        **({"data": data} if data or maybe(rng, 0.3) else {}),
    }


def service(rng: Random) -> Manifest:
    ports = [
        {
            "port": port,
            "protocol": protocol,
            "name": f"p{port}{protocol.lower()}",
            **optional(rng, targetPort=lambda: rng.choice([6379, "redis"]), appProtocol=lambda: "redis"),
        }
        for port, protocol in (some(rng, ((6379, "TCP"), (9121, "TCP"), (6379, "UDP"))) or [(6379, "TCP")])
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {
            "ports": ports,
            "selector": {"app": "redis", **texts(rng, ("tier",), ("x", "y"))},
            **rng.choice([{"type": "ClusterIP"}, {"clusterIP": "None"}, {}]),
            **optional(
                rng,
                publishNotReadyAddresses=lambda: maybe(rng),
                internalTrafficPolicy=lambda: rng.choice(["Cluster", "Local"]),
                sessionAffinity=lambda: rng.choice(["None", "ClientIP"]),
            ),
        },
    }


def service_account(rng: Random) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        **optional(
            rng,
            automountServiceAccountToken=lambda: maybe(rng),
            imagePullSecrets=lambda: [{"name": name} for name in some(rng, NAMES)],
            secrets=lambda: [{"name": name} for name in some(rng, NAMES)],
        ),
    }


def network_policy(rng: Random) -> Manifest:
    def peer() -> Manifest:
        return rng.choice(
            [
                {"podSelector": {"matchLabels": {"app": "gateway"}}},
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": rng.choice(NAMES)}}},
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                {"podSelector": {}},
            ]
        )

    def rule(side: str) -> Manifest:
        return optional(
            rng,
            ports=lambda: [{"protocol": "TCP", "port": rng.choice([6379, "redis"])}],
            **{side: lambda: [peer() for _ in range(rng.randint(0, 2))]},
        )

    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {
            "podSelector": rng.choice([{}, {"matchLabels": {"app": "redis"}}]),
            "policyTypes": rng.choice([["Ingress"], ["Ingress", "Egress"]]),
            **optional(
                rng,
                ingress=lambda: [rule("from") for _ in range(rng.randint(0, 2))],
                egress=lambda: [rule("to") for _ in range(rng.randint(0, 1))],
            ),
        },
    }


def disruption_budget(rng: Random) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "spec": {
            rng.choice(["maxUnavailable", "minAvailable"]): rng.choice([1, "50%"]),
            "selector": {"matchLabels": {"app": rng.choice(NAMES)}},
            **optional(rng, unhealthyPodEvictionPolicy=lambda: rng.choice(["AlwaysAllow", "IfHealthyBudget"])),
        },
    }


def claim(rng: Random) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": rng.choice(["1Gi", "2Gi", "512Mi"])}},
            "storageClassName": "none",
            **optional(rng, volumeMode=lambda: "Filesystem"),
        },
    }


def container(rng: Random, name: str) -> Manifest:
    def env() -> list[Manifest]:
        return [
            rng.choice(
                [
                    {"name": name.upper(), "value": rng.choice(TEXTS)},
                    {"name": name.upper(), "valueFrom": {"secretKeyRef": {"name": "s", "key": rng.choice(NAMES)}}},
                    {
                        "name": name.upper(),
                        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
                    },
                ]
            )
            for name in some(rng, NAMES)
        ]

    def ports() -> list[Manifest]:
        return [
            {"containerPort": port, "protocol": protocol, "name": f"p{port}{protocol.lower()}"}
            for port, protocol in some(rng, ((6379, "TCP"), (6379, "UDP"), (9121, "TCP")))
        ]

    return {
        "name": name,
        "image": f"redis:{rng.randint(6, 8)}",
        **optional(
            rng,
            args=lambda: some(rng, TEXTS),
            env=env,
            ports=ports,
            resources=lambda: {
                "limits": {"memory": rng.choice(["1Gi", "512Mi"])},
                "requests": {"cpu": rng.choice(["100m", "1"])},
            },
            readinessProbe=lambda: {"exec": {"command": ["true"]}, "periodSeconds": rng.randint(1, 5)},
            securityContext=lambda: {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": maybe(rng),
            },
            volumeMounts=lambda: [
                {"name": "data", "mountPath": "/" + path, **optional(rng, readOnly=lambda: maybe(rng))}
                for path in some(rng, NAMES)
            ],
        ),
    }


def stateful_set(rng: Random) -> Manifest:
    volumes = [
        {"name": "data", "emptyDir": rng.choice([{}, {}, {"medium": "Memory"}])},
        *some(
            rng,
            (
                {"name": "config", "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]}},
                {"name": "secret", "secret": {"secretName": "s", "defaultMode": 288}},
                {
                    "name": "token",
                    "projected": {
                        "sources": [
                            {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
                            {
                                "downwardAPI": {
                                    "items": [
                                        {"path": "p", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}
                                    ]
                                }
                            },
                        ]
                    },
                },
            ),
        ),
    ]
    spread = {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "redis"}}}
    pod = {
        "containers": [container(rng, name) for name in ["redis", *some(rng, ("exporter", "sidecar"))]],
        "volumes": volumes,
        **optional(
            rng,
            nodeSelector=lambda: label_values(rng),
            terminationGracePeriodSeconds=lambda: rng.randint(1, 60),
            tolerations=lambda: [{"key": name, "operator": "Exists"} for name in some(rng, NAMES)],
            topologySpreadConstraints=lambda: [{**spread, "topologyKey": key} for key in some(rng, ("zone", "host"))],
            imagePullSecrets=lambda: [{"name": name} for name in some(rng, NAMES)],
            securityContext=lambda: {"runAsNonRoot": True, "fsGroup": rng.randint(1, 9)},
            affinity=lambda: {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": rng.randint(1, 100),
                            "podAffinityTerm": {"topologyKey": "host", "labelSelector": {"matchLabels": {"app": "x"}}},
                        }
                    ]
                }
            },
        ),
    }
    template = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "disk"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": rng.choice(["1Gi", "2Gi"])}},
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Pending"},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "spec": {
            "replicas": 0,
            "serviceName": "headless",
            "selector": {"matchLabels": {"app": "redis"}},
            "template": {
                "metadata": {
                    "labels": {"app": "redis", **label_values(rng)},
                    **optional(rng, annotations=lambda: texts(rng)),
                },
                "spec": pod,
            },
            **optional(
                rng,
                updateStrategy=lambda: {"type": "OnDelete"},
                minReadySeconds=lambda: rng.randint(0, 3),
                volumeClaimTemplates=lambda: [template],
                persistentVolumeClaimRetentionPolicy=lambda: {"whenDeleted": "Delete", "whenScaled": "Retain"},
            ),
        },
    }


def body(rng: Random) -> dict[str, Any]:
    def items() -> list[Manifest]:
        return [
            {
                "name": name,
                **optional(
                    rng,
                    value=lambda: rng.choice(TEXTS),
                    defaulted=lambda: rng.choice(["d", "e"]),
                    tags=lambda: some(rng, NAMES),
                    inner=lambda: texts(rng),
                ),
            }
            for name in some(rng, NAMES)
        ]

    def pairs() -> list[Manifest]:
        return [
            {"port": port, "protocol": protocol, **optional(rng, label=lambda: rng.choice(TEXTS), more=items)}
            for port, protocol in some(rng, ((1, "TCP"), (1, "UDP"), (2, "TCP")))
        ]

    return optional(
        rng,
        text=lambda: rng.choice(TEXTS),
        number=lambda: rng.choice([1, 1.5, 0, -2]),
        count=lambda: rng.randint(0, 3),
        flag=lambda: maybe(rng),
        either=lambda: rng.choice([1, "1", "50%"]),
        set=lambda: some(rng, NAMES),
        numbers=lambda: some(rng, (1, 2, 3)),
        atomicList=items,
        atomicMap=lambda: texts(rng),
        map=lambda: texts(rng),
        objects=lambda: {
            name: optional(rng, a=lambda: rng.choice(TEXTS), b=lambda: rng.randint(0, 2)) for name in some(rng, NAMES)
        },
        items=items,
        pairs=pairs,
    )


def sample(rng: Random) -> Manifest:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Sample", "spec": body(rng)}


def sample_status(rng: Random) -> Manifest:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Sample", "status": body(rng)}


def instance_status(rng: Random) -> Manifest:
    """Return a status of ours, in the schema of ours."""
    when = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")

    def conditions() -> list[Manifest]:
        return [
            {
                "type": name,
                "status": rng.choice(["True", "False", "Unknown"]),
                "reason": rng.choice(["Fine", "NotFine"]),
                "message": rng.choice(TEXTS),
                "lastTransitionTime": rng.choice(when),
                "observedGeneration": rng.randint(1, 2),
            }
            for name in some(rng, ("Ready", "Progressing", "Degraded", "StorageReady"), 4)
        ]

    status = optional(
        rng,
        phase=lambda: rng.choice(["Pending", "Running"]),
        observedGeneration=lambda: rng.randint(1, 2),
        conditions=conditions,
        endpoint=lambda: optional(rng, http=lambda: "http://x", redis=lambda: rng.choice(["a:1", "b:1"])),
        readyReplicas=lambda: rng.randint(0, 1),
        storage=lambda: {"requested": "1Gi", "actual": rng.choice(["1Gi", "2Gi"])},
        lastPlan=lambda: {"time": rng.choice(when), "summary": rng.choice(TEXTS)},
    )
    return {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.name, "status": status}


MAKERS: dict[str, tuple[Callable[[Random], Manifest], str, str | None]] = {
    "ConfigMap": (config_map, "/api/v1/namespaces/{}/configmaps/", None),
    "Secret": (secret, "/api/v1/namespaces/{}/secrets/", None),
    "Service": (service, "/api/v1/namespaces/{}/services/", None),
    "ServiceAccount": (service_account, "/api/v1/namespaces/{}/serviceaccounts/", None),
    "StatefulSet": (stateful_set, "/apis/apps/v1/namespaces/{}/statefulsets/", None),
    "NetworkPolicy": (network_policy, "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies/", None),
    "PodDisruptionBudget": (disruption_budget, "/apis/policy/v1/namespaces/{}/poddisruptionbudgets/", None),
    "PersistentVolumeClaim": (claim, "/api/v1/namespaces/{}/persistentvolumeclaims/", None),
    "Sample": (sample, f"/apis/{GROUP}/v1/namespaces/{{}}/samples/", None),
    "RedisHttpInstance/status": (
        instance_status,
        f"/apis/{INSTANCE.api_version}/namespaces/{{}}/{INSTANCE.plural}/",
        "status",
    ),
    "Sample/status": (sample_status, f"/apis/{GROUP}/v1/namespaces/{{}}/samples/", "status"),
}
"""By kind: what makes a manifest, the URL path of its collection, the subresource."""


def named(rng: Random, manifest: Manifest, name: str, owner: Manifest, *, bare: bool) -> Manifest:
    """Return `manifest` with metadata; a status carries none but its name."""
    metadata: dict[str, Any] = {"name": name}
    if not bare:
        metadata["annotations"] = {"ours": "as wanted", **texts(rng)}
        metadata |= optional(
            rng,
            labels=lambda: label_values(rng),
            finalizers=lambda: [f"oracle.test/{name}" for name in some(rng, NAMES)],
        )
        if maybe(rng):
            metadata["ownerReferences"] = [owner]
    return {**manifest, "metadata": metadata}
