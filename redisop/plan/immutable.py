"""Fields the API server refuses to change after creation, and what a plan can do about a difference in one."""

from collections.abc import Iterable
from typing import Any

from redisop.errors import InputError
from redisop.fieldset import Difference, Op, path_text
from redisop.kinds import CLAIM, CONFIG_MAP, SECRET, SERVICE, STATEFUL_SET, Object
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
_STORAGE = ("f:spec", "f:resources", "f:requests", "f:storage")


def immutable(live: Object, differences: Iterable[Difference]) -> tuple[str, ...]:
    """Return the paths among `differences` that the API server would refuse with 422 to change in `live`."""
    return tuple(
        path_text(difference.path)
        for difference in differences
        if difference.op is not Op.OWN and _refused(live, difference)
    )


def replaceable(live: Object) -> bool:
    """Tell whether `live` can be deleted, with its dependants orphaned, and made anew without loss."""
    return bool(live["kind"] == STATEFUL_SET.name)


def grows(want: Any, live: Any) -> bool:
    """Tell whether the quantity `want` is larger than `live`; False where either is none."""
    try:
        return parse(want) > parse(live)
    except (InputError, TypeError):
        return False


def storage_of(claim: Object) -> Any:
    """Return a claim's `.spec.resources.requests.storage`, None where it has none."""
    return claim.get("spec", {}).get("resources", {}).get("requests", {}).get("storage")


def _refused(live: Object, difference: Difference) -> bool:
    path, kind = difference.path, live["kind"]
    field = path[0]
    if kind == STATEFUL_SET.name:
        if field != "f:spec" or not _MUTABLE_STATEFUL_SET.isdisjoint(path[1:2]):
            return False
        # An atomic list to which the server adds defaults: more than we want is no difference.
        return path[1:] != ("f:volumeClaimTemplates",) or not _within(difference.new, difference.old)
    if kind == SERVICE.name:
        return path[:2] in {("f:spec", "f:clusterIP"), ("f:spec", "f:clusterIPs")} and difference.op is Op.SET
    if kind in {CONFIG_MAP.name, SECRET.name}:
        return field == "f:type" or (live.get("immutable") is True and field != "f:metadata")
    if kind == CLAIM.name and field == "f:spec":
        return path != _STORAGE or not grows(difference.new, difference.old)
    return False


def _within(want: Any, live: Any) -> bool:
    if type(want) is dict and type(live) is dict:
        return all(item is None or _within(item, live.get(name)) for name, item in want.items())
    if type(want) is list and type(live) is list:
        return len(want) == len(live) and all(map(_within, want, live))
    return bool(want == live)
