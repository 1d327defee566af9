"""What the candidate does with answers that a real API server does not give on demand; the rest is in tests/controlplane."""

import asyncio
import contextlib
import json
import logging

import anyio
import anyio.lowlevel
import pytest

from redisop.election import Timing
from redisop.errors import NotLeading
from redisop.kinds import CONFIG_MAP, LEASE
from redisop.lease import Lease, identity
from tests.unit.wire import cut, failure, reply, stream, wire

FAST = Timing(duration=1.0, renew_deadline=0.6, retry_period=0.1)


def lease(version, **spec):
    metadata = {"name": "redisop", "namespace": "here", "uid": "u", "resourceVersion": str(version)}
    return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}


def lines(server):
    return [line.split("?")[0].removesuffix(" HTTP/1.1") for line, _, _ in server.requests]


class Script:
    """Replies by method instead of by order, since watch and claims are concurrent; the last reply of a method stays."""

    def __init__(self, **replies):
        self.replies = {method: list(given) for method, given in replies.items()}
        self.requests = []

    async def __call__(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [
                    line.split(": ")[1] for line in head.lower().split("\r\n") if line.startswith("content-length")
                ]
                body = await reader.readexactly(int(length[0])) if length else b""
                method = "WATCH" if "watch=1" in head.split("\r\n")[0] else head.split(" ")[0]
                self.requests.append((method, asyncio.get_running_loop().time(), body))
                given = self.replies.get(method, [silence])
                answer = given.pop(0) if len(given) > 1 else given[0]
                if not isinstance(answer, bytes):
                    await answer(writer)
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def times(self, method):
        return [at for seen, at, _ in self.requests if seen == method]


async def silence(_writer):
    await asyncio.sleep(60)


@contextlib.asynccontextmanager
async def competing(script, work=anyio.sleep_forever):
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    import httpx2

    from redisop.client import Client

    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with Client(httpx2.AsyncClient(base_url=url, timeout=5)) as client:
            candidate = Lease(client, "here", candidate="me", timing=FAST)
            task = asyncio.create_task(candidate.run(work))
            yield candidate, task
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        server.close()


async def until(done):
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


def test_identities_differ_within_one_pod(monkeypatch):
    monkeypatch.setenv("POD_NAME", "redisop-0")
    names = {identity() for _ in range(10)}
    assert len(names) == 10
    assert all(name.startswith("redisop-0_") for name in names)


async def test_a_fenced_client_reads_but_does_not_write():
    async with wire(reply("200 OK", {"kind": "ConfigMap"})) as (client, server):
        candidate = Lease(client, "here", candidate="me")
        counted = []
        client.answered = lambda method, code, _: counted.append((method, code))
        fenced = client.fenced(candidate.check)
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "here"}}
        for write in (fenced.apply, fenced.create, fenced.update):
            with pytest.raises(NotLeading, match="me does not hold the Lease here/redisop"):
                await write(config_map)
        await fenced.get(CONFIG_MAP, "here", "a")
        assert len(server.requests) == 1
        assert counted == [("GET", "200")]


async def test_a_hanging_server_ends_the_term_at_the_deadline_and_not_the_process():
    mine = lease(2, holderIdentity="me")
    ended = []

    async def work():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append((asyncio.get_running_loop().time(), candidate.leading))

    script = Script(GET=[failure(404, "none")], POST=[reply("201 Created", mine)], PUT=[silence], WATCH=[silence])
    async with competing(script, work) as (candidate, task):
        await until(lambda: candidate.leading)
        await until(lambda: ended)
        at, leading = ended[0]
        assert not leading
        assert at - script.times("POST")[0] == pytest.approx(FAST.renew_deadline, abs=0.2)
        script.replies["PUT"] = [reply("200 OK", lease(3, holderIdentity="me"))]
        await until(lambda: candidate.leading)
        assert not task.done()


async def test_every_kind_of_refusal_is_survived():
    refused = [
        failure(500, "etcd"),
        failure(503, "not ready"),
        failure(403, "no right"),
        failure(404, "no namespace"),
        failure(409, "conflict"),
        failure(422, "invalid"),
        reply("200 OK", b"<html>"),
        reply("200 OK", {}),
        cut(b"HTTP/1.1 200"),
        cut(),
    ]
    script = Script(
        GET=[failure(500, "no"), failure(403, "no"), cut(), reply("200 OK", {}), failure(404, "none")],
        POST=[*refused, reply("201 Created", lease(2, holderIdentity="me"))],
        PUT=[reply("200 OK", lease(3, holderIdentity="me"))],
        WATCH=[
            failure(403, "no"),
            failure(410, "gone"),
            stream(b"garbage\n"),
            stream({"type": "ADDED", "object": {}}),
            cut(),
        ],
    )
    async with competing(script) as (candidate, task):
        await until(lambda: candidate.leading)
        assert not task.done()
        assert len(script.times("POST")) > len(refused)


