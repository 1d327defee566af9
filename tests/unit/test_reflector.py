"""The state machine against scripted answers; real compaction, outages and black holes are in tests/controlplane."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from redisop import reflector as reflector_module
from redisop.kinds import CONFIG_MAP
from redisop.reflector import Reflector, State
from redisop.store import Store
from tests.unit.wire import cut, failure, reply, stream, wire


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(reflector_module, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(reflector_module, "QUIET", 0.2)


def config_map(name, version, uid=None):
    metadata = {"name": name, "namespace": "team", "uid": uid or name, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def listing(version, *objects):
    return reply("200 OK", {"metadata": {"resourceVersion": str(version)}, "items": list(objects)})


def event(kind, obj):
    return {"type": kind, "object": obj}


async def quiet(writer):
    await stream()(writer)
    await asyncio.sleep(60)


@asynccontextmanager
async def reflecting(*replies):
    store = Store()
    seen: list[object] = []
    async with wire(*replies, quiet) as (client, server):
        reflector = Reflector(
            client,
            store,
            CONFIG_MAP,
            selector="a=b",
            changed=lambda old, new: seen.append((name(old), name(new))),
            recovered=lambda: seen.append("recovered"),
        )
        task = asyncio.create_task(reflector.run())
        await until(lambda: len(server.requests) > len(replies) or task.done())
        yield reflector, store, server, seen
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(done):
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - what is waited for is inside what is tested
            await asyncio.sleep(0.01)


def name(obj):
    return obj and f"{obj['metadata']['name']}@{obj['metadata']['resourceVersion']}"


async def test_it_lists_and_then_watches_from_where_the_list_stood():
    async with reflecting(
        listing(10, config_map("a", 5)),
        stream(event("MODIFIED", config_map("a", 11)), event("ADDED", config_map("b", 12))),
        stream(event("DELETED", config_map("a", 13)), event("BOOKMARK", config_map("", 20))),
    ) as (reflector, store, server, seen):
        assert seen == [(None, "a@5"), ("a@5", "a@11"), (None, "b@12"), ("a@11", None)]
        assert [part in server.requests[1][0] for part in ("watch=1", "resourceVersion=10", "a%3Db")] == [True] * 3
        assert "resourceVersion=12" in server.requests[2][0]
        assert "resourceVersion=20" in server.requests[3][0], "a bookmark moves the version on"
        assert (reflector.lists, reflector.watches, reflector.events, reflector.failures) == (1, 3, 3, 0)
        assert reflector.state is State.WATCH
        assert store.synced(CONFIG_MAP)


@pytest.mark.parametrize(
    "too_old",
    [failure(410, "too old"), stream({"type": "ERROR", "object": {"kind": "Status", "code": 410}})],
    ids=["status", "in-stream"],
)
async def test_gone_means_list_again_and_ghosts_go(too_old):
    async with reflecting(
        listing(10, config_map("ghost", 5), config_map("kept", 6)), too_old, listing(30, config_map("kept", 6))
    ) as (reflector, store, _, seen):
        assert ("ghost@5", None) in seen
        assert [name(obj) for obj in store.of_kind(CONFIG_MAP)] == ["kept@6"]
        assert reflector.lists == 2


async def test_every_other_failure_keeps_the_version_and_goes_on():
    async with reflecting(
        failure(500, "no"),
        listing(10),
        failure(503, "not yet"),
        cut(),
        stream(event("ADDED", config_map("a", 11)), b"garbage\n"),
    ) as (reflector, _, server, seen):
        await until(lambda: len(seen) == 4)
        assert reflector.lists == 2
        assert reflector.failures == 4
        assert "resourceVersion=11" in server.requests[5][0]
        assert seen == ["recovered", "recovered", (None, "a@11"), "recovered"]


async def test_an_unknown_refusal_of_a_version_ends_in_a_list():
    refusals = [failure(504, "Too large resource version")] * (reflector_module.STUBBORN + 1)
    async with reflecting(listing(10), *refusals, listing(3)) as (reflector, _, _, _):
        assert reflector.lists == 2


async def test_streams_that_end_at_once_do_not_make_a_hot_loop(monkeypatch):
    monkeypatch.setattr(reflector_module, "FIRST_DELAY", 0.1)
    started = asyncio.get_running_loop().time()
    async with reflecting(listing(10), stream(), stream(), stream()):
        assert asyncio.get_running_loop().time() - started >= 0.3


async def test_the_delay_grows_and_a_nudge_ends_it(monkeypatch):
    monkeypatch.setattr(reflector_module, "FIRST_DELAY", 30.0)
    async with wire(failure(500, "no"), listing(10), quiet) as (client, server):
        reflector = Reflector(client, Store(), CONFIG_MAP, changed=lambda *_: None)
        task = asyncio.create_task(reflector.run())
        await until(lambda: reflector.state is State.WAIT)
        await asyncio.sleep(0.05)
        assert len(server.requests) == 1
        reflector.nudge()
        await asyncio.wait_for(reflector.synced.wait(), 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_wait_that_the_server_asked_for_is_kept():
    async with reflecting(failure(429, "slow down", "Retry-After: 1"), listing(10)) as (reflector, _, server, _):
        assert reflector.failures == 1
        assert len(server.requests) == 3
