"""ApiKey: one user's key to some instances of its namespace."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from redisop.api.base import (
    INSTANCE_LENGTH,
    Bool,
    Condition,
    DnsLabel,
    DnsSubdomain,
    Int,
    Metadata,
    Model,
    Timestamp,
    fits,
)
from redisop.api.markers import SET, ListType, Rule
from redisop.kinds import GROUP, VERSION

_SECONDS = {"h": 3600, "m": 60, "s": 1}


def duration(text: str) -> timedelta:
    """Return what a Duration field is worth; the text must have passed its pattern."""
    total, number = 0, ""
    for character in text:
        if character in _SECONDS:
            total += int(number) * _SECONDS[character]
            number = ""
        else:
            number += character
    return timedelta(seconds=total)


def _since_2000(text: str) -> bool:
    try:
        return datetime.fromisoformat(text) >= datetime(2000, 1, 1, tzinfo=UTC)
    except ValueError:
        return False


DurationText = Annotated[str, Field(pattern="^([0-9]{1,5}[hms]){1,3}$", max_length=18)]
"""Go's spelling of a duration, in hours, minutes and seconds (Gateway API, GEP-2257)."""
Lifetime = Annotated[
    DurationText,
    Rule(
        "duration(self) >= duration('1m') && duration(self) <= duration('87600h')",
        "must be between 1m and 87600h (ten years)",
        lambda text: timedelta(minutes=1) <= duration(text) <= timedelta(hours=87600),
    ),
]
Deadline = Annotated[
    Timestamp,
    Rule(
        "timestamp(self) >= timestamp('2000-01-01T00:00:00Z')",
        "must be a moment that exists, not before the year 2000",
        _since_2000,
    ),
]
Pattern = Annotated[str, Field(pattern="^[!-~]+$", max_length=256)]
"""A glob of Redis' ACLs: printable ASCII without spaces, so that it stays one word of an aclfile."""
KeyId = Annotated[str, Field(pattern="^[0-9A-Za-z]{10}$", max_length=10)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$", max_length=64)]


class Rotation(Model):
    """When the key is replaced by a new one."""

    interval: Lifetime | None = None
    """Replace the key this often, for example 720h. Never where left out."""
    overlap: DurationText = "1h"
    """How long the replaced key stays valid, for example 1h; 0s for not at all. Must be shorter than interval."""
    trigger: Annotated[str, Field(pattern="^[!-~]+$", max_length=64)] | None = None
    """Any text, for example a date. Changing it replaces the key now."""

    rules = (
        Rule(
            "!has(self.interval) || duration(self.overlap) < duration(self.interval)",
            "overlap (default 1h) must be shorter than interval",
            lambda it: it.interval is None or duration(it.overlap) < duration(it.interval),
            ".overlap",
        ),
        Rule(
            "duration(self.overlap) <= duration('87600h')",
            "overlap must be at most 87600h (ten years)",
            lambda it: duration(it.overlap) <= timedelta(hours=87600),
            ".overlap",
        ),
    )


class ApiKeySpec(Model):
    """What the key may do, where, and for how long."""

    user_id: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9@._:|+/=-]*$", max_length=128)]
    """Who the key is for, in the words of your own user directory. Cannot be changed: make a new ApiKey."""
    permissions: Annotated[tuple[Literal["read", "write", "admin"], ...], Field(min_length=1, max_length=3), SET]
    """What the key may do: read, write, admin."""
    instance_access: Annotated[
        tuple[
            Annotated[str, Field(pattern=r"^(\*|[a-z]([-a-z0-9]*[a-z0-9])?)$", max_length=INSTANCE_LENGTH)],
            ...,
        ],
        Field(min_length=1, max_length=64),
        SET,
        Rule(
            "!('*' in self) || size(self) == 1",
            "'*' must stand alone",
            lambda names: "*" not in names or len(names) == 1,
        ),
    ]
    """Names of the RedisHttpInstances in the same namespace, or a single '*' for all of them, also later ones."""
    expires_at: Deadline | None = None
    """When the key stops working (RFC 3339). Excludes ttl; with neither, the key does not expire."""
    ttl: Lifetime | None = None
    """How long the key works from when it was issued, for example 720h. Excludes expiresAt."""
    key_patterns: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=32), SET] = ("*",)
    """Keys that may be touched, as globs."""
    channel_patterns: Annotated[tuple[Pattern, ...], Field(max_length=32), SET] = ()
    """Channels that may be used, as globs. None by default."""
    rotation: Rotation | None = None
    """When the key is replaced by a new one. Never where left out."""
    revoked: Bool = False
    """Refuse the key everywhere, now and for good: it cannot be taken back."""
    secret_name: DnsSubdomain | None = None
    """Secret of this namespace that receives the key; <name>-redis where left out."""
    on_secret_loss: Literal["Rotate", "Fail"] = "Rotate"  # noqa: S105 - a policy, no password
    """What happens when that Secret is lost: issue a new key, or fail until somebody decides."""

    rules = (
        Rule(
            "!has(self.expiresAt) || !has(self.ttl)",
            "expiresAt and ttl exclude each other",
            lambda spec: spec.expires_at is None or spec.ttl is None,
            ".ttl",
        ),
        Rule("self.userId == oldSelf.userId", "userId cannot be changed: make a new ApiKey", None, ".userId"),
        Rule(
            "!oldSelf.revoked || self.revoked",
            "revoked cannot be taken back: make a new ApiKey",
            None,
            ".revoked",
        ),
    )


