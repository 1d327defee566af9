"""What becomes of a Pod whose template changed: it is kept, resized in place, or restarted; and why. Pure.

The StatefulSet's update strategy is OnDelete, so a Pod of an older revision runs on until a plan restarts it. What decides is
the revision that the StatefulSet controller itself gives to template and Pod, and the digest in our own template, never a
comparison of fields: admission may change a Pod's fields (a registry mirror, a sidecar), and a comparison would then restart it
for ever. The comparison only says why.
"""

from collections.abc import Mapping
from enum import Enum

from redisop import quantity, redisconf
from redisop.api import RedisHttpInstance
from redisop.conditions import find
from redisop.kinds import CLAIM, CONFIG_MAP, INSTANCE_LABEL, POD, STATEFUL_SET, Kind, Object, Ref, controller_of
from redisop.manifests.config import CONFIG_FILE
from redisop.manifests.names import Names
from redisop.manifests.pod import REDIS, RESTART_CONFIG, TEMPLATE_DIGEST
from redisop.plan import Action, Change, Op, Plan, Step
from redisop.podtemplate import (
    Difference,
    differences,
    is_resizable,
    is_same_but_for_resources,
    resources_of,
    show,
    shrinks,
)

REVISION_LABEL = "controller-revision-hash"
WAVE = 4
"""After the StatefulSet's."""
RESIZE = "resize"
"""Subresource of a Pod through which the resources of its containers change while it runs."""

DATA_LOST = "data in memory is lost: the running Pod has no persistence"
STARTS_EMPTY = "Redis starts empty: persistence is turned off, and the data stays on the claim"
_SHOWN = 8


class Fate(Enum):
    """What a changed template means for a Pod."""

    KEEP = "keep"
    RESIZE = "resize"
    RESTART = "restart"


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


def has_more_memory(parent: Object, child: Object) -> bool:
    """Tell whether a Pod was kept with a larger memory limit than the StatefulSet's template has."""
    wanted, found = _limits(parent["spec"]["template"], child)
    return bool(wanted and found) and quantity.parse(found) > quantity.parse(wanted)


def has_room(parent: Object, child: Object) -> bool:
    """Tell whether the running Redis container may use as much memory as the StatefulSet's template now says.

    What the kubelet reports counts, where it does: a resize takes effect later than it is written.
    """
    wanted, found = _limits(parent["spec"]["template"], child)
    reported = resources_of(child.get("status", {}).get("containerStatuses", ()))["limits"].get("memory")
    found = reported or found
    return not found or (bool(wanted) and quantity.parse(wanted) <= quantity.parse(found))


def fate(template: Object, child: Object) -> Fate:
    """Return what becomes of a Pod of an older template.

    A Pod that does not serve is never kept or resized: the StatefulSet controller would wait for it for ever, and reverting a
    bad change must be enough to recover from it.
    """
    if not is_same_but_for_resources(template, child) or _infeasible(child):
        return Fate.RESTART
    wanted, found = (resources_of(obj["spec"].get("containers", ())) for obj in (template, child))
    if wanted == found:
        return Fate.KEEP
    if not is_ready(child):
        return Fate.RESTART
    changed = differences(template, child)
    if changed and all(shrinks(difference) for difference in changed):
        return Fate.KEEP
    return Fate.RESIZE if is_resizable(template, child) else Fate.RESTART


def steps(instance: RedisHttpInstance, live: Mapping[Ref, Object], plan: Plan) -> tuple[Step, ...]:
    """Return what is to be done now about the instance's outdated Pod; nothing while anything about it is still moving."""
    parent, child = stateful_set(instance, live), pod(instance, live)
    if parent is None or child is None or is_leaving(parent) or is_leaving(child) or not is_observed(parent):
        return ()
    if instance.spec.paused or instance.spec.hibernated or _step(plan, STATEFUL_SET):
        return ()
    coming, reasons = due(parent, child)
    match coming:
        case Fate.KEEP:
            return ()
        case Fate.RESIZE:
            return (_resize(instance, parent["spec"]["template"], child),)
        case Fate.RESTART:
            return (Step(Action.RESTART, ref(instance, POD, names(instance).pod), WAVE, None, child, reasons=reasons),)


