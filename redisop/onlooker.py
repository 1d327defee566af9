"""`redisop run --mode observe`: decides as the operator would, says what it would do, and does none of it.

What it finds is told by logs, Events and metrics. It never writes a status: the operator that is in charge owns that, and what an
observer left there would go on claiming something after its end. It holds no Lease and needs no right to write but for Events.

A plan is told once it has stood for SETTLE: beside a working operator, most of them are carried out before that.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import anyio

from redisop import logs
from redisop.client import Client
from redisop.decide import notes
from redisop.kinds import Object, Ref
from redisop.observe import decide_now
from redisop.observer import Observer
from redisop.plan import Action, Plan
from redisop.settings import Settings
from redisop.store import Store, key_of
from redisop.workqueue import WorkQueue

logger = logging.getLogger(__name__)

SETTLE = 5.0
"""Seconds for which a plan has to stand before it is told."""


class _Told(NamedTuple):
    steps: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    what: _Told
    since: float
    told: bool = False


class Onlooker:
    """Looks at RedisHttpInstances; `work` runs in as many tasks as there are workers."""

    def __init__(
        self,
        client: Client,
        store: Store,
        queue: WorkQueue,
        settings: Settings,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._store = store
        self._queue = queue
        self._settings = settings
        self._observer = observer
        self._clock = clock
        self._seen: dict[Ref, _Seen] = {}
        self.settled = 0

    def changed(self, old: Object | None, new: Object | None) -> None:
        """Queue the instances that a change of the cache concerns."""
        for obj in (new, old):
            key = key_of(obj) if obj is not None else None
            if key is not None:
                self._queue.add(key)

    async def work(self) -> None:
        """Look at one instance after the other, for ever."""
        while True:
            key = await self._queue.get()
            try:
                with logs.within(key=f"{key.namespace}/{key.name}"):
                    await self._look(key)
            except Exception as error:  # noqa: BLE001 - one instance that cannot be read must not stop the others
                logger.warning("cannot look", extra=logs.fields(error=logs.describe(error)))
                self._queue.retry(key)
            finally:
                self._queue.done(key)
            await anyio.lowlevel.checkpoint()

    async def _look(self, key: Ref) -> None:
        instance = self._store.get(key)
        if instance is None:
            self._seen.pop(key, None)
            return
        decision, live = await decide_now(self._client, self._store, instance, self._settings)
        self._queue.forget(key)
        plan = _Told(_said(decision.plan), notes(decision, live))
        seen = self._seen.get(key)
        if seen is None or seen.what != plan:
            seen = _Seen(plan, self._clock())
        left = seen.since + SETTLE - self._clock()
        if not seen.told and left > 0:
            self._seen[key] = seen
            self._queue.add_after(key, left)
        elif not seen.told:
            self._seen[key] = _Seen(plan, seen.since, told=True)
            logger.info("would do", extra=logs.fields(plan=list(plan.steps), notes=list(plan.notes)))
            steps = [step for step in decision.plan.steps if step.action is not Action.UNCHANGED]
            self._observer.planned(instance, steps, plan.notes)


def _said(plan: Plan) -> tuple[str, ...]:
    """Return the plan in words without values: what would be done to which object, in which fields."""
    return tuple(
        " ".join([str(step.action), str(step.ref), *sorted({change.path for change in step.changes})])
        for step in plan.steps
        if step.action is not Action.UNCHANGED
    )