class Generation(Model):
    """One key that was issued and may still be valid."""

    key_id: KeyId
    """Public part of the key."""
    hash: Digest
    """SHA-256 of the whole key."""
    not_after: Timestamp | None = None
    """When it stops working."""


class KeyOnInstance(Model):
    """How far one instance knows the key."""

    name: Annotated[str, Field(max_length=253)]
    """The instance."""
    applied: Bool
    """Whether its ACL is in force."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why not, if not."""


class SecretReference(Model):
    """A Secret of this namespace."""

    name: Annotated[str, Field(max_length=253)]
    """Its name."""


class ApiKeyStatus(Model):
    """What was observed when the operator last looked. The key itself never stands here."""

    phase: Literal["Pending", "Active", "Expired", "Revoked", "Failed", "Terminating"] | None = None
    """Summary of the conditions, for people."""
    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """Generation of the spec that this status was computed from."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32), ListType("map", ("type",))] | None = None
    """Ready, KeyIssued, AclApplied."""
    key_id: KeyId | None = None
    """Public part of the key: its name in logs and metrics."""
    key_hash: Digest | None = None
    """SHA-256 of the whole key."""
    created_at: Timestamp | None = None
    """When the key was issued."""
    expires_at: Timestamp | None = None
    """When the key stops working."""
    last_used: Timestamp | None = None
    """When the gateway last accepted the key."""
    secret_ref: SecretReference | None = None
    """Secret that holds the key."""
    generations: Annotated[tuple[Generation, ...], Field(max_length=16), ListType("map", ("keyId",))] | None = None
    """Keys that may still be valid: the current one and, after a rotation, those it replaced."""
    instances: Annotated[tuple[KeyOnInstance, ...], Field(max_length=1024), ListType("map", ("name",))] | None = None
    """How far each instance knows the key."""


class ApiKey(Model):
    """A key for the HTTP gateway and for Redis' own protocol, with the rights it grants."""

    api_version: Literal["redis.kubegateway.io/v1alpha1"] = f"{GROUP}/{VERSION}"  # type: ignore[assignment]
    kind: Literal["ApiKey"] = "ApiKey"
    metadata: Metadata
    spec: ApiKeySpec
    """What the key may do, where, and for how long."""

    Name: ClassVar = DnsLabel
    Status: ClassVar = ApiKeyStatus

    rules = (
        Rule(
            "size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name must be at most 63 lower case letters, digits and hyphens, "
            "begin and end with a letter or digit (RFC 1123)",
            lambda it: fits(it.Name, it.metadata.name),
            ".metadata.name",
        ),
    )
