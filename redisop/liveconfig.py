"""Brings a running Redis' own configuration to what is wanted, over RESP, and says how it went.

Nothing here raises for what Redis or the network does: the answer is a ConfigState. Its message never holds the password, nor
anything a server says that repeats it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import TimeoutError as TimedOut

from redisop import redisconf, rollout
from redisop.api import RedisHttpInstance
from redisop.conditions import Reason, bounded
from redisop.kinds import Object, Ref
from redisop.manifests import Names, credentials
from redisop.observation import ConfigState

USER = "operator"
DEADLINE = 5.0
"""Seconds for the whole exchange."""
_TIMEOUT = 2.0
"""Seconds for one connection attempt or reply."""
_QUOTE = 200


@dataclass(frozen=True, slots=True)
class Target:
    """One running Redis and what it must use. Equal targets need no second look before somebody may have changed something.

    `wanted` is redisconf.directives(); what Redis reads only at start is skipped. `may_grow` is False where the running
    container's limit has no room for the wanted memory: then maxmemory is lowered, but never raised.
    """

    host: str
    port: int
    password: str = field(repr=False)
    wanted: Mapping[str, str]
    may_grow: bool = True
    container: str = ""
    """Id of the running container."""


def target(instance: RedisHttpInstance, live: Mapping[Ref, Object]) -> Target | None:
    """Return the instance's running Redis; None where none runs, its password is not known, or it must be left alone."""
    parent, child = rollout.stateful_set(instance, live), rollout.pod(instance, live)
    if parent is None or child is None or rollout.is_leaving(child) or instance.spec.paused or instance.spec.hibernated:
        return None
    names = Names(instance.metadata.name, instance.metadata.namespace)
    password = credentials.password(credentials.observed(instance, names, live), USER)
    container, host = rollout.container(child), child.get("status", {}).get("podIP")
    if not host or password is None or "running" not in container.get("state", {}):
        return None
    return Target(
        host=host,
        port=redisconf.PORT,
        password=password,
        wanted=redisconf.directives(instance.spec.redis_config),
        may_grow=rollout.has_room(parent, child),
        container=container.get("containerID", ""),
    )


async def reconcile_config(redis: Target) -> ConfigState:
    """Make Redis use the wanted directives, as far as it can change them while it runs."""
    client = Redis(
        host=redis.host,
        port=redis.port,
        username=USER,
        password=redis.password,
        protocol=2,
        decode_responses=True,
        encoding_errors="replace",
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        single_connection_client=True,
    )
    where = f"Redis at {redis.host}:{redis.port}"
    try:
        async with asyncio.timeout(DEADLINE), aclosing(client):
            state = await _reconcile(client, where, redis.wanted, may_grow=redis.may_grow)
    except Exception as error:  # noqa: BLE001  a server may answer anything, and a client library may fail on it in any way
        state = _state_of(error, where)
    return replace(state, message=_without(redis.password, state.message))


async def _reconcile(client: Redis, where: str, wanted: Mapping[str, str], *, may_grow: bool) -> ConfigState:
    info = await client.info()
    version = _version(info)
    if str(info.get("loading")) == "1":
        return ConfigState(False, Reason.LOADING, f"{where} is loading its data.", (), version)
    if info.get("role") == "slave":
        return ConfigState(
            False,
            Reason.READ_ONLY,
            f"{where} was made a replica of {info.get('master_host')}:{info.get('master_port')} and refuses writes. "
            "`REPLICAOF NO ONE` makes it a primary again.",
            (),
            version,
        )
    live = {name: value for name, value in wanted.items() if name in redisconf.LIVE}
    found = await _read(client, live)
    too_much = not may_grow and _number(live.get("maxmemory")) > _number(found.get("maxmemory"))
    if too_much:
        del live["maxmemory"]
    changed: list[str] = []
    refused: dict[str, str] = {}
    for name in _in_order(_differing(live, found), live, found):
        try:
            await client.config_set(name, live[name])
            changed.append(name)
        except (NoPermissionError, AuthenticationError):
            raise
        except ResponseError as error:
            refused[name] = str(error)
    after = await _read(client, live) if changed else found
    kept = {
        name: f"it stays {after[name]!r}" if name in after else "it is unknown to this version"
        for name in _differing(live, after)
    }
    problems = {**kept, **refused}
    if problems:
        said = "; ".join(f"{name} {live[name]!r}: {bounded(why, _QUOTE)}" for name, why in sorted(problems.items()))
        return ConfigState(False, Reason.CONFIG_REFUSED, f"{where} does not take {said}.", tuple(changed), version)
    if too_much:
        return ConfigState(
            False,
            Reason.RESTART_PENDING,
            f"{where} keeps maxmemory {found.get('maxmemory')} until a container with more memory runs.",
            tuple(changed),
            version,
        )
    return ConfigState(True, Reason.AS_WANTED, "Redis uses every directive that is wanted.", tuple(changed), version)


async def _read(client: Redis, wanted: Mapping[str, str]) -> dict[str, str]:
    found = await client.config_get(*wanted)
    return {str(name).lower(): str(value) for name, value in found.items()}


def _differing(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [
        name
        for name, value in wanted.items()
        if name not in found or not redisconf.equivalent(name, value, found[name])
    ]


def _in_order(names: list[str], wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Order changes so that no key is evicted under a policy that is on its way out or in: grow first, shrink last."""
    grows = _number(wanted.get("maxmemory")) > _number(found.get("maxmemory"))
    rank = {"maxmemory": -1 if grows else 1}
    return sorted(names, key=lambda name: (rank.get(name, 0), name))


def _number(text: str | None) -> int:
    """Return maxmemory in bytes; 0 is what Redis calls unlimited, and so the largest."""
    value = int(text) if text and text.isdecimal() else 0
    return value or 2**63


def _version(info: Mapping[str, Any]) -> str | None:
    version = info.get("valkey_version") or info.get("redis_version")
    return bounded(str(version), 64) if version else None


def _state_of(error: Exception, where: str) -> ConfigState:
    if isinstance(error, BusyLoadingError):
        return ConfigState(False, Reason.LOADING, f"{where} is loading its data.")
    if isinstance(error, AuthenticationError | NoPermissionError):
        return ConfigState(
            False,
            Reason.LOGIN_REFUSED,
            f"{where} refuses the operator's user {USER!r}: its ACL was changed, or the Secret with its password. "
            "Delete the Pod, so that Redis reads the ACL file again.",
        )
    if isinstance(error, Unreachable | TimedOut | OSError):
        how = "did not answer in time" if isinstance(error, TimedOut | TimeoutError) else "cannot be reached"
        return ConfigState(
            False,
            Reason.REDIS_UNREACHABLE,
            f"{where} {how} from the operator; look at the Pod, and at network policies between the two.",
        )
    said = f": {bounded(str(error), _QUOTE)}" if isinstance(error, RedisError) else ""
    return ConfigState(
        False, Reason.CONFIG_REFUSED, f"{where} gave an answer that makes no sense ({type(error).__name__}{said})."
    )


def _without(password: str, text: str) -> str:
    """Return what may be shown of a text in which a server had a hand."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean.replace(password, "(hidden)") if password else clean
