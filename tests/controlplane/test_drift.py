"""Whatever somebody else does to a field of ours is undone by one write, and what is theirs stays."""

import asyncio
import json
import time
from typing import Any

import pytest

from redisop.kinds import INSTANCE, MANAGED_BY, MANAGER, OWNED, POD, SERVICE, STATEFUL_SET, Ref, kind_of
from tests.controlplane.world import accepted, condition

pytestmark = [pytest.mark.timeout(580), pytest.mark.usefixtures("kubelet", "operator")]

REMOVE = object()
REASSIGNED = {"name", "uid", "kind", "apiVersion"}
"""Of an owner reference: another owner's name or uid is no drift but another owner, whom garbage collection obeys."""
OTHERS = {
    "TCP": ["UDP"],
    "ClusterIP": ["NodePort"],
    "IfNotPresent": ["Always"],
    "OnDelete": ["RollingUpdate"],
    "RuntimeDefault": ["Unconfined"],
    "Retain": ["Delete"],
    "Delete": ["Retain"],
    "AlwaysAllow": ["IfHealthyBudget"],
}


def ours(obj):
    fields = [
        entry["fieldsV1"]
        for entry in obj["metadata"]["managedFields"]
        if entry["manager"] == MANAGER and entry["operation"] == "Apply" and "subresource" not in entry
    ]
    return fields[0] if fields else {}


def leaves(fields, value, pointer="", keys=()):
    """Yield (JSON pointer, value) of each leaf of `fields` in `value`, but for the keys of list items.

    To the server an item with another key is another item, which stays beside ours: a test of its own.
    """
    inner = {name: sub for name, sub in fields.items() if name != "."}
    if not inner:
        yield pointer, value
        return
    for name, sub in inner.items():
        kind, _, text = name.partition(":")
        if kind == "f":
            if text in value and text not in keys:
                yield from leaves(sub, value[text], f"{pointer}/{text.replace('~', '~0').replace('/', '~1')}")
        elif kind == "k":
            keys = json.loads(text)
            index = next(i for i, item in enumerate(value) if keys.items() <= item.items())
            yield from leaves(sub, value[index], f"{pointer}/{index}", keys)
        else:
            yield f"{pointer}/{value.index(json.loads(text))}", json.loads(text)


def at(value, pointer):
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (KeyError, IndexError, TypeError):
            return REMOVE
    return value


def alternatives(value):
    """Return what somebody might put in its place, the likeliest to be admitted first."""
    if isinstance(value, bool):
        return [not value, REMOVE]
    if isinstance(value, int):
        return [value + 1, max(0, value - 1), REMOVE]
    if isinstance(value, str):
        return [*OTHERS.get(value, ()), f"{value}x", f"{value}1", "1", REMOVE]
    if isinstance(value, dict):
        return [{**value, "intruder": "x"}, {"medium": "Memory"}, REMOVE]
    return [value[:-1], [*value, "x"], REMOVE] if isinstance(value, list) else [REMOVE]


async def meddle(world, ref, pointer, value):
    """Change the field behind the operator's back; return whether the server let it happen, and how often it took a patch.

    A field that is removed and defaulted at once keeps its value, but is no longer ours: that is drift, too.
    """
    taken = 0
    for other in alternatives(value):
        if other is REMOVE:
            patch: list[dict[str, Any]] = [{"op": "remove", "path": pointer}]
        else:
            patch = [{"op": "replace", "path": pointer, "value": other}]
        status, answer = await world.send("PATCH", ref, patch, kind_of_patch="json-patch")
        taken += status == 200
        if status == 200 and at(answer, pointer) != value:
            return True, taken
    return False, taken


KINDS = {kind.name: kind for kind in OWNED}
NAMES = {
    "ServiceAccount": ["demo-redis"],
    "NetworkPolicy": ["demo-redis"],
    "PodDisruptionBudget": ["demo-redis"],
    "ConfigMap": ["demo-redis-config"],
    "Secret": ["demo-redis-credentials", "demo-redis-acl"],
    "Service": ["demo-redis", "demo-redis-headless"],
    "StatefulSet": ["demo-redis"],
}
SLOWEST = 2.0


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in sorted(NAMES.items()) for name in names])
async def test_every_field_that_is_ours_comes_back(world, kind, name):
    world.create(
        "demo",
        redisConfig={"persistence": True},
        monitoring={"exporter": True},
        networking={"allowedNamespaces": ["shop"]},
    )
    await world.ready("demo")
    ref = Ref(KINDS[kind].api_version, kind, world.namespace, name)
    theirs = {
        "metadata": {"annotations": {"intruder.example/note": "kept"}, "labels": {"intruder.example/label": "kept"}}
    }
    await world.send("PATCH", ref, theirs, manager="neighbour")
    obj = await world.get(KINDS[kind], name)
    pod = await world.get(POD, "demo-redis-0")
    paths = [pointer for pointer, _ in leaves(ours(obj), obj)]
    before = len(world.writes())
    slowest, refused, drifted, taken = 0.0, [], 0, 0
    for pointer in paths:
        obj = await world.get(KINDS[kind], name)
        value = at(obj, pointer)
        if "/ownerReferences/" in pointer and pointer.rpartition("/")[2] in REASSIGNED:
            continue
        started = time.monotonic()
        changed, patches = await meddle(world, ref, pointer, value)
        taken += patches
        if not changed:
            refused.append(pointer)
            continue
        drifted += 1

        async def repaired(pointer=pointer, value=value):
            now = await world.get(KINDS[kind], name)
            # A generated value has no other copy: what stands there is kept, and is ours again.
            right = at(now, pointer) == value or (name == "demo-redis-credentials" and "/data/" in pointer)
            return right and pointer in dict(leaves(ours(now), now)) and now

        await world.until(repaired, 10, f"{ref} {pointer}: {value!r} never came back")
        slowest = max(slowest, time.monotonic() - started)
    await asyncio.sleep(1.5)
    obj = await world.get(KINDS[kind], name)
    assert obj["metadata"]["annotations"]["intruder.example/note"] == "kept"
    assert obj["metadata"]["labels"]["intruder.example/label"] == "kept"
    assert await world.planned("demo") == []
    plural = kind_of(ref).plural
    assert drifted <= accepted(world.writes(before))[plural, name] <= taken, "one write for each"
    if kind != "Secret":
        assert (await world.get(POD, "demo-redis-0"))["metadata"]["uid"] == pod["metadata"]["uid"], "nobody restarts"
    assert slowest <= SLOWEST
    assert drifted >= len(paths) / 2, f"too much was refused to prove anything: {refused}"
    print(
        f"{kind}/{name}: {drifted} of {len(paths)} fields drifted, slowest {slowest * 1000:.0f} ms; immutable: {refused}"
    )


