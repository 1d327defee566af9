"""The PersistentVolumeClaim: the StatefulSet's template for it, and its expansion."""

from collections.abc import Mapping

from redisop import quantity
from redisop.api import RedisHttpInstance
from redisop.kinds import CLAIM, INSTANCE_LABEL, Object, Ref
from redisop.manifests.base import Manifest
from redisop.manifests.names import VOLUME, Names

EXPANSION_WAVE = 5
"""After everything else: a claim that cannot grow, and whose wanted size cannot go back, must hold up no other change."""


def template(instance: RedisHttpInstance, names: Names) -> Object:
    """Return the entry of volumeClaimTemplates, an atomic list: with what the API server adds to it."""
    storage = instance.spec.storage
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": quantity.canonical(storage.size)}},
        "volumeMode": "Filesystem",
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.name,
        "metadata": {"name": VOLUME, "labels": names.labels},
        "spec": spec,
        "status": {"phase": "Pending"},
    }


def expansion(instance: RedisHttpInstance, names: Names, live: Mapping[Ref, Object]) -> Manifest | None:
    """Return the claim with nothing but a larger request, where the live claim is this instance's and asks for less."""
    claim = live.get(Ref(CLAIM.api_version, CLAIM.name, names.namespace, names.claim))
    if claim is None or not instance.spec.redis_config.persistence:
        return None
    if claim["metadata"].get("labels", {}).get(INSTANCE_LABEL) != names.name:
        return None
    size = quantity.canonical(instance.spec.storage.size)
    asked = claim.get("spec", {}).get("resources", {}).get("requests", {}).get("storage", "0")
    if quantity.parse(asked) >= quantity.parse(size):
        return None
    return Manifest(
        EXPANSION_WAVE,
        {
            "apiVersion": CLAIM.api_version,
            "kind": CLAIM.name,
            "metadata": {"name": names.claim, "namespace": names.namespace},
            "spec": {"resources": {"requests": {"storage": size}}},
        },
    )
