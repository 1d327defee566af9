"""What it costs to find that nothing is to be done, against asking the API server by a no-op apply."""

import time
from collections.abc import Callable

import anyio

from redisop import graph, manifests
from redisop.api import RedisHttpInstance
from redisop.client import Client
from redisop.decide import decide
from redisop.kinds import INSTANCE
from redisop.plan import plan, resolve
from redisop.settings import Settings
from tests.bench.table import Row, show
from tests.cluster import ControlPlane
from tests.converged import converge, install

ROUNDS = 400
NAMESPACE = "bench"


def measure() -> None:
    with ControlPlane.start() as cluster:
        install(cluster)
        cluster.kubectl("create", "namespace", NAMESPACE)
        spec = {"redisConfig": {"memory": "256Mi", "persistence": True}, "monitoring": {"exporter": True}}
        cluster.apply(
            {
                "apiVersion": INSTANCE.api_version,
                "kind": INSTANCE.name,
                "metadata": {"name": "one", "namespace": NAMESPACE},
                "spec": spec,
            }
        )
        anyio.run(_measure, cluster)


async def _measure(cluster: ControlPlane) -> None:
    settings = Settings()
    async with Client.connect(cluster.kubeconfig) as client:
        instance = await client.get(INSTANCE, NAMESPACE, "one")
        live, settled = await converge(client, instance, settings)
        wanted = graph.build(instance, manifests.build(RedisHttpInstance.model_validate(instance), settings, live))
        began, cpu = time.perf_counter(), time.process_time()
        for node in wanted.nodes:
            await client.apply(resolve(node.want, live[node.ref]))
        apply_wall, apply_cpu = time.perf_counter() - began, time.process_time() - cpu
    assert plan(wanted, live, settled).empty, "the plan is not empty, so this would measure something else"
    rows = [
        Row(
            "plan(), settled",
            _cpu(lambda: plan(wanted, live, settled)),
            "ms CPU",
            apply_cpu * 1e3,
            "no-op applies, client CPU",
            "≤ 1 ms",
        ),
        Row(
            "plan(), first after a restart (nothing settled)",
            _cpu(lambda: plan(wanted, live, {})),
            "ms CPU",
            apply_cpu * 1e3,
            "no-op applies, client CPU",
            "≤ 1 ms",
        ),
        Row(
            "decide(): model, builders, graph and plan",
            _cpu(lambda: decide(instance, live, settled, settings)),
            "ms CPU",
            apply_wall * 1e3,
            "no-op applies, wall",
        ),
    ]
    show(f"Nothing to do for one instance of {len(live)} objects, mean of {ROUNDS}", rows)


def _cpu(work: Callable[[], object]) -> float:
    work()
    began = time.process_time()
    for _ in range(ROUNDS):
        work()
    return (time.process_time() - began) / ROUNDS * 1e3
