"""When the Pod is restarted, and why. Pure.

The StatefulSet's update strategy is OnDelete, so a Pod of an older revision runs on until a plan restarts it. What decides is
the revision that the StatefulSet controller itself gives to template and Pod, never a comparison of their fields: admission may
change a Pod's fields (a registry mirror, a sidecar), and a comparison would then restart it for ever. The comparison only says why.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from redisop import quantity, redisconf
from redisop.api import RedisHttpInstance
from redisop.conditions import find
from redisop.kinds import CLAIM, CONFIG_MAP, INSTANCE_LABEL, POD, STATEFUL_SET, Kind, Object, Ref, controller_of
from redisop.manifests.config import CONFIG_FILE
from redisop.manifests.names import Names
from redisop.manifests.pod import CREDENTIALS_UID, RESTART_CONFIG
from redisop.plan import MISSING, Action, Op, Plan, Step

REVISION_LABEL = "controller-revision-hash"
REDIS = "redis"
"""Name of the container."""
WAVE = 4
"""After the StatefulSet's."""

DATA_LOST = "data in memory is lost: the running Pod has no persistence"
STARTS_EMPTY = "Redis starts empty: persistence is turned off, and the data stays on the claim"
_AT_START = sorted(redisconf.DEFAULTS.keys() - redisconf.LIVE)
_SHOWN = 8


class Difference(NamedTuple):
    """One field of a Pod that is not what the template says; `old` is None where the Pod lacks it."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.path.endswith(CREDENTIALS_UID):
            return "the Secret of the passwords was made anew"
        if self.path.endswith(RESTART_CONFIG):
            return f"redis.conf: a directive changed that Redis reads only at start ({', '.join(_AT_START)})"
        return f"{self.path}: {_show(self.old)} → {_show(self.new)}"


def names(instance: RedisHttpInstance) -> Names:
    """Return the names of the instance's children."""
    return Names(instance.metadata.name, instance.metadata.namespace)


def ref(instance: RedisHttpInstance, kind: Kind, name: str) -> Ref:
    """Return the Ref of a child in the instance's namespace."""
    return Ref(kind.api_version, kind.name, instance.metadata.namespace, name)


def stateful_set(instance: RedisHttpInstance, live: Mapping[Ref, Object]) -> Object | None:
    """Return the instance's StatefulSet, if it is there and belongs to it."""
    found = live.get(ref(instance, STATEFUL_SET, names(instance).base))
    owner = controller_of(found) if found else None
    return found if owner and owner.get("uid") == instance.metadata.uid else None


def pod(instance: RedisHttpInstance, live: Mapping[Ref, Object]) -> Object | None:
    """Return the instance's Pod: controlled by its StatefulSet, or an orphan with its label while that is re-created."""
    found = live.get(ref(instance, POD, names(instance).pod))
    if found is None or found["metadata"].get("labels", {}).get(INSTANCE_LABEL) != instance.metadata.name:
        return None
    owner, parent = controller_of(found), stateful_set(instance, live)
    if owner is None:
        return found
    return found if parent is None or owner.get("uid") == parent["metadata"].get("uid") else None


def container(child: Object) -> Object:
    """Return the status of a Pod's Redis container; empty where there is none yet."""
    statuses = child.get("status", {}).get("containerStatuses", ())
    found: Object = next((it for it in statuses if it.get("name") == REDIS), {})
    return found


def claim(instance: RedisHttpInstance, live: Mapping[Ref, Object]) -> Object | None:
    """Return the claim that the Pod mounts, if it is there."""
    return live.get(ref(instance, CLAIM, names(instance).claim))


def is_ready(obj: Object) -> bool:
    """Tell whether a Pod serves: its Ready condition holds and nobody is deleting it."""
    condition = find(obj.get("status", {}).get("conditions", ()), "Ready")
    return condition is not None and condition.get("status") == "True" and not is_leaving(obj)


def is_leaving(obj: Object) -> bool:
    """Tell whether an object is being deleted."""
    return obj["metadata"].get("deletionTimestamp") is not None


def is_observed(parent: Object) -> bool:
    """Tell whether the StatefulSet controller has seen the StatefulSet as it stands."""
    observed: int = parent.get("status", {}).get("observedGeneration", 0)
    return observed >= int(parent["metadata"].get("generation", 1))


def is_outdated(parent: Object, child: Object) -> bool:
    """Tell whether a Pod was made from an older template than the StatefulSet has now."""
    wanted = parent.get("status", {}).get("updateRevision")
    return bool(wanted) and child["metadata"].get("labels", {}).get(REVISION_LABEL) != wanted


def differences(template: Object, child: Object) -> tuple[Difference, ...]:
    """Return the fields in which a Pod is not what the template says; what only the Pod has is not among them."""
    pairs = (
        (f".metadata.{key}", template.get("metadata", {}).get(key, {}), child["metadata"].get(key, {}))
        for key in ("labels", "annotations")
    )
    found = [
        Difference(f"{path}.{name}", have.get(name), value)
        for path, want, have in pairs
        for name, value in want.items()
        if have.get(name) != value
    ]
    return (*found, *_walk(".spec", template.get("spec", {}), child.get("spec", {})))


def is_kept(found: tuple[Difference, ...]) -> bool:
    """Tell whether a Pod can run on although it is outdated: all it has is more memory than it needs."""
    return bool(found) and all(_shrinks(difference) for difference in found)


def has_room(parent: Object, child: Object) -> bool:
    """Tell whether the running Redis container may use as much memory as the StatefulSet's template now says.

    What the kubelet reports counts, where it does: a resize takes effect later than it is written.
    """
    wanted = _limit(parent["spec"]["template"]["spec"].get("containers", ()))
    reported = _limit(child.get("status", {}).get("containerStatuses", ()))
    found = reported or _limit(child.get("spec", {}).get("containers", ()))
    return found is None or (wanted is not None and quantity.parse(wanted) <= quantity.parse(found))


