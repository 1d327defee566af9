"""Reads from the cluster, once, what the operator has in its caches all the time: for `redisop plan`."""

from collections.abc import Callable, Iterable

import anyio

from redisop.client import Client
from redisop.decide import Decision, decide
from redisop.documents import as_new
from redisop.errors import ApiError, NotFound
from redisop.kinds import INSTANCE, MANAGED_BY, MANAGER, OBSERVED, OWNED, Kind, Object, Ref, kind_of, ref_of
from redisop.settings import Settings
from redisop.store import Store

READS_IN_FLIGHT = 8


async def observe(client: Client, namespaces: Iterable[str | None]) -> Store:
    """Return a Store of everything that carries our label in `namespaces` (None: in all)."""
    store = Store()
    limiter = anyio.CapacityLimiter(READS_IN_FLIGHT)

    async def read(kind: Kind, namespace: str | None) -> None:
        async with limiter:
            page = await client.list(kind, namespace, selector=f"{MANAGED_BY}={MANAGER}")
        for obj in page.items:
            store.put(obj)

    async with anyio.create_task_group() as group:
        for namespace in set(namespaces):
            for kind in (*OWNED, *OBSERVED):
                group.start_soon(read, kind, namespace)
    return store


async def instances(client: Client, namespace: str | None) -> list[Object]:
    """Return the RedisHttpInstances of `namespace` (None: of all), by namespace and name."""
    page = await client.list(INSTANCE, namespace)
    return sorted(page.items, key=ref_of)


async def decide_now(
    client: Client, store: Store, instance: Object, settings: Settings
) -> tuple[Decision, dict[Ref, Object]]:
    """Decide about `instance` as the operator would; return the decision and the live objects it was made from.

    An object that has one of our names but not our label is not in the Store, and the operator would meet it as it creates its
    own: so every name that looks free is looked up, until a decision brings no new names.
    """
    key = ref_of(instance)
    live = dict(store.children(key))
    asked: set[Ref] = set()
    while True:
        decision = decide(instance, live, {}, settings)
        free = [step.ref for step in decision.plan.steps if step.live is None and step.ref not in asked]
        if not free:
            return decision, live
        asked.update(free)
        for ref in free:
            found = await find(client, ref)
            if found is not None:
                live[ref] = found


async def find(client: Client, ref: Ref) -> Object | None:
    """Return the object at `ref`, or None."""
    try:
        return await client.get(kind_of(ref), ref.namespace, ref.name)
    except NotFound:
        return None


async def propose(client: Client, instance: Object, note: Callable[[str], None]) -> Object:
    """Return what `instance`, read from a file, would be in the cluster if it were applied: defaults, uid and generation.

    The API server itself says so, by a dry run, and so also refuses what its rules forbid (ApiError). Where it cannot be asked (no
    such namespace or resource yet, no right to write), `note` is told and the file is taken as it is.
    """
    ref = ref_of(instance)
    found = await find(client, ref)
    try:
        if found is None:
            return await client.create(instance, dry_run=True)
        known = {"uid": found["metadata"]["uid"], "resourceVersion": found["metadata"]["resourceVersion"]}
        return await client.update({**instance, "metadata": {**instance["metadata"], **known}}, dry_run=True)
    except ApiError as error:
        if error.code not in {403, 404}:
            raise
        note(f"{ref}: not checked by the API server ({error}); planned from the file alone")
        if found is None:
            return as_new(instance)
        known = {name: found["metadata"][name] for name in ("uid", "generation")}
        return {**instance, "metadata": {**instance["metadata"], **known}}
