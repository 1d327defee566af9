"""`redisop run`: wires client, reflectors, queue and workers together, and ends them in order.

Reflectors run in every replica, so that each is ready to take over; workers run under the Lease, and every write is fenced by it.
An outage of the API server ends nothing here: every part waits for it in its own way, and a probe tells them all when it is back.
"""

import logging
import signal
import socket
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from redisop.client import Client
from redisop.collectors import CacheMetrics, QueueMetrics, WatchMetrics
from redisop.configcheck import ConfigChecks
from redisop.controller import Controller
from redisop.endpoints import Endpoints, Serving
from redisop.errors import ApiError, ConnectionFailed, NotFound
from redisop.health import progress, synced
from redisop.kinds import INSTANCE, MANAGED_BY, MANAGER, OBSERVED, OWNED, Object, Ref, ref_of
from redisop.lease import Lease
from redisop.metrics import Metrics
from redisop.onlooker import Onlooker
from redisop.reflector import Reflector, State
from redisop.settings import Settings
from redisop.store import Store
from redisop.telemetry import Telemetry
from redisop.workqueue import WorkQueue

logger = logging.getLogger(__name__)

WORKERS = 8
GRACE = 3.0
"""Seconds that passes get to finish after SIGTERM, and Events to be written; releasing the Lease comes after that."""
LAST_EVENTS = 0.5
"""Seconds of these for Events."""
PROBE = 1.0
"""Seconds between two looks at an API server that does not answer."""
FIRST_LOOK = (1.0, 10.0)
"""Seconds between two looks for our CRD: at first, and at most."""


async def run(
    client: Client,
    settings: Settings,
    namespaces: Sequence[str] = (),
    workers: int = WORKERS,
    lease: Lease | None = None,
    endpoints: Endpoints | None = None,
    *,
    observe: bool = False,
) -> None:
    """Run the operator until SIGTERM or SIGINT; watches all `namespaces` where none is given.

    Without a `lease` it must be the only one, unless it is only to `observe`. InputError where an address of the `endpoints` cannot be had.
    """
    operator = Operator(client, settings, namespaces, workers, lease, observe=observe)
    serving = operator.serving(endpoints or Endpoints())
    await serving.open()
    async with anyio.create_task_group() as group:
        group.start_soon(serving.run)
        group.start_soon(operator.telemetry.run)
        group.start_soon(operator.run)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                logger.info("%s: finishing what has begun", signal.Signals(number).name)
                break
        await operator.drain()
        group.cancel_scope.cancel()
    logger.info("stopped")


