"""Carries out a Plan wave by wave. Every write has a precondition, so none can undo what this process has not seen.

A wave is begun only when all before it succeeded: what stands in a later one depends on what stands in an earlier one, and
deletes come last. A stale precondition is no failure: it asks for another decision, made from newer objects.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

import anyio

from redisop.client import Client
from redisop.errors import ApiError, Conflict, ConnectionFailed, NotFound, RedisopError
from redisop.kinds import Object, Ref, kind_of
from redisop.observation import Failure
from redisop.plan import Action, Plan, Settled, Step, forget, request, settle
from redisop.store import Store
from redisop.values import materialise

STALE_WAIT = 2.0
"""Seconds to wait for the watch to pass a version that turned out to be stale, before asking for the object itself."""

AT_ONCE = 2
"""Writes in flight for one plan: an instance whose writes hang must leave room for those of all others."""

_LATER_MAY_WORK = frozenset({403, 404})
"""Rights are granted, quotas raised and namespaces made without any object of ours changing."""


@dataclass(slots=True)
class Outcome:
    """What became of a Plan.

    `again`: another decision is due now. `met`: objects found under our names that no watch of ours shows.
    """

    done: list[Step] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    met: dict[Ref, Object] = field(default_factory=dict)
    again: bool = False


def is_terminal(error: RedisopError) -> bool:
    """Tell whether trying again is pointless until what we want, or what is there, changes."""
    if not isinstance(error, ApiError) or not error.terminal:
        return False
    # A namespace that is going never comes back; nothing can be made in it any more.
    going = any(cause.reason == "NamespaceTerminating" for cause in error.causes)
    return going or error.code not in _LATER_MAY_WORK


async def execute(
    client: Client,
    plan: Plan,
    store: Store,
    settled: Settled,
    limiter: anyio.CapacityLimiter,
    known: Callable[[Step], Failure | None] = lambda _: None,
) -> Outcome:
    """Carry out `plan`; each response goes to `store` and `settled`.

    `limiter` bounds the writes in flight. A step for which `known` has a Failure is not sent again.
    """
    outcome = Outcome()
    executor = _Executor(client, store, settled, limiter, anyio.CapacityLimiter(AT_ONCE), outcome)
    for wave in _waves(plan):
        async with anyio.create_task_group() as group:
            for step in wave:
                failure = known(step) if step.writes else None
                if failure is not None:
                    outcome.failures.append(failure)
                elif step.writes:
                    group.start_soon(executor.run, step)
        # A later wave may use what a conflict or a failure kept from being as wanted.
        if outcome.failures or outcome.again or any(step.action is Action.CONFLICT for step in wave):
            break
        if any(step.pending for step in wave):
            outcome.again = bool(outcome.done)
            break
    return outcome


def _waves(plan: Plan) -> Iterator[list[Step]]:
    ordered = sorted(plan.steps, key=lambda step: step.wave)
    for _, steps in groupby(ordered, key=lambda step: step.wave):
        yield list(steps)


@dataclass(frozen=True, slots=True)
class _Executor:
    client: Client
    store: Store
    settled: Settled
    limiter: anyio.CapacityLimiter
    share: anyio.CapacityLimiter
    outcome: Outcome

    async def run(self, step: Step) -> None:
        try:
            async with self.share, self.limiter:
                await (self._apply(step) if step.action in {Action.CREATE, Action.APPLY} else self._delete(step))
        except (ApiError, ConnectionFailed) as error:
            if not _is_stale(step, error):
                self.outcome.failures.append(Failure(step, error))
                return
            self.outcome.again = True
            try:
                await self._catch_up(step)
            except (ApiError, ConnectionFailed) as lost:
                self.outcome.failures.append(Failure(step, lost))
        else:
            self.outcome.done.append(step)

    async def _apply(self, step: Step) -> None:
        response = await self.client.apply(materialise(request(step)), subresource=step.subresource)
        if step.want is not None:
            settle(self.settled, step.want, response, step.subresource)
        self.store.put(response)

    async def _delete(self, step: Step) -> None:
        if step.live is None:
            return
        metadata = step.live["metadata"]
        uid = metadata["uid"]
        try:
            response = await self.client.delete(
                step.ref,
                uid=uid,
                resource_version=metadata["resourceVersion"],
                propagation="Orphan" if step.action is Action.REPLACE else None,
            )
        except NotFound:
            response = {"kind": "Status"}
        if response.get("kind") == "Status":
            self.store.discard(step.ref, uid)
            forget(self.settled, uid)
            # What replaces it can be made at once; a finalizer would have kept it until its DELETED event.
            self.outcome.again |= step.action is Action.REPLACE
        else:
            self.store.put(response)

    async def _catch_up(self, step: Step) -> None:
        """Learn what is there now: from the watch where it shows the object, else by asking."""
        if step.live is not None:
            with anyio.move_on_after(STALE_WAIT):
                await self.store.passed(step.ref, step.live["metadata"]["resourceVersion"])
                return
        try:
            async with self.share, self.limiter:
                self.outcome.met[step.ref] = await self.client.get(kind_of(step.ref), step.ref.namespace, step.ref.name)
        except NotFound:
            if step.live is not None:
                self.store.discard(step.ref, step.live["metadata"]["uid"])


def _is_stale(step: Step, error: RedisopError) -> bool:
    """Tell whether `error` says that the object is no longer what was planned against.

    Another uid is answered by 409 or by 422 for metadata.uid, depending on the kind.
    """
    if isinstance(error, Conflict):
        return True
    return (
        step.live is not None
        and isinstance(error, ApiError)
        and error.code == 422
        and any(cause.field == "metadata.uid" for cause in error.causes)
    )
