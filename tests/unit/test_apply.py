"""How a plan is carried out, against a scripted client: the server's answers are what is under test, so they are made up here.

The same module against a real API server is in tests/controlplane.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from redisop import apply as apply_module
from redisop.apply import execute, is_terminal
from redisop.errors import ApiError, Cause, Conflict, ConnectionFailed, NotFound
from redisop.kinds import CONFIG_MAP, INSTANCE, POD, STATEFUL_SET, Kind, Ref
from redisop.observation import Failure
from redisop.plan import Action, Plan, Settled, Step
from redisop.store import Store
from redisop.values import Generated

if TYPE_CHECKING:
    from redisop.client import Client

KEY = Ref(INSTANCE.api_version, INSTANCE.name, "team", "demo")


def obj(kind: Kind, name: str, version: int | None = None, **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "team"}
    if version is not None:
        metadata |= {"uid": f"uid-{name}", "resourceVersion": str(version), "managedFields": []}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **more}


def step(
    action: Action, name: str, wave: int = 0, *, kind: Kind = CONFIG_MAP, live: int | None = None, **more: Any
) -> Step:
    want = None if action in {Action.DELETE, Action.RESTART} else obj(kind, name)
    seen = None if live is None else obj(kind, name, live)
    return Step(action, Ref(kind.api_version, kind.name, "team", name), wave, want, seen, **more)


def error(code: int, **more: Any) -> ApiError:
    return {404: NotFound, 409: Conflict}.get(code, ApiError)(f"error {code}", code=code, **more)


class Scripted:
    """Answers each request with what `answers` holds for its name, else with success; `sent` holds what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.sent: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.in_flight = self.most = 0
        self.pause = 0.001

    async def _answer(self, verb: str, name: str, success: Any) -> Any:
        self.sent.append((verb, name))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(self.pause)
        self.in_flight -= 1
        answer = self.answers.get(f"{verb}_{name}", success)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def apply(self, body: dict[str, Any], **_: Any) -> Any:
        self.bodies.append(body)
        name = body["metadata"]["name"]
        metadata = {**body["metadata"], "uid": f"uid-{name}", "resourceVersion": "100", "managedFields": []}
        return await self._answer("apply", name, {**body, "metadata": metadata})

    async def delete(self, ref: Ref, **options: Any) -> Any:
        self.bodies.append(options)
        return await self._answer("delete", ref.name, {"kind": "Status"})

    async def get(self, kind: Kind, _: str, name: str) -> Any:
        return await self._answer("get", name, obj(kind, name, 50))


async def carry_out(client: Scripted, *steps: Step, store: Store | None = None, limit: int = 8, **more: Any) -> Any:
    settled: Settled = {}
    limiter = anyio.CapacityLimiter(limit)
    plan = Plan(KEY, steps)
    return await execute(cast("Client", client), plan, store or Store(), settled, limiter, **more)


async def test_waves_go_one_after_the_other_and_answers_reach_the_store():
    client, store = Scripted(), Store()
    outcome = await carry_out(
        client,
        step(Action.CREATE, "late", 3),
        step(Action.CREATE, "a"),
        step(Action.UNCHANGED, "same", live=5),
        step(Action.APPLY, "b", live=7),
        step(Action.DELETE, "old", 4, live=9),
        store=store,
    )
    assert {name for _, name in client.sent[:2]} == {"a", "b"}
    assert client.sent[2:] == [("apply", "late"), ("delete", "old")]
    assert len(outcome.done) == 4
    assert not outcome.failures
    assert not outcome.again
    assert {it["metadata"]["name"] for it in store.of_kind(CONFIG_MAP)} == {"a", "b", "late"}


async def test_every_write_has_its_precondition():
    client = Scripted()
    await carry_out(
        client,
        step(Action.CREATE, "new"),
        step(Action.APPLY, "old", 1, live=7),
        step(Action.RESTART, "pod", 2, kind=POD, live=8),
        step(Action.REPLACE, "set", 3, kind=STATEFUL_SET, live=9),
    )
    new, old, pod, replaced = client.bodies
    assert new["metadata"]["resourceVersion"] == "1"
    assert (old["metadata"]["uid"], old["metadata"]["resourceVersion"]) == ("uid-old", "7")
    assert pod == {"uid": "uid-pod", "resource_version": "8", "propagation": None}
    assert replaced == {"uid": "uid-set", "resource_version": "9", "propagation": "Orphan"}


async def test_generated_values_are_made_for_the_request_only():
    client = Scripted()
    create = step(Action.CREATE, "secret")
    assert create.want is not None
    create.want["data"] = {"password": Generated()}
    await carry_out(client, create)
    assert isinstance(client.bodies[0]["data"]["password"], str)
    assert isinstance(create.want["data"]["password"], Generated)


@pytest.mark.parametrize("broken", [error(500), error(403), ConnectionFailed("reset")])
async def test_a_failure_stops_what_depends_on_it_but_not_its_wave(broken):
    client = Scripted(apply_a=broken)
    outcome = await carry_out(
        client, step(Action.CREATE, "a"), step(Action.CREATE, "b"), step(Action.DELETE, "old", 1, live=9)
    )
    assert client.sent == [("apply", "a"), ("apply", "b")]
    assert [failure.error for failure in outcome.failures] == [broken]
    assert [it.ref.name for it in outcome.done] == ["b"]


