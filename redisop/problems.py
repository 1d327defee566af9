"""What stands between an instance and being as wanted, read off objects and errors. Pure.

A message says what happened, where, and what to do. It holds nothing that changes while the problem stays the same (counts,
times, back-off delays): a status must not be written again for news that is none. Text of errors about Secrets is left out,
because the API server quotes values it cannot parse.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from redisop import quantity
from redisop.conditions import Reason, find
from redisop.errors import ApiError, Conflict, ConnectionFailed, Disputed, quotes_nothing
from redisop.kinds import SECRET, STATEFUL_SET, Object
from redisop.observation import Failure
from redisop.plan import Op, Step


class Severity(IntEnum):
    """How much is wrong."""

    WAIT = 1
    """A normal step on the way."""
    STUCK = 2
    """Not normal, but it may pass by itself."""
    BROKEN = 3
    """Needs a human."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason for not being ready."""

    severity: Severity
    reason: Reason
    message: str


_PULL = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_CONTAINER = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError"}
_NO_CLASS = re.compile(r'storageclass[a-z0-9.]* "[^"]*" not found|unbound immediate PersistentVolumeClaims\. not found')
"""What a scheduler says about a storage class that is not there; the second text is that of Kubernetes 1.37."""
_MUTABLE = (
    ".spec.replicas",
    ".spec.template",
    ".spec.updateStrategy",
    ".spec.persistentVolumeClaimRetentionPolicy",
    ".spec.minReadySeconds",
    ".spec.ordinals",
    ".spec.revisionHistoryLimit",
    ".metadata",
)
"""What the API server lets an existing StatefulSet change."""


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds between two RFC 3339 times."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def of_conflict(step: Step) -> Problem:
    """Say why a plan does not dare to touch an object; its reasons begin with ours."""
    if any(reason.startswith(f"{Reason.IMMUTABLE_FIELD}:") for reason in step.reasons):
        return Problem(
            Severity.BROKEN,
            Reason.IMMUTABLE_FIELD,
            f"{step.ref}: {_said(step)}. Set it back, or delete the {step.ref.kind} so that it is made anew.",
        )
    return Problem(
        Severity.BROKEN,
        Reason.NAME_CONFLICT,
        f"{_said(step) or f'{step.ref} exists and does not belong to this instance'} (namespace {step.ref.namespace}). "
        "Or create the instance under another name.",
    )


def _said(step: Step) -> str:
    return "; ".join(reason.partition(": ")[2] or reason for reason in step.reasons)


def of_failure(failure: Failure) -> Problem:
    """Say why a step could not be carried out."""
    step, error = failure.step, failure.error
    where = f"cannot {step.action} {step.ref}"
    if isinstance(error, ConnectionFailed):
        return Problem(Severity.STUCK, Reason.CONNECTION_FAILED, f"{where}: {error}; it is tried again.")
    if isinstance(error, Disputed):
        return Problem(Severity.STUCK, Reason.FIELD_CONFLICT, f"{step.ref}: {error}")
    if not isinstance(error, ApiError):
        return Problem(Severity.BROKEN, Reason.APPLY_FAILED, f"{where}: {error}")
    return _of_answer(step, error, where)


def of_claim(claim: Object | None, name: str, wanted: str) -> Problem | None:
    """Say what the claim `name` waits for, or None where it is bound and at least `wanted` (a quantity) large."""
    if claim is None:
        return Problem(
            Severity.WAIT,
            Reason.CLAIM_PENDING,
            f"PersistentVolumeClaim/{name} is not there yet; the StatefulSet controller makes it.",
        )
    spec, status = claim.get("spec", {}), claim.get("status", {})
    where = f"PersistentVolumeClaim/{name}"
    if status.get("phase") == "Lost":
        return Problem(
            Severity.BROKEN,
            Reason.CLAIM_LOST,
            f"{where} lost its volume {spec.get('volumeName', '')}: restore the PersistentVolume, or delete the claim and lose the data.",
        )
    if status.get("phase") != "Bound":
        named = spec.get("storageClassName")
        which = f'of storage class "{named}"' if named else "without a storage class (the cluster has no default one)"
        return Problem(
            Severity.STUCK if not named else Severity.WAIT,
            Reason.CLAIM_PENDING,
            f"{where} {which} has no volume yet; `kubectl describe pvc {name}` says what it waits for.",
        )
    return _of_size(claim, where, wanted)


