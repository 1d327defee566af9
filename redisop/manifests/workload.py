"""The StatefulSet, and what stands beside it: ServiceAccount and PodDisruptionBudget."""

from redisop.api import RedisHttpInstance
from redisop.kinds import DISRUPTION_BUDGET, SERVICE_ACCOUNT, STATEFUL_SET, Object
from redisop.manifests import pod, storage
from redisop.manifests.base import Manifest, manifest
from redisop.manifests.names import Names
from redisop.settings import Settings


def service_account(names: Names) -> Manifest:
    """Return the ServiceAccount. It has no rights and its token is not mounted."""
    return manifest(0, SERVICE_ACCOUNT, names.base, names, {"automountServiceAccountToken": False})


def disruption_budget(names: Names) -> Manifest:
    """Return the PodDisruptionBudget; it never stands in the way of draining a node, also not for a Pod that is broken."""
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": names.selector},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return manifest(0, DISRUPTION_BUDGET, names.base, names, {"spec": spec})


def stateful_set(instance: RedisHttpInstance, names: Names, settings: Settings, secret: Object | None) -> Manifest:
    """Return the StatefulSet. It restarts no Pod by itself (OnDelete)."""
    spec: Object = {
        "replicas": 0 if instance.spec.hibernated else 1,
        "selector": {"matchLabels": names.selector},
        "serviceName": names.headless,
        "template": pod.template(instance, names, settings, secret),
        "updateStrategy": {"type": "OnDelete"},
    }
    if instance.spec.redis_config.persistence:
        spec["persistentVolumeClaimRetentionPolicy"] = {
            "whenDeleted": instance.spec.storage.reclaim_policy,
            "whenScaled": "Retain",
        }
        spec["volumeClaimTemplates"] = [storage.template(instance, names)]
    return manifest(3, STATEFUL_SET, names.base, names, {"spec": spec})
