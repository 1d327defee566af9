"""A TLS proxy between one operator replica and the API server: numbers and logs every request, and lets a Fault meddle.

Every connection of the operator has one of its own to the API server, with the operator's client certificate. What the API server
did and what the operator was told are logged apart, so that the oracles know of a commit whose answer was lost.
"""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redisop.kinds import Object

VERBS = {"PATCH": "apply", "POST": "create", "PUT": "update", "DELETE": "delete"}
REASONS = {403: "Forbidden", 409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}
BIG = 2**26


class Reset(Exception):
    """Raised by a Fault: the operator's connection ends without an answer."""


@dataclass
class Request:
    """One request; `write` counts the writes among them, but for the Lease, and is 0 for reads."""

    number: int
    write: int
    method: str
    verb: str
    path: str
    query: dict[str, str]
    resource: str
    name: str
    subresource: str
    body: Object
    at: float
    replica: str
    code: int = 0
    """The API server's; 0 where it was not asked or did not answer."""
    told: int = 0
    """What the operator was told; 0 where it was told nothing."""
    told_at: float = 0.0
    answer: Object = field(default_factory=dict)
    note: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the API server carried the write out."""
        return self.write > 0 and 200 <= self.code < 300

    @property
    def target(self) -> str:
        """What the request is about."""
        return f"{self.resource}/{self.name}{'/' + self.subresource if self.subresource else ''}"

    def line(self, since: float) -> str:
        """Return the request for a log, without the content of any object."""
        metadata = (self.body or {}).get("metadata") or (self.body or {}).get("preconditions") or {}
        found = (self.answer or {}).get("metadata") or {}
        return (
            f"{self.at - since:8.3f} {self.replica} #{self.number} w{self.write} {self.verb} {self.target}"
            f" sent[uid={metadata.get('uid')} rv={metadata.get('resourceVersion')}]"
            f" api={self.code} told={self.told} got[uid={found.get('uid')} rv={found.get('resourceVersion')}] {self.note}"
        ).rstrip()


class Fault:
    """Does nothing; a row of the table overrides what it needs."""

    async def before(self, _request: Request) -> bytes | None:
        """Return an answer in place of the API server's, or None; may wait, or raise Reset."""

    async def after(self, _request: Request, answer: bytes) -> bytes:
        """Return what the operator gets of a whole `answer` (head and body); may wait, or raise Reset."""
        return answer

    async def events(self, _request: Request, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the lines of a watch that the operator gets; may raise Reset, or return to end the stream."""
        async for line in lines:
            yield line


def reply(code: int, body: Any = None, *headers: str, content_type: str = "application/json") -> bytes:
    """Return a whole HTTP answer; a Status of `code` where no body is given."""
    if body is None:
        body = status(code)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {code} {REASONS.get(code, 'Answer')}", f"Content-Length: {len(content)}", *headers]
    if content_type:
        head.append(f"Content-Type: {content_type}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


def status(code: int, message: str = "made up by the proxy") -> Object:
    """Return a Status object as the API server answers with."""
    reason = REASONS.get(code, "Unknown")
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


def body_of(answer: bytes) -> bytes:
    """Return the content of a whole answer."""
    return answer.partition(b"\r\n\r\n")[2]


class Proxy:
    """Listens on a port of its own at `url`; `log` holds every request in order of arrival."""

    def __init__(self, replica: str, serving: ssl.SSLContext, upstream: tuple[str, int, ssl.SSLContext]) -> None:
        self.replica = replica
        self.fault: Fault = Fault()
        self.log: list[Request] = []
        self._cut = asyncio.Event()
        self.writes = 0
        self._serving = serving
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    @property
    def dead(self) -> bool:
        """Whether the replica counts as killed."""
        return self._cut.is_set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._serving, limit=BIG)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def kill(self) -> None:
        """From now on nothing of this replica reaches the API server, as if its process were gone.

        What has been sent already is followed to its end, since the API server carries it out.
        """
        self._cut.set()
        if self._server is not None:
            self._server.close()
        for task in self._tasks - self._asking:
            task.cancel()

    async def stop(self) -> None:
        self.kill()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=10)
            for task in left:
                task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream: list[asyncio.StreamWriter] = []
        # Cancelled when the replica is killed; asyncio would report a cancelled handler as an error of the server.
        with suppress(Reset, OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            await self._serve(reader, writer, upstream)
        for each in (writer, *upstream):
            each.transport.abort()
        self._tasks.discard(task)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, opened: list[asyncio.StreamWriter]
    ) -> None:
        up: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(int(_headers(head).get("content-length", 0)))
            request = self._number(head, content)
            answer = await self.fault.before(request)
            if self._cut.is_set():
                return
            if answer is None:
                if up is None:
                    host, port, context = self._upstream
                    up = await asyncio.open_connection(host, port, ssl=context, limit=BIG)
                    opened.append(up[1])
                if self._cut.is_set():
                    return
                up[1].write(head + content)
                if request.verb == "watch":
                    await self._watch(request, up[0], reader, writer)
                    return
                answer = await self._ask(up[0])
                request.code = int(answer.split(b" ", 2)[1])
                request.answer = _decoded(answer) if request.write else {}
                if not self._cut.is_set():
                    answer = await self.fault.after(request, answer)
                if self._cut.is_set():
                    return
            request.told, request.told_at = int(answer.split(b" ", 2)[1]), time.monotonic()
            writer.write(answer)
            await writer.drain()

    async def _ask(self, up: asyncio.StreamReader) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            return await _answer(up)
        finally:
            self._asking.discard(task)

    def _number(self, head: bytes, content: bytes) -> Request:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        parts = url.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if parts[:1] == ["namespaces"] and len(parts) > 2:
            parts = parts[2:]
        resource, name, sub = (*parts, "", "", "")[:3]
        verb = VERBS.get(method) or ("watch" if "watch" in query else "get" if name else "list")
        write = 0
        if method in VERBS and resource not in {"leases", "tokenreviews", "subjectaccessreviews", "events"}:
            self.writes += 1
            write = self.writes
        body = json.loads(content) if content else {}
        request = Request(
            len(self.log) + 1,
            write,
            method,
            verb,
            url.path,
            query,
            resource,
            name,
            sub,
            body,
            time.monotonic(),
            self.replica,
        )
        self.log.append(request)
        return request

    async def _watch(
        self, request: Request, up: asyncio.StreamReader, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await up.readuntil(b"\r\n\r\n")
        request.code = int(head.split(b" ", 2)[1])
        if request.code != 200:
            fields = _headers(head)
            rest = b"".join([it async for it in _chunks(up)]) if "transfer-encoding" in fields else b""
            rest = rest or await up.readexactly(int(fields.get("content-length", 0)))
            answer = reply(request.code, rest, "Connection: close")
            request.told, request.told_at = request.code, time.monotonic()
            writer.write(answer)
            await writer.drain()
            return

        async def pump() -> None:
            request.told, request.told_at = 200, time.monotonic()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
                b"Connection: close\r\n\r\n"
            )
            async for line in self.fault.events(request, _lines(up)):
                data = line + b"\n"
                writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()

        # The operator ends a watch by closing the connection; a stream that is held back would not notice.
        gone = asyncio.ensure_future(reader.read(1))
        pumping = asyncio.ensure_future(pump())
        try:
            await asyncio.wait({gone, pumping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, pumping):
                task.cancel()
            await asyncio.gather(gone, pumping, return_exceptions=True)


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def _decoded(answer: bytes) -> Object:
    try:
        document = json.loads(body_of(answer))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


async def _answer(up: asyncio.StreamReader) -> bytes:
    """Read one whole answer; a chunked one is put together, so that what follows sees one form."""
    head = await up.readuntil(b"\r\n\r\n")
    fields = _headers(head)
    if "transfer-encoding" not in fields:
        return head + await up.readexactly(int(fields.get("content-length", 0)))
    content = b"".join([chunk async for chunk in _chunks(up)])
    kept = [it for it in head.split(b"\r\n") if it and not it.lower().startswith((b"transfer-enc", b"trailer"))]
    return b"\r\n".join([*kept, b"Content-Length: %d" % len(content)]) + b"\r\n\r\n" + content


async def _chunks(up: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await up.readuntil(b"\r\n")).strip(), 16):
        yield await up.readexactly(size)
        await up.readexactly(2)
    await up.readuntil(b"\r\n")


async def _lines(up: asyncio.StreamReader) -> AsyncIterator[bytes]:
    pending = b""
    async for chunk in _chunks(up):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
