"""redis.conf and aclfile as a real Redis reads them."""

from typing import Any

import pytest
import redis

from redisop.api import Parameters, RedisConfig
from redisop.redisconf import DEFAULTS, LIVE, directives, equivalent, parse
from tests.redis.conftest import Server

EVERYTHING = RedisConfig.model_validate(
    {
        "memory": "64Mi",
        "maxmemoryPolicy": "allkeys-lfu",
        "persistence": True,
        "appendOnly": True,
        "parameters": {
            "maxclients": 77,
            "timeout": 60,
            "tcpKeepalive": 61,
            "databases": 3,
            "hz": 11,
            "dynamicHz": False,
            "maxmemorySamples": 6,
            "maxmemoryEvictionTenacity": 11,
            "lfuLogFactor": 9,
            "lfuDecayTime": 2,
            "lazyfreeLazyEviction": True,
            "lazyfreeLazyExpire": True,
            "lazyfreeLazyServerDel": True,
            "lazyfreeLazyUserDel": True,
            "lazyfreeLazyUserFlush": True,
            "notifyKeyspaceEvents": "Ex$",
            "slowlogLogSlowerThan": 9999,
            "slowlogMaxLen": 129,
            "latencyMonitorThreshold": 5,
            "busyReplyThreshold": 4999,
            "activerehashing": False,
            "hashMaxListpackEntries": 513,
            "hashMaxListpackValue": 65,
            "listMaxListpackSize": -3,
            "listCompressDepth": 1,
            "setMaxIntsetEntries": 511,
            "zsetMaxListpackEntries": 127,
            "zsetMaxListpackValue": 63,
            "streamNodeMaxEntries": 99,
            "appendfsync": "always",
            "autoAofRewritePercentage": 99,
            "rdbcompression": False,
        },
    }
)


def test_everything_sets_every_parameter_to_something_else_than_its_default():
    assert EVERYTHING.parameters.model_fields_set == set(Parameters.model_fields)
    found = directives(EVERYTHING)
    assert [name for name, value in DEFAULTS.items() if found[name] == value] == []


@pytest.mark.parametrize("config", [RedisConfig(), EVERYTHING], ids=["defaults", "everything"])
def test_redis_starts_and_has_every_value(server: Server, config: RedisConfig):
    wanted = server.configure(config)
    server.start()
    for name, value in wanted.items():
        assert equivalent(name, value, server.get(name)), name


def test_defaults_are_those_of_redis(server: Server):
    wanted = server.configure(RedisConfig())
    bare = {name: value for name, value in wanted.items() if name in {"bind", "dir", "port", "aclfile"}}
    (server.folder / "config" / "redis.conf").write_text("".join(f"{name} {value}\n" for name, value in bare.items()))
    server.start()
    found = server.client().config_get("*")
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS


def test_live_directives_are_exactly_those_that_config_set_takes(server: Server):
    wanted = server.configure(RedisConfig())
    server.start()
    client = server.client()
    target = directives(EVERYTHING)
    for name in sorted(LIVE):
        client.config_set(name, target[name])
        assert equivalent(name, target[name], server.get(name)), name
    for name in DEFAULTS.keys() - LIVE:
        with pytest.raises(redis.exceptions.ResponseError, match="immutable"):
            client.config_set(name, target[name])
    for name in sorted(LIVE):
        client.config_set(name, wanted[name])
        assert equivalent(name, wanted[name], server.get(name)), name


@pytest.mark.parametrize(
    "classes", ["", "K", "AKE", "KEA", "Ex", "xE", "gxKE", "KEg$lshzxet", "Kn", "AKEn", "Em", "Kd"]
)
def test_keyspace_events_compare_by_meaning(server: Server, classes: str):
    server.configure(RedisConfig())
    server.start()
    server.client().config_set("notify-keyspace-events", classes)
    found = server.get("notify-keyspace-events")
    assert equivalent("notify-keyspace-events", classes, found)
    assert not equivalent("notify-keyspace-events", classes, "Kl")


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        'say "yes"',
        "it's",
        "a\nb",
        "tab\there",
        "\r",
        "# no",
        "back\\slash",
        "ünï ☃ 💾",
        "x" * 3000,
        "\x01\x7f",
        "a b  c ",
    ],
)
def test_redis_reads_back_any_text(server: Server, text: str):
    server.configure(RedisConfig(), {"syslog-ident": text})
    assert parse((server.folder / "config" / "redis.conf").read_text())["syslog-ident"] == text
    server.start()
    assert server.get("syslog-ident") == text


def test_nobody_gets_in_without_a_name(server: Server):
    server.configure(RedisConfig())
    server.start()
    for client in (
        redis.Redis(port=server.port),
        redis.Redis(port=server.port, password=""),
        redis.Redis(port=server.port, password="x"),
    ):
        with pytest.raises(redis.exceptions.AuthenticationError):
            client.ping()
    default: Any = server.client().acl_getuser("default")
    assert default["enabled"] is False
    assert "nopass" not in default["flags"]
    assert default["passwords"] == []
    assert sorted(server.client().acl_users()) == ["default", "exporter", "operator", "probe"]


@pytest.mark.parametrize(
    ("user", "commands"),
    [
        ("probe", [("PING",), ("INFO",)]),
        (
            "exporter",
            [
                ("PING",),
                ("INFO", "ALL"),
                ("CONFIG", "GET", "*"),
                ("CLIENT", "SETNAME", "redis_exporter"),
                ("LATENCY", "LATEST"),
                ("LATENCY", "HISTOGRAM"),
                ("SLOWLOG", "LEN"),
            ],
        ),
    ],
)
def test_users_may_do_their_work_and_nothing_else(server: Server, user: str, commands: list[tuple[str, ...]]):
    server.configure(RedisConfig())
    server.start()
    client = server.client(user)
    for command in commands:
        client.execute_command(*command)
    refused = [
        *(("GET", "k"), ("SET", "k", "v"), ("SCAN", "0"), ("SLOWLOG", "GET"), ("CONFIG", "SET", "hz", "1")),
        *(("ACL", "LIST"), ("CLIENT", "LIST"), ("EVAL", "return 1", "0"), ("FLUSHALL",), ("SHUTDOWN",), ("MONITOR",)),
        *(("PUBLISH", "c", "m"), ("SUBSCRIBE", "c"), ("KEYS", "*"), ("MEMORY", "DOCTOR")),
    ]
    for command in refused:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)


def test_config_get_shows_the_exporter_no_password(server: Server):
    server.configure(EVERYTHING)
    server.start()
    shown = str(server.client("exporter").config_get("*"))
    assert not [secret for secret in ("operator-secret", "probe-secret", "exporter-secret") if secret in shown]
