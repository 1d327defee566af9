"""Manifests that must be admitted or refused, with the field to blame: the same table for `parse` and for the API server."""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

API_VERSION = "redis.kubegateway.io/v1alpha1"
INSTANCE = "RedisHttpInstance"
KEY = "ApiKey"
HASH = "0123456789abcdef" * 4


class Bad(NamedTuple):
    """`field` as the server's Status names it in its causes; `says` stands in the message."""

    kind: str
    spec: dict[str, Any]
    field: str
    says: str = ""
    name: str = "bad"


def manifest(kind: str, spec: dict[str, Any], name: str = "demo") -> dict[str, Any]:
    base = {"userId": "u", "permissions": ["read"], "instanceAccess": ["*"]} if kind == KEY else {}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": base | spec}


def _instance(field: str, value: Any, says: str = "", **more: Any) -> Bad:
    """Blame spec.<field>, whose value is `value`; `more` is what else stands in the spec."""
    nested: Any = value
    for step in reversed(field.split(".")):
        nested = {step: nested}
    return Bad(INSTANCE, {**more, **nested}, f"spec.{field}", says)


def _parameter(name: str, value: Any, says: str = "") -> Bad:
    return _instance(f"redisConfig.parameters.{name}", value, says)


def _scheduling(spec: dict[str, Any], field: str, says: str = "") -> Bad:
    return Bad(INSTANCE, {"scheduling": spec}, f"spec.scheduling.{field}", says)


def _key(spec: dict[str, Any], field: str, says: str = "") -> Bad:
    return Bad(KEY, spec, f"spec.{field}", says)


def _node_terms(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def _pod_terms(kind: str, *terms: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}}


NODE = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
EXPRESSIONS = f"{NODE}[0].matchExpressions[0]"
PODS = "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}