def restarts(instance: RedisHttpInstance, live: Mapping[Ref, Object], plan: Plan) -> tuple[Step, ...]:
    """Return the restart of the instance's outdated Pod, with its reasons; none while anything about it is still moving.

    A Pod that does not serve is never kept: the StatefulSet controller would wait for it for ever, and reverting a bad change
    must be enough to recover from it.
    """
    parent, child = stateful_set(instance, live), pod(instance, live)
    if parent is None or child is None or is_leaving(parent) or is_leaving(child) or not is_observed(parent):
        return ()
    if instance.spec.paused or instance.spec.hibernated or _step(plan, STATEFUL_SET):
        return ()
    if not is_outdated(parent, child):
        return ()
    found = differences(parent["spec"]["template"], child)
    if is_kept(found) and is_ready(child):
        return ()
    return (
        Step(
            action=Action.RESTART,
            ref=ref(instance, POD, names(instance).pod),
            wave=WAVE,
            want=None,
            live=child,
            reasons=(*_reasons(found, parent, child), *_loss(child, parent)),
        ),
    )


def follows(plan: Plan, live: Mapping[Ref, Object]) -> tuple[str, ...]:
    """Return why the Pod will be restarted once this plan's change of the StatefulSet is made; empty where it will not."""
    step = _step(plan, STATEFUL_SET)
    if step is None or step.action not in {Action.APPLY, Action.REPLACE} or not step.want or not step.live:
        return ()
    name = step.ref.name
    child = live.get(Ref(POD.api_version, POD.name, step.ref.namespace, f"{name}-0"))
    if child is None or step.want.get("spec", {}).get("replicas") == 0:
        return ()
    template = ".spec.template"
    changed = [
        Difference(change.path.removeprefix(template), change.old, change.new)
        for change in step.changes
        if change.path.startswith(template) and change.op is not Op.OWN
    ]
    if not changed or (all(_shrinks(difference) for difference in changed) and is_ready(child)):
        return ()
    shown = [reason for difference in changed for reason in _spelled(difference, _directives(plan))]
    return (*_bounded(shown), *_loss(child, step.want))


def _limit(containers: Iterable[Object]) -> str | None:
    redis: Object = next((it for it in containers if it.get("name") == REDIS), {})
    found: str | None = redis.get("resources", {}).get("limits", {}).get("memory")
    return found


def _step(plan: Plan, kind: Kind) -> Step | None:
    return next((step for step in plan.writes if step.ref.kind == kind.name), None)


def _reasons(found: tuple[Difference, ...], parent: Object, child: Object) -> tuple[str, ...]:
    if found:
        return _bounded([str(difference) for difference in found if not _shrinks(difference)] or [*map(str, found)])
    old, new = child["metadata"].get("labels", {}).get(REVISION_LABEL), parent["status"]["updateRevision"]
    return (f"something was removed from the Pod template: revision {old} → {new}",)


def _bounded(reasons: list[str]) -> tuple[str, ...]:
    more = len(reasons) - _SHOWN
    return (*reasons[:_SHOWN], f"and {more} more fields") if more > 0 else tuple(reasons)


def _loss(child: Object, parent: Object) -> tuple[str, ...]:
    if not any("persistentVolumeClaim" in volume for volume in child.get("spec", {}).get("volumes", ())):
        return (DATA_LOST,)
    return () if parent.get("spec", {}).get("volumeClaimTemplates") else (STARTS_EMPTY,)


def _spelled(difference: Difference, directives: list[str]) -> list[str]:
    return directives if difference.path.endswith(RESTART_CONFIG) and directives else [str(difference)]


def _directives(plan: Plan) -> list[str]:
    """Return, for a plan that changes redis.conf, its changes that need a restart."""
    step = _step(plan, CONFIG_MAP)
    if step is None or not step.want or not step.live:
        return []
    old, new = (obj.get("data", {}).get(CONFIG_FILE, "") for obj in (step.live, step.want))
    return [
        f"redis.conf: {it.directive} {_show(it.old)} → {_show(it.new)}, which Redis reads only at start"
        for it in redisconf.changed(old, new)
        if not it.live
    ]


def _shrinks(difference: Difference) -> bool:
    if not difference.path.endswith((".resources.limits.memory", ".resources.requests.memory")):
        return False
    old, new = difference.old, difference.new
    return isinstance(old, str) and isinstance(new, str) and quantity.parse(new) <= quantity.parse(old)


def _walk(path: str, want: Any, have: Any) -> Iterator[Difference]:
    if isinstance(want, dict) and isinstance(have, dict):
        for key, value in want.items():
            yield from _walk(f"{path}.{key}", value, have.get(key))
    elif isinstance(want, list) and isinstance(have, list) and all(isinstance(item, dict) for item in (*want, *have)):
        yield from _walk_list(path, want, have)
    elif want != have:
        yield Difference(path, have, want)


def _walk_list(path: str, want: list[Object], have: list[Object]) -> Iterator[Difference]:
    for item in want:
        key = next((name for name in ("name", "containerPort", "mountPath") if name in item), None)
        if key is None:
            if item not in have:
                yield Difference(path, have, want)
                return
            continue
        found = next((other for other in have if other.get(key) == item[key]), None)
        spelled = f'"{item[key]}"' if isinstance(item[key], str) else item[key]
        yield from _walk(f"{path}[{key}={spelled}]", item, found)


def _show(value: Any) -> str:
    if value is None or value is MISSING:
        return "(none)"
    if isinstance(value, dict | list):
        return f"({len(value)} entries)"
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
