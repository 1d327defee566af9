"""An instance whose writes hang or are refused: the others do not notice, and the API server hardly does."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager, contextmanager

import pytest

from redisop.kinds import INSTANCE, INSTANCE_LABEL
from tests.controlplane.world import condition

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("kubelet", "operator")]

OTHERS = 50
SLOWER = 5.0
"""How many times as long the others may take: generous, since the noise of the machine is in it. Writes of theirs that waited
for one that hangs would take that many times ten seconds."""
RULES = [
    {
        "apiGroups": ["", "apps", "policy", "networking.k8s.io"],
        "apiVersions": ["*"],
        "operations": ["*"],
        "resources": ["*"],
    }
]


@contextmanager
def black_hole():
    """Yield the port of a server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1000)
        yield listener.getsockname()[1]


@asynccontextmanager
async def hanging(world, name):
    """Make every write to a child of the instance hang for ten seconds, and then fail."""
    with black_hole() as port:
        webhook = {
            "name": f"{name}.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
            "rules": RULES,
            "objectSelector": {"matchLabels": {INSTANCE_LABEL: name}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 10,
            "failurePolicy": "Fail",
        }
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": world.namespace},
            "webhooks": [webhook],
        }
        world.cluster.apply(configuration)
        # The API server takes up webhooks by a watch of its own.
        await asyncio.sleep(2)
        try:
            yield
        finally:
            world.cluster.kubectl("delete", "validatingwebhookconfiguration", world.namespace)


async def converge(world, prefix, count=OTHERS):
    """Create instances and return the seconds until all of them are ready."""
    names = {f"{prefix}{index}" for index in range(count)}
    started = time.monotonic()
    world.cluster.apply(
        *(
            {
                "apiVersion": INSTANCE.api_version,
                "kind": INSTANCE.name,
                "metadata": {"name": name, "namespace": world.namespace},
            }
            for name in names
        )
    )

    async def all_ready():
        page = await world.client.list(INSTANCE, world.namespace)
        return names <= {it["metadata"]["name"] for it in page.items if condition(it).get("status") == "True"}

    await world.until(all_ready, 120)
    return time.monotonic() - started


async def test_an_instance_whose_writes_hang_does_not_delay_the_others(world, capsys):
    await converge(world, "warm", 5)
    alone = await converge(world, "alone")
    async with hanging(world, "broken"):
        world.create("broken")
        await asyncio.sleep(1)
        beside = await converge(world, "beside")
        obj = await world.get(INSTANCE, "broken")
        assert condition(obj).get("status") != "True"
    with capsys.disabled():
        print(
            f"\n{OTHERS} instances: {alone:.1f} s alone, {beside:.1f} s beside one that hangs: {beside / alone:.2f} times"
        )
    assert beside / alone < SLOWER