async def test_a_pause_that_the_server_asks_for_is_kept():
    script = Script(
        GET=[failure(404, "none")],
        POST=[failure(429, "slow down", "Retry-After: 1"), reply("201 Created", lease(2, holderIdentity="me"))],
        WATCH=[silence],
    )
    async with competing(script) as (candidate, _):
        await until(lambda: candidate.leading)
        first, second = script.times("POST")
        assert second - first >= 1.0


async def test_refusals_without_end_make_no_hot_loop():
    script = Script(GET=[failure(404, "none")], POST=[failure(409, "taken")], WATCH=[stream()])
    async with competing(script) as (candidate, _):
        await asyncio.sleep(0.3)
        assert not candidate.leading
        assert len(script.requests) < 0.3 / (FAST.retry_period * 0.02) * 2 + 10


async def test_a_missing_right_to_watch_is_said_once_and_reading_goes_on(caplog):
    caplog.set_level(logging.WARNING)
    theirs = reply("200 OK", lease(2, holderIdentity="them"))
    script = Script(GET=[theirs], WATCH=[failure(403, "cannot watch")])
    async with competing(script) as (candidate, _):
        await until(lambda: len(script.times("GET")) > 4)
        assert candidate.holder == "them"
        assert [record.getMessage() for record in caplog.records] == [
            "cannot watch the Lease here/redisop, will keep trying: cannot watch"
        ]


async def test_the_lease_is_released_after_the_work_has_stopped():
    events = []
    given_up = lease(3, leaseDurationSeconds=1)

    async def put(writer):
        events.append("released")
        writer.write(reply("200 OK", given_up))

    async def work():
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.15)
            script.replies["PUT"] = [put]
            events.append("stopped")

    script = Script(
        GET=[failure(404, "none"), reply("200 OK", lease(2, holderIdentity="me"))],
        POST=[reply("201 Created", lease(2, holderIdentity="me"))],
        PUT=[reply("200 OK", lease(2, holderIdentity="me"))],
        WATCH=[silence],
    )
    async with competing(script, work) as (candidate, task):
        await until(lambda: candidate.leading)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert events == ["stopped", "released"]
        body = json.loads(script.requests[-1][2])
        assert body["metadata"]["resourceVersion"] == "2"
        assert "holderIdentity" not in body["spec"]


async def test_releasing_is_bounded_in_time(monkeypatch):
    monkeypatch.setattr("redisop.lease.RELEASE_SECONDS", 0.3)
    script = Script(
        GET=[failure(404, "none"), silence], POST=[reply("201 Created", lease(2, holderIdentity="me"))], WATCH=[silence]
    )
    async with competing(script) as (candidate, task):
        await until(lambda: candidate.leading)
        started = asyncio.get_running_loop().time()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert asyncio.get_running_loop().time() - started < 2


async def test_one_that_never_claimed_sends_nothing_at_shutdown():
    script = Script(GET=[reply("200 OK", lease(2, holderIdentity="them"))], WATCH=[silence])
    async with competing(script) as (candidate, task):
        await until(lambda: candidate.holder == "them")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [method for method, _, _ in script.requests if method != "WATCH"] == ["GET"]


async def test_an_error_of_the_work_is_passed_on_and_the_lease_released():
    async def work():
        raise ZeroDivisionError

    script = Script(
        GET=[failure(404, "none"), reply("200 OK", lease(2, holderIdentity="me"))],
        POST=[reply("201 Created", lease(2, holderIdentity="me"))],
        PUT=[reply("200 OK", lease(3, leaseDurationSeconds=1))],
        WATCH=[silence],
    )
    async with competing(script, work) as (_, task):
        await asyncio.wait([task], timeout=5)
        assert isinstance(task.exception(), ExceptionGroup)
        assert task.exception().split(ZeroDivisionError)[1] is None
        assert len(script.times("PUT")) == 1


async def test_done_work_ends_the_candidacy():
    script = Script(
        GET=[failure(404, "none"), reply("200 OK", lease(2, holderIdentity="me"))],
        POST=[reply("201 Created", lease(2, holderIdentity="me"))],
        PUT=[reply("200 OK", lease(3, leaseDurationSeconds=1))],
        WATCH=[silence],
    )
    async with competing(script, anyio.lowlevel.checkpoint) as (candidate, task):
        await asyncio.wait_for(task, 5)
        assert not candidate.leading
        assert len(script.times("PUT")) == 1
