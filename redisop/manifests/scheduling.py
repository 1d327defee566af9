"""spec.scheduling as it stands in a Pod."""

from typing import Any

from redisop.api import Scheduling

_MEANINGFUL_EMPTY = frozenset({"labelSelector", "preference"})
"""An empty selector matches everything, and a preference has to be there."""

_MAPS_OF_TEXT = frozenset({"nodeSelector", "matchLabels"})
"""Labels may have an empty value."""


def build(scheduling: Scheduling) -> dict[str, Any]:
    """Return the Pod spec's scheduling fields, without nulls and without empties that mean nothing."""
    found: dict[str, Any] = _pruned(scheduling.model_dump(mode="json", by_alias=True, exclude_none=True))
    return found


def _pruned(value: Any) -> Any:
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    if not isinstance(value, dict):
        return value
    items = ((key, item if key in _MAPS_OF_TEXT else _pruned(item)) for key, item in value.items())
    return {key: item for key, item in items if key in _MEANINGFUL_EMPTY or item not in ({}, [], "")}
