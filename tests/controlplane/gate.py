"""A proxy between one operator and the API server that can hold its writes: what a network does that delivers late.

It ends TLS on both sides, so it sees each request, and passes everything it does not hold as it is. In a thread of its own.
"""

import asyncio
import re
import ssl
import threading

from tests.cluster.kubeconfig import write_kubeconfig

WRITE = re.compile(rb"(POST|PUT|PATCH|DELETE) (\S+) ")
ASIDE = (b"/leases", b"/events")
"""Writes that are neither counted nor held: the election itself goes on, and an Event changes nothing."""


class Gate:
    """`kubeconfig` leads through it, as a user who is a cluster administrator; `held` lists the requests that wait."""

    def __init__(self, cluster, user):
        self.user = user
        self.held: list[bytes] = []
        self._seen = 0
        self._everything = False
        self._first: float = float("inf")
        authority = cluster.authority
        client = authority.issue(f"{user}-client", user, groups=["system:masters"])
        serving = authority.issue(f"{user}-gate", user, hosts=["127.0.0.1"])
        self._inside = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._inside.load_cert_chain(serving.cert, serving.key)
        self._outside = ssl.create_default_context(cafile=str(authority.pair.cert))
        self._outside.load_cert_chain(client.cert, client.key)
        self._port = int(cluster.url.rsplit(":", 1)[1])
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)
        url = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = write_kubeconfig(cluster.data_dir / f"{user}.gate", url, authority.pair.cert, client)

    def hold(self, first, *, everything=False):
        """Hold all writes from the `first` one after now on, and where it is `everything`, all other requests as well."""
        self.held = []
        self._everything = everything
        self._seen, self._first = 0, first

    def open(self):
        """Let everything pass, also what is held."""
        self._first = float("inf")

    def close(self):
        self.open()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self):
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self):
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def accepted(reader, writer):
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._connection(reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # one of the two went away
            finally:
                end(writer)
                tasks.discard(task)

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=self._inside)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The last turns of what was cancelled on the way.
        await asyncio.sleep(0.1)

    async def _connection(self, reader, writer):
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._outside)
        answers = asyncio.create_task(self._answers(from_server, writer))
        late = False
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                late = await self._wait(head)
                to_server.write(head + body)
                await to_server.drain()
        finally:
            try:
                # A server that sees its client leave may drop the request: the network would deliver it all the same.
                await asyncio.sleep(1 if late else 0)
            finally:
                answers.cancel()
                end(to_server)

    async def _answers(self, from_server, writer):
        try:
            while data := await from_server.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # the client has left
        finally:
            end(writer)

    async def _wait(self, head):
        write = WRITE.match(head)
        counts = write is not None and not any(aside in write[2] for aside in ASIDE)
        self._seen += counts
        if self._seen < self._first or not (counts or self._everything):
            return False
        self.held.append(head.split(b"\r\n")[0])
        while self._first < float("inf"):  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.005)
        return True


def end(stream):
    """Close without the farewell of TLS, for which the other side may be gone."""
    stream.close()
    stream.transport.abort()
