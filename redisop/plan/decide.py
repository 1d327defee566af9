"""Decides what to write: desired objects against live ones."""

from collections.abc import Mapping

from redisop.fieldset import MISSING, Difference, Op, diff, divided, entry, holder, path_text
from redisop.graph import OWNER_UID, Graph, Node
from redisop.kinds import INSTANCE_LABEL, MANAGER, OWNED, Object, Ref, controller_of, kind_of, ref_of
from redisop.plan.exclusive import rivals
from redisop.plan.immutable import grows, immutable, is_bound, replaceable, storage_of
from redisop.plan.settled import Settled, is_repeated, is_settled, resolve
from redisop.plan.steps import Action, Change, Plan, Step
from redisop.values import has_pending

BEING_DELETED = "being deleted"
GONE = "gone"
UNBOUND = "is expanded when it has its volume"


def plan(graph: Graph, live: Mapping[Ref, Object], settled: Settled) -> Plan:
    """Return the Plan that makes `live` what `graph` wants.

    `live` holds every object at a Ref of the graph, whoever owns it, and every object whose controller owner is ours.
    """
    if graph.deleting:
        return Plan(graph.key, ())
    steps = []
    for node in graph.nodes:
        there = live.get(node.ref)
        if node.owned:
            steps.append(plan_object(node.want, there, settled, owner_uid=graph.uid, wave=node.wave))
        elif there is not None:
            steps.append(_expand(node, there, graph.key.name))
    wanted = {step.ref for step in steps}
    last = max((step.wave for step in steps), default=-1) + 1
    unwanted = sorted(ref for ref, obj in live.items() if ref not in wanted and _prunable(obj, graph.uid))
    steps += [Step(Action.DELETE, ref, last, None, live[ref]) for ref in unwanted]
    return Plan(graph.key, tuple(steps))


def plan_object(
    want: Object,
    live: Object | None,
    settled: Settled,
    *,
    owner_uid: str | None,
    subresource: str | None = None,
    wave: int = 0,
) -> Step:
    """Return the Step for one object.

    `owner_uid` is the uid its controller owner must have; None where it needs none, as for the status of a custom resource.
    """
    ref = ref_of(want)

    def step(
        action: Action, changes: tuple[Change, ...] = (), reasons: tuple[str, ...] = (), *, repeated: bool = False
    ) -> Step:
        pending = action is not Action.UNCHANGED and has_pending(want)
        return Step(action, ref, wave, want, live, changes, reasons, subresource, pending, repeated)

    if live is None:
        return step(Action.CREATE) if subresource is None else step(Action.UNCHANGED, reasons=(GONE,))
    if owner_uid is not None and not _ours(live, owner_uid):
        return step(Action.CONFLICT, reasons=(_name_conflict(live),))
    if subresource is None and "deletionTimestamp" in live["metadata"]:
        return step(Action.UNCHANGED, reasons=(BEING_DELETED,))
    want = resolve(want, live)
    mine = entry(live, MANAGER, subresource)
    differences = diff(want, mine.fields if mine else {}, live)
    current = mine is not None and mine.api_version == want["apiVersion"]
    if mine is not None and not differences and (path := divided(live, mine, MANAGER, subresource)):
        differences = (Difference(Op.OWN, path, MISSING, MISSING, ours=False),)
    if (current and not differences) or is_settled(settled, want, live, mine, differences, subresource):
        return step(Action.UNCHANGED)
    standing = rivals(want, live)
    differences += tuple(Difference(Op.DROP, path, old, MISSING, ours=False) for path, old in standing)
    changes = tuple(_change(live, difference, subresource) for difference in differences)
    fixed = immutable(live, differences) if subresource is None else ()
    reasons = tuple(f"ImmutableField: {path} cannot be changed in place" for path in fixed)
    reasons += tuple(
        f"{path_text(path)} took the place of a field of ours; an apply cannot remove it" for path, _ in standing
    )
    if fixed or standing:
        return step(Action.REPLACE if replaceable(live) else Action.CONFLICT, changes, reasons)
    if mine is not None and not current:
        reasons += (f"applied as {mine.api_version} before",)
    repeated = is_repeated(settled, want, live, subresource)
    if repeated:
        reasons += _unexplained(differences)
    return step(Action.APPLY, changes, reasons, repeated=repeated)


def _unexplained(differences: tuple[Difference, ...]) -> tuple[str, ...]:
    return tuple(
        f"{path_text(found.path)} changed, yet no manager took it: an admission policy or webhook does that"
        for found in differences
        if found.ours and found.op is Op.SET
    )


def _ours(live: Object, owner_uid: str) -> bool:
    controller = controller_of(live)
    if controller is not None:
        return bool(controller["uid"] == owner_uid)
    return bool(live["metadata"].get("annotations", {}).get(OWNER_UID) == owner_uid)


def _prunable(live: Object, owner_uid: str) -> bool:
    return (
        "deletionTimestamp" not in live["metadata"]
        and (controller_of(live) or {}).get("uid") == owner_uid
        and kind_of(ref_of(live)) in OWNED
    )


def _expand(node: Node, live: Object, instance: str) -> Step:
    metadata = live["metadata"]
    if metadata.get("labels", {}).get(INSTANCE_LABEL) != instance:
        reason = f"NameConflict: {node.ref} lacks the label {INSTANCE_LABEL}={instance}, so it was not made for this instance"
        return Step(Action.CONFLICT, node.ref, node.wave, node.want, live, (), (reason,))
    if "deletionTimestamp" in metadata:
        return Step(Action.UNCHANGED, node.ref, node.wave, node.want, live, (), (BEING_DELETED,))
    old, new = storage_of(live), storage_of(node.want)
    if not grows(new, old):
        return Step(Action.UNCHANGED, node.ref, node.wave, node.want, live)
    if not is_bound(live):
        return Step(Action.UNCHANGED, node.ref, node.wave, node.want, live, (), (UNBOUND,))
    change = Change(".spec.resources.requests.storage", Op.SET, old, new)
    return Step(Action.APPLY, node.ref, node.wave, node.want, live, (change,))


def _change(live: Object, difference: Difference, subresource: str | None) -> Change:
    found = None
    if not difference.ours:
        found = holder(live, difference.path, MANAGER, subresource)
    manager, time = found or (None, None)
    text = path_text(difference.path)
    return Change(text, difference.op, difference.old, difference.new, manager, time, difference.ours)


def _name_conflict(live: Object) -> str:
    controller = controller_of(live)
    owner = f"belongs to {controller['kind']}/{controller['name']}" if controller else "has no controller owner"
    return f"NameConflict: {ref_of(live)} exists and {owner}; it is left alone until somebody renames or deletes it"
