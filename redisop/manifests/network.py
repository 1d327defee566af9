"""The NetworkPolicy: who may reach Redis. Redis itself reaches nobody."""

from redisop.api import RedisHttpInstance
from redisop.kinds import NETWORK_POLICY
from redisop.manifests.base import Manifest, manifest
from redisop.manifests.names import Names
from redisop.manifests.services import EXPORTER_PORT
from redisop.redisconf import PORT
from redisop.settings import Settings


def build(instance: RedisHttpInstance, names: Names, settings: Settings) -> Manifest:
    """Return the NetworkPolicy.

    No `egress` under policyTypes Egress denies all; the exporter's port, which shows no data, is open to any namespace.
    """
    namespaces = {
        settings.operator_namespace,
        settings.gateway_namespace,
        *instance.spec.networking.allowed_namespaces,
    }
    ingress: list[dict[str, object]] = [
        {
            "from": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
                for namespace in sorted(namespaces)
            ],
            "ports": [{"port": PORT, "protocol": "TCP"}],
        }
    ]
    if instance.spec.monitoring.exporter:
        ingress.append({"ports": [{"port": EXPORTER_PORT, "protocol": "TCP"}]})
    spec = {
        "podSelector": {"matchLabels": names.selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
    }
    return manifest(0, NETWORK_POLICY, names.base, names, {"spec": spec})
