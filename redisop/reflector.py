"""Keeps the Store in step with one kind: list, then watch, and list again where the watch cannot be continued.

    LIST ──ok──► WATCH ──end──► WATCH            the server ends every stream after about 30 s
      ▲            ├──error──► back-off ──► WATCH   what happened meanwhile comes with the next stream
      └── back-off ┴──410 Gone──────────► LIST      the version was compacted away

Guarantees: every change is seen at least as its end result, and an object that disappeared unseen is dropped by the next list.
Caveat: a stream that silently carries nothing is noticed when it outlives its own end, after at most 39 s.
"""

import logging
import random
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Never

import anyio

from redisop.client import Client
from redisop.errors import ApiError, ConnectionFailed, Gone
from redisop.kinds import Kind, Object, ref_of
from redisop.store import Store

logger = logging.getLogger(__name__)

FIRST_DELAY = 0.8
LAST_DELAY = 30.0
STUBBORN = 5
"""Refusals of a watch in a row after which the next attempt lists."""
QUIET = 1.0
"""Seconds a stream has to last to count as healthy, so that one which always ends at once cannot make a hot loop."""

Changed = Callable[[Object | None, Object | None], None]
"""Called with an object before and after each change; None where there was or is none."""


class State(StrEnum):
    """Where a reflector stands."""

    LIST = "list"
    WATCH = "watch"
    WAIT = "wait"


class Reflector:
    """Lists and watches one kind in one namespace, or in all where `namespace` is None.

    `lists`, `watches`, `failures` and `events` count what happened, for metrics.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        kind: Kind,
        namespace: str | None = None,
        *,
        selector: str = "",
        changed: Changed,
        recovered: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._store = store
        self._changed = changed
        self._recovered = recovered
        self.kind = kind
        self.namespace = namespace
        self.selector = selector
        self.state = State.LIST
        self.synced = anyio.Event()
        self.lists = self.watches = self.failures = self.events = 0
        self._version: str | None = None
        self._attempts = 0
        self._expired = 0
        self._failing = False
        self._nudge = anyio.Event()

    async def run(self) -> Never:
        """Reflect for ever; no answer of the server and no loss of it ends this."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except Gone as error:
                # No sign of trouble: so a restarted server answers. Only one that says so again and again is waited for.
                self._version = None
                self._attempts = self._expired
                self._expired += 1
                if self._attempts:
                    await self._wait(error)
            except ConnectionFailed as error:
                await self._wait(error)
            except ApiError as error:
                # A server restored from a backup refuses versions of its lost future with other words than Gone.
                if self._attempts >= STUBBORN:
                    self._version = None
                await self._wait(error)

    def nudge(self) -> None:
        """End a back-off now, since the server is known to answer again."""
        self._nudge.set()

    async def _list(self) -> None:
        self.state = State.LIST
        self.lists += 1
        page = await self._client.list(self.kind, self.namespace, selector=self.selector)
        self._answered()
        for old, new in self._store.replace(self.kind, page.items, self.namespace, page.resource_version):
            self._changed(old, new)
        self._version = page.resource_version
        self.synced.set()

    async def _watch(self) -> None:
        self.state = State.WATCH
        self.watches += 1
        version = self._version or ""
        opened = time.monotonic()
        try:
            async with self._client.watch(
                self.kind, self.namespace, selector=self.selector, resource_version=version
            ) as stream:
                self._answered()
                opened = time.monotonic()
                async for event in stream:
                    self._attempts = self._expired = 0
                    self._version = event.object["metadata"]["resourceVersion"]
                    if event.type != "BOOKMARK":
                        self.events += 1
                        self._take(event.type, event.object)
        finally:
            lasted = time.monotonic() - opened
            if lasted >= QUIET:
                self._attempts = self._expired = 0
        if lasted < QUIET:
            await self._pause(FIRST_DELAY)

    def _take(self, kind_of_event: str, obj: Object) -> None:
        old = self._store.get(ref_of(obj))
        if kind_of_event == "DELETED":
            if self._store.remove(obj):
                self._changed(old, None)
        elif self._store.put(obj):
            self._changed(old, obj)

    def _answered(self) -> None:
        if self._failing:
            self._failing = False
            logger.info("watching %s again", self.kind.plural)
            self._recovered()

    async def _wait(self, error: ApiError | ConnectionFailed) -> None:
        self.failures += 1
        delay = min(LAST_DELAY, FIRST_DELAY * 2 ** min(self._attempts, 16)) * random.uniform(0.5, 1.0)  # noqa: S311
        asked = error.retry_after if isinstance(error, ApiError) and error.retry_after else 0.0
        if not self._failing:
            logger.warning("cannot %s %s, will keep trying: %s", self.state, self.kind.plural, error)
        self._failing = True
        self._attempts += 1
        self.state = State.WAIT
        await anyio.sleep(asked)
        await self._pause(max(0.0, delay - asked))

    async def _pause(self, seconds: float) -> None:
        self._nudge = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._nudge.wait()
