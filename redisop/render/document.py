"""A Plan as JSON data, described by schemas/plan.schema.json."""

from collections.abc import Iterable, Mapping, Sequence

from redisop.fieldset import MISSING
from redisop.kinds import Object, Ref
from redisop.plan import Action, Change, Plan, Step
from redisop.render.mask import mask_change, mask_objects

FORMAT_VERSION = 1
"""Grows when a field changes its meaning or goes away; new fields do not change it."""


def document(plans: Iterable[Plan], notes: Mapping[Ref, Sequence[str]] | None = None) -> Object:
    """Return the plans as JSON data; `notes` are remarks by key of a Plan, such as the restart that will follow."""
    plans = tuple(plans)
    return {
        "formatVersion": FORMAT_VERSION,
        "empty": all(plan.empty for plan in plans),
        "counts": {action.value: sum(plan.counts()[action] for plan in plans) for action in Action},
        "plans": [
            {
                "for": _ref(plan.key),
                "empty": plan.empty,
                "steps": [_step(step) for step in plan.steps],
                "notes": list((notes or {}).get(plan.key, ())),
            }
            for plan in plans
        ],
    }


def _ref(ref: Ref) -> Object:
    return {"apiVersion": ref.api_version, "kind": ref.kind, "namespace": ref.namespace, "name": ref.name}


def _step(step: Step) -> Object:
    shown: Object = {
        "action": step.action.value,
        "object": _ref(step.ref),
        "wave": step.wave,
        "pending": step.pending,
        "reasons": list(step.reasons),
        "changes": [_change(step.ref.kind, change) for change in step.changes],
    }
    if step.subresource is not None:
        shown["subresource"] = step.subresource
    if step.action in {Action.CREATE, Action.REPLACE}:
        shown["manifest"] = mask_objects(None, step.want)[1]
    return shown


def _change(kind: str, change: Change) -> Object:
    old, new = mask_change(kind, change.path, change.old, change.new)
    shown = {"path": change.path, "op": change.op.value, "ours": change.ours, "old": old, "new": new}
    if change.manager is not None:
        shown |= {"manager": change.manager, "time": change.time}
    return {name: value for name, value in shown.items() if value is not MISSING}