async def test_a_conflict_stops_what_depends_on_it():
    client = Scripted()
    outcome = await carry_out(client, step(Action.CONFLICT, "theirs", live=3), step(Action.CREATE, "b", 1))
    assert client.sent == []
    assert not outcome.again


@pytest.mark.parametrize(("before", "again"), [(Action.CREATE, True), (Action.UNCHANGED, False)])
async def test_a_pending_value_asks_for_another_decision_where_something_came_of_this_one(before, again):
    live = None if before is Action.CREATE else 3
    outcome = await carry_out(
        Scripted(), step(before, "a", live=live), step(Action.CREATE, "b", 1, pending=True), step(Action.CREATE, "c", 2)
    )
    assert outcome.again is again
    assert "c" not in {it.ref.name for it in outcome.done}


async def test_a_name_that_is_taken_is_looked_at():
    client = Scripted(apply_a=error(409))
    outcome = await carry_out(client, step(Action.CREATE, "a"), step(Action.CREATE, "b", 1))
    assert client.sent == [("apply", "a"), ("get", "a")]
    assert outcome.again
    assert not outcome.failures
    assert [it["metadata"]["resourceVersion"] for it in outcome.met.values()] == ["50"]


async def test_a_name_that_became_free_meanwhile_asks_for_another_decision():
    outcome = await carry_out(Scripted(apply_a=error(409), get_a=error(404)), step(Action.CREATE, "a"))
    assert outcome.again
    assert not outcome.met


@pytest.mark.parametrize(
    "stale",
    [error(409), error(422, causes=[Cause("FieldValueInvalid", "metadata.uid", "field is immutable")])],
    ids=["version", "uid"],
)
async def test_a_stale_object_is_awaited_from_the_watch(stale):
    client, store = Scripted(apply_a=stale), Store()
    store.put(obj(CONFIG_MAP, "a", 7))

    async def watch():
        await asyncio.sleep(0.05)
        store.put(obj(CONFIG_MAP, "a", 8))

    task = asyncio.create_task(watch())
    outcome = await carry_out(client, step(Action.APPLY, "a", live=7), store=store)
    await task
    assert client.sent == [("apply", "a")]
    assert outcome.again
    assert not outcome.failures


async def test_a_watch_that_shows_nothing_is_not_awaited_for_long(monkeypatch):
    monkeypatch.setattr(apply_module, "STALE_WAIT", 0.05)
    client, store = Scripted(apply_a=error(409)), Store()
    store.put(obj(CONFIG_MAP, "a", 7))
    outcome = await carry_out(client, step(Action.APPLY, "a", live=7), store=store)
    assert client.sent == [("apply", "a"), ("get", "a")]
    assert len(outcome.met) == 1


async def test_another_422_is_a_failure():
    client = Scripted(apply_a=error(422, causes=[Cause("FieldValueInvalid", "spec.x", "no")]))
    outcome = await carry_out(client, step(Action.APPLY, "a", live=7))
    assert not outcome.again
    assert is_terminal(outcome.failures[0].error)


async def test_what_is_gone_counts_as_deleted():
    store = Store()
    store.put(obj(CONFIG_MAP, "old", 9))
    outcome = await carry_out(Scripted(delete_old=error(404)), step(Action.DELETE, "old", live=9), store=store)
    assert [it.ref.name for it in outcome.done] == ["old"]
    assert store.of_kind(CONFIG_MAP) == ()


async def test_an_object_that_waits_for_its_finalizers_stays_until_its_end_is_seen():
    store = Store()
    store.put(obj(STATEFUL_SET, "set", 9))
    leaving = obj(STATEFUL_SET, "set", 10)
    outcome = await carry_out(
        Scripted(delete_set=leaving), step(Action.REPLACE, "set", kind=STATEFUL_SET, live=9), store=store
    )
    assert store.of_kind(STATEFUL_SET) == (leaving,)
    assert not outcome.again


async def test_a_step_known_to_be_refused_is_not_sent_again():
    client = Scripted()
    refused = step(Action.APPLY, "a", live=7)
    failure = Failure(refused, error(422))
    outcome = await carry_out(client, refused, step(Action.CREATE, "b", 1), known=lambda _: failure)
    assert client.sent == []
    assert outcome.failures == [failure]


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (8, apply_module.AT_ONCE)], ids=["of all plans", "of one plan"])
async def test_writes_in_flight_are_bounded(limit, most):
    client = Scripted()
    client.pause = 0.02
    await carry_out(client, *(step(Action.CREATE, f"n{number}") for number in range(10)), limit=limit)
    assert client.most == most


@pytest.mark.parametrize(
    ("broken", "terminal"),
    [
        (error(422), True),
        (error(400), True),
        (ApiError("failed to create typed patch object", code=500), True),
        (error(403), False),
        (ApiError("no", code=403, causes=[Cause("NamespaceTerminating", "metadata.namespace", "gone soon")]), True),
        (error(404), False),
        (error(429), False),
        (error(500), False),
        (ConnectionFailed("reset"), False),
    ],
)
def test_only_what_cannot_pass_by_itself_is_terminal(broken, terminal):
    assert is_terminal(broken) is terminal
