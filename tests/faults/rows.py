"""The rows of the fault table: each a Fault that strikes once, at one point of a workload."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from redisop.kinds import CLAIM, INSTANCE, OWNED, POD, Object
from tests.faults.proxy import Fault, Request, Reset, body_of, reply, status
from tests.faults.replica import REQUEST_SECONDS

KINDS = tuple(kind.plural for kind in (INSTANCE, *OWNED, POD, CLAIM))
CHILDREN = (
    "configmaps/demo-redis-config",
    "networkpolicies/demo-redis",
    "poddisruptionbudgets/demo-redis",
    "secrets/demo-redis-acl",
    "secrets/demo-redis-credentials",
    "serviceaccounts/demo-redis",
    "services/demo-redis",
    "services/demo-redis-headless",
    "statefulsets/demo-redis",
)


class Strike(Fault):
    """Strikes at the request for which `matches` is true for the `point`-th time; `ended` is when its effect is over."""

    def __init__(self, point: int, matches: Callable[[Request], bool]) -> None:
        self.point = point
        self.matches = matches
        self.count = 0
        self.struck = asyncio.Event()
        self.ended = 0.0
        self.victim: Request | None = None

    async def before(self, request: Request) -> bytes | None:
        if self.victim is None and self.matches(request):
            self.count += 1
            if self.count == self.point:
                self.victim = request
                request.note = type(self).__name__
                self.hit()
                return await self.instead(request)
        return await self.other(request)

    def hit(self) -> None:
        self.ended = time.monotonic()
        self.struck.set()

    async def instead(self, _request: Request) -> bytes | None:
        return None

    async def other(self, _request: Request) -> bytes | None:
        return None

    async def after(self, request: Request, answer: bytes) -> bytes:
        return await self.change(answer) if request is self.victim else answer

    async def change(self, answer: bytes) -> bytes:
        return answer


class Answer(Strike):
    """Answers in place of the API server, `times` requests of the same target in a row."""

    code = 500
    wait = 0
    times = 1
    content_type = "application/json"

    def _reply(self, request: Request) -> bytes:
        headers = [f"Retry-After: {self.wait}"] if self.wait else []
        if self.wait:
            request.note = f"Retry-After {self.wait}"
        self.ended = time.monotonic() + self.wait
        body = status(self.code) if self.content_type else b"no healthy upstream"
        return reply(self.code, body, *headers, content_type=self.content_type)

    async def instead(self, request: Request) -> bytes | None:
        self.left = self.times - 1
        return self._reply(request)

    async def other(self, request: Request) -> bytes | None:
        victim = self.victim
        if victim is not None and self.left > 0 and (request.verb, request.target) == (victim.verb, victim.target):
            self.left -= 1
            return self._reply(request)
        return None


def _answer(code: int, wait: int = 0, times: int = 1, content_type: str = "application/json") -> type[Answer]:
    fields: dict[str, object] = {"code": code, "wait": wait, "times": times, "content_type": content_type}
    return type(f"Answer{code}", (Answer,), fields)


class ResetBefore(Strike):
    async def instead(self, _request: Request) -> bytes | None:
        raise Reset


class ResetAfter(Strike):
    async def change(self, _answer: bytes) -> bytes:
        raise Reset


class Truncated(Strike):
    async def change(self, answer: bytes) -> bytes:
        content = body_of(answer)
        return reply(200, content[: len(content) // 2])


class Slow(Strike):
    async def instead(self, _request: Request) -> bytes | None:
        await asyncio.sleep(1.0)
        self.ended = time.monotonic()
        return None


class Late(Strike):
    """The request is carried out only after the operator has stopped waiting for it."""

    async def instead(self, _request: Request) -> bytes | None:
        await asyncio.sleep(REQUEST_SECONDS + 0.7)
        self.ended = time.monotonic()
        return None


class KillBefore(Strike):
    async def instead(self, _request: Request) -> bytes | None:
        await asyncio.Event().wait()
        return None


class KillAfter(Strike):
    """Strikes once the API server has committed."""

    def hit(self) -> None:
        pass

    async def change(self, answer: bytes) -> bytes:
        super().hit()
        await asyncio.Event().wait()
        return answer


class Terminate(Strike):
    """The request goes on; whoever runs the plan sends the SIGTERM."""


class Held(Strike):
    """The request waits while somebody else acts, until `release`."""

    def __init__(self, point: int, matches: Callable[[Request], bool]) -> None:
        super().__init__(point, matches)
        self.release = asyncio.Event()

    async def instead(self, _request: Request) -> bytes | None:
        await self.release.wait()
        return None


class Frozen(Held):
    """So does everything else of this replica: it is stopped, as by SIGSTOP."""

    async def other(self, _request: Request) -> bytes | None:
        if self.struck.is_set():
            await self.release.wait()
        return None

    async def events(self, _request: Request, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in lines:
            if self.struck.is_set():
                await self.release.wait()
            yield line


class Record(Fault):
    """Keeps the first list of each kind."""

    def __init__(self) -> None:
        self.lists: dict[str, bytes] = {}

    async def after(self, request: Request, answer: bytes) -> bytes:
        if request.verb == "list" and "limit" in request.query:
            self.lists[request.resource] = answer
        return answer


class StaleList(Strike):
    """Serves recorded lists of one kind, or of all; the events since then follow."""

    def __init__(self, kinds: set[str], lists: dict[str, bytes]) -> None:
        super().__init__(1, lambda _: False)
        self.left = {kind: lists[kind] for kind in kinds}

    async def other(self, request: Request) -> bytes | None:
        if request.verb == "list" and request.resource in self.left and self.asked(request):
            answer = self.left.pop(request.resource)
            self.hit()
            return answer
        return None

    def asked(self, request: Request) -> bool:
        # The look for the CRD comes first; the list that fills the cache is the second one of instances.
        self.count += request.resource == "redishttpinstances"
        return request.resource != "redishttpinstances" or self.count > 1


class WatchFault(Strike):
    """Meddles with the watch of one kind, once `arm` was called."""

    def __init__(self, resource: str) -> None:
        super().__init__(1, lambda _: False)
        self.resource = resource
        self.armed = asyncio.Event()
        self.over = False

    def arm(self) -> None:
        self.armed.set()
        self.hit()

    def finished(self) -> None:
        self.over = True
        self.ended = time.monotonic()

    async def events(self, request: Request, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if request.resource != self.resource or self.over:
            async for line in lines:
                yield line
            return
        async for line in self.meddle(_interrupted(lines, self.armed)):
            yield line

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is not None:
                yield line


class Cut(WatchFault):
    """The connection breaks with an event on the way."""

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is None:
                continue
            if self.armed.is_set() and not self.over:
                self.finished()
                raise Reset
            yield line


class HalfClose(WatchFault):
    """The stream ends cleanly with an event on the way."""

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is None:
                continue
            if self.armed.is_set() and not self.over:
                self.finished()
                return
            yield line


class GoneInStream(WatchFault):
    """An event is replaced by an ERROR event of code 410."""

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is None:
                continue
            if self.armed.is_set() and not self.over:
                self.finished()
                yield json.dumps({"type": "ERROR", "object": status(410, "too old resource version")}).encode()
                return
            yield line


class Refused(WatchFault):
    """The stream ends, what happened is lost, and watches from that version are refused from then on."""

    code = 410
    wait = 0
    times = 10**6
    version = ""

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is None or (self.armed.is_set() and not self.over):
                return
            yield line

    async def other(self, request: Request) -> bytes | None:
        if request.verb != "watch" or request.resource != self.resource or not self.armed.is_set() or not self.times:
            return None
        self.version = self.version or request.query["resourceVersion"]
        if request.query["resourceVersion"] != self.version:
            return None
        self.finished()
        self.times -= 1
        headers = [f"Retry-After: {self.wait}"] if self.wait else []
        return reply(self.code, status(self.code), *headers)


class Refused429(Refused):
    code = 429
    wait = 1
    times = 1


class BlackHole(WatchFault):
    """The stream stays open and carries nothing any more; the next one works."""

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is None or self.armed.is_set():
                self.finished()
                await asyncio.Event().wait()
            else:
                yield line


class Short(WatchFault):
    """For four seconds every stream ends at once, before it carried anything."""

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is None or self.armed.is_set():
                if time.monotonic() - self.ended > 4:
                    self.over = True
                if not self.over:
                    return
            if line is not None:
                yield line


class Delayed(WatchFault):
    """Every event of the kind comes a second late."""

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is not None:
                if self.armed.is_set():
                    await asyncio.sleep(1.0)
                yield line


class Doubled(WatchFault):
    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for line in lines:
            if line is not None:
                yield line
                yield line


class Merged(WatchFault):
    """Of all events of one object within half a second, only the last is delivered."""

    backwards = False

    async def meddle(self, lines: AsyncIterator[bytes | None]) -> AsyncIterator[bytes]:
        async for batch in _batches(lines, 0.5):
            last: dict[str, bytes] = {}
            for index, line in enumerate(batch):
                name = json.loads(line)["object"]["metadata"].get("name", "")
                last[f"{name}{index if self.backwards else ''}"] = line
            for line in reversed(last.values()) if self.backwards else last.values():
                yield line


class Reordered(Merged):
    """The events of half a second come in the opposite order."""

    backwards = True


async def _interrupted(lines: AsyncIterator[bytes], event: asyncio.Event) -> AsyncIterator[bytes | None]:
    """Yield `lines`, and None when `event` is set while no line comes."""
    waiting = asyncio.ensure_future(event.wait())
    told = event.is_set()
    following = asyncio.ensure_future(_next(lines))
    try:
        while True:
            await asyncio.wait({following} if told else {following, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                try:
                    line = following.result()
                except StopAsyncIteration:
                    return
                following = asyncio.ensure_future(_next(lines))
                yield line
            elif not told:
                told = True
                yield None
    finally:
        for task in (waiting, following):
            task.cancel()
        await asyncio.gather(waiting, following, return_exceptions=True)


async def _next(lines: AsyncIterator[bytes]) -> bytes:
    return await anext(lines)


async def _batches(lines: AsyncIterator[bytes | None], seconds: float) -> AsyncIterator[list[bytes]]:
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def fill() -> None:
        async for line in lines:
            if line is not None:
                queue.put_nowait(line)
        queue.put_nowait(None)

    filling = asyncio.ensure_future(fill())
    try:
        while (first := await queue.get()) is not None:
            await asyncio.sleep(seconds)
            batch = [first]
            ended = False
            while not queue.empty():
                following = queue.get_nowait()
                if following is None:
                    ended = True
                else:
                    batch.append(following)
            yield batch
            if ended:
                return
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


ANSWERS: dict[str, type[Strike]] = {
    "409": _answer(409),
    "429": _answer(429, wait=1),
    "500": _answer(500),
    "503": _answer(503, wait=1),
    "403 three times": _answer(403, times=3),
    "500 without Content-Type": _answer(500, content_type=""),
    "reset before": ResetBefore,
    "reset after commit": ResetAfter,
    "commit after the timeout": Late,
    "slow": Slow,
    "truncated JSON": Truncated,
}

WATCHES: dict[str, type[WatchFault]] = {
    "watch: connection cut, events lost": Cut,
    "watch: half-close": HalfClose,
    "watch: 410 in-stream": GoneInStream,
    "watch: 410 as status": Refused,
    "watch: 429": Refused429,
    "watch: black hole": BlackHole,
    "watch: streams < 1 s": Short,
    "watch: one kind late": Delayed,
    "watch: events doubled": Doubled,
    "watch: events merged": Merged,
    "watch: events reordered": Reordered,
}


@dataclass(frozen=True)
class Row:
    """One row: `points` says what it is tried at, `script` how a plan of it goes (tests.faults.plans)."""

    name: str
    points: str
    script: str
    fault: type[Strike] | None = None
    workloads: tuple[str, ...] = ("create", "change", "drift", "recreate", "remove", "grow", "sleep")
    leased: bool = False
    """A standby waits for the Lease."""


ROWS = {
    row.name: row
    for row in (
        Row("SIGKILL before sending", "writes", "kill", KillBefore),
        Row("SIGKILL after commit", "writes", "kill", KillAfter),
        Row("SIGTERM", "writes", "terminate", Terminate),
        *(Row(f"write: {name}", "writes", "answer", fault) for name, fault in ANSWERS.items()),
        *(
            Row(f"read at start: {name}", "reads", "boot", fault, ("create", "change"))
            for name, fault in ANSWERS.items()
            if name not in {"409", "reset after commit", "commit after the timeout"}
        ),
        Row("stale list on restart", "kinds and all", "stale", None, ("create", "change", "recreate", "remove")),
        *(
            Row(name, "kinds", "watch", fault, ("create", "change", "drift", "recreate"))
            for name, fault in WATCHES.items()
        ),
        Row("two writers, one stopped", "writes", "two", Frozen, ("create", "change", "drift", "grow")),
        Row(
            "leader killed, a standby takes over",
            "writes",
            "kill",
            KillAfter,
            ("create", "change", "grow"),
            leased=True,
        ),
        Row("leader stopped past its Lease", "writes", "two", Frozen, ("create", "change", "grow"), leased=True),
        Row("deleted at a write", "writes", "deleted", Held, ("create", "change", "grow")),
        Row("deleted and recreated at a write", "writes", "replaced", Held, ("create", "change")),
        Row("namespace deleted at a write", "writes", "namespace", Held, ("create",)),
        Row("operator down meanwhile", "once", "down"),
        Row("a stranger has the name", "children", "stranger", None, ("create",)),
        Row("a stranger has the name and our labels", "children", "stranger", None, ("create",)),
        Row("another controller has the name", "children", "stranger", None, ("create",)),
    )
}


def writes(request: Request) -> bool:
    return request.write > 0


def reads(request: Request) -> bool:
    return request.write == 0


def stranger(target: str, variant: str) -> Object:
    """Return an object of somebody else's under the name of one of our children."""
    resource, name = target.split("/")
    kinds = {kind.plural: kind for kind in OWNED}
    kind = kinds[resource]
    metadata: Object = {"name": name}
    if "labels" in variant:
        metadata["labels"] = {"app.kubernetes.io/managed-by": "redisop", "redis.kubegateway.io/instance": "demo"}
    if "controller" in variant:
        owner = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "name": "(filled in)",
            "uid": "(filled in)",
            "controller": True,
        }
        metadata["ownerReferences"] = [owner]
    selector = {"matchLabels": {"app": "x"}}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    spec: dict[str, Object] = {
        "services": {"spec": {"ports": [{"port": 1}]}},
        "networkpolicies": {"spec": {"podSelector": selector}},
        "poddisruptionbudgets": {"spec": {"selector": selector}},
        "statefulsets": {"spec": {"selector": selector, "serviceName": "x", "replicas": 0, "template": template}},
        "configmaps": {"data": {"a": "b"}},
        "secrets": {"data": {"a": "Yg=="}},
    }
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **spec.get(resource, {})}