BAD: tuple[Bad, ...] = (
    *(
        Bad(kind, {}, "metadata.name", says, name)
        for kind, says, names in (
            (INSTANCE, "RFC 1035", ("9lives", "a" * 46, "a.b")),
            (KEY, "RFC 1123", ("a" * 64, "a.b")),
        )
        for name in names
    ),
    # spec
    _instance("version", "8.2 -x"),
    _instance("version", ""),
    _instance("version", "x" * 129),
    _instance("version", 8.2),
    _instance("image", "Redis"),
    _instance("image", "redis:8\nargs: []"),
    _instance("image", "redis@sha256:12"),
    _instance("image", "redis:8", "version and image exclude each other", version="8.2"),
    _instance("paused", "yes"),
    _instance("hibernated", 1),
    # redisConfig
    _instance("redisConfig.memory", "256MB"),
    _instance("redisConfig.memory", "256"),
    _instance("redisConfig.memory", "1.5Gi"),
    _instance("redisConfig.memory", "-1Gi"),
    _instance("redisConfig.memory", "15Mi", "between 16Mi and 4096Gi"),
    _instance("redisConfig.memory", "0Gi", "between 16Mi and 4096Gi"),
    _instance("redisConfig.memory", "4097Gi", "between 16Mi and 4096Gi"),
    _instance("redisConfig.memory", "99999999999Gi"),
    _instance("redisConfig.memory", 268435456),
    _instance("redisConfig.memory", "256Mi\nrequirepass x"),
    _instance("redisConfig.maxmemoryPolicy", "allkeys-lrm"),
    _instance("redisConfig.maxmemoryPolicy", ""),
    _instance("redisConfig.persistence", "true"),
    _instance("redisConfig.appendOnly", True, "appendOnly needs persistence"),
    # redisConfig.parameters
    _parameter("maxclients", 0),
    _parameter("maxclients", 65_001),
    _parameter("maxclients", "100"),
    _parameter("timeout", -1),
    _parameter("tcpKeepalive", -1),
    _parameter("databases", 0),
    _parameter("databases", 1025),
    _parameter("hz", 0),
    _parameter("hz", 501),
    _parameter("dynamicHz", "yes"),
    _parameter("maxmemorySamples", 0),
    _parameter("maxmemoryEvictionTenacity", 101),
    _parameter("lfuLogFactor", 256),
    _parameter("lfuDecayTime", -1),
    _parameter("notifyKeyspaceEvents", "Ex\nload module"),
    _parameter("notifyKeyspaceEvents", 'Ex"'),
    _parameter("notifyKeyspaceEvents", "Ex "),
    _parameter("slowlogLogSlowerThan", -2),
    _parameter("slowlogMaxLen", 100_001),
    _parameter("latencyMonitorThreshold", -1),
    _parameter("busyReplyThreshold", 3_600_001),
    _parameter("hashMaxListpackEntries", -1),
    _parameter("listMaxListpackSize", -6),
    _parameter("listCompressDepth", -1),
    _parameter("appendfsync", "sometimes"),
    _parameter("appendfsync", False),
    _parameter("autoAofRewritePercentage", 1001),
    # storage
    _instance("storage.size", "0Gi"),
    _instance("storage.size", "1G"),
    _instance("storage.size", "1.5Gi"),
    _instance("storage.size", 1073741824),
    _instance(
        "storage.size", "512Mi", "at least redisConfig.memory", redisConfig={"persistence": True, "memory": "1Gi"}
    ),
    Bad(
        INSTANCE,
        {"redisConfig": {"persistence": True, "memory": "2Gi"}},
        "spec.storage.size",
        "at least redisConfig.memory",
    ),
    _instance("storage.storageClassName", "Fast"),
    _instance("storage.storageClassName", ""),
    _instance("storage.reclaimPolicy", "Recycle"),
    # resources
    _instance("resources.requests.cpu", "1.5555"),
    _instance("resources.requests.cpu", "-1"),
    _instance("resources.requests.cpu", -1),
    _instance("resources.requests.cpu", 10_000),
    _instance("resources.requests.cpu", 0.5),
    _instance("resources.requests.memory", "1G"),
    _instance("resources.limits.cpu", "x"),
    Bad(
        INSTANCE,
        {"resources": {"requests": {"cpu": "1001m"}, "limits": {"cpu": 1}}},
        "spec.resources.requests.cpu",
        "limits.cpu",
    ),
    # networking
    _instance("networking.subdomain", "a.b"),
    _instance("networking.subdomain", "-a"),
    _instance("networking.subdomain", "A"),
    _instance("networking.subdomain", ""),
    _instance("networking.subdomain", "a" * 64),
    Bad(INSTANCE, {"networking": {"allowedNamespaces": ["a", "*"]}}, "spec.networking.allowedNamespaces[1]"),
    Bad(INSTANCE, {"networking": {"allowedNamespaces": ["a", "b", "a"]}}, "spec.networking.allowedNamespaces[2]"),
    Bad(
        INSTANCE,
        {"networking": {"allowedNamespaces": [f"n{i}" for i in range(65)]}},
        "spec.networking.allowedNamespaces",
    ),
    # monitoring
    _instance("monitoring.exporter", "on"),
    # scheduling
    _scheduling({"nodeSelector": {"a b": "c"}}, "nodeSelector", "keys must be label keys"),
    _scheduling({"nodeSelector": {"A/b": "c"}}, "nodeSelector", "keys must be label keys"),
    _scheduling({"nodeSelector": {"a": "b c"}}, "nodeSelector.a"),
    _scheduling({"nodeSelector": {"a": 1}}, "nodeSelector.a"),
    _scheduling({"nodeSelector": {"a": "b" * 64}}, "nodeSelector.a"),
    _scheduling({"nodeSelector": {f"k{i}": "" for i in range(33)}}, "nodeSelector"),
    _scheduling({"tolerations": [{"value": "a"}]}, "tolerations[0].operator", "Exists when key is left out"),
    _scheduling({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "tolerations[0].value"),
    _scheduling({"tolerations": [{"key": "a", "operator": "In"}]}, "tolerations[0].operator"),
    _scheduling({"tolerations": [{"key": "a", "effect": "Evict"}]}, "tolerations[0].effect"),
    _scheduling({"tolerations": [{"key": "a", "tolerationSeconds": 5}]}, "tolerations[0].effect", "NoExecute"),
    _scheduling({"tolerations": [{"key": "a"}] * 17}, "tolerations"),
    _scheduling(_node_terms({"key": "a", "operator": "In"}), f"{EXPRESSIONS}.values", "at least one"),
    _scheduling(_node_terms({"key": "a", "operator": "In", "values": []}), f"{EXPRESSIONS}.values", "at least one"),
    _scheduling(_node_terms({"key": "a", "operator": "Exists", "values": ["b"]}), f"{EXPRESSIONS}.values"),
    _scheduling(_node_terms({"key": "a", "operator": "Gt", "values": ["b"]}), f"{EXPRESSIONS}.values", "one integer"),
    _scheduling(_node_terms({"key": "a", "operator": "Lt", "values": ["1", "2"]}), f"{EXPRESSIONS}.values"),
    _scheduling(_node_terms({"operator": "Exists"}), f"{EXPRESSIONS}.key"),
    _scheduling(
        {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}},
        NODE,
    ),
    _scheduling(_pod_terms("podAffinity", {"labelSelector": {}}), f"{PODS}.topologyKey"),
    _scheduling(
        _pod_terms("podAffinity", {"topologyKey": "z", "labelSelector": {"matchLabels": {"a": "?"}}}),
        f"{PODS}.labelSelector.matchLabels.a",
    ),
    _scheduling(
        _pod_terms(
            "podAffinity",
            {
                "topologyKey": "z",
                "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            },
        ),
        f"{PODS}.labelSelector.matchExpressions[0].values",
    ),
    _scheduling({"topologySpreadConstraints": [SPREAD | {"maxSkew": 0}]}, "topologySpreadConstraints[0].maxSkew"),
    _scheduling(
        {"topologySpreadConstraints": [SPREAD | {"minDomains": 2}]},
        "topologySpreadConstraints[0].minDomains",
        "DoNotSchedule",
    ),
    _scheduling({"topologySpreadConstraints": [SPREAD, SPREAD | {"maxSkew": 2}]}, "topologySpreadConstraints[1]"),
    _scheduling({"priorityClassName": "High"}, "priorityClassName"),
    # ApiKey
    _key({"userId": ""}, "userId"),
    _key({"userId": "a b"}, "userId"),
    _key({"userId": "a\n"}, "userId"),
    _key({"userId": "a" * 129}, "userId"),
    _key({"permissions": []}, "permissions"),
    _key({"permissions": ["own"]}, "permissions[0]"),
    _key({"permissions": ["read", "read"]}, "permissions[1]"),
    _key({"permissions": "read"}, "permissions"),
    _key({"instanceAccess": []}, "instanceAccess"),
    _key({"instanceAccess": ["a", "*"]}, "instanceAccess", "must stand alone"),
    _key({"instanceAccess": ["a", "a"]}, "instanceAccess[1]"),
    _key({"instanceAccess": ["other/a"]}, "instanceAccess[0]"),
    _key({"instanceAccess": ["a" * 46]}, "instanceAccess[0]"),
    _key({"expiresAt": "tomorrow"}, "expiresAt"),
    _key({"expiresAt": "2030-01-01"}, "expiresAt"),
    _key({"expiresAt": "2030-01-01T00:00:00"}, "expiresAt"),
    _key({"expiresAt": "2030-13-01T00:00:00Z"}, "expiresAt", "a moment that exists"),
    _key({"expiresAt": "2030-02-30T00:00:00Z"}, "expiresAt", "a moment that exists"),
    _key({"expiresAt": "1999-12-31T23:59:59Z"}, "expiresAt", "not before the year 2000"),
    _key({"expiresAt": "2030-01-01T24:00:00Z"}, "expiresAt"),
    _key({"expiresAt": []}, "expiresAt"),
    _key({"expiresAt": ["2030-01-01T00:00:00Z"]}, "expiresAt"),
    _key({"expiresAt": "2030-01-01T00:00:00Z", "ttl": "1h"}, "ttl", "exclude each other"),
    _key({"ttl": "1d"}, "ttl"),
    _key({"ttl": "1h "}, "ttl"),
    _key({"ttl": "59s"}, "ttl", "between 1m and 87600h"),
    _key({"ttl": "87600h1s"}, "ttl", "between 1m and 87600h"),
    _key({"ttl": 3600}, "ttl"),
    _key({"keyPatterns": []}, "keyPatterns"),
    _key({"keyPatterns": ["a", "a b"]}, "keyPatterns[1]"),
    _key({"keyPatterns": ["a\n+@all"]}, "keyPatterns[0]"),
    _key({"keyPatterns": [""]}, "keyPatterns[0]"),
    _key({"keyPatterns": ["é"]}, "keyPatterns[0]"),
    _key({"keyPatterns": ["a" * 257]}, "keyPatterns[0]"),
    _key({"channelPatterns": ["a\tb"]}, "channelPatterns[0]"),
    _key({"rotation": {"interval": "1h"}}, "rotation.overlap", "shorter than interval"),
    _key({"rotation": {"interval": "30s", "overlap": "1s"}}, "rotation.interval", "between 1m"),
    _key({"rotation": {"overlap": "99999h"}}, "rotation.overlap", "at most"),
    _key({"rotation": {"trigger": ""}}, "rotation.trigger"),
    _key({"revoked": "yes"}, "revoked"),
    _key({"secretName": "A"}, "secretName"),
    _key({"secretName": "a/b"}, "secretName"),
    _key({"onSecretLoss": "Ignore"}, "onSecretLoss"),
)

UNKNOWN: tuple[Bad, ...] = (
    *(
        _instance(field, {"x": 1})
        for field in (
            "podTemplate",
            "command",
            "serviceAccountName",
            "hostPath",
            "redisConfig.loadmodule",
            "redisConfig.parameters.requirepass",
            "redisConfig.parameters.save",
            "resources.limits.memory",
            "scheduling.nodeName",
            "networking.namespace",
        )
    ),
    _scheduling(_pod_terms("podAffinity", {"topologyKey": "z", "namespaces": ["other"]}), f"{PODS}.namespaces"),
    _scheduling(_pod_terms("podAffinity", {"topologyKey": "z", "namespaceSelector": {}}), f"{PODS}.namespaceSelector"),
    _scheduling({"tolerations": [{"key": "a", "hostPath": "/"}]}, "tolerations[0].hostPath"),
    _instance("redisConfig.loadmodule", None),
    _key({"plaintext": "x"}, "plaintext"),
)

_SELECTOR = {
    "matchLabels": {"app.kubernetes.io/name": "redis", "empty": ""},
    "matchExpressions": [
        {"key": "a", "operator": "In", "values": ["b", "c"]},
        {"key": "d", "operator": "DoesNotExist"},
    ],
}
_POD_TERM = {"topologyKey": "kubernetes.io/hostname", "labelSelector": _SELECTOR}
_POD_AFFINITY = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_POD_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": _POD_TERM}],
}
_NODE_TERM = {
    "matchExpressions": [
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]},
        {"key": "cores", "operator": "Gt", "values": ["4"]},
        {"key": "gpu", "operator": "DoesNotExist"},
    ],
    "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-1.example"]}],
}

