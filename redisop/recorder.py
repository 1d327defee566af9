"""Writes Events beside the reconciles: never in their way, never at the cost of one, never without bound.

What happens again within a while counts up the Event that is there (a series) instead of making another one. A burst about one
instance is cut off by its own budget; when more is waiting than can be written, the oldest goes. What is lost is counted.
"""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Never, TypeAlias

import anyio

from redisop.client import Client
from redisop.errors import ApiError, Conflict, ConnectionFailed, NotFound, RedisopError
from redisop.events import EventSpec, body
from redisop.kinds import Object

logger = logging.getLogger(__name__)

WINDOW = 360.0
"""Seconds within which the same happening again is one series; client-go's number."""
BURST, REFILL = 25, 30.0
"""Writes about one object at once, and seconds after which it may have another one."""
BUSY_PAUSE = 0.05
"""Seconds between two writes while there are instances to work on: they go first."""
WAITING = 10_000
KNOWN = 4096
"""Series and budgets remembered; the longest unused go first."""
ATTEMPTS = 4
PAUSES = (0.5, 2.0, 8.0)

Counted: TypeAlias = Callable[[str], None]


@dataclass(slots=True)
class _Series:
    spec: EventSpec
    regarding: Object
    first: str
    last: str
    seen: float
    count: int = 1
    written: int = 0
    name: str = ""
    uid: str = ""


class Recorder:
    """Records Events and writes them in `run`; without a running `run` they only pile up to the bound.

    `counted` is told the fate of each: written, dropped (too many waiting), limited (over the object's budget) or failed. While
    `busy`, writes are few.
    """

    def __init__(
        self,
        client: Client,
        reporter: str,
        *,
        counted: Counted = lambda _: None,
        busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._reporter = reporter[:128]
        self._counted = counted
        self._busy = busy
        self._clock = clock
        self._now = now
        self._series: OrderedDict[tuple[str, EventSpec], _Series] = OrderedDict()
        self._budgets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._waiting: OrderedDict[tuple[str, EventSpec], _Series] = OrderedDict()
        self._wakeup = anyio.Event()
        self._refused = False
        self._last = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def record(self, regarding: Object, spec: EventSpec) -> None:
        """Take in one happening about the live object `regarding`; returns at once and never fails."""
        uid = regarding["metadata"]["uid"]
        key, now, moment = (uid, spec), self._clock(), microtime(self._now())
        series = self._series.get(key)
        if series is None or now - series.seen > WINDOW:
            series = self._series[key] = _Series(spec, _address(regarding), moment, moment, now)
        else:
            series.count += 1
            series.last, series.seen = moment, now
        _bound(self._series, key)
        if key in self._waiting:
            return
        if not self._spend(uid, now):
            self._counted("limited")
            return
        self._waiting[key] = series
        if len(self._waiting) > WAITING:
            _, lost = self._waiting.popitem(last=False)
            lost.seen = -math.inf
            self._counted("dropped")
        self._wakeup.set()

    async def run(self) -> Never:
        """Write what is recorded, one after the other, for ever."""
        while True:
            while self._waiting:
                await self._write(self._waiting.popitem(last=False)[1])
                if self._busy():
                    await anyio.sleep(BUSY_PAUSE)
            self._wakeup = anyio.Event()
            await self._wakeup.wait()

    async def drain(self, seconds: float) -> None:
        """Write what is waiting, for at most `seconds`: for the end of the process, with `run` ended."""
        with anyio.move_on_after(seconds):
            while self._waiting:
                await self._write(self._waiting.popitem(last=False)[1])

    async def _write(self, series: _Series) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await self._send(series)
            except (Conflict, NotFound):
                # Expired or deleted, or its namespace is going: what happened since makes a new Event.
                if not series.name:
                    break
                series.name = series.uid = ""
                series.first, series.count, series.written = series.last, 1, 0
            except ConnectionFailed:
                await anyio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            except RedisopError as error:
                if not isinstance(error, ApiError) or error.terminal:
                    self._explain(error)
                    break
                await anyio.sleep(max(PAUSES[min(attempt, len(PAUSES) - 1)], error.retry_after or 0.0))
            else:
                self._counted("written")
                return
        self._counted("failed")

    async def _send(self, series: _Series) -> None:
        if series.written == series.count:
            return
        count = series.count
        name = series.name or f"{series.regarding['metadata']['name']}.{self._next():016x}"
        event = body(
            series.spec,
            series.regarding,
            name=name,
            reporter=self._reporter,
            first=series.first,
            count=count,
            last=series.last,
        )
        # "1" is a version no existing object has; the uid keeps an apply from making an expired Event anew as a series.
        event["metadata"] |= {"uid": series.uid} if series.uid else {"resourceVersion": "1"}
        answer = await self._client.apply(event)
        series.name, series.uid, series.written = name, answer["metadata"]["uid"], count

    def _next(self) -> int:
        """Return a number that grows with time: `kubectl describe` shows Events of this API in the order of their names."""
        self._last = max(self._last + 1, int(self._now().timestamp() * 1e9))
        return self._last

    def _spend(self, uid: str, now: float) -> bool:
        left, at = self._budgets.get(uid, (float(BURST), now))
        left = min(float(BURST), left + (now - at) / REFILL)
        allowed = left >= 1
        self._budgets[uid] = (left - 1 if allowed else left, now)
        _bound(self._budgets, uid)
        return allowed

    def _explain(self, error: RedisopError) -> None:
        if not self._refused and "because it is being terminated" not in str(error):
            self._refused = True
            logger.warning("Events cannot be written, and are left out: %s", error)


def microtime(moment: datetime) -> str:
    """Return `moment` as `metav1.MicroTime` wants it: always six digits."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _address(obj: Object) -> Object:
    """Return what an Event says of `obj`, so that no old version of it is kept alive."""
    metadata = {name: obj["metadata"][name] for name in ("name", "namespace", "uid")}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


def _bound(table: OrderedDict[Any, Any], used: Any) -> None:
    table.move_to_end(used)
    if len(table) > KNOWN:
        table.popitem(last=False)
