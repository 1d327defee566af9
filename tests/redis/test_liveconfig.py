"""Live configuration against a real redis-server, and against servers that misbehave."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from redisop import redisconf
from redisop.api import RedisConfig
from redisop.conditions import Reason
from redisop.liveconfig import DEADLINE, Target, reconcile_config
from redisop.observation import ConfigState

PASSWORD = "operator-secret"
HOST = "127.0.0.1"
MIB = 2**20


@pytest.fixture
def serving(server):
    server.configure(RedisConfig())
    server.start()
    return server


async def reconcile(server: Any, config: RedisConfig | None = None, **more: Any) -> ConfigState:
    wanted = {**redisconf.directives(config or RedisConfig()), **more.pop("extra", {})}
    password = more.pop("password", PASSWORD)
    return await reconcile_config(Target(HOST, server.port, password, wanted, **more))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def config(**values: Any) -> RedisConfig:
    return RedisConfig.model_validate(values)


async def test_a_redis_that_read_its_file_is_as_wanted(serving):
    state = await reconcile(serving)
    assert state == ConfigState(
        True, Reason.AS_WANTED, state.message, (), serving.client().info("server")["redis_version"]
    )


async def test_memory_policy_persistence_and_parameters_change_while_it_runs(serving):
    serving.client().execute_command("SET", "key", "value")
    wanted = config(
        memory="512Mi",
        maxmemoryPolicy="allkeys-lru",
        persistence=True,
        appendOnly=True,
        parameters={
            "hz": 50,
            "notifyKeyspaceEvents": "KEA",
            "slowlogMaxLen": 7,
            "timeout": 30,
            "lazyfreeLazyUserDel": True,
        },
    )
    state = await reconcile(serving, wanted)
    assert state.applied, state.message
    assert set(state.set) == {
        "appendonly",
        "hz",
        "lazyfree-lazy-user-del",
        "maxmemory",
        "maxmemory-policy",
        "notify-keyspace-events",
        "save",
        "slowlog-max-len",
        "timeout",
    }
    assert serving.get("maxmemory") == str(512 * MIB)
    assert serving.get("maxmemory-policy") == "allkeys-lru"
    assert serving.get("appendonly") == "yes"
    assert serving.get("save") == redisconf.SAVE_POINTS
    assert serving.get("hz") == "50"
    assert serving.client().get("key") == "value"
    assert (await reconcile(serving, wanted)).set == ()
    back = await reconcile(serving)
    assert back.applied
    assert set(back.set) == set(state.set)
    assert serving.get("save") == ""
    assert serving.get("hz") == "10"


async def test_what_somebody_changed_by_hand_is_set_back(serving):
    serving.client().execute_command("CONFIG", "SET", "maxmemory", "0")
    state = await reconcile(serving)
    assert (state.applied, state.set) == (True, ("maxmemory",))
    assert serving.get("maxmemory") == str(256 * MIB)


async def test_memory_grows_before_and_shrinks_after_the_policy_changes(serving):
    slow = {"slowlogLogSlowerThan": 0}
    assert (await reconcile(serving, config(parameters=slow))).applied
    serving.client().slowlog_reset()
    assert (await reconcile(serving, config(memory="512Mi", maxmemoryPolicy="allkeys-lru", parameters=slow))).applied
    assert directives_set(serving) == ["maxmemory", "maxmemory-policy"]
    serving.client().slowlog_reset()
    assert (await reconcile(serving, config(memory="64Mi", maxmemoryPolicy="noeviction", parameters=slow))).applied
    assert directives_set(serving) == ["maxmemory-policy", "maxmemory"]


def directives_set(server: Any) -> list[str]:
    """Return what CONFIG SET named, as Redis' slow log (which logs everything here) has it, oldest first."""
    words = [entry["command"].decode().split() for entry in server.client().slowlog_get(-1)]
    return [found[2] for found in words if found[:2] == ["CONFIG", "SET"]][::-1]


async def test_no_key_is_lost_when_memory_shrinks_as_eviction_is_turned_off(server):
    server.configure(config(memory="64Mi", maxmemoryPolicy="allkeys-random"))
    server.start()
    for number in range(30):
        server.client().setrange(f"key-{number}", MIB, "x")
    assert server.client().dbsize() == 30
    assert (await reconcile(server, config(memory="16Mi"))).applied
    assert server.client().dbsize() == 30


async def test_maxmemory_is_not_raised_beyond_the_running_container(serving):
    wanted = config(memory="1Gi", parameters={"hz": 20})
    state = await reconcile(serving, wanted, may_grow=False)
    assert (state.applied, state.reason, state.set) == (False, Reason.RESTART_PENDING, ("hz",))
    assert serving.get("maxmemory") == str(256 * MIB)
    lowered = await reconcile(serving, config(memory="64Mi"), may_grow=False)
    assert lowered.applied
    assert serving.get("maxmemory") == str(64 * MIB)


async def test_a_directive_that_redis_refuses_is_named_and_the_others_are_set(serving):
    state = await reconcile(serving, config(parameters={"timeout": 9}), extra={"hz": "never"})
    assert (state.applied, state.reason) == (False, Reason.CONFIG_REFUSED)
    assert "hz 'never'" in state.message
    assert state.set == ("timeout",)


async def test_directives_for_the_start_are_left_alone(serving):
    assert (await reconcile(serving, extra={"databases": "99", "dir": "/nowhere"})).applied
    assert serving.get("databases") == "16"


