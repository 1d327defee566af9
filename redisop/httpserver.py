"""A small HTTP/1.1 server for probes and metrics, with a limit on everything a stranger can send or hold.

h11 parses; no body is read beyond a few bytes, and a client that is slow to ask or to take its answer is let go. When all places are
taken the oldest connection gives way, so that whoever hoards connections cannot keep a probe from its answer.
"""

import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Never, TypeAlias

import anyio
import h11
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream

from redisop.errors import InputError

logger = logging.getLogger(__name__)

CONNECTIONS = 64
HEAD_BYTES = 16384
BODY_BYTES = 4096
FIRST_REQUEST = 5.0
"""Seconds for the TLS handshake and for the first request's head, each."""
IDLE = 30.0
"""Seconds until a connection that was kept for another request is closed."""
ANSWER = 10.0
"""Seconds for making an answer, and for its being taken, each."""
RELOAD = 60.0
"""Seconds between two looks at certificate files."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for; `headers` by lower-case name, without those that were given twice."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Serves one handler on one address: all of the machine where `host` is empty, a free port where `port` is 0.

    `tls` is (certificate file, key file).
    """

    def __init__(self, handler: Handler, host: str, port: int, *, tls: tuple[Path, Path] | None = None) -> None:
        self._handler = handler
        self._host = host
        self._asked = port
        self._files = tls
        self._context = _tls(tls) if tls is not None else None
        self._listener: anyio.abc.Listener[SocketStream] | None = None
        self._open: OrderedDict[int, anyio.CancelScope] = OrderedDict()
        self.port: int | None = None
        """The port listened on, once it is."""

    async def listen(self) -> None:
        """Take the address; InputError where it cannot be had."""
        try:
            listener = await anyio.create_tcp_listener(local_host=self._host or None, local_port=self._asked)
        except OSError as error:
            raise InputError(
                f"cannot listen there: {error.strerror or error}", where=f"{self._host}:{self._asked}"
            ) from None
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - not Django's
        self._listener = listener

    async def run(self) -> Never:
        """Serve for ever; `listen` comes first."""
        if self._listener is None:
            raise RuntimeError("`listen` comes first")
        async with self._listener as listener, anyio.create_task_group() as group:
            if self._context is not None:
                group.start_soon(self._renew, self._context)
            await listener.serve(self._accept)
        raise AssertionError("a listener serves for ever")

    async def _renew(self, context: ssl.SSLContext) -> None:
        """Take over certificate files that were replaced; a broken pair leaves the one in use."""
        seen = _stamp(self._files)
        while True:
            await anyio.sleep(RELOAD)
            stamp = _stamp(self._files)
            if stamp != seen and self._files is not None:
                seen = stamp
                try:
                    _tls(self._files)
                    context.load_cert_chain(*self._files)
                except (InputError, OSError) as error:
                    logger.warning("the old certificate stays in use: %s", error)

    async def _accept(self, stream: SocketStream) -> None:
        scope = anyio.CancelScope()
        self._open[id(scope)] = scope
        if len(self._open) > CONNECTIONS:
            self._open.popitem(last=False)[1].cancel()
        try:
            with scope:
                async with stream:
                    await self._talk(await self._secured(stream))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError, TimeoutError):
            pass  # the client went away, was too slow, or speaks no TLS
        except Exception:
            logger.exception("a connection ended unexpectedly")
        finally:
            self._open.pop(id(scope), None)

    async def _secured(self, stream: SocketStream) -> ByteStream:
        if self._context is None:
            return stream
        with anyio.fail_after(FIRST_REQUEST):
            return await TLSStream.wrap(stream, server_side=True, ssl_context=self._context, standard_compatible=False)

    async def _talk(self, stream: ByteStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        seconds = FIRST_REQUEST
        while True:
            try:
                with anyio.fail_after(seconds):
                    request = await _read(connection, stream)
            except h11.RemoteProtocolError as error:
                await _send(connection, stream, Response(HTTPStatus(error.error_status_hint or 400)), last=True)
                return
            if request is None:
                return
            body_left = connection.their_state is not h11.DONE
            response = await self._answer(request)
            await _send(connection, stream, response, last=body_left, head=request.method == "HEAD")
            if connection.our_state is not h11.DONE or body_left:
                return
            connection.start_next_cycle()
            seconds = IDLE

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n", headers=(("Allow", "GET, HEAD"),))
        try:
            with anyio.fail_after(ANSWER):
                return await self._handler(request)
        except TimeoutError:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, b"no answer in time\n")
        except Exception:
            logger.exception("cannot answer %s", request.path)
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error\n")


async def _read(connection: h11.Connection, stream: ByteStream) -> Request | None:
    """Return the next request with what little body it may have; None where the client is done."""
    request, size = None, 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                data = await stream.receive(4096)
            except anyio.EndOfStream:
                data = b""
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            request = _request(event)
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > BODY_BYTES:
                raise h11.RemoteProtocolError("the body is too long", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage):
            return request
        else:
            return None


def _request(event: h11.Request) -> Request:
    names = [name.decode("ascii") for name, _ in event.headers]
    if "transfer-encoding" in names:
        raise h11.RemoteProtocolError("only a body of stated length", error_status_hint=411)
    headers = {
        name.decode("ascii"): value.decode("latin-1")
        for name, value in event.headers
        if names.count(name.decode("ascii")) == 1
    }
    path = event.target.decode("ascii", "replace").partition("?")[0]
    return Request(event.method.decode("ascii"), path, headers)


async def _send(
    connection: h11.Connection, stream: ByteStream, response: Response, *, last: bool = False, head: bool = False
) -> None:
    if connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
        return
    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(response.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *response.headers,
        *([("Connection", "close")] if last else []),
    ]
    parts: list[Any] = [
        h11.Response(status_code=response.status, headers=headers, reason=response.status.phrase.encode()),
        *([] if head else [h11.Data(data=response.body)]),
        h11.EndOfMessage(),
    ]
    content = b"".join(connection.send(part) or b"" for part in parts)
    with anyio.fail_after(ANSWER):
        await stream.send(content)


def _tls(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    problem = ""
    try:
        # An encrypted key would be asked for on the terminal.
        context.load_cert_chain(*files, password=lambda: "")
    except OSError as error:
        problem = error.strerror or type(error).__name__
    if problem:
        raise InputError(f"not a certificate and its key in PEM: {problem}", where=", ".join(map(str, files)))
    return context


def _stamp(files: tuple[Path, Path] | None) -> tuple[float, ...]:
    try:
        return tuple(file.stat().st_mtime for file in files or ())
    except OSError:
        return (time.monotonic(),)
