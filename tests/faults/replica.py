"""One operator replica inside the test's own process, behind a proxy of its own.

A SIGKILL is played by cutting the replica off from the API server first and cancelling it then: what it still does reaches nobody.
"""

import asyncio
import contextvars
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import redisop.client
import redisop.controller
import redisop.liveconfig
import redisop.operator
from redisop.client import Client
from redisop.conditions import Reason
from redisop.election import Timing
from redisop.lease import Lease
from redisop.observation import ConfigState
from redisop.settings import Settings
from tests.faults.proxy import Fault, Proxy
from tests.faults.site import Site

REQUEST_SECONDS = 4.0
WATCH_SECONDS = (8.0, 11.0)
WATCH_GRACE = 3.0
CONFLICT_RECHECK = 2.0
STUCK = 15.0
LEASE = Timing(3.0, 2.0, 0.4)

_lines: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("lines", default=None)


async def _as_wanted(target: redisop.liveconfig.Target) -> ConfigState:
    """Stand in for Redis, which no Pod of a fake kubelet runs; its own faults are tried in tests/redis."""
    del target
    return ConfigState(True, Reason.AS_WANTED, "Redis uses every directive that is wanted.")


class _ToPlan(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        lines = _lines.get()
        if lines is not None:
            lines.append(self.format(record))


@contextmanager
def scaled() -> Iterator[None]:
    """Shorten the life of a watch to about a fifth, and keep each replica's log with its plan."""
    handler = _ToPlan()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    root = logging.getLogger("redisop")
    level, spread = root.level, root.propagate
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    root.propagate = False
    try:
        with (
            patch.object(redisop.client, "WATCH_SECONDS", WATCH_SECONDS),
            patch.object(redisop.client, "WATCH_GRACE", WATCH_GRACE),
            patch.object(redisop.liveconfig, "reconcile_config", _as_wanted),
            patch.object(redisop.controller, "CONFLICT_RECHECK", CONFLICT_RECHECK),
        ):
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        root.propagate = spread


class Replica:
    """`start` returns at once; `crashed` says whether the operator ended by itself."""

    def __init__(
        self,
        site: Site,
        namespace: str,
        name: str,
        lines: list[str],
        fault: Fault | None = None,
        *,
        leased: bool = False,
    ) -> None:
        self.leased = leased
        self.site = site
        self.namespace = namespace
        self.name = name
        self.lines = lines
        self.proxy: Proxy
        self._fault = fault or Fault()
        self.stuck = ""
        self._task: asyncio.Task[None] | None = None
        self._operator: redisop.operator.Operator | None = None

    async def start(self) -> None:
        self.proxy = await self.site.proxy(self.name)
        self.proxy.fault = self._fault
        context = contextvars.copy_context()
        context.run(_lines.set, self.lines)
        self._task = asyncio.get_running_loop().create_task(self._run(), context=context)

    async def _run(self) -> None:
        client = Client.connect(self.site.kubeconfig(self.proxy)).within(REQUEST_SECONDS)
        async with client:
            lease = Lease(client, self.namespace, candidate=self.name, timing=LEASE) if self.leased else None
            self._operator = redisop.operator.Operator(client, Settings(), [self.namespace], 4, lease)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._operator.telemetry.run())
                group.create_task(self._operator.run())

    @property
    def crashed(self) -> str:
        if self._task is None or not self._task.done() or self._task.cancelled():
            return self.stuck
        return f"{self.name} ended by itself: {self._task.exception()!r}"

    async def kill(self) -> None:
        """End as by SIGKILL."""
        self.proxy.kill()
        await self._end()

    async def terminate(self) -> float:
        """End as by SIGTERM; return the seconds it took."""
        started = asyncio.get_running_loop().time()
        if self._operator is not None:
            await self._operator.drain()
        await self._end()
        return asyncio.get_running_loop().time() - started

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=STUCK)
            if not self._task.done():
                self.stuck = f"{self.name} did not end when it was cancelled: {_stacks(self._task)}"
        await self.proxy.stop()


def _stacks(task: asyncio.Task[None]) -> str:
    """Return where the task and those of all other replicas stand."""
    found = [task, *(it for it in asyncio.all_tasks() if it.cancelling() and it is not task)]
    places = []
    for each in found:
        frames: list[str] = []
        coroutine: Any = each.get_coro()
        while getattr(coroutine, "cr_frame", None) is not None:
            frames.append(f"{coroutine.cr_code.co_qualname}:{coroutine.cr_frame.f_lineno}")
            coroutine = coroutine.cr_await
        places.append(" > ".join(frames) + f" > {coroutine!r}"[:80])
    return "; ".join(places)
