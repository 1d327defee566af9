"""The ConfigMap: redis.conf and the scripts that start, stop and probe Redis."""

from redisop.api import RedisHttpInstance
from redisop.kinds import CONFIG_MAP
from redisop.manifests import scripts
from redisop.manifests.base import Manifest, manifest
from redisop.manifests.names import Names
from redisop.redisconf import directives, render

CONFIG_FILE = "redis.conf"


def build(instance: RedisHttpInstance, names: Names) -> Manifest:
    """Return the ConfigMap."""
    data = {CONFIG_FILE: render(directives(instance.spec.redis_config)), **scripts.SCRIPTS}
    return manifest(0, CONFIG_MAP, names.config, names, {"data": dict(sorted(data.items()))})
