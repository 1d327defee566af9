"""Brings instances to what is wanted: one pass decides from the cache, carries the plan out, and writes the status.

Nothing here reads from the API server while nothing differs, and nothing writes to it outside a plan.
"""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import pydantic

from redisop import logs, rollout
from redisop.apply import execute, is_terminal
from redisop.client import Client
from redisop.conditions import timestamp
from redisop.configcheck import ConfigChecks
from redisop.decide import Decision, decide
from redisop.disputes import Disputes
from redisop.errors import ApiError, ConnectionFailed, NotFound
from redisop.kinds import INSTANCE, POD, Object, Ref, kind_of
from redisop.observation import Failure, Observation
from redisop.observer import Observer, Report
from redisop.plan import Action, Plan, Settled, Step, forget, plan_object
from redisop.settings import Settings
from redisop.status import instance_status, unreadable_status
from redisop.store import Store, key_of, newer
from redisop.workqueue import WorkQueue

logger = logging.getLogger(__name__)

ROUNDS = 6
"""Decisions in one pass: the waves that wait for each other's results, and some stale versions."""
CONFLICT_RECHECK = 30.0
"""Seconds until a name that was taken is looked at again; no watch of ours shows what took it."""
TERMINAL_RECHECK = 600.0
"""Seconds until a refused write is tried once more although nothing of ours changed: an admission policy may have."""
PENDING_RECHECK = 35.0
"""Seconds until an instance that is not ready is looked at again, since some problems are told by how long they last."""
STATUS_PACE = 3.0
"""Seconds between two statuses that only say what else is being waited for."""

URGENT, NORMAL, IDLE = 1, 0, -1


@dataclass(slots=True)
class _Memory:
    """What is remembered of one instance between passes; losing it costs a few requests and changes no result."""

    settled: Settled = field(default_factory=dict)
    refused: dict[tuple[Ref, str | None], tuple[Failure, float]] = field(default_factory=dict)
    strays: dict[Ref, Object] = field(default_factory=dict)
    disputes: Disputes = field(default_factory=Disputes)
    asked: tuple[str, int | None] | None = None
    done: list[Step] = field(default_factory=list)
    status_at: float = float("-inf")

    def heed(self, instance: Object) -> None:
        """Let what was refused be tried again once the instance itself changes, be it to something that needs the same write."""
        asked = (instance["metadata"]["uid"], instance["metadata"].get("generation"))
        if self.asked != asked:
            self.asked = asked
            self.refused.clear()


@dataclass(slots=True)
class _Pass:
    """What one pass came to."""

    decision: Decision
    live: dict[Ref, Object]
    failures: Sequence[Failure]
    done: Sequence[Step]
    unfinished: bool