WHOLE_INSTANCE: dict[str, Any] = {
    "version": "8.2-alpine",
    "redisConfig": {
        "memory": "2Gi",
        "maxmemoryPolicy": "allkeys-lfu",
        "persistence": True,
        "appendOnly": True,
        "parameters": {
            "maxclients": 1000,
            "timeout": 300,
            "tcpKeepalive": 60,
            "databases": 1,
            "hz": 20,
            "dynamicHz": False,
            "maxmemorySamples": 10,
            "maxmemoryEvictionTenacity": 50,
            "lfuLogFactor": 5,
            "lfuDecayTime": 2,
            "lazyfreeLazyEviction": True,
            "lazyfreeLazyExpire": True,
            "lazyfreeLazyServerDel": True,
            "lazyfreeLazyUserDel": True,
            "lazyfreeLazyUserFlush": True,
            "notifyKeyspaceEvents": "KEA$",
            "slowlogLogSlowerThan": -1,
            "slowlogMaxLen": 256,
            "latencyMonitorThreshold": 100,
            "busyReplyThreshold": 2000,
            "activerehashing": True,
            "hashMaxListpackEntries": 256,
            "hashMaxListpackValue": 32,
            "listMaxListpackSize": -5,
            "listCompressDepth": 1,
            "setMaxIntsetEntries": 256,
            "zsetMaxListpackEntries": 64,
            "zsetMaxListpackValue": 32,
            "streamNodeMaxEntries": 50,
            "appendfsync": "no",
            "autoAofRewritePercentage": 200,
            "rdbcompression": False,
        },
    },
    "storage": {"size": "10Gi", "storageClassName": "fast.ssd", "reclaimPolicy": "Delete"},
    "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 2}},
    "networking": {"subdomain": "shop", "allowedNamespaces": ["shop", "0-tools"]},
    "scheduling": {
        "nodeSelector": {"kubernetes.io/os": "linux", "disk": ""},
        "tolerations": [
            {"operator": "Exists"},
            {
                "key": "example.com/spot",
                "operator": "Equal",
                "value": "yes",
                "effect": "NoExecute",
                "tolerationSeconds": 60,
            },
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_NODE_TERM]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _NODE_TERM}],
            },
            "podAffinity": _POD_AFFINITY,
            "podAntiAffinity": _POD_AFFINITY,
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": _SELECTOR,
                "minDomains": 2,
                "nodeAffinityPolicy": "Honor",
                "nodeTaintsPolicy": "Ignore",
            },
            {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ],
        "priorityClassName": "high",
    },
    "monitoring": {"exporter": True},
    "paused": True,
    "hibernated": True,
}

