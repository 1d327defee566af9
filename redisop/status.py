"""The status of an instance, computed from what is observed. Pure.

Readable by kstatus (sigs.k8s.io/cli-utils): Ready is True only where the Pod of the present generation serves with the present
configuration. Nothing is remembered but times, `lastPlan`, and what Redis said last: what falls, falls in the next pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redisop import problems, quantity, redisconf, rollout
from redisop.api import RedisHttpInstance
from redisop.conditions import Reason, Type, Verdict, bounded, find, set_condition
from redisop.kinds import CONFIG_MAP, MANAGER, POD, SERVICE, Object, controller_of
from redisop.observation import ConfigState, Observation
from redisop.plan import Action, Step
from redisop.problems import Problem, Severity

_PATIENCE = 30
"""Seconds that a Pod may be missing before that counts as stuck: quota and admission refuse Pods where only events tell."""

_DONE = {
    Action.CREATE: "created",
    Action.APPLY: "changed",
    Action.REPLACE: "replaced",
    Action.DELETE: "deleted",
    Action.RESTART: "restarted",
}

_NOT_ASKED = (Reason.NOT_COMPARED, "Redis has not been asked for its configuration yet.")
_UNREADABLE: Mapping[Type, Verdict] = {Type.READY: "False", Type.PROGRESSING: "False", Type.DEGRADED: "True"}


def instance_status(
    instance: RedisHttpInstance, current: Mapping[str, Any], observation: Observation, now: str
) -> Object:
    """Return the whole value of `.status`; `current` is the one before, `now` is RFC 3339 with second precision."""
    found = sorted(_problems(instance, current, observation, now), key=lambda it: -it.severity)
    child = rollout.pod(instance, observation.live)
    ready = int(child is not None and rollout.is_ready(child))
    status = {
        "phase": _phase(instance, found),
        "observedGeneration": instance.metadata.generation,
        "conditions": _conditions(instance, current, observation, found, now),
        "endpoint": _endpoint(instance, observation),
        "redisVersion": _version(child, current, observation.config),
        "readyReplicas": ready,
        "storage": _storage(instance, observation),
        "lastPlan": _last_plan(current, observation.done, now),
    }
    return {key: value for key, value in status.items() if value is not None}


def unreadable_status(obj: Mapping[str, Any], fields: str, now: str) -> Object:
    """Return the status of a custom resource that this version cannot read, because of `fields`; nothing else is known of it."""
    current, generation = obj.get("status") or {}, int(obj["metadata"].get("generation", 0))
    message = (
        f"{fields}: not a value that this version of the operator understands, so nothing was compared or changed. "
        "Correct the field, or install the version whose CustomResourceDefinition admitted it."
    )
    conditions = [
        dict(item) for item in current.get("conditions", ()) if item.get("type") in {str(kind) for kind in Type}
    ]
    for kind, verdict in _UNREADABLE.items():
        conditions = set_condition(conditions, kind, verdict, Reason.INVALID_SPEC, message, generation, now)
    return {**current, "phase": "Failed", "observedGeneration": generation, "conditions": conditions}


def _problems(
    instance: RedisHttpInstance, current: Mapping[str, Any], observation: Observation, now: str
) -> Iterator[Problem]:
    """Yield what keeps the instance from being ready, causes before effects."""
    if instance.metadata.deletion_timestamp is not None:
        yield Problem(Severity.WAIT, Reason.TERMINATING, "The instance is being deleted.")
        return
    if observation.refusal is not None:
        field = f"{observation.refusal.field}: " if observation.refusal.field else ""
        text = str(observation.refusal)
        message = text if text.startswith(field) else field + text
        yield Problem(Severity.BROKEN, Reason(observation.refusal.reason), message)
    yield from (problems.of_conflict(step) for step in observation.plan.steps if step.action is Action.CONFLICT)
    yield from (problems.of_failure(failure) for failure in observation.failures)
    if observation.refusal is None and not instance.spec.paused:
        yield from _unfinished(observation)
    yield from _workload(instance, current, observation, now)


def _unfinished(observation: Observation) -> Iterator[Problem]:
    done = {(step.ref, step.subresource) for step in observation.done}
    failed = {(failure.step.ref, failure.step.subresource) for failure in observation.failures}
    names = [
        str(step.ref)
        for step in observation.plan.steps
        if (step.writes or step.pending)
        and step.ref.kind != POD.name
        and (step.ref, step.subresource) not in done | failed
    ]
    if names:
        yield Problem(Severity.WAIT, Reason.APPLYING, f"Still to be written: {', '.join(names)}.")


def _workload(
    instance: RedisHttpInstance, current: Mapping[str, Any], observation: Observation, now: str
) -> Iterator[Problem]:
    live, spec = observation.live, instance.spec
    parent, child = rollout.stateful_set(instance, live), rollout.pod(instance, live)
    if parent is None:
        yield Problem(Severity.WAIT, Reason.APPLYING, f"StatefulSet/{rollout.names(instance).base} is not there.")
    elif not rollout.is_observed(parent):
        yield Problem(
            Severity.WAIT,
            Reason.APPLYING,
            f"StatefulSet/{rollout.names(instance).base} has changed; its controller has not caught up with it.",
        )
    if spec.hibernated:
        if child is not None:
            yield Problem(Severity.WAIT, Reason.HIBERNATING, f"Pod/{rollout.names(instance).pod} is being stopped.")
        return
    storage = _of_storage(instance, observation)
    if storage is not None:
        yield storage
    if parent is not None and child is not None and not rollout.is_leaving(child) and not spec.paused:
        # Not from the plan: what was observed may be newer than the decision.
        coming, reasons = rollout.due(parent, child)
        if coming is not rollout.Fate.KEEP:
            how = "restarted" if coming is rollout.Fate.RESTART else "resized in place"
            message = f"Pod/{rollout.names(instance).pod} will be {how}: {'; '.join(reasons)}"
            yield Problem(Severity.WAIT, Reason.RESTART_PENDING, message)
    if child is not None:
        yield from _of_pod(instance, child, observation)
    elif parent is not None:
        yield _missing(instance, parent, current, now)


def _of_pod(instance: RedisHttpInstance, child: Object, observation: Observation) -> Iterator[Problem]:
    trouble, config = problems.of_pod(child, rollout.claim(instance, observation.live)), observation.config
    if trouble is not None and config is not None and config.reason is Reason.LOADING:
        yield Problem(trouble.severity, Reason.LOADING, config.message)
    elif trouble is not None and config is not None and config.reason is Reason.LOGIN_REFUSED:
        yield Problem(Severity.BROKEN, config.reason, config.message)
    elif trouble is not None:
        yield trouble
    elif not instance.spec.paused and (config is None or not config.applied):
        found = _of_config(config, starts_current=_started_after_config(instance, observation))
        if found is not None:
            yield found


def _missing(instance: RedisHttpInstance, parent: Object, current: Mapping[str, Any], now: str) -> Problem:
    before = find(current.get("conditions", ()), Type.READY) or {}
    since = before.get("lastTransitionTime", now) if before.get("reason") == Reason.POD_MISSING else now
    waited = problems.seconds_between(since, now)
    return Problem(
        Severity.STUCK if waited >= _PATIENCE else Severity.WAIT,
        Reason.POD_MISSING,
        f"Pod/{rollout.names(instance).pod} is not there; if it stays so, a quota or an admission policy refuses it: "
        f"`kubectl describe statefulset {parent['metadata']['name']}` says which.",
    )


def _of_storage(instance: RedisHttpInstance, observation: Observation) -> Problem | None:
    if not instance.spec.redis_config.persistence:
        return None
    claim = rollout.claim(instance, observation.live)
    return problems.of_claim(claim, rollout.names(instance).claim, instance.spec.storage.size)


def _of_config(config: ConfigState | None, *, starts_current: bool) -> Problem | None:
    """Return what an answer of Redis that is not "as wanted" means; no answer means nothing where Redis read the present file."""
    if config is None or config.reason is Reason.REDIS_UNREACHABLE:
        if starts_current:
            return None
        return Problem(Severity.STUCK, config.reason, config.message) if config else Problem(Severity.WAIT, *_NOT_ASKED)
    if config.reason in {Reason.LOADING, Reason.RESTART_PENDING}:
        return Problem(Severity.WAIT, config.reason, config.message)
    return Problem(Severity.BROKEN, config.reason, config.message)


def _started_after_config(instance: RedisHttpInstance, observation: Observation) -> bool:
    """Tell whether Redis started after redis.conf was last written, so that it has read what is wanted."""
    child = rollout.pod(instance, observation.live)
    config = observation.live.get(rollout.ref(instance, CONFIG_MAP, rollout.names(instance).config))
    started = rollout.container(child).get("state", {}).get("running", {}).get("startedAt") if child else None
    written = [
        entry.get("time", "")
        for entry in (config or {}).get("metadata", {}).get("managedFields", ())
        if entry.get("manager") == MANAGER
    ]
    return bool(started and written) and started > max(written)


def _conditions(
    instance: RedisHttpInstance,
    current: Mapping[str, Any],
    observation: Observation,
    found: Sequence[Problem],
    now: str,
) -> list[Object]:
    ours = {str(kind) for kind in Type}
    conditions = [dict(item) for item in current.get("conditions", ()) if item.get("type") in ours]
    generation = instance.metadata.generation
    values = {
        Type.READY: _ready(instance, observation, found),
        Type.PROGRESSING: _progressing(instance, found),
        Type.DEGRADED: _degraded(found),
        Type.CONFIG_APPLIED: _config_applied(instance, observation),
        Type.STORAGE_READY: _storage_ready(instance, observation),
    }
    for kind, value in values.items():
        if value is None:
            conditions = [item for item in conditions if item["type"] != kind]
        else:
            conditions = set_condition(conditions, kind, *value, generation, now)
    return conditions


Setting = tuple[Verdict, Reason, str]


def _ready(instance: RedisHttpInstance, observation: Observation, found: Sequence[Problem]) -> Setting:
    if found:
        return "False", found[0].reason, found[0].message
    if instance.spec.paused:
        return "Unknown", Reason.PAUSED, "spec.paused is true: what is wanted and what is there are not compared."
    if instance.spec.hibernated:
        return "False", Reason.HIBERNATED, "spec.hibernated is true: no Pod runs; set it to false to wake the instance."
    return "True", Reason.SERVING, f"Redis serves at {_address(instance)}.{_kept(instance, observation)}"


def _progressing(instance: RedisHttpInstance, found: Sequence[Problem]) -> Setting:
    if instance.spec.paused:
        return "False", Reason.PAUSED, "spec.paused is true: the operator leaves every object of this instance alone."
    moving = next((it for it in found if it.severity < Severity.BROKEN), None)
    if moving is not None:
        return "True", moving.reason, moving.message
    if found:
        return "False", found[0].reason, "It cannot go on before the problem is solved."
    if instance.spec.hibernated:
        return "False", Reason.HIBERNATED, "The Pod is stopped."
    return "False", Reason.AS_WANTED, "Every object is as wanted."


def _degraded(found: Sequence[Problem]) -> Setting:
    bad = [it for it in found if it.severity > Severity.WAIT]
    if bad:
        return "True", bad[0].reason, " | ".join(it.message for it in bad)
    return "False", Reason.AS_WANTED, "No problem is known."


def _config_applied(instance: RedisHttpInstance, observation: Observation) -> Setting | None:
    child = rollout.pod(instance, observation.live)
    if child is None or instance.spec.paused or instance.metadata.deletion_timestamp is not None:
        return None
    config = observation.config
    if config is None:
        return "Unknown", *_NOT_ASKED
    if not config.applied and _of_config(config, starts_current=_started_after_config(instance, observation)) is None:
        return "Unknown", config.reason, f"Redis read the present redis.conf when it started. {config.message}"
    return ("True" if config.applied else "False"), config.reason, config.message


def _storage_ready(instance: RedisHttpInstance, observation: Observation) -> Setting | None:
    claim = rollout.claim(instance, observation.live)
    if not instance.spec.redis_config.persistence or (claim is None and instance.metadata.deletion_timestamp):
        return None
    problem = _of_storage(instance, observation)
    if problem is not None:
        return "False", problem.reason, problem.message
    return "True", Reason.BOUND, f"PersistentVolumeClaim/{rollout.names(instance).claim} is bound."


def _phase(instance: RedisHttpInstance, found: Sequence[Problem]) -> str:
    if instance.metadata.deletion_timestamp is not None:
        return "Terminating"
    if instance.spec.paused:
        return "Paused"
    if found:
        return "Failed" if found[0].severity is Severity.BROKEN else "Pending"
    return "Hibernated" if instance.spec.hibernated else "Running"


def _kept(instance: RedisHttpInstance, observation: Observation) -> str:
    parent, child = rollout.stateful_set(instance, observation.live), rollout.pod(instance, observation.live)
    if parent is None or child is None or not rollout.has_more_memory(parent, child):
        return ""
    return " Less memory took effect without a restart; the Pod keeps its larger limit until its next restart."


def _endpoint(instance: RedisHttpInstance, observation: Observation) -> Object | None:
    service = observation.live.get(rollout.ref(instance, SERVICE, rollout.names(instance).base))
    owner = controller_of(service) if service else None
    ours = owner is not None and owner.get("uid") == instance.metadata.uid
    return {"redis": _address(instance)} if ours else None


def _address(instance: RedisHttpInstance) -> str:
    return f"redis://{rollout.names(instance).base}.{instance.metadata.namespace}.svc:{redisconf.PORT}"


def _version(child: Object | None, current: Mapping[str, Any], config: ConfigState | None) -> str | None:
    """Return what Redis says of itself, else what it said last if the running image can still be that, else the image's tag."""
    container = rollout.container(child or {})
    if config is not None and config.redis_version:
        return config.redis_version
    tag = container.get("image", "").partition("@")[0].rpartition("/")[2].partition(":")[2].partition("-")[0]
    before: str | None = current.get("redisVersion")
    if before and tag and (before == tag or before.startswith(f"{tag}.")):
        return before
    if "running" not in container.get("state", {}):
        return None
    return tag if tag and all(part.isdigit() for part in tag.split(".")) else None


def _storage(instance: RedisHttpInstance, observation: Observation) -> Object | None:
    if not instance.spec.redis_config.persistence:
        return None
    claim = rollout.claim(instance, observation.live) or {}
    actual = claim.get("status", {}).get("capacity", {}).get("storage")
    requested = quantity.canonical(instance.spec.storage.size)
    return {"requested": requested} if actual is None else {"requested": requested, "actual": actual}


def _last_plan(current: Mapping[str, Any], done: Sequence[Step], now: str) -> Object | None:
    """Move only with what was written, so that a status that follows from nothing new equals the one before."""
    counts = {
        word: sum(step.action is action and step.subresource is None for step in done) for action, word in _DONE.items()
    }
    counts["resized"] = sum(step.subresource == rollout.RESIZE for step in done)
    if not any(counts.values()):
        before: Object | None = current.get("lastPlan")
        return before
    summary = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    moved = (step for step in done if step.action is Action.RESTART or step.subresource == rollout.RESIZE)
    reasons = [reason for step in moved for reason in step.reasons]
    return {"time": now, "summary": bounded(f"{summary}: {'; '.join(reasons)}" if reasons else summary)}
