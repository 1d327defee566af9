"""The Pod template: Redis, and the exporter beside it. It keeps to the `restricted` Pod Security Standard."""

import json
from hashlib import sha256

from redisop.api import InstanceSpec, RedisHttpInstance
from redisop.kinds import GROUP, Object
from redisop.manifests import credentials, resources, scheduling
from redisop.manifests.image import image
from redisop.manifests.names import VOLUME, Names
from redisop.manifests.scripts import CONFIG_DIR, PROBE_DIR
from redisop.manifests.services import EXPORTER_PORT
from redisop.redisconf import ACL_FILE, DATA_DIR, PORT, directives, restart_digest
from redisop.settings import Settings

RESTART_CONFIG = f"{GROUP}/restart-config"
"""Annotation: digest of the redis.conf directives that only a restart changes."""
CREDENTIALS_UID = f"{GROUP}/credentials-uid"
"""Annotation: uid of the Secret that Redis' users have their passwords from."""
TEMPLATE_DIGEST = f"{GROUP}/template-digest"
"""Annotation: digest of the template but for the resources of the Redis container, which alone can change in a running Pod."""

REDIS = "redis"
"""Name of the container."""
REDIS_UID = 999
_GROUP_READABLE = 0o440


def template(instance: RedisHttpInstance, names: Names, settings: Settings, secret: Object | None) -> Object:
    """Return the Pod template; Refused where the image is not allowed."""
    spec = instance.spec
    containers = [_redis(spec, image(spec, settings))]
    if spec.monitoring.exporter:
        containers.append(_exporter(names, settings))
    annotations = {
        CREDENTIALS_UID: credentials.uid(secret, names),
        RESTART_CONFIG: restart_digest(directives(spec.redis_config)),
    }
    found: Object = {
        "metadata": {"annotations": annotations, "labels": names.labels},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": containers,
            "enableServiceLinks": False,
            "securityContext": {
                "fsGroup": REDIS_UID,
                "fsGroupChangePolicy": "OnRootMismatch",
                "runAsGroup": REDIS_UID,
                "runAsNonRoot": True,
                "runAsUser": REDIS_UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "serviceAccountName": names.base,
            "terminationGracePeriodSeconds": _grace(spec),
            "volumes": _volumes(spec, names),
            **scheduling.build(spec.scheduling),
        },
    }
    annotations[TEMPLATE_DIGEST] = _digest(found)
    return found


def _digest(template: Object) -> str:
    containers = [
        {key: value for key, value in container.items() if (container["name"], key) != (REDIS, "resources")}
        for container in template["spec"]["containers"]
    ]
    fixed = {**template, "spec": {**template["spec"], "containers": containers}}
    return sha256(json.dumps(fixed, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _redis(spec: InstanceSpec, name: str) -> Object:
    found: Object = {
        "name": REDIS,
        "image": name,
        "command": ["/bin/sh", f"{CONFIG_DIR}/start.sh"],
        "ports": [{"containerPort": PORT, "name": "redis", "protocol": "TCP"}],
        "resources": resources.redis(spec),
        "securityContext": _locked_down(),
        "startupProbe": _probe("live", period=1, timeout=5, failures=60),
        "livenessProbe": _probe("live", period=10, timeout=5, failures=6),
        "readinessProbe": _probe("ready", period=5, timeout=5, failures=2),
        "volumeMounts": [
            {"mountPath": CONFIG_DIR, "name": "config", "readOnly": True},
            {"mountPath": ACL_FILE.rpartition("/")[0], "name": "acl", "readOnly": True},
            {"mountPath": PROBE_DIR, "name": "probe", "readOnly": True},
            {"mountPath": DATA_DIR, "name": VOLUME},
        ],
    }
    if spec.redis_config.persistence:
        found["lifecycle"] = {"preStop": {"exec": {"command": ["/bin/sh", f"{CONFIG_DIR}/stop.sh"]}}}
    return found


def _exporter(names: Names, settings: Settings) -> Object:
    # No readiness probe: a broken exporter must not take Redis out of its Service.
    return {
        "name": "exporter",
        "image": settings.exporter_image,
        "env": [
            {"name": "REDIS_ADDR", "value": f"redis://127.0.0.1:{PORT}"},
            {"name": "REDIS_USER", "value": "exporter"},
            {
                "name": "REDIS_PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": names.credentials, "key": credentials.key("exporter")}},
            },
        ],
        "ports": [{"containerPort": EXPORTER_PORT, "name": "metrics", "protocol": "TCP"}],
        "resources": resources.exporter(),
        "securityContext": _locked_down(),
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": "metrics"},
            "failureThreshold": 6,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
        },
    }


def _locked_down() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def _probe(script: str, *, period: int, timeout: int, failures: int) -> Object:
    return {
        "exec": {"command": ["/bin/sh", f"{CONFIG_DIR}/{script}.sh"]},
        "failureThreshold": failures,
        "periodSeconds": period,
        "timeoutSeconds": timeout,
    }


def _volumes(spec: InstanceSpec, names: Names) -> list[Object]:
    probe = credentials.key("probe")
    found: list[Object] = [
        {"name": "config", "configMap": {"name": names.config}},
        {"name": "acl", "secret": {"defaultMode": _GROUP_READABLE, "secretName": names.acl}},
        {
            "name": "probe",
            "secret": {
                "defaultMode": _GROUP_READABLE,
                "items": [{"key": probe, "path": probe}],
                "secretName": names.credentials,
            },
        },
    ]
    if not spec.redis_config.persistence:
        # Redis writes nothing there without save points; what did would be a mistake, and must not fill the node.
        found.append({"name": VOLUME, "emptyDir": {"sizeLimit": "64Mi"}})
    return found


def _grace(spec: InstanceSpec) -> int:
    """Return the seconds that Redis has for saving at SIGTERM: 32 MiB per second on the slowest disk, at least ten minutes."""
    return max(600, spec.redis_config.memory_bytes >> 25) if spec.redis_config.persistence else 30