class Controller:
    """Reconciles RedisHttpInstances; `work` runs in as many tasks as there are workers."""

    def __init__(
        self,
        client: Client,
        store: Store,
        queue: WorkQueue,
        settings: Settings,
        checks: ConfigChecks,
        *,
        writes_in_flight: int = 8,
        observer: Observer | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._queue = queue
        self._settings = settings
        self._checks = checks
        self._limiter = anyio.CapacityLimiter(writes_in_flight)
        self._observer = observer or Observer()
        self._memory: dict[Ref, _Memory] = {}

    @property
    def settled(self) -> int:
        """How many objects are remembered as last applied."""
        return sum(len(memory.settled) for memory in self._memory.values())

    def changed(self, old: Object | None, new: Object | None) -> None:
        """Queue the instances that a change of the cache concerns."""
        for obj in (new, old):
            key = key_of(obj) if obj is not None else None
            if key is not None:
                self._queue.add(key, _priority(old, new))
        if new is None and old is not None and (key := key_of(old)) in self._memory:
            forget(self._memory[key].settled, old["metadata"]["uid"])

    async def work(self) -> None:
        """Reconcile one key after the other, for ever."""
        while True:
            key = await self._queue.get()
            started = time.monotonic()
            try:
                with logs.within(key=_name(key)):
                    await self.reconcile(key)
            except Exception as error:  # noqa: BLE001 - one instance that cannot be handled must not stop the others
                # Only where it came from: its text may hold anything.
                logger.error("pass crashed", extra=logs.fields(key=_name(key), exception=logs.describe(error)))  # noqa: TRY400
                self._observer.crashed(key, time.monotonic() - started)
                self._queue.retry(key)
            finally:
                self._queue.done(key)
            # A queue that is never empty would otherwise leave no turn to anybody else.
            await anyio.lowlevel.checkpoint()

    async def reconcile(self, key: Ref) -> None:
        """Make one pass over the instance `key`."""
        if self._store.get(key) is None:
            self._memory.pop(key, None)
            self._checks.forget(key)
            self._queue.drop(key)
            return
        memory = self._memory.setdefault(key, _Memory())
        started = time.monotonic()
        try:
            found = await self._decide_and_execute(key, memory)
        except pydantic.ValidationError as error:
            fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
            logger.error("%s: not an instance that this version understands: %s", _name(key), fields)  # noqa: TRY400
            self._queue.forget(key)
            obj = self._store.get(key)
            if obj is not None:
                await self._apply_status(key, memory, obj, unreadable_status(obj, fields, _now()))
            return
        if found is None:
            return
        await self._write_status(key, memory, found)
        generation, seconds = found.decision.instance.metadata.generation, time.monotonic() - started
        self._observer.reconciled(
            Report(key, generation, found.decision.plan, found.done, found.failures, seconds, found.unfinished)
        )

    async def _decide_and_execute(self, key: Ref, memory: _Memory) -> _Pass | None:
        await self._look_at_strays(memory)
        done: list[Step] = []
        for _ in range(ROUNDS):
            instance = self._store.get(key)
            if instance is None:
                return None
            memory.heed(instance)
            decision = decide(instance, self._live(key, memory), memory.settled, self._settings)
            plan, disputed = memory.disputes.hold(decision.plan)
            outcome = await execute(
                self._client,
                plan,
                self._store,
                memory.settled,
                self._limiter,
                lambda step: _known(memory, step),
            )
            done += outcome.done
            memory.disputes.carried_out(outcome.done)
            memory.strays.update(outcome.met)
            if outcome.failures or not outcome.again:
                break
        memory.done += done
        if done and instance is not None:
            self._observer.carried_out(instance, done)
        self._remember(memory, outcome.failures)
        self._come_back(key, decision.plan, outcome.failures, again=outcome.again)
        due = memory.disputes.due()
        if due is not None:
            self._queue.add_after(key, due)
        return _Pass(decision, self._live(key, memory), (*outcome.failures, *disputed), done, outcome.again)

    def _come_back(self, key: Ref, plan: Plan, failures: Sequence[Failure], *, again: bool) -> None:
        passing = [failure.error for failure in failures if not is_terminal(failure.error)]
        if passing or again:
            asked = (error.retry_after or 0.0 for error in passing if isinstance(error, ApiError))
            self._queue.retry(key, at_least=max(asked, default=0.0))
            return
        self._queue.forget(key)
        if failures:
            self._queue.add_after(key, TERMINAL_RECHECK * random.uniform(1.0, 1.2))  # noqa: S311
        if any(step.action is Action.CONFLICT for step in plan.steps):
            self._queue.add_after(key, CONFLICT_RECHECK * random.uniform(1.0, 1.2))  # noqa: S311

    async def _write_status(self, key: Ref, memory: _Memory, found: _Pass) -> None:
        obj = self._store.get(key)
        if obj is None or found.unfinished:
            return
        decision = found.decision
        instance = decision.instance
        config = None
        if decision.refusal is None and not instance.spec.paused:
            config = self._checks.state(key, instance, found.live)
            if config is None and self._checks.is_pending(key):
                # The answer brings the key back; a status without it would be out of date a moment later.
                self._queue.add_after(key, 1.0)
                return
        observation = Observation(
            found.live, decision.plan, tuple(memory.done), decision.refusal, tuple(found.failures), config
        )
        current = obj.get("status") or {}
        status = instance_status(instance, current, observation, _now())
        if status.get("phase") == "Pending":
            self._queue.add_after(key, PENDING_RECHECK)
        wait = memory.status_at + STATUS_PACE - time.monotonic()
        if wait > 0 and _only_waiting(current, status):
            self._queue.add_after(key, wait)
            return
        await self._apply_status(key, memory, obj, status)

    async def _apply_status(self, key: Ref, memory: _Memory, obj: Object, status: Object) -> None:
        want = {
            "apiVersion": key.api_version,
            "kind": key.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": status,
        }
        step = plan_object(want, obj, memory.settled, owner_uid=None, subresource="status")
        if not step.writes:
            memory.done.clear()
            return
        outcome = await execute(
            self._client,
            Plan(key, (step,)),
            self._store,
            memory.settled,
            self._limiter,
            lambda step: _known(memory, step),
        )
        self._remember(memory, outcome.failures)
        if outcome.done:
            memory.done.clear()
            memory.status_at = time.monotonic()
            self._observer.status_written(obj, status)
            return
        self._come_back(key, Plan(key, ()), outcome.failures, again=outcome.again)
        for failure in outcome.failures:
            logger.warning("%s: status: %s", _name(key), failure.error)

    def _live(self, key: Ref, memory: _Memory) -> dict[Ref, Object]:
        live = self._store.children(key)
        for ref, stray in list(memory.strays.items()):
            seen = self._store.get(ref)
            if seen is None or newer(stray["metadata"]["resourceVersion"], seen["metadata"]["resourceVersion"]):
                live[ref] = stray
            elif ref in live:
                # A watch of ours shows it after all.
                del memory.strays[ref]
            else:
                live[ref] = seen
        return live

    async def _look_at_strays(self, memory: _Memory) -> None:
        """Ask again for what no watch shows, so that a name which became free, or ours, is noticed."""
        for ref, stray in list(memory.strays.items()):
            try:
                memory.strays[ref] = await self._client.get(kind_of(ref), ref.namespace, ref.name)
            except NotFound:
                del memory.strays[ref]
                self._store.discard(ref, stray["metadata"]["uid"])
            except (ApiError, ConnectionFailed):
                continue

    def _remember(self, memory: _Memory, failures: Sequence[Failure]) -> None:
        until = time.monotonic() + TERMINAL_RECHECK
        for failure in failures:
            name = (failure.step.ref, failure.step.subresource)
            if is_terminal(failure.error) and (name not in memory.refused or memory.refused[name][0] is not failure):
                memory.refused[name] = (failure, until)


def _priority(old: Object | None, new: Object | None) -> int:
    """Return what a change is worth: an instance that just became ready is finished by one status, so it goes first.

    Steps on the way there are merged while there is other work.
    """
    if new is None:
        return NORMAL
    if new["kind"] == POD.name:
        return URGENT if rollout.is_ready(new) != (old is not None and rollout.is_ready(old)) else IDLE
    if old is None or new["kind"] == INSTANCE.name:
        return NORMAL
    generation = new["metadata"].get("generation")
    return IDLE if generation is not None and generation == old["metadata"].get("generation") else NORMAL


def _known(memory: _Memory, step: Step) -> Failure | None:
    """Return why this very step was refused, if it was lately."""
    failure, until = memory.refused.get((step.ref, step.subresource), (None, 0.0))
    if failure is None:
        return None
    before = failure.step
    same = (before.action, before.want, _version(before.live)) == (step.action, step.want, _version(step.live))
    if same and time.monotonic() < until:
        return failure
    del memory.refused[step.ref, step.subresource]
    return None


def _version(live: Object | None) -> tuple[str, str] | None:
    """Return what changes with an object but, where the server counts generations, not with its status."""
    if live is None:
        return None
    metadata = live["metadata"]
    return metadata["uid"], str(metadata.get("generation") or metadata["resourceVersion"])


def _only_waiting(old: Object, new: Object) -> bool:
    """Tell whether two statuses differ only in what a pending instance waits for."""
    return bool(
        old.get("phase") == new.get("phase") == "Pending" and old.get("observedGeneration") == new["observedGeneration"]
    )


def _now() -> str:
    return timestamp(datetime.now(UTC))


def _name(key: Ref) -> str:
    return f"{key.namespace}/{key.name}"
