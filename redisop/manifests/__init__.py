"""From an instance to the manifests of its children: pure, canonical, the same for the same input.

A manifest holds everything we own and nothing else: no nulls, no empties that mean nothing, quantities in canonical spelling,
server defaults spelled out where a list is keyed by them or stored whole.
"""

from collections.abc import Mapping

from redisop.api import RedisHttpInstance
from redisop.kinds import Object, Ref
from redisop.manifests import acl, config, credentials, network, services, storage, workload
from redisop.manifests.base import Manifest, Refused
from redisop.manifests.names import Names
from redisop.settings import Settings

__all__ = ["Manifest", "Names", "Refused", "build"]


def build(instance: RedisHttpInstance, settings: Settings, live: Mapping[Ref, Object]) -> tuple[Manifest, ...]:
    """Return the manifests of an instance's children by wave; Refused where the operator's settings forbid what it asks for."""
    names = Names(instance.metadata.name, instance.metadata.namespace)
    secret = credentials.observed(instance, names, live)
    found = [
        workload.service_account(names),
        network.build(instance, names, settings),
        workload.disruption_budget(names),
        config.build(instance, names),
        credentials.build(instance, names),
        services.client(instance, names),
        services.headless(names),
        acl.build(instance, names, secret),
        storage.expansion(instance, names, live),
        workload.stateful_set(instance, names, settings, secret),
    ]
    return tuple(manifest for manifest in found if manifest is not None)
