"""The Services: one address for clients, and one that names the Pod."""

from redisop.api import RedisHttpInstance
from redisop.kinds import SERVICE
from redisop.manifests.base import Manifest, manifest
from redisop.manifests.names import Names
from redisop.redisconf import PORT

EXPORTER_PORT = 9121


def client(instance: RedisHttpInstance, names: Names) -> Manifest:
    """Return the ClusterIP Service; the exporter's port is there only while the exporter is."""
    ports = [_port("redis", PORT)]
    if instance.spec.monitoring.exporter:
        ports.append(_port("metrics", EXPORTER_PORT))
    return manifest(
        0, SERVICE, names.base, names, {"spec": {"type": "ClusterIP", "selector": names.selector, "ports": ports}}
    )


def headless(names: Names) -> Manifest:
    """Return the headless Service, which resolves also while Redis is not ready: the operator must reach it then too."""
    spec = {
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": names.selector,
        "ports": [_port("redis", PORT)],
    }
    return manifest(0, SERVICE, names.headless, names, {"spec": spec})


def _port(name: str, port: int) -> dict[str, object]:
    return {"name": name, "port": port, "protocol": "TCP", "targetPort": name}
