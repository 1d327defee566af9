"""Operators that are broken on purpose, each in one way that somebody once shipped. The suite must catch every one."""

import dataclasses
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import anyio

import redisop.apply
import redisop.client
import redisop.controller
import redisop.graph
import redisop.operator
import redisop.plan.decide
import redisop.plan.settled
import redisop.reflector
import redisop.store
import redisop.workqueue
from redisop.errors import ApiError, ConnectionFailed
from redisop.kinds import kind_of
from redisop.plan import Action

Patch = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Broken:
    """`plans` are tried on it, and one of them must fail with a problem that holds `caught`."""

    patches: Patch
    plans: tuple[str, ...]
    caught: str


def _replace(place: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """Return a patch of `place.name` by what `make` makes of the original."""
    return lambda: patch.object(place, name, make(getattr(place, name)))


def _values(place: Any, **values: Any) -> Patch:
    return lambda: patch.multiple(place, **values)


def _without(*fields: str) -> Callable[[Any], Any]:
    """Leave preconditions out of what is applied."""

    def make(request: Any) -> Any:
        def broken(step: Any) -> Any:
            body = request(step)
            return {**body, "metadata": {k: v for k, v in body["metadata"].items() if k not in fields}}

        return broken

    return make


def _blind_create(request: Any) -> Any:
    def broken(step: Any) -> Any:
        body = request(step)
        if step.live is None:
            body["metadata"].pop("resourceVersion", None)
        return body

    return broken


def _delete_anything(_: Any) -> Any:
    async def delete(self: Any, ref: Any, *, uid: str, resource_version: str, propagation: str | None = None) -> Any:
        del uid, resource_version
        kind = kind_of(ref)
        options = {"propagationPolicy": propagation} if propagation else {}
        return await self._request("DELETE", kind, kind.path(ref.namespace, ref.name), body=options)

    return delete


def _always(*, result: Any) -> Callable[[Any], Any]:
    return lambda _: lambda *_args, **_named: result


def _status(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    def make(instance_status: Any) -> Any:
        def broken(instance: Any, current: Any, observation: Any, now: str, *rest: Any) -> Any:
            return change(instance_status(instance, current, observation, now, *rest), observation)

        return broken

    return make


def _old_generation(status: Any, _: Any) -> Any:
    return {**status, "observedGeneration": status["observedGeneration"] - 1}


def _talkative_log(settle: Any) -> Any:
    def broken(settled: Any, want: Any, response: Any, *rest: Any) -> None:
        logging.getLogger("redisop.apply").info("applied %s", response)
        settle(settled, want, response, *rest)

    return broken


def _rewriting(plan_object: Any) -> Any:
    def broken(want: Any, live: Any, *rest: Any, **named: Any) -> Any:
        step = plan_object(want, live, *rest, **named)
        again = step.action is Action.UNCHANGED and live is not None and "deletionTimestamp" not in live["metadata"]
        return dataclasses.replace(step, action=Action.APPLY) if again and named.get("subresource") is None else step

    return broken


def _satisfied(plan_object: Any) -> Any:
    def broken(want: Any, live: Any, *rest: Any, **named: Any) -> Any:
        step = plan_object(want, live, *rest, **named)
        there = step.action is Action.APPLY and step.subresource is None
        return dataclasses.replace(step, action=Action.UNCHANGED, changes=()) if there else step

    return broken


def _mortal(_: Any) -> Any:
    async def broken(_self: Any, error: Exception) -> None:
        raise error

    return broken


def _no_hold(retry: Any) -> Any:
    def broken(self: Any, key: Any, at_least: float = 0.0) -> Any:
        del at_least
        return retry(self, key)

    return broken


def _no_back_off(_: Any) -> Any:
    def broken(self: Any, key: Any, at_least: float = 0.0) -> float:
        del at_least
        self._schedule(key, self._clock())
        return 0.0

    return broken


def _stubborn(_: Any) -> Any:
    async def broken(self: Any) -> None:
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except (ApiError, ConnectionFailed) as error:
                await self._wait(error)

    return broken


def _orphaned(node: Any) -> Any:
    def broken(key: Any, uid: str, wave: int, obj: Any) -> Any:
        found = node(key, uid, wave, obj)
        metadata = {name: value for name, value in found.want["metadata"].items() if name != "ownerReferences"}
        return dataclasses.replace(found, want={**found.want, "metadata": metadata})

    return broken


def _decorated(node: Any) -> Any:
    def broken(key: Any, uid: str, wave: int, obj: Any) -> Any:
        found = node(key, uid, wave, obj)
        labels = {**found.want["metadata"].get("labels", {}), "pass": str(uid[:4])}
        return dataclasses.replace(found, want={**found.want, "metadata": {**found.want["metadata"], "labels": labels}})

    return broken


def _slow_drain(_: Any) -> Any:
    async def broken(_self: Any) -> None:
        await anyio.sleep(6)

    return broken


BROKEN: dict[str, Broken] = {
    "changes without precondition": Broken(
        _replace(redisop.apply, "request", _without("uid", "resourceVersion")),
        ("write: slow / change / 1",),
        "no precondition",
    ),
    "changes with a version and no uid": Broken(
        _replace(redisop.apply, "request", _without("uid")), ("write: slow / change / 1",), "no precondition"
    ),
    "creates what may exist": Broken(
        _replace(redisop.apply, "request", _blind_create),
        ("a stranger has the name / create / 1", "a stranger has the name / create / 7"),
        "NameConflict",
    ),
    "deletes without precondition": Broken(
        _replace(redisop.client.Client, "delete", _delete_anything), ("write: slow / change / 3",), "no precondition"
    ),
    "ignores 410": Broken(
        _replace(redisop.reflector.Reflector, "run", _stubborn), ("watch: 410 as status / drift / 4",), "O1"
    ),
    "opens streams without a pause": Broken(
        _values(redisop.reflector, FIRST_DELAY=0.0, QUIET=0.0), ("watch: streams < 1 s / change / 1",), "O3"
    ),
    "ends when the API server refuses": Broken(
        _replace(redisop.reflector.Reflector, "_wait", _mortal), ("read at start: 500 / create / 5",), "ended by itself"
    ),
    "does not see deletions": Broken(
        _replace(redisop.store.Store, "remove", _always(result=False)), ("write: slow / drift / 9",), "O1"
    ),
    "asks again too early": Broken(
        _replace(redisop.workqueue.WorkQueue, "retry", _no_hold), ("write: 429 / create / 2",), "told to wait"
    ),
    "gives up after an error": Broken(
        _replace(redisop.workqueue.WorkQueue, "retry", _always(result=0.0)), ("write: 500 / create / 2",), "O1"
    ),
    "takes every error for final": Broken(
        _replace(redisop.controller, "is_terminal", _always(result=True)), ("write: 503 / create / 2",), "O1"
    ),
    "says Ready of an old generation": Broken(
        _replace(redisop.controller, "instance_status", _status(_old_generation)), ("write: slow / create / 1",), "O"
    ),
    "applies what has not changed": Broken(
        _replace(redisop.plan.decide, "plan_object", _rewriting), ("write: slow / create / 1",), "applied"
    ),
    "leaves what exists alone": Broken(
        _replace(redisop.plan.decide, "plan_object", _satisfied), ("write: slow / drift / 1",), "O1"
    ),
    "logs what it applied": Broken(
        _replace(redisop.apply, "settle", _talkative_log), ("write: slow / create / 1",), "O5"
    ),
    "forgets owner references": Broken(
        _replace(redisop.graph, "_node", _orphaned), ("write: slow / create / 1",), "O1"
    ),
    "leaves its mark on every object": Broken(
        _replace(redisop.graph, "_node", _decorated), ("write: slow / create / 1",), "O1"
    ),
    "takes its time after SIGTERM": Broken(
        _replace(redisop.operator.Operator, "drain", _slow_drain), ("SIGTERM / create / 2",), "SIGTERM took"
    ),
    "retries without a pause": Broken(
        _replace(redisop.workqueue.WorkQueue, "retry", _no_back_off), ("write: 503 / create / 2",), "told to wait"
    ),
}
