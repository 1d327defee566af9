"""What a user is told about an instance as it happens: the Events of one pass. Pure.

Only what was done and what turned is told, so a pass that changes nothing has no Event. A note says which field, who, and from what
to what; it holds no time and no count, so that the same thing happening again makes a series and not another Event. Values of
Secrets are masked by the rules of `render.mask`.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redisop.conditions import Reason, Type, find
from redisop.kinds import GROUP, Object, Ref
from redisop.plan import MISSING, Action, Change, Op, Step
from redisop.render.mask import mask_change
from redisop.rollout import RESIZE

NOTE_LIMIT = 1024
"""Most bytes of a note, by the API server's validation of events.k8s.io/v1."""
_VALUE_LIMIT = 80
_OURS = f".annotations.{GROUP}/"
_LINES = 6


class EventReason(StrEnum):
    """Reasons of Events about what the operator did or what turned; problems have the reason of their condition."""

    CREATED = "Created"
    CHANGED = "Changed"
    DRIFT_CORRECTED = "DriftCorrected"
    REPLACED = "Replaced"
    DELETED = "Deleted"
    RESTARTED = "Restarted"
    RESIZED = "Resized"
    CONFIG_SET = "ConfigSet"
    READY = "Ready"
    NOT_READY = "NotReady"
    RECOVERED = "Recovered"
    RESUMED = "Resumed"
    PAUSED = "Paused"
    HIBERNATED = "Hibernated"
    TERMINATING = "Terminating"
    PLANNED = "Planned"


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One Event about an instance. `action` is what was attempted, `related` the child concerned."""

    reason: EventReason | Reason
    note: str
    action: str = "Reconcile"
    warning: bool = False
    related: Ref | None = None


def events_of(
    generation: int, done: Sequence[Step], before: Mapping[str, Any], after: Mapping[str, Any] | None = None
) -> tuple[EventSpec, ...]:
    """Return what to tell about a pass over an instance.

    `done` are the steps carried out; `before` is its status as the pass found it, `after` the one written, None if none was.
    """
    told = [*_of_steps(generation, done, before), *(_of_status(before, after) if after is not None else ())]
    return tuple(told)


def config_set(directives: Iterable[str]) -> EventSpec:
    """Return the Event that tells which directives a running Redis was given."""
    return EventSpec(
        EventReason.CONFIG_SET, _cut(f"CONFIG SET, without a restart: {', '.join(directives)}"), "SetConfig"
    )


def planned(steps: Iterable[Step], notes: Iterable[str]) -> EventSpec:
    """Return the Event that tells what an operator would do which only looks; `notes` tell what would follow."""
    what = "; ".join([*(f"{step.action} {step.ref}{_fields(step)}" for step in steps), *notes])
    return EventSpec(EventReason.PLANNED, _cut(f"In mode observe, not done: {what}"), "Observe")


def _fields(step: Step) -> str:
    paths = sorted({change.path for change in step.changes})
    return f" ({', '.join(paths)})" if paths else ""


def drift(step: Step) -> tuple[Change, ...]:
    """Return the changes of an apply that undo what somebody else did to what we wanted all along.

    Somebody is known where another manager holds the field. Where nobody holds it (it was removed, or an admission policy
    changed it under our name), only having applied the same before tells.
    """
    if step.action is not Action.APPLY or step.subresource is not None:
        return ()
    return tuple(
        change
        for change in step.changes
        if change.op in {Op.SET, Op.ORDER} and (change.manager is not None or step.repeated)
    )


def _of_steps(generation: int, done: Sequence[Step], before: Mapping[str, Any]) -> Iterator[EventSpec]:
    steps = [step for step in done if step.subresource in {None, RESIZE}]
    replaced = {step.ref for step in steps if step.action is Action.REPLACE}
    created = [step for step in steps if step.action is Action.CREATE and step.ref not in replaced]
    if created and _was_as_wanted(generation, before):
        for step in created:
            note = f"{step.ref} was missing and has been created"
            yield EventSpec(EventReason.DRIFT_CORRECTED, _cut(note), "Create", related=step.ref)
    elif created:
        yield EventSpec(EventReason.CREATED, _cut(_names(created)), "Create")
    for step in steps:
        yield from _of_step(step)
    deleted = [step for step in steps if step.action is Action.DELETE]
    if deleted:
        yield EventSpec(EventReason.DELETED, _cut(f"{_names(deleted)}: no longer wanted"), "Delete")


def _of_step(step: Step) -> Iterator[EventSpec]:
    why = "; ".join(step.reasons)
    if step.subresource == RESIZE:
        note = f"{step.ref}, without a restart: {'; '.join(_told(step, change) for change in step.changes)}"
        yield EventSpec(EventReason.RESIZED, _cut(note), "Resize", related=step.ref)
    elif step.action is Action.APPLY:
        yield from _of_apply(step)
    elif step.action is Action.REPLACE:
        note = f"{step.ref} was made anew, its Pod and data kept: {why}"
        yield EventSpec(EventReason.REPLACED, _cut(note), "Replace", related=step.ref)
    elif step.action is Action.RESTART:
        yield EventSpec(EventReason.RESTARTED, _cut(f"{step.ref}: {why}"), "Restart", related=step.ref)


def _of_apply(step: Step) -> Iterator[EventSpec]:
    corrected = drift(step)
    if corrected:
        note = f"{step.ref}: {'; '.join(_told(step, change, by=True) for change in corrected)}"
        yield EventSpec(EventReason.DRIFT_CORRECTED, _cut(note), "Change", related=step.ref)
    rest = [change for change in step.changes if change not in corrected]
    # Digests follow from what is told besides.
    rest = [change for change in rest if _OURS not in change.path] or rest
    if rest or not corrected:
        what = [_told(step, change) for change in rest] or [*step.reasons] or ["applied again"]
        yield EventSpec(EventReason.CHANGED, _cut(f"{step.ref}: {'; '.join(what)}"), "Change", related=step.ref)


def _was_as_wanted(generation: int, before: Mapping[str, Any]) -> bool:
    return before.get("observedGeneration") == generation and before.get("phase") in {"Running", "Hibernated"}


def _of_status(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[EventSpec]:
    old, new = (status.get("conditions", ()) for status in (before, after))
    bad, was_bad = find(new, Type.DEGRADED) or {}, find(old, Type.DEGRADED) or {}
    ready, was_ready = find(new, Type.READY) or {}, find(old, Type.READY) or {}
    phase, was_phase = after.get("phase"), before.get("phase")
    message = _cut(ready.get("message", ""))
    if was_phase == EventReason.PAUSED and phase != was_phase:
        yield EventSpec(
            EventReason.RESUMED, "spec.paused is no longer true: what is wanted is compared again", "Resume"
        )
    if bad.get("status") == "True":
        if (was_bad.get("status"), was_bad.get("reason")) != ("True", bad["reason"]):
            yield EventSpec(Reason(bad["reason"]), _cut(bad["message"]), warning=True)
        return
    if phase != was_phase and phase in {EventReason.PAUSED, EventReason.HIBERNATED, EventReason.TERMINATING}:
        yield EventSpec(EventReason(phase), message, str(phase))
        return
    recovered = was_bad.get("status") == "True"
    if recovered:
        then = f" {message}" if ready.get("status") == "True" else ""
        yield EventSpec(EventReason.RECOVERED, _cut(f"{was_bad.get('reason')} is over.{then}"))
    if ready.get("status") == "True" != was_ready.get("status") and not recovered:
        yield EventSpec(EventReason.READY, message)
    elif was_ready.get("status") == "True" != ready.get("status") and ready.get("reason") != Reason.APPLYING:
        # A StatefulSet whose controller has not seen our change yet is not known to be ready, but nothing has fallen.
        yield EventSpec(EventReason.NOT_READY, message)


def _told(step: Step, change: Change, *, by: bool = False) -> str:
    if change.op is Op.OWN:
        return f"{change.path} (taken over)"
    old, new = mask_change(step.ref.kind, change.path, change.old, change.new)
    texts = isinstance(old, str) and isinstance(new, str) and "\n" in old + new
    what = _line_changes(old, new) if texts else f"{_value(old)} → {_value(new)}"
    who = ""
    if by:
        nobody = "an admission policy, or unknown" if change.ours else "unknown"
        who = f" (changed by {change.manager or nobody})"
    return f"{change.path} {what}{who}"


def _line_changes(old: str, new: str) -> str:
    found = [
        line
        for line in difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
        if line[:1] in {"+", "-"} and not line.startswith(("+++", "---"))
    ]
    more = f", and {len(found) - _LINES} more" if len(found) > _LINES else ""
    return f"[{', '.join(found[:_LINES])}{more}]"


def _value(value: Any) -> str:
    if value is MISSING:
        return "(none)"
    shown = value if isinstance(value, str) and value.startswith("(") else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _VALUE_LIMIT else shown[: _VALUE_LIMIT - 1] + "…"


def _names(steps: Sequence[Step]) -> str:
    return ", ".join(str(step.ref) for step in steps)


def _cut(note: str) -> str:
    """Return `note` as one printable line within the limit, whole characters only."""
    line = "".join(char if char.isprintable() else " " for char in note)
    line = " ".join(line.split())
    encoded = line.encode(errors="replace")
    if len(encoded) <= NOTE_LIMIT:
        return encoded.decode()
    return encoded[: NOTE_LIMIT - 3].decode(errors="ignore") + "…"


def body(
    spec: EventSpec, regarding: Object, *, name: str, reporter: str, first: str, count: int = 1, last: str = ""
) -> Object:
    """Return the events.k8s.io/v1 Event of `spec` about the live object `regarding`.

    `first` and `last` are MicroTimes with six digits; the server takes no other number of them. `reporter` names the process.
    """
    metadata = regarding["metadata"]
    event: Object = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "eventTime": first,
        "type": "Warning" if spec.warning else "Normal",
        "reason": str(spec.reason),
        "action": spec.action,
        "note": spec.note,
        "reportingController": "redis.kubegateway.io/redisop",
        "reportingInstance": reporter,
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    if spec.related is not None:
        event["related"] = {
            "apiVersion": spec.related.api_version,
            "kind": spec.related.kind,
            "namespace": spec.related.namespace,
            "name": spec.related.name,
        }
    if count > 1:
        event["series"] = {"count": count, "lastObservedTime": last}
    return event
