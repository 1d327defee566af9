"""The Secret of the passwords of Redis' own users, made once and kept."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from redisop.api import RedisHttpInstance
from redisop.kinds import SECRET, Object, Ref, controller_of
from redisop.manifests.base import Manifest, manifest
from redisop.manifests.names import Names
from redisop.values import Generated, Pending


def key(user: str) -> str:
    """Return the key of the Secret that holds the password of a user."""
    return f"{user}-password"


def users(instance: RedisHttpInstance) -> tuple[str, ...]:
    """Return the users that have a password. The exporter's ends with the exporter: its next one gets another."""
    return ("exporter", "operator", "probe") if instance.spec.monitoring.exporter else ("operator", "probe")


def build(instance: RedisHttpInstance, names: Names) -> Manifest:
    """Return the Secret; its values are Generated."""
    data = {key(user): Generated() for user in users(instance)}
    return manifest(0, SECRET, names.credentials, names, {"type": "Opaque", "data": data})


def observed(instance: RedisHttpInstance, names: Names, live: Mapping[Ref, Object]) -> Object | None:
    """Return the live Secret; None where it is not there, or not this instance's own: nobody else chooses our passwords."""
    secret = live.get(Ref(SECRET.api_version, SECRET.name, names.namespace, names.credentials))
    owner = controller_of(secret) if secret is not None else None
    return secret if owner is not None and owner.get("uid") == instance.metadata.uid else None


def password(secret: Mapping[str, Any] | None, user: str) -> str | None:
    """Return the password of `user` in a live Secret; None where there is none."""
    value = ((secret or {}).get("data") or {}).get(key(user))
    try:
        return base64.b64decode(value, validate=True).decode() or None if value else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def uid(secret: Object | None, names: Names) -> str | Pending:
    """Return the live Secret's uid: a Secret that was deleted is made anew with other passwords, which Redis reads at its start."""
    if secret is None:
        return Pending(f"{SECRET.name}/{names.credentials}")
    return str(secret["metadata"]["uid"])