WHOLE_KEY: dict[str, Any] = {
    "userId": "auth0|user_1@example.com",
    "permissions": ["read", "write", "admin"],
    "instanceAccess": ["demo", "cache-2"],
    "expiresAt": "2036-01-01T00:00:00.5+02:00",
    "keyPatterns": ["app:*", "\"'\\{h?llo}[^e]"],
    "channelPatterns": ["news.*"],
    "rotation": {"interval": "720h", "overlap": "1h30m", "trigger": "2026-01-01"},
    "revoked": True,
    "secretName": "my.secret",
    "onSecretLoss": "Fail",
}

GOOD: tuple[tuple[str, dict[str, Any]], ...] = (
    (INSTANCE, {}),
    (INSTANCE, WHOLE_INSTANCE),
    (INSTANCE, {"image": "registry.example:5000/team/redis_x/img:8.2@sha256:" + HASH}),
    (INSTANCE, {"image": "redis"}),
    (INSTANCE, {"version": "7.0.15"}),
    (INSTANCE, {"redisConfig": {"memory": "16Mi"}}),
    (INSTANCE, {"redisConfig": {"memory": "4096Gi"}}),
    (INSTANCE, {"redisConfig": {"persistence": True, "memory": "1024Mi"}}),
    (INSTANCE, {"redisConfig": {"persistence": True, "memory": "1Gi"}, "storage": {"size": "1024Mi"}}),
    (INSTANCE, {"redisConfig": {"memory": "8Gi"}, "storage": {"size": "1Gi"}}),
    (INSTANCE, {"redisConfig": {"parameters": {"notifyKeyspaceEvents": ""}}}),
    (INSTANCE, {"storage": {}}),
    (INSTANCE, {"storage": None, "redisConfig": {"memory": None}}),
    (INSTANCE, {"resources": {"requests": {"cpu": "1000m"}, "limits": {"cpu": 1}}}),
    (INSTANCE, {"resources": {"requests": {"cpu": "0.25"}, "limits": {"cpu": "250m"}}}),
    (INSTANCE, {"resources": {"requests": {"cpu": 0}}}),
    (INSTANCE, {"networking": {"subdomain": "a" * 63, "allowedNamespaces": []}}),
    (INSTANCE, {"redisConfig": {"parameters": {"hz": 5.0}}}),
    (INSTANCE, {"scheduling": {"nodeSelector": {"a": None, "b": "c"}}}),
    (INSTANCE, {"scheduling": {"affinity": {"podAffinity": {}}, "tolerations": []}}),
    (INSTANCE, {"scheduling": {"nodeSelector": {"a" * 63: "b", "x.y/" + "Z_1" * 21: "c" * 63}}}),
    (KEY, {}),
    (KEY, WHOLE_KEY),
    (KEY, {"ttl": "1m"}),
    (KEY, {"ttl": "87600h"}),
    (KEY, {"ttl": "1h1h1h"}),
    (KEY, {"expiresAt": "2000-02-29T23:59:59Z"}),
    (KEY, {"rotation": {}}),
    (KEY, {"rotation": {"interval": "2m", "overlap": "0s"}}),
)

