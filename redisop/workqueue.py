"""Keys to work on: each once, by one worker at a time, again later with a growing delay where it failed.

The semantics of client-go's workqueue, plus priority and a hold for what the server asked us to wait.
"""

import heapq
import itertools
import random
import time
from collections.abc import Callable
from contextlib import suppress

import anyio

from redisop.kinds import Ref

BASE_DELAY = 0.005
MAX_DELAY = 60.0


class QueueObserver:
    """Hears what becomes of keys; this one listens to nothing."""

    def added(self, key: Ref) -> None:
        """Hear that `key` was queued."""

    def taken(self, key: Ref) -> None:
        """Hear that a worker took `key`."""

    def finished(self, key: Ref) -> None:
        """Hear that the worker is done with `key`."""

    def retried(self) -> None:
        """Hear that a key is to be tried again."""

    def dropped(self, key: Ref) -> None:
        """Hear that `key` is no longer queued."""


class WorkQueue:
    """A queue of keys for any number of workers in one event loop."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._order = itertools.count()
        self._ready: list[tuple[int, int, Ref]] = []
        self._waiting: dict[Ref, tuple[int, int]] = {}
        self._active: set[Ref] = set()
        self._again: dict[Ref, int] = {}
        self._later: list[tuple[float, int, Ref]] = []
        self._due: dict[Ref, float] = {}
        self._held: dict[Ref, float] = {}
        self._failures: dict[Ref, int] = {}
        self._wakeup = anyio.Event()
        self._released = anyio.Event()
        self._closed = False
        self.observer = QueueObserver()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        """Whether no more keys are handed out."""
        return self._closed

    def close(self) -> None:
        """Hand out no more keys."""
        self._closed = True

    async def idle(self) -> None:
        """Wait until no key is being worked on."""
        while self._active:
            await self._released.wait()

    def add(self, key: Ref, priority: int = 0) -> None:
        """Queue `key`; where it is queued already, the higher priority counts. A key being worked on is queued when done."""
        if key in self._active:
            self._again[key] = max(priority, self._again.get(key, priority))
            return
        if self._held.get(key, 0.0) > self._clock():
            self._schedule(key, self._held[key])
            return
        self._held.pop(key, None)
        queued = self._waiting.get(key)
        if queued is not None and queued[0] <= -priority:
            return
        entry = (-priority, next(self._order))
        self._waiting[key] = entry
        if queued is None:
            self.observer.added(key)
        heapq.heappush(self._ready, (*entry, key))
        self._wake()

    def add_after(self, key: Ref, seconds: float) -> None:
        """Queue `key` in `seconds`, or sooner where that was asked before."""
        self._schedule(key, self._clock() + seconds)

    def retry(self, key: Ref, at_least: float = 0.0) -> float:
        """Queue `key` again after its back-off and return the delay; within `at_least` seconds nothing brings it back sooner."""
        self.observer.retried()
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded, since 2 to the power of a day of failures overflows a float.
        delay: float = min(MAX_DELAY, BASE_DELAY * 2 ** min(failures, 32)) * (0.5 + self._jitter() / 2)
        now = self._clock()
        if at_least > 0:
            self._held[key] = now + at_least
        delay = max(delay, at_least)
        self._schedule(key, now + delay)
        return delay

    def forget(self, key: Ref) -> None:
        """Start the back-off of `key` afresh, since it succeeded."""
        self._failures.pop(key, None)
        self._held.pop(key, None)

    def drop(self, key: Ref) -> None:
        """Remove every trace of `key` but a worker's hold on it."""
        self.forget(key)
        self.observer.dropped(key)
        for table in (self._waiting, self._again, self._due):
            table.pop(key, None)

    def expedite(self) -> None:
        """Make every key that waits for its back-off due now, save those that the server asked to wait."""
        now = self._clock()
        for key in self._failures:
            if key in self._due and self._held.get(key, 0.0) <= now:
                self._schedule(key, now)

    async def get(self) -> Ref:
        """Wait for the next key; its worker must call `done` with it."""
        while True:
            key = self.take()
            if key is not None:
                return key
            due = self._later[0][0] if self._later and not self._closed else None
            with anyio.move_on_after(None if due is None else max(0.0, due - self._clock())):
                await self._wakeup.wait()

    def take(self) -> Ref | None:
        """Return the next key if there is one now."""
        if self._closed:
            return None
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        while self._ready:
            *entry, key = heapq.heappop(self._ready)
            if self._waiting.get(key) == tuple(entry):
                del self._waiting[key]
                self._active.add(key)
                self.observer.taken(key)
                return key
        return None

    def done(self, key: Ref) -> None:
        """Release `key`; what was added meanwhile is queued now."""
        self._active.discard(key)
        self.observer.finished(key)
        self._released.set()
        self._released = anyio.Event()
        with suppress(KeyError):
            self.add(key, self._again.pop(key))

    def _schedule(self, key: Ref, due: float) -> None:
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key))
        self._wake()

    def _wake(self) -> None:
        self._wakeup.set()
        self._wakeup = anyio.Event()
