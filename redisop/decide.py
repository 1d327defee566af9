"""What to do about one instance: the one pure function that the operator and `redisop plan` share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from redisop import graph as graphs
from redisop import manifests, redisconf, rollout
from redisop.api import RedisHttpInstance
from redisop.kinds import CONFIG_MAP, Object, Ref, ref_of
from redisop.manifests.config import CONFIG_FILE
from redisop.plan import Plan, Settled, plan
from redisop.settings import Settings


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan for one instance, or why there is none.

    `refusal` means that the instance's own words cannot be followed under the operator's settings (an image outside the
    allow-list, say): nothing is written until it or the settings change. A paused instance, or one that is being deleted,
    has an empty plan: the first is left alone, the second is left to the garbage collector.
    """

    instance: RedisHttpInstance
    plan: Plan
    refusal: manifests.Refused | None = None


def decide(obj: Object, live: Mapping[Ref, Object], settled: Settled, settings: Settings) -> Decision:
    """Decide about the RedisHttpInstance `obj`, given the `live` objects of its names and of its ownership.

    pydantic.ValidationError where `obj` was admitted by a CRD this version does not understand.
    """
    instance = RedisHttpInstance.model_validate(obj)
    nothing = Plan(key=ref_of(obj), steps=())
    if instance.metadata.deletion_timestamp is not None or instance.spec.paused:
        return Decision(instance, nothing)
    try:
        wanted = manifests.build(instance, settings, live)
    except manifests.Refused as refusal:
        return Decision(instance, nothing, refusal)
    planned = plan(graphs.build(obj, wanted), live, settled)
    return Decision(instance, replace(planned, steps=planned.steps + rollout.steps(instance, live, planned)))


def notes(decision: Decision, live: Mapping[Ref, Object]) -> tuple[str, ...]:
    """Return what a reader of the plan should know besides its steps: why there are none, and what will follow them."""
    if decision.refusal is not None:
        return (f"refused: {decision.refusal.field}: {decision.refusal.message}",)
    if decision.instance.metadata.deletion_timestamp is not None:
        return ("being deleted: its objects are left to the garbage collector",)
    if decision.instance.spec.paused:
        return ("paused: its objects are left alone until spec.paused is false",)
    fate, reasons = rollout.follows(decision.plan, live)
    then = (
        "then the Pod restarts"
        if fate is rollout.Fate.RESTART
        else "then, without a restart: the Pod is resized in place"
    )
    return (*_live_changes(decision.plan), *(f"{then}: {reason}" for reason in reasons))


def _live_changes(planned: Plan) -> Iterator[str]:
    for step in planned.writes:
        if step.ref.kind != CONFIG_MAP.name or step.live is None or step.want is None:
            continue
        old, new = (obj.get("data", {}).get(CONFIG_FILE, "") for obj in (step.live, step.want))
        for change in redisconf.changed(old, new):
            if change.live:
                yield f"then, without a restart: CONFIG SET {change.directive} {change.new} (now {change.old})"
