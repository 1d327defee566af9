"""A scripted HTTP server on loopback, for answers that a real API server does not give on demand.

Broken replies, lost connections and streams that fall silent; everything else is tried against a real control plane.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2

from redisop.client import Client

Reply = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def reply(status, body, *headers):
    """Return the bytes of a whole HTTP reply; `body` is bytes or JSON data."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


def failure(code, message, *headers, **more):
    """Return the reply of an API server that refuses."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, **more}
    return reply(f"{code} Refused", status, "Content-Type: application/json", *headers)


def stream(*lines):
    """Return a reply that streams `lines` (JSON data or bytes) and then ends."""

    async def send(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
        for line in lines:
            writer.write(line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() + b"\n")
            await writer.drain()

    return send


def cut(content=b""):
    """Return a reply that breaks off: `content`, then the connection is closed."""

    async def send(writer):
        writer.write(content)

    return send


class Server:
    """Answers the requests it gets with `replies`, in order; `requests` holds what was asked."""

    def __init__(self, replies):
        self.replies = list(replies)
        self.requests = []

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                self.requests.append((head.split("\r\n")[0], fields, body))
                answer = self.replies.pop(0) if self.replies else failure(500, "script ended")
                if not isinstance(answer, bytes):
                    await answer(writer)
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()


@asynccontextmanager
async def wire(*replies):
    """Yield (client, server) for a server that gives these replies."""
    scripted = Server(replies)
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with Client(httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5)) as client:
            yield client, scripted
    finally:
        server.close()
