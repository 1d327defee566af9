"""Conditions of a status: their types, every reason they give, and how one is set.

Rules: Kubernetes API conventions, "Typical status properties" (a list-map by `type`; `lastTransitionTime` moves only with `status`).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

MESSAGE_LIMIT = 1024
"""Longest message, in characters: enough to act on, and far from the 32,768 the API server allows."""


Verdict: TypeAlias = Literal["True", "False", "Unknown"]


class Type(StrEnum):
    """Condition types, in the order in which a status lists them."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    CONFIG_APPLIED = "ConfigApplied"
    STORAGE_READY = "StorageReady"


class Reason(StrEnum):
    """Every reason a condition of redisop can give."""

    # All is as it should be.
    SERVING = "Serving"
    AS_WANTED = "AsWanted"
    BOUND = "Bound"

    # The user asked for it.
    PAUSED = "Paused"
    HIBERNATED = "Hibernated"
    HIBERNATING = "Hibernating"
    TERMINATING = "Terminating"

    # On the way.
    APPLYING = "Applying"
    POD_MISSING = "PodMissing"
    STARTING = "Starting"
    STOPPING = "Stopping"
    LOADING = "Loading"
    RESTART_PENDING = "RestartPending"
    CLAIM_PENDING = "ClaimPending"
    EXPANDING = "Expanding"
    RESIZE_PENDING = "ResizePending"

    # The cluster or somebody in it stands in the way.
    NAME_CONFLICT = "NameConflict"
    FIELD_CONFLICT = "FieldConflict"
    IMMUTABLE_FIELD = "ImmutableField"
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    INVALID_SPEC = "InvalidSpec"
    QUOTA_EXCEEDED = "QuotaExceeded"
    ADMISSION_REFUSED = "AdmissionRefused"
    FORBIDDEN = "Forbidden"
    CONNECTION_FAILED = "ConnectionFailed"
    APPLY_FAILED = "ApplyFailed"
    STORAGE_CLASS_MISSING = "StorageClassMissing"
    EXPANSION_FAILED = "ExpansionFailed"
    CLAIM_LOST = "ClaimLost"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_FAILED = "ContainerFailed"
    CRASH_LOOP = "CrashLoop"
    POD_NOT_READY = "PodNotReady"

    # What Redis itself says.
    REDIS_UNREACHABLE = "RedisUnreachable"
    READ_ONLY = "ReadOnly"
    LOGIN_REFUSED = "LoginRefused"
    CONFIG_REFUSED = "ConfigRefused"
    NOT_COMPARED = "NotCompared"


_ORDER = {kind.value: position for position, kind in enumerate(Type)}


def timestamp(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC with second precision, as `metav1.Time` is written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    """Return the condition of type `kind`, if there is one."""
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def set_condition(
    conditions: Iterable[Mapping[str, Any]],
    kind: str,
    status: Verdict,
    reason: str,
    message: str,
    generation: int,
    now: str,
) -> list[dict[str, Any]]:
    """Return `conditions` with the one of type `kind` set, in canonical order and without duplicates.

    `now` (RFC 3339) becomes its `lastTransitionTime` only where the status flips.
    """
    before = find(conditions := list(conditions), kind)
    since = before.get("lastTransitionTime") if before and before.get("status") == status else None
    condition = {
        "type": str(kind),
        "status": status,
        "reason": str(reason),
        "message": bounded(message),
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }
    others = {other["type"]: dict(other) for other in conditions if other.get("type") not in {None, kind}}
    return sorted([*others.values(), condition], key=lambda item: (_ORDER.get(item["type"], len(_ORDER)), item["type"]))


def bounded(message: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return `message` on one line and no longer than `limit` characters."""
    line = " ".join(message.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
