"""`redisop run --mode observe`: tells what it would do, beside an operator or alone, and writes nothing but Events."""

import asyncio
import json
import secrets

import pytest

from redisop.kinds import INSTANCE, SERVICE, STATEFUL_SET, Ref
from redisop.onlooker import SETTLE
from tests.controlplane import operator_process
from tests.controlplane.world import WRITES

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("kubelet")]


@pytest.fixture
def onlooker(world, tmp_path):
    """`redisop run --mode observe` as a user of its own, who may do everything: what it does not do, it does by itself."""
    user = f"observer-{secrets.token_hex(4)}"
    world.cluster.kubectl("create", "clusterrolebinding", user, "--clusterrole=cluster-admin", f"--user={user}")

    def start(**environ):
        kubeconfig = world.cluster.kubeconfig_for(user)
        arguments = ("-n", world.namespace, "--mode", "observe", "--log-format", "json")
        return operator_process.operator(kubeconfig, tmp_path / "observer", *arguments, elect=True, **environ)

    start.user = user  # type: ignore[attr-defined]
    return start


def written(world, user):
    """Return the resources of all writes of a user."""
    found = [
        event["objectRef"]["resource"] for event in world.cluster.audit_events(user=user) if event["verb"] in WRITES
    ]
    return set(found)


def told(process):
    """Return the (steps, notes) told so far."""
    lines = [json.loads(line) for line in process.output.splitlines()]
    return [(line["plan"], line["notes"]) for line in lines if line["message"] == "would do"]


async def events(world):
    listed = world.cluster.kubectl("get", "events.events.k8s.io", "-n", world.namespace, "-o", "json").stdout
    return [it["note"] for it in json.loads(listed)["items"] if it["reason"] == "Planned"]


async def test_alone_it_tells_what_it_would_create_and_creates_nothing(world, onlooker):
    with onlooker() as process:
        world.create("demo")

        async def said():
            return told(process)

        ((steps, _),) = await world.until(said, SETTLE + 20)
        assert "create StatefulSet/demo-redis" in steps
        assert len(steps) == 9
        (note,) = await world.until(lambda: events(world), 20)
        assert "create StatefulSet/demo-redis" in note
        assert await world.children("demo") == {}
        assert "status" not in await world.get(INSTANCE, "demo")
    assert written(world, onlooker.user) == {"events"}


@pytest.mark.usefixtures("operator")
async def test_beside_an_operator_it_writes_nothing_whatever_happens(world, onlooker):
    world.create("demo")
    await world.ready("demo")
    with onlooker() as process:
        world.create("other", redisConfig={"persistence": True})
        await world.ready("other")
        await world.send("DELETE", Ref("v1", "Service", world.namespace, "demo-redis"))
        await world.until(lambda: world.find(SERVICE, "demo-redis"))
        await world.send("PATCH", world.key("demo"), {"spec": {"redisConfig": {"memory": "64Mi"}}})
        await world.ready("demo")
        await asyncio.sleep(SETTLE + 3)
        # In the end both are of one mind.
        assert {tuple(steps) for steps, _ in told(process)[-2:]} == {()}
    assert written(world, onlooker.user) <= {"events"}


@pytest.mark.usefixtures("operator")
async def test_another_version_beside_the_operator_tells_what_the_upgrade_would_change(world, onlooker):
    world.create("demo")
    await world.ready("demo")
    before = await world.get(STATEFUL_SET, "demo-redis")
    with onlooker(REDISOP_DEFAULT_VERSION="7.4") as process:

        async def said():
            return told(process)

        ((steps, notes),) = await world.until(said, SETTLE + 20)
        (step,) = steps
        assert step.startswith("apply StatefulSet/demo-redis")
        assert '.spec.template.spec.containers[name="redis"].image' in step
        assert any("then the Pod restarts" in note for note in notes)
        await asyncio.sleep(3)
        assert len(told(process)) == 1, "the same plan is told once"
    after = await world.get(STATEFUL_SET, "demo-redis")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert written(world, onlooker.user) <= {"events"}
