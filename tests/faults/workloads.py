"""What happens to an instance while faults are injected. Each is run undisturbed first: that is the reference."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from redisop.kinds import CLAIM, CONFIG_MAP, INSTANCE, NETWORK_POLICY, POD, SECRET, SERVICE, STATEFUL_SET, Object
from tests.faults.arena import NAME, SEEN, Arena

Check = Callable[[Arena], Awaitable[bool]]
Act = Callable[[Arena], Awaitable[None]]

CHANGED: Object = {"redisConfig": {"memory": "64Mi", "parameters": {"databases": 3, "slowlogMaxLen": 77}}}
REVISED: Object = {"redisConfig": {"parameters": {"databases": 5}}}


@dataclass(frozen=True)
class Workload:
    """`base` is the spec that has converged before `act`, None where there is no instance yet; `done` says that it is over."""

    name: str
    base: Object | None
    act: Act
    done: Check
    gone: bool = False
    """Nothing is left of the instance in the end."""
    pods: dict[str, str] = field(default_factory=dict)


async def _create(arena: Arena) -> None:
    await arena.create({})


async def _change(arena: Arena) -> None:
    await arena.change(CHANGED)


async def _changed(arena: Arena) -> bool:
    pod, owner = await arena.find(POD, f"{NAME}-redis-0"), await arena.find(STATEFUL_SET, f"{NAME}-redis")
    if pod is None or owner is None or not await arena.ready():
        return False
    revision = pod["metadata"]["labels"].get("controller-revision-hash")
    return bool(owner["status"].get("updateRevision") == revision and owner["metadata"]["generation"] > 1)


async def _drift(arena: Arena) -> None:
    send = arena.site.send
    config = {"data": {"redis.conf": "port 1\n"}, "metadata": {"labels": {"app.kubernetes.io/instance": "x"}}}
    await send("PATCH", arena.path(CONFIG_MAP, f"{NAME}-redis-config"), config)
    policy = {"metadata": {"labels": {"redis.kubegateway.io/instance": None}}}
    await send("PATCH", arena.path(NETWORK_POLICY, f"{NAME}-redis"), policy)
    await arena.delete(SERVICE, f"{NAME}-redis-headless")
    await arena.delete(SECRET, f"{NAME}-redis-acl")
    template = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
    await send("PATCH", arena.path(STATEFUL_SET, f"{NAME}-redis"), template)


async def _restored(arena: Arena) -> bool:
    config = await arena.find(CONFIG_MAP, f"{NAME}-redis-config") or {}
    policy = await arena.find(NETWORK_POLICY, f"{NAME}-redis") or {}
    owner = await arena.find(STATEFUL_SET, f"{NAME}-redis") or {}
    return (
        config.get("data", {}).get("redis.conf") != "port 1\n"
        and bool(policy)
        and "redis.kubegateway.io/instance" in policy["metadata"]["labels"]
        and bool(await arena.find(SERVICE, f"{NAME}-redis-headless"))
        and bool(await arena.find(SECRET, f"{NAME}-redis-acl"))
        and bool(owner)
        and owner["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] != 7
        and await _changed(arena)
    )


async def _recreate(arena: Arena) -> None:
    await arena.delete(INSTANCE, NAME)
    await arena.create({})


async def _recreated(arena: Arena) -> bool:
    if not await arena.ready():
        return False
    obj = await arena.find(INSTANCE, NAME)
    owner = await arena.find(STATEFUL_SET, f"{NAME}-redis")
    if obj is None or owner is None:
        return False
    return bool(owner["metadata"]["ownerReferences"][0]["uid"] == obj["metadata"]["uid"])


async def _remove(arena: Arena) -> None:
    await arena.delete(INSTANCE, NAME)


async def nothing_left(arena: Arena) -> bool:
    for kind in SEEN:
        page = await arena.site.client.list(kind, arena.namespace, selector=f"redis.kubegateway.io/instance={NAME}")
        if page.items:
            return False
    return await arena.find(INSTANCE, NAME) is None


async def _grow(arena: Arena) -> None:
    await arena.change({"storage": {"size": "2Gi"}})


async def _grown(arena: Arena) -> bool:
    claim, owner = await arena.find(CLAIM, f"data-{NAME}-redis-0"), await arena.find(STATEFUL_SET, f"{NAME}-redis")
    if claim is None or owner is None or not await arena.ready():
        return False
    template = owner["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    return bool(claim["status"]["capacity"]["storage"] == template == "2Gi")


async def _sleep(arena: Arena) -> None:
    await arena.change({"hibernated": True})


async def _asleep(arena: Arena) -> bool:
    obj = await arena.find(INSTANCE, NAME) or {}
    return (obj.get("status") or {}).get("phase") == "Hibernated" and await arena.find(POD, f"{NAME}-redis-0") is None


KEPT: Object = {"redisConfig": {"persistence": True}, "storage": {"size": "1Gi", "storageClassName": "growing"}}

WORKLOADS = {
    it.name: it
    for it in (
        Workload("create", None, _create, Arena.ready),
        Workload("change", {}, _change, _changed),
        Workload("drift", {}, _drift, _restored),
        Workload("recreate", {}, _recreate, _recreated),
        Workload("remove", {}, _remove, nothing_left, gone=True),
        Workload("grow", KEPT, _grow, _grown),
        Workload("sleep", {}, _sleep, _asleep),
    )
}