def due(parent: Object, child: Object) -> tuple[Fate, tuple[str, ...]]:
    """Return what becomes of a Pod of the StatefulSet `parent`, and why; KEEP where it is of the present template."""
    template = parent["spec"]["template"]
    coming = fate(template, child) if is_outdated(parent, child) else Fate.KEEP
    if coming is Fate.KEEP:
        return coming, ()
    found = differences(template, child)
    if coming is Fate.RESIZE:
        return coming, _bounded([str(difference) for difference in found])
    return coming, (*_reasons(found, parent, child), *_loss(child, parent))


def follows(plan: Plan, live: Mapping[Ref, Object]) -> tuple[Fate, tuple[str, ...]]:
    """Return what becomes of the Pod once this plan's change of the StatefulSet is made, and why."""
    step = _step(plan, STATEFUL_SET)
    if step is None or step.action not in {Action.APPLY, Action.REPLACE} or not step.want or not step.live:
        return Fate.KEEP, ()
    child = live.get(Ref(POD.api_version, POD.name, step.ref.namespace, f"{step.ref.name}-0"))
    prefix = ".spec.template"
    changed = [
        Difference(change.path.removeprefix(prefix), change.old, change.new)
        for change in step.changes
        if change.path.startswith(prefix) and change.op is not Op.OWN and not change.path.endswith(TEMPLATE_DIGEST)
    ]
    if child is None or not changed or step.want.get("spec", {}).get("replicas") == 0:
        return Fate.KEEP, ()
    found = fate(step.want["spec"]["template"], child)
    if found is Fate.KEEP:
        return found, ()
    if found is Fate.RESIZE:
        return found, _bounded([str(difference) for difference in changed])
    shown = [reason for difference in changed for reason in _spelled(difference, _directives(plan))]
    return found, (*_bounded(shown), *_loss(child, step.want))


def _resize(instance: RedisHttpInstance, template: Object, child: Object) -> Step:
    where = ref(instance, POD, names(instance).pod)
    wanted = resources_of(template["spec"]["containers"])
    want = {
        "apiVersion": where.api_version,
        "kind": where.kind,
        "metadata": {"name": where.name, "namespace": where.namespace},
        "spec": {"containers": [{"name": REDIS, "resources": wanted}]},
    }
    found = resources_of(child["spec"]["containers"])
    changes = tuple(
        Change(f'.spec.containers[name="{REDIS}"].resources.{key}.{name}', Op.SET, found[key].get(name), value)
        for key, values in wanted.items()
        for name, value in values.items()
        if found[key].get(name) != value
    )
    reasons = tuple(f"in place: {Difference(change.path, change.old, change.new)}" for change in changes)
    return Step(Action.APPLY, where, WAVE, want, child, changes, reasons, RESIZE)


def _infeasible(child: Object) -> bool:
    pending = find(child.get("status", {}).get("conditions", ()), "PodResizePending")
    return pending is not None and pending.get("status") == "True" and pending.get("reason") == "Infeasible"


def _limits(template: Object, child: Object) -> tuple[str, str]:
    wanted, found = (resources_of(obj.get("spec", {}).get("containers", ())) for obj in (template, child))
    return wanted["limits"].get("memory", ""), found["limits"].get("memory", "")


def _step(plan: Plan, kind: Kind) -> Step | None:
    return next((step for step in plan.writes if step.ref.kind == kind.name), None)


def _reasons(found: tuple[Difference, ...], parent: Object, child: Object) -> tuple[str, ...]:
    if _infeasible(child):
        return ("the node cannot give the Pod the resources it wants in place",)
    found = tuple(difference for difference in found if not difference.path.endswith(TEMPLATE_DIGEST))
    if found:
        return _bounded([str(difference) for difference in found if not shrinks(difference)] or [*map(str, found)])
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
        f"redis.conf: {it.directive} {show(it.old)} → {show(it.new)}, which Redis reads only at start"
        for it in redisconf.changed(old, new)
        if not it.live
    ]