WHOLE_INSTANCE_STATUS: dict[str, Any] = {
    "phase": "Running",
    "observedGeneration": 3,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "AllReady",
            "message": "Redis answers",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 3,
        },
        {
            "type": "Progressing",
            "status": "False",
            "reason": "Stable",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        },
    ],
    "endpoint": {"http": "https://shop.redis.example", "redis": "demo-redis.ns.svc:6379"},
    "redisVersion": "8.2.1",
    "readyReplicas": 1,
    "storage": {"requested": "10Gi", "actual": "10Gi"},
    "lastPlan": {"time": "2026-01-01T00:00:00Z", "summary": "1 to apply"},
}

WHOLE_KEY_STATUS: dict[str, Any] = {
    "phase": "Active",
    "observedGeneration": 1,
    "conditions": WHOLE_INSTANCE_STATUS["conditions"],
    "keyId": "0123456789",
    "keyHash": HASH,
    "createdAt": "2026-01-01T00:00:00Z",
    "expiresAt": "2036-01-01T00:00:00Z",
    "lastUsed": "2026-01-02T00:00:00.123456Z",
    "secretRef": {"name": "a-redis"},
    "generations": [
        {"keyId": "0123456789", "hash": HASH, "notAfter": "2036-01-01T00:00:00Z"},
        {"keyId": "abcdefghij", "hash": HASH},
    ],
    "instances": [{"name": "demo", "applied": True}, {"name": "cache-2", "applied": False, "message": "not ready"}],
}

