"""What every builder returns and may raise."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from redisop.errors import RedisopError
from redisop.kinds import Kind, Object
from redisop.manifests.names import Names


class Manifest(NamedTuple):
    """One desired object, canonical and without owner references, and the wave in which it is applied."""

    wave: int
    obj: Object


class Refused(RedisopError):
    """The instance asks for what the operator's settings forbid; `reason` is for its condition, `field` is what to change."""

    def __init__(self, reason: str, message: str, field: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field


def manifest(wave: int, kind: Kind, name: str, names: Names, body: Mapping[str, Any]) -> Manifest:
    """Return the Manifest of a child: apiVersion, kind, name, namespace and our labels before its body."""
    metadata = {"name": name, "namespace": names.namespace, "labels": names.labels}
    return Manifest(wave, {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **body})