async def test_every_parameter_can_be_set_and_read_back_on_this_redis(serving):
    values = {
        "activerehashing": False,
        "appendfsync": "always",
        "autoAofRewritePercentage": 0,
        "busyReplyThreshold": 0,
        "dynamicHz": False,
        "hashMaxListpackEntries": 1,
        "hashMaxListpackValue": 2,
        "hz": 500,
        "latencyMonitorThreshold": 5,
        "lazyfreeLazyEviction": True,
        "lazyfreeLazyExpire": True,
        "lazyfreeLazyServerDel": True,
        "lazyfreeLazyUserDel": True,
        "lazyfreeLazyUserFlush": True,
        "lfuDecayTime": 3,
        "lfuLogFactor": 0,
        "listCompressDepth": 2,
        "listMaxListpackSize": 20,
        "maxclients": 100,
        "maxmemoryEvictionTenacity": 90,
        "maxmemorySamples": 64,
        "notifyKeyspaceEvents": "Exgn",
        "rdbcompression": False,
        "setMaxIntsetEntries": 9,
        "slowlogLogSlowerThan": -1,
        "slowlogMaxLen": 0,
        "streamNodeMaxEntries": 0,
        "tcpKeepalive": 0,
        "timeout": 604800,
        "zsetMaxListpackEntries": 0,
        "zsetMaxListpackValue": 0,
    }
    wanted = config(parameters=values)
    assert {name.replace("-", "") for name in redisconf.DEFAULTS if name != "databases"} == {
        name.lower() for name in values
    }
    state = await reconcile(serving, wanted)
    assert state.applied, state.message
    assert len(state.set) == len(values)
    assert (await reconcile(serving, wanted)).set == ()


@pytest.mark.parametrize("events", ["", "K", "KEA", "Exgn", "AKE", "KEg$lshzxetd", "KEAn", "KEAmn"])
async def test_keyspace_event_classes_settle_however_redis_spells_them(serving, events):
    wanted = config(parameters={"notifyKeyspaceEvents": events})
    assert (await reconcile(serving, wanted)).applied
    again = await reconcile(serving, wanted)
    assert (again.applied, again.set) == (True, ())


async def test_a_wrong_password_is_said_and_not_shown(serving):
    state = await reconcile(serving, password="wrong-4711")
    assert (state.applied, state.reason) == (False, Reason.LOGIN_REFUSED)
    assert "wrong-4711" not in str(state)


async def test_a_user_without_rights_is_said(serving):
    serving.client().execute_command("ACL", "SETUSER", "operator", "-config|set")
    state = await reconcile(serving, config(parameters={"hz": 20}))
    assert (state.applied, state.reason) == (False, Reason.LOGIN_REFUSED)


async def test_a_replica_is_said_to_be_read_only(serving):
    serving.client().execute_command("REPLICAOF", HOST, str(free_port()))
    state = await reconcile(serving, config(memory="512Mi"))
    assert (state.applied, state.reason) == (False, Reason.READ_ONLY)
    assert "REPLICAOF NO ONE" in state.message


async def test_loading_is_told_from_dead(server):
    server.configure(config(persistence=True), {"rdbcompression": "no"})
    server.start()
    for number in range(200):
        server.client().set(f"key-{number}", "x" * 5000)
    server.stop()
    server.configure(
        config(persistence=True), {"key-load-delay": "50000", "loading-process-events-interval-bytes": "1024"}
    )
    server.start(wait=False)
    state = await reconcile(server)
    assert (state.applied, state.reason) == (False, Reason.LOADING)
    assert state.redis_version is not None


async def test_a_closed_port_is_unreachable():
    state = await reconcile_config(Target(HOST, free_port(), PASSWORD, redisconf.directives(RedisConfig())))
    assert (state.applied, state.reason) == (False, Reason.REDIS_UNREACHABLE)
    assert "cannot be reached" in state.message


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def impostor(handle: Handler) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(handle(reader, writer))
        tasks.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            await task
        writer.close()

    listening = await asyncio.start_server(serve, HOST, 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)


async def told(handle: Handler) -> ConfigState:
    async with impostor(handle) as port:
        return await reconcile_config(Target(HOST, port, PASSWORD, redisconf.directives(RedisConfig())))


async def test_a_server_that_never_answers_does_not_hold_anybody_up():
    async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    begun = time.monotonic()
    state = await told(hang)
    assert (state.applied, state.reason) == (False, Reason.REDIS_UNREACHABLE)
    assert "did not answer in time" in state.message
    assert time.monotonic() - begun < DEADLINE + 1


async def test_a_server_that_trickles_meets_the_deadline():
    async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n$1000000\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.2)

    begun = time.monotonic()
    state = await told(trickle)
    assert (state.applied, state.reason) == (False, Reason.REDIS_UNREACHABLE)
    assert time.monotonic() - begun < DEADLINE + 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\xfe\r\n",
        b"*-7\r\n",
        b"$99999999999999999999\r\n",
        b"*1\r\n*1\r\n*1\r\n:x\r\n",
        b"+OK\r\n" * 20,
        b"+OK\r\n+OK\r\n+OK\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        b"-ERR you said " + PASSWORD.encode() + b"\r\n",
        b"-WRONGPASS " + PASSWORD.encode() + b"\r\n",
        b"",
    ],
)
async def test_nonsense_is_reported_and_never_raised(answer):
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()

    state = await told(babble)
    assert state.applied is False
    assert state.reason in {Reason.CONFIG_REFUSED, Reason.REDIS_UNREACHABLE, Reason.LOGIN_REFUSED}
    assert PASSWORD not in str(state)
    assert state.message.isprintable()


async def test_cancelling_is_not_swallowed():
    async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    task = asyncio.ensure_future(told(hang))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
