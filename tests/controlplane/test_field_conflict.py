"""Another manager that forces its value on a field of ours whenever we set it: no write war, and a condition that names it."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from redisop.disputes import FIRST_HOLD, LIMIT, QUIET
from redisop.kinds import INSTANCE, SERVICE, Ref
from tests.controlplane.world import condition

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("kubelet", "operator")]

LABEL = "app.kubernetes.io/instance"


class Rival:
    """Applies its own value by force whenever somebody changed it, as a GitOps tool with self-healing does."""

    def __init__(self, world):
        self.world = world
        self.path = SERVICE.path(world.namespace, "demo-redis")
        self.applied = 0

    async def run(self):
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "demo-redis", "labels": {LABEL: "theirs"}},
        }
        while True:
            service = await self.world.get(SERVICE, "demo-redis")
            if service["metadata"]["labels"].get(LABEL) != "theirs":
                answer = await self.world.client._http.request(
                    "PATCH",
                    self.path,
                    params={"fieldManager": "rival", "force": "true"},
                    content=json.dumps(body),
                    headers={"Content-Type": "application/apply-patch+yaml"},
                )
                assert answer.status_code == 200, answer.text
                self.applied += 1
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def fighting(self):
        task = asyncio.create_task(self.run())
        try:
            yield
            assert not task.done(), task.exception()
        finally:
            task.cancel()


def attempts(world, since):
    return [write for write in world.writes(since) if write[1:4] == ("services", "demo-redis", None) and write[4] < 300]


async def test_a_rival_that_forces_its_value_meets_no_write_war_and_is_named(world):
    world.create("demo")
    await world.ready("demo")
    before = len(world.writes())
    rival = Rival(world)
    async with rival.fighting():
        await world.reason("demo", "FieldConflict")
        message = condition(await world.get(INSTANCE, "demo"))["message"]
        assert '"rival"' in message
        assert f".metadata.labels.{LABEL}" in message.replace("[", ".").replace('"', "").replace("]", ""), message
        assert "Service/demo-redis" in message
        await asyncio.sleep(FIRST_HOLD / 2)
        assert len(attempts(world, before)) <= LIMIT + 1
        assert rival.applied >= LIMIT
        # What the instance asks for is still written, to this object and to others.
        await world.send("PATCH", world.key("demo"), {"spec": {"monitoring": {"exporter": True}}})

        async def followed():
            ports = (await world.get(SERVICE, "demo-redis"))["spec"]["ports"]
            return [port["name"] for port in ports] == ["redis", "metrics"]

        await world.until(followed)
        assert len(attempts(world, before)) <= LIMIT + 3
    # The rival stopped with its own value in place, so only the next attempt can show that it did.
    await world.ready("demo", 4 * FIRST_HOLD + QUIET + 30)
    service = await world.get(SERVICE, "demo-redis")
    assert service["metadata"]["labels"][LABEL] == "demo"
    assert await world.planned("demo") == []


async def test_a_field_that_is_changed_now_and_then_is_taken_back_without_a_conflict(world):
    world.create("demo")
    await world.ready("demo")
    ref = Ref("v1", "Service", world.namespace, "demo-redis")
    for _ in range(LIMIT - 1):
        status, answer = await world.send("PATCH", ref, {"metadata": {"labels": {LABEL: "theirs"}}})
        assert status == 200, answer

        async def back():
            return (await world.get(SERVICE, "demo-redis"))["metadata"]["labels"][LABEL] == "demo"

        await world.until(back, 10)
    await asyncio.sleep(1)
    assert condition(await world.get(INSTANCE, "demo"))["status"] == "True"
