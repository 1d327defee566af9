"""Fields the API server refuses to change after creation, and what a plan can do about a difference in one."""

from collections.abc import Iterable
from typing import Any

from redisop.errors import InputError
from redisop.fieldset import Difference, Op, holder, path_text, same
from redisop.kinds import CLAIM, CONFIG_MAP, DISRUPTION_BUDGET, MANAGER, SECRET, SERVICE, STATEFUL_SET, Object
from redisop.quantity import parse

# pkg/apis/apps/validation: ValidateStatefulSetUpdate. revisionHistoryLimit only since Kubernetes 1.33.
_MUTABLE_STATEFUL_SET = frozenset(
    {
        "f:minReadySeconds",
        "f:ordinals",
        "f:persistentVolumeClaimRetentionPolicy",
        "f:replicas",
        "f:revisionHistoryLimit",
        "f:template",
        "f:updateStrategy",
    }
)
# What the server fills with a default, or with what others want.
_EMPTY: tuple[Any, ...] = ({}, [])
_STORAGE = ("f:spec", "f:resources", "f:requests", "f:storage")


def immutable(live: Object, differences: Iterable[Difference]) -> tuple[str, ...]:
    """Return the paths among `differences` that the API server would refuse with 422 to change in `live`."""
    changed = (found for found in differences if found.op is not Op.OWN and found.new not in _EMPTY)
    return tuple(path_text(found.path) for found in changed if _refused(live, found) and not _kept(live, found))


def replaceable(live: Object) -> bool:
    """Tell whether `live` can be deleted, with its dependants orphaned, and made anew without loss."""
    return live["kind"] in {STATEFUL_SET.name, DISRUPTION_BUDGET.name}


def grows(want: Any, live: Any) -> bool:
    """Tell whether the quantity `want` is larger than `live`; False where either is none."""
    try:
        return parse(want) > parse(live)
    except (InputError, TypeError):
        return False


def is_bound(claim: Object) -> bool:
    """Tell whether a claim has its volume; before, the server lets nobody change what it asks for."""
    return bool(claim.get("status", {}).get("phase") == "Bound")


def storage_of(claim: Object) -> Any:
    """Return a claim's `.spec.resources.requests.storage`, None where it has none."""
    return claim.get("spec", {}).get("resources", {}).get("requests", {}).get("storage")


def _refused(live: Object, difference: Difference) -> bool:
    path, kind = difference.path, live["kind"]
    if kind in {CONFIG_MAP.name, SECRET.name}:
        retyped = path[0] == "f:type" and difference.new != ""
        return retyped or (live.get("immutable") is True and path[0] != "f:metadata")
    if path[0] != "f:spec":
        return False
    if kind == STATEFUL_SET.name and path[1:] == ("f:volumeClaimTemplates",):
        return not _same_templates(difference.new, difference.old)
    if kind == STATEFUL_SET.name:
        return path[1] not in _MUTABLE_STATEFUL_SET
    if kind == SERVICE.name:
        return path[1] in {"f:clusterIP", "f:clusterIPs"} and difference.op is Op.SET
    return kind == CLAIM.name and (path != _STORAGE or not is_bound(live) or not grows(difference.new, difference.old))


def _kept(live: Object, difference: Difference) -> bool:
    """Tell whether a field that we give up stays, because somebody else owns it too."""
    return difference.op is Op.DROP and holder(live, difference.path, MANAGER) is not None


def _same_templates(want: Any, live: Any) -> bool:
    """Tell whether two lists of claim templates differ in nothing but defaults that the server may have added."""
    if type(want) is not list or type(live) is not list or len(want) != len(live):
        return False
    return all(
        same(mine.get("metadata"), there.get("metadata"))
        and mine.get("spec", {}).get("storageClassName") == there.get("spec", {}).get("storageClassName")
        and _within(mine, there)
        for mine, there in zip(want, live, strict=True)
    )


def _within(want: Any, live: Any) -> bool:
    if type(want) is dict and type(live) is dict:
        return all(item is None or _within(item, live.get(name)) for name, item in want.items())
    if type(want) is list and type(live) is list:
        return len(want) == len(live) and all(map(_within, want, live))
    return bool(want == live)