class Operator:
    """All parts of one operator process."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        namespaces: Sequence[str],
        workers: int,
        lease: Lease | None,
        *,
        observe: bool = False,
    ) -> None:
        self.metrics = Metrics()
        client.answered = self.metrics.answered
        self.client = client
        self.writer = client if lease is None else client.fenced(lease.check)
        self.lease = lease
        self.observe = observe
        self.settings = settings
        self.namespaces: tuple[str | None, ...] = tuple(dict.fromkeys(namespaces)) or (None,)
        self.workers = workers
        self.store = Store()
        self.queue = WorkQueue()
        self.telemetry = Telemetry(self.metrics, self.writer, socket.gethostname(), lambda: len(self.queue) > 0)
        self.queue.observer = self._queued = QueueMetrics(self.metrics.registry, self.queue, workers)
        self.reflectors: list[Reflector] = []

    def serving(self, endpoints: Endpoints) -> Serving:
        """Return what serves the probes and metrics of this operator."""
        live = {"event-loop": self.telemetry.heartbeat.problem, "workers": progress(self._queued.longest)}
        ready = {"caches": self._unready}
        return Serving(endpoints, self.client, self.metrics, live, ready)

    async def run(self) -> None:
        """Watch and reconcile until cancelled."""
        where = ", ".join(map(str, self.namespaces)) if self.namespaces != (None,) else "all namespaces"
        logger.info("watching RedisHttpInstances and what belongs to them in %s", where)
        await self._find_crd()
        async with anyio.create_task_group() as group:
            self.controller = self._control(group)
            self.reflectors = self._reflect()
            self._measure()
            for reflector in self.reflectors:
                group.start_soon(reflector.run)
            group.start_soon(self._notice_recovery)
            for reflector in self.reflectors:
                await reflector.synced.wait()
            logger.info("caches are filled: %d instances", len(self.store.of_kind(INSTANCE)))
            if self.lease is None:
                await self._work()
            else:
                await self.lease.run(self._work)

    async def _work(self) -> None:
        """Reconcile with nothing remembered of earlier terms, in which others may have led in between."""
        async with anyio.create_task_group() as group:
            self.controller = self._control(group)
            for instance in self.store.of_kind(INSTANCE):
                self.queue.add(ref_of(instance))
            logger.info("starting %d workers", self.workers)
            for _ in range(self.workers):
                group.start_soon(self.controller.work)

    def _control(self, group: TaskGroup) -> Controller | Onlooker:
        if self.observe:
            return Onlooker(self.client, self.store, self.queue, self.settings, self.telemetry)
        checks = ConfigChecks(group, lambda key: self.queue.add(key, 1), self.queue.add_after, self._config_set)
        return Controller(self.writer, self.store, self.queue, self.settings, checks, observer=self.telemetry)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self.controller.changed(old, new)

    async def drain(self) -> None:
        """Hand out no more keys, and wait a while for the passes that have begun."""
        self.queue.close()
        with anyio.move_on_after(GRACE):
            await self.queue.idle()
            await self.telemetry.recorder.drain(LAST_EVENTS)

    def _measure(self) -> None:
        self.metrics.add(self._queued)
        self.metrics.add(WatchMetrics(self.reflectors))
        kinds = (INSTANCE, *OWNED, *OBSERVED)
        self.metrics.add(CacheMetrics(self.store, kinds, lambda: self.controller.settled))
        if self.lease is not None:
            self.metrics.follow(self.lease)

    def _unready(self) -> str:
        if self.queue.closed:
            return "stopping"
        return synced(self.reflectors)() if self.reflectors else "the CRD has not been found yet"

    def _config_set(self, key: Ref, directives: Sequence[str]) -> None:
        instance = self.store.get(key)
        if instance is not None:
            self.telemetry.config_set(instance, directives)

    def _reflect(self) -> list[Reflector]:
        return [
            Reflector(
                self.client,
                self.store,
                kind,
                namespace,
                selector="" if kind is INSTANCE else f"{MANAGED_BY}={MANAGER}",
                changed=self._changed,
                recovered=self.queue.expedite,
            )
            for namespace in self.namespaces
            for kind in (INSTANCE, *OWNED, *OBSERVED)
        ]

    async def _find_crd(self) -> None:
        """Wait until our CRD is served; an operator and its CRDs may be installed in any order."""
        delay, said = FIRST_LOOK[0], ""
        while True:
            try:
                await self.client.list(INSTANCE, self.namespaces[0])
            except NotFound:
                problem = f"{INSTANCE.plural}.{INSTANCE.api_version} is not served: install the CRDs with `redisop gen-crds -o - | kubectl apply --server-side -f -`"
            except (ApiError, ConnectionFailed) as error:
                problem = str(error)
            else:
                return
            if problem != said:
                logger.error("waiting: %s", problem)
            said = problem
            await anyio.sleep(delay)
            delay = min(FIRST_LOOK[1], delay * 1.5)

    async def _notice_recovery(self) -> None:
        """Wake all reflectors once an API server that did not answer does so again, however long their back-off has grown."""
        down = False
        while True:
            await anyio.sleep(PROBE)
            if not down and all(reflector.state is not State.WAIT for reflector in self.reflectors):
                continue
            ready = await self.client.ready()
            if ready and down:
                for reflector in self.reflectors:
                    reflector.nudge()
            down = not ready
