"""Memory and CPU of the Redis container."""

from redisop.api import InstanceSpec
from redisop.quantity import canonical, parse

_MI = 1 << 20
_DEFAULT_CPU = "100m"


def base_memory(spec: InstanceSpec) -> int:
    """Return bytes for the data and for what Redis needs beside it: buffers of clients, fragmentation, its own tables.

    A quarter of the data memory, at least 64Mi.
    """
    data = spec.redis_config.memory_bytes
    return data + max(64 * _MI, -(-data // (4 * _MI)) * _MI)


def memory_limit(spec: InstanceSpec) -> int:
    """Return the memory limit in bytes: base_memory, and where a snapshot is saved the data memory once more.

    The child that saves shares its pages with Redis until Redis writes to them; at worst it has written to all of them.
    The limit is never below what `resources.requests.memory` reserves.
    """
    limit = base_memory(spec) + (spec.redis_config.memory_bytes if spec.redis_config.persistence else 0)
    return max(limit, int(parse(spec.resources.requests.memory or "0")))


def redis(spec: InstanceSpec) -> dict[str, dict[str, str]]:
    """Return `resources` of the Redis container."""
    asked, limits = spec.resources.requests, spec.resources.limits
    cpu = asked.cpu
    if cpu is None:
        cpu = _DEFAULT_CPU if limits.cpu is None else min(_DEFAULT_CPU, limits.cpu, key=parse)
    found = {
        "requests": {"cpu": canonical(cpu), "memory": canonical(asked.memory or _mebibytes(base_memory(spec)))},
        "limits": {"memory": canonical(_mebibytes(memory_limit(spec)))},
    }
    if limits.cpu is not None:
        found["limits"]["cpu"] = canonical(limits.cpu)
    return found


def exporter() -> dict[str, dict[str, str]]:
    """Return `resources` of the exporter container."""
    return {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}


def _mebibytes(size: int) -> str:
    return f"{size // _MI}Mi"