def of_pod(pod: Object, claim: Object | None = None) -> Problem | None:
    """Say why the Pod, which mounts `claim`, does not serve; None where it does."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    conditions = status.get("conditions", ())
    if pod["metadata"].get("deletionTimestamp") is not None:
        disruption = find(conditions, "DisruptionTarget")
        why = f" ({disruption.get('message', '')})" if disruption else ""
        return Problem(Severity.WAIT, Reason.STOPPING, f"Pod/{name} is being deleted{why}; a new one follows.")
    if status.get("phase") in {"Failed", "Succeeded"}:
        why = ": ".join(part for part in (status.get("reason"), status.get("message")) if part) or "it ended"
        return Problem(Severity.STUCK, Reason.STOPPING, f"Pod/{name} is over ({why}); a new one follows.")
    scheduled = find(conditions, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        return _of_scheduling(name, scheduled, (claim or {}).get("spec", {}).get("storageClassName"))
    ready = find(conditions, "Ready")
    if ready is not None and ready.get("status") == "True":
        return _of_resize(name, find(conditions, "PodResizePending"))
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    found = next((it for it in (_of_container(name, container) for container in containers) if it), None)
    return found or _of_start(pod, containers, (ready or {}).get("lastTransitionTime", ""))


def _of_answer(step: Step, error: ApiError, where: str) -> Problem:
    text = str(error)
    hidden = step.ref.kind == SECRET.name and not quotes_nothing(text)
    said = f"{error.code} {error.reason}".strip() if hidden else text
    fields = ", ".join(cause.field for cause in error.causes if cause.field)
    if isinstance(error, Conflict) and fields:
        managers = "; ".join(cause.message for cause in error.causes if cause.message)
        return Problem(
            Severity.STUCK,
            Reason.FIELD_CONFLICT,
            f"{where}: somebody else sets {fields} ({managers}). Make them give up the field.",
        )
    if any(cause.reason == "NamespaceTerminating" for cause in error.causes):
        return Problem(Severity.WAIT, Reason.TERMINATING, f"{where}: its namespace is being deleted.")
    if error.code == 403:
        return _of_forbidden(where, error, said)
    if "admission webhook" in text or "ValidatingAdmissionPolicy" in text:
        return _refused(where, said)
    if error.code == 422 and ("immutable" in text or "are forbidden" in text):
        named = ", ".join(_immutable(step)) or fields or "a field"
        return Problem(
            Severity.BROKEN,
            Reason.IMMUTABLE_FIELD,
            f"{where}: {named} cannot be changed on an existing {step.ref.kind}: {said}. Set it back, or delete the "
            f"{step.ref.kind} so that it is made anew.",
        )
    hint = "Correct the field." if error.terminal else "It is tried again."
    severity = Severity.BROKEN if error.terminal else Severity.STUCK
    return Problem(severity, Reason.APPLY_FAILED, f"{where}{f' ({fields})' if fields else ''}: {said}. {hint}")


def _of_forbidden(where: str, error: ApiError, said: str) -> Problem:
    text = str(error)
    if "exceeded quota" in text:
        return Problem(
            Severity.BROKEN, Reason.QUOTA_EXCEEDED, f"{where}: {said}. Raise the ResourceQuota, or ask for less."
        )
    if any(cause.reason == "NodeCapacity" for cause in error.causes):
        return Problem(
            Severity.BROKEN,
            Reason.RESIZE_PENDING,
            f"{where}: it runs on with the resources it has: {said}. Ask for less, or delete the Pod to have it placed on "
            "another node.",
        )
    if "can be resized" in text or "must support resize" in text:
        return Problem(
            Severity.BROKEN,
            Reason.EXPANSION_FAILED,
            f"{where}: {said}. Use a storage class with allowVolumeExpansion, or move the data to a new instance.",
        )
    if re.search(r'User "[^"]*" cannot ', text):
        return Problem(
            Severity.BROKEN, Reason.FORBIDDEN, f"{where}: {said}. Give the operator's role this verb (RBAC)."
        )
    return _refused(where, said)


def _refused(where: str, said: str) -> Problem:
    return Problem(
        Severity.BROKEN,
        Reason.ADMISSION_REFUSED,
        f"{where}: admission refused it: {said}. Change the policy, or what the instance asks for.",
    )


def _immutable(step: Step) -> Iterator[str]:
    for change in step.changes:
        if change.op is not Op.OWN and step.ref.kind == STATEFUL_SET.name and not change.path.startswith(_MUTABLE):
            yield change.path


def _of_size(claim: Object, where: str, wanted: str) -> Problem | None:
    status = claim.get("status", {})
    actual = status.get("capacity", {}).get("storage", "0")
    if quantity.parse(actual) >= quantity.parse(wanted):
        return None
    resources = status.get("allocatedResourceStatuses", {}).get("storage", "")
    errors = [
        condition.get("message", "")
        for condition in status.get("conditions", ())
        if condition.get("status") == "True" and condition.get("type") in {"ControllerResizeError", "NodeResizeError"}
    ]
    if errors or resources.endswith("Infeasible"):
        said = f": {'; '.join(errors)}" if any(errors) else ""
        return Problem(
            Severity.STUCK,
            Reason.EXPANSION_FAILED,
            f"{where} cannot grow from {actual} to {wanted}{said}. Ask for a size that the storage class can give.",
        )
    return Problem(Severity.WAIT, Reason.EXPANDING, f"{where} grows from {actual} to {wanted}.")


def _of_scheduling(name: str, scheduled: Mapping[str, Any], storage_class: str | None) -> Problem:
    message = scheduled.get("message") or "the scheduler gave no reason"
    if scheduled.get("reason") == "SchedulerError":
        return Problem(Severity.WAIT, Reason.STARTING, f"Pod/{name} has no node yet; the scheduler tries again.")
    if storage_class and _NO_CLASS.search(message):
        return Problem(
            Severity.BROKEN,
            Reason.STORAGE_CLASS_MISSING,
            f'Pod/{name} cannot be placed: there is no storage class "{storage_class}". Create it, or delete the instance '
            "and its claim, and create it with another spec.storage.storageClassName.",
        )
    return Problem(
        Severity.STUCK,
        Reason.UNSCHEDULABLE,
        f"Pod/{name} finds no node: {message} "
        "Add capacity, or change spec.scheduling, spec.resources or spec.redisConfig.memory.",
    )


def _of_resize(name: str, pending: Mapping[str, Any] | None) -> Problem | None:
    if pending is None or pending.get("status") != "True":
        return None
    return Problem(
        Severity.STUCK,
        Reason.RESIZE_PENDING,
        f"Pod/{name} runs on with the resources it has: {pending.get('message') or 'its node has no room for more now'}. "
        "Make room on the node, or delete the Pod to have it placed on another one.",
    )


def _of_container(name: str, container: Object) -> Problem | None:
    state, which = container.get("state", {}), f"Pod/{name}, container {container['name']}"
    waiting = state.get("waiting", {})
    if waiting.get("reason") in _PULL:
        cause = _pull_cause(waiting["reason"], waiting.get("message", ""))
        return Problem(
            Severity.BROKEN,
            Reason.IMAGE_PULL_FAILED,
            f"{which}: the image {container.get('image', '')} cannot be pulled: {cause}. Correct spec.version or spec.image, "
            "or make the image available; `kubectl describe pod` has the registry's answer.",
        )
    if waiting.get("reason") in _CONTAINER:
        return Problem(
            Severity.BROKEN,
            Reason.CONTAINER_FAILED,
            f"{which} cannot be started: {waiting['reason']}: {waiting.get('message', '')}",
        )
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated")
    if not ended or container.get("ready") or ended.get("reason") == "Completed":
        return None
    looping = waiting.get("reason") == "CrashLoopBackOff" or container.get("restartCount", 0) >= 3
    how = f"exit code {ended.get('exitCode')}, {ended.get('reason', 'Error')}"
    if ended.get("reason") == "OOMKilled":
        how += ": it used more memory than its limit; raise spec.redisConfig.memory"
    return Problem(
        Severity.BROKEN if looping else Severity.STUCK,
        Reason.CRASH_LOOP,
        f"{which} ends after it started ({how}). `kubectl logs {name} -c {container['name']} --previous` says why; "
        "undo the change of the spec that came before it.",
    )


def _pull_cause(reason: str, message: str) -> str:
    if reason in {"InvalidImageName", "ErrImageNeverPull"}:
        return {"InvalidImageName": "the name is not valid", "ErrImageNeverPull": "it is not on the node"}[reason]
    lower = message.lower()
    if "not found" in lower or "manifest unknown" in lower:
        return "the registry has no such image"
    if any(word in lower for word in ("unauthorized", "denied", "forbidden", "authorization failed")):
        return "the registry refuses access, or has no such image"
    return "the registry gave no image"


def _of_start(pod: Object, containers: Sequence[Object], unready_since: str) -> Problem:
    name = pod["metadata"]["name"]
    waiting = [it for it in containers if not it.get("ready") and "terminated" not in it.get("state", {})]
    if not containers or any("running" not in it.get("state", {}) for it in waiting):
        node = pod.get("spec", {}).get("nodeName")
        where = f"on node {node}" if node else "(no node yet)"
        return Problem(
            Severity.WAIT,
            Reason.STARTING,
            f"Pod/{name} is being started {where}; if it stays so, `kubectl describe pod {name}` says why.",
        )
    if not waiting:
        return Problem(
            Severity.STUCK,
            Reason.POD_NOT_READY,
            f"Pod/{name} is not ready although its containers are: node {pod.get('spec', {}).get('nodeName')} may be lost.",
        )
    first = waiting[0]
    which = f"Pod/{name}, container {first['name']}"
    if first.get("started") is False:
        return Problem(Severity.WAIT, Reason.STARTING, f"{which} has started and loads its data.")
    fell = unready_since > first["state"]["running"].get("startedAt", "")
    return Problem(
        Severity.STUCK if fell else Severity.WAIT,
        Reason.POD_NOT_READY if fell else Reason.STARTING,
        f"{which} runs, but its readiness probe {'fails' if fell else 'has not succeeded yet'}; "
        f"`kubectl describe pod {name}` has the probe's output.",
    )