async def test_an_item_under_another_key_stays_and_ours_comes_back_beside_it(world):
    world.create("demo", monitoring={"exporter": True})
    await world.ready("demo")
    ref = Ref(STATEFUL_SET.api_version, STATEFUL_SET.name, world.namespace, "demo-redis")
    pointer = "/spec/template/spec/containers/1/env/0/name"
    value = at(await world.get(STATEFUL_SET, "demo-redis"), pointer)
    patch = [{"op": "replace", "path": pointer, "value": "RENAMED"}]
    status, answer = await world.send("PATCH", ref, patch, kind_of_patch="json-patch")
    assert status == 200, answer

    async def both():
        live = await world.get(STATEFUL_SET, "demo-redis")
        names = {item["name"] for item in live["spec"]["template"]["spec"]["containers"][1]["env"]}
        return {value, "RENAMED"} <= names

    await world.until(both, 5)

    async def nothing_to_do():
        return await world.planned("demo") == []

    # What somebody adds to the template is part of it, so the Pod follows.
    await world.until(nothing_to_do)


async def test_a_port_that_stands_in_the_way_of_ours_is_named_and_ours_comes_back_when_it_goes(world):
    # The server wants the names of a Service's ports to be unique, and no apply of ours can remove somebody else's port.
    world.create("demo")
    await world.ready("demo")
    ref = Ref(SERVICE.api_version, SERVICE.name, world.namespace, "demo-redis")
    patch = [{"op": "replace", "path": "/spec/ports/0/port", "value": 6380}]
    await world.send("PATCH", ref, patch, kind_of_patch="json-patch")

    async def told():
        found = condition(await world.get(INSTANCE, "demo"))
        return found["status"] == "False" and "Service/demo-redis" in found["message"]

    await world.until(told, 5)
    before = len(world.writes())
    await asyncio.sleep(3)
    assert len(world.writes()) - before <= 1, "a refused write is not tried again and again"
    patch = [{"op": "replace", "path": "/spec/ports/0/name", "value": "theirs"}]
    status, answer = await world.send("PATCH", ref, patch, kind_of_patch="json-patch")
    assert status == 200, answer
    await world.ready("demo")
    assert {port["port"] for port in (await world.get(SERVICE, "demo-redis"))["spec"]["ports"]} == {6379, 6380}


async def test_removed_owner_references_come_back(world):
    world.create("demo")
    await world.ready("demo")
    for kind, names in NAMES.items():
        for name in names:
            ref = Ref(KINDS[kind].api_version, kind, world.namespace, name)
            before = await world.get(KINDS[kind], name)
            await world.send("PATCH", ref, {"metadata": {"ownerReferences": None}})

            async def back(kind=kind, name=name, before=before):
                now = await world.get(KINDS[kind], name)
                same = now["metadata"]["uid"] == before["metadata"]["uid"]
                return same and now["metadata"].get("ownerReferences") == before["metadata"]["ownerReferences"]

            await world.until(back, 5, f"{kind}/{name} stays an orphan")
    await world.ready("demo")
    assert await world.planned("demo") == []


async def test_a_child_that_lost_every_label_is_recognised_by_its_owner(world):
    world.create("demo")
    await world.ready("demo")
    for kind, names in NAMES.items():
        for name in names:
            ref = Ref(KINDS[kind].api_version, kind, world.namespace, name)
            before = await world.get(KINDS[kind], name)
            await world.send("PATCH", ref, {"metadata": {"labels": None}})

            async def back(kind=kind, name=name, before=before):
                now = await world.get(KINDS[kind], name)
                same = now["metadata"]["uid"] == before["metadata"]["uid"]
                return same and now["metadata"].get("labels", {}).get(MANAGED_BY) == MANAGER

            await world.until(back, 5, f"{kind}/{name} stays without labels")
    await world.ready("demo")
    assert await world.planned("demo") == []