NASTY: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        5.0,
        1.5,
        2**31,
        2**63,
        [],
        {},
        ["a"],
        ["a", "a"],
        [1],
        [None],
        {"a": 1},
        {"a": None},
    ),
    *(
        "",
        "a",
        "A",
        "a\n",
        "\n",
        "\x85",
        "\x00",
        "é",
        "a b",
        '"',
        "'",
        "\\",
        "*",
        "-",
        "a.",
        "a..b",
        "a_b",
        "a:b",
        "a@b",
    ),
    *("0", "1", "0.5", "8.2", "1e3", "1Gi", "00016Mi", "16Mi", "10000m", "9999999m", "9999.999", "Exists", "In"),
    *("1h", "1m", "0s", "-1h", "99999h", "99999h99999h", "x" * 64, "x" * 254, "x" * 1100),
    *(f"2030-{rest}" for rest in ("01-01T00:00:00Z", "12-31T23:59:60Z", "01-01T00:00:00+24:00", "01-01t00:00:00z")),
    "0000-01-01T00:00:00Z",
)
"""Values that some field somewhere admits, and values that none should."""


def mutated(spec: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return a copy of the spec with one value removed, given twice, or replaced by a nasty one."""
    # By way of text, so that parts that several places share become several.
    changed: dict[str, Any] = json.loads(json.dumps(spec))
    holder, key = random.choice(list(_places(changed)))
    dice = random.random()
    if dice < 0.2:
        del holder[key]
    elif dice < 0.3 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[key] = copy.deepcopy(random.choice(NASTY))
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(item)
