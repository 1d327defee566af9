"""Many instances: how long until all run against the plain writes alone, and how many requests once they do.

A fake kubelet makes Pods look ready, since 500 real ones do not fit here; everything else is real. Both halves run on a new
control plane of their own, with the same objects, the same HTTP client and the same number of writes in flight.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from redisop import graph, manifests
from redisop.api import RedisHttpInstance
from redisop.client import Client
from redisop.kinds import INSTANCE, SECRET, STATEFUL_SET, Kind, Object, Ref
from redisop.manifests import Names
from redisop.settings import Settings
from tests.bench.table import Row, show
from tests.cluster import ControlPlane
from tests.controlplane.operator_process import Process, fake_kubelet
from tests.converged import install

INSTANCES = int(os.environ.get("BENCH_INSTANCES", "500"))
IN_FLIGHT = 8
NAMESPACE = "bench"
USER = "redisop-bench"
STEADY_SECONDS = 60
TIMEOUT = 600.0
WRITES = {"create", "update", "patch", "delete"}


def measure() -> None:
    raw = anyio.run(_raw)
    anyio.run(_operated, raw)


@contextmanager
def _cluster() -> Iterator[tuple[ControlPlane, Path, Path]]:
    with TemporaryDirectory() as folder, ControlPlane.start(audit=True) as cluster:
        install(cluster)
        cluster.kubectl("create", "namespace", NAMESPACE)
        kubeconfig = cluster.kubeconfig_for(USER, ["system:masters"])
        with fake_kubelet(cluster.kubeconfig, Path(folder) / "kubelet.log"):
            yield cluster, kubeconfig, Path(folder)


async def _create_instances(client: Client) -> list[Object]:
    limiter = anyio.CapacityLimiter(IN_FLIGHT)
    made: list[Object] = []

    async def create(number: int) -> None:
        metadata = {"name": f"i{number:04}", "namespace": NAMESPACE}
        async with limiter:
            made.append(
                await client.create(
                    {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.name, "metadata": metadata, "spec": {}}
                )
            )

    async with anyio.create_task_group() as group:
        for number in range(INSTANCES):
            group.start_soon(create, number)
    return sorted(made, key=lambda obj: obj["metadata"]["name"])


async def _raw() -> float:
    """Return the seconds that the writes of all children and one status take, with nothing decided in between."""
    with _cluster() as (cluster, kubeconfig, _):
        async with Client.connect(cluster.kubeconfig) as admin, Client.connect(kubeconfig) as client:
            batches = [list(_objects(obj)) for obj in await _create_instances(admin)]
            send, receive = anyio.create_memory_object_stream[list[tuple[Object, str | None]]](INSTANCES)
            for batch in batches:
                send.send_nowait(batch)
            send.close()
            began = time.perf_counter()

            async def work() -> None:
                async for batch in receive.clone():
                    for obj, subresource in batch:
                        await client.apply(obj, subresource=subresource)

            async with anyio.create_task_group() as group:
                for _ in range(IN_FLIGHT):
                    group.start_soon(work)
                group.start_soon(_until, admin, STATEFUL_SET, _set_is_ready)
            receive.close()
            return time.perf_counter() - began


def _objects(instance: Object) -> Iterator[tuple[Object, str | None]]:
    """Yield what the operator would write for `instance`, with a made-up password instead of one read back."""
    names = Names(instance["metadata"]["name"], NAMESPACE)
    password = {f"{user}-password": "bWFkZS11cA==" for user in ("operator", "probe", "exporter")}
    ref = Ref(SECRET.api_version, SECRET.name, NAMESPACE, names.credentials)
    owner = {"controller": True, "uid": instance["metadata"]["uid"], "kind": INSTANCE.name, "name": names.name}
    metadata = {"name": ref.name, "namespace": NAMESPACE, "uid": "made-up", "ownerReferences": [owner]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": password}
    model = RedisHttpInstance.model_validate(instance)
    for node in graph.build(instance, manifests.build(model, Settings(), {ref: secret})).nodes:
        data = {"data": password} if node.ref == ref else {}
        yield {**node.want, **data}, None
    metadata = {"name": names.name, "namespace": NAMESPACE}
    status = {"phase": "Running", "observedGeneration": 1, "readyReplicas": 1}
    yield {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.name, "metadata": metadata, "status": status}, "status"


def _set_is_ready(obj: Object) -> bool:
    return bool(obj.get("status", {}).get("readyReplicas") == 1)


def _instance_runs(obj: Object) -> bool:
    return bool(obj.get("status", {}).get("phase") == "Running")


async def _until(client: Client, kind: Kind, holds: Any) -> list[float]:
    """Wait until `holds` for every object; return when each was first seen to, in seconds."""
    began = time.perf_counter()
    seen: dict[str, float] = {}
    while len(seen) < INSTANCES:
        if time.perf_counter() - began > TIMEOUT:
            raise SystemExit(f"only {len(seen)} of {INSTANCES} after {TIMEOUT:.0f} s")
        await anyio.sleep(0.5)
        for obj in (await client.list(kind, NAMESPACE)).items:
            if holds(obj):
                seen.setdefault(obj["metadata"]["name"], time.perf_counter() - began)
    return sorted(seen.values())


async def _operated(raw: float) -> None:
    with _cluster() as (cluster, kubeconfig, folder):
        async with Client.connect(cluster.kubeconfig) as admin:
            await _create_instances(admin)
            arguments = ["-m", "redisop", "run", "--no-leader-election", "--kubeconfig", str(kubeconfig)]
            operator = Process(arguments, folder / "operator.log")
            try:
                times = await _until(admin, INSTANCE, _instance_runs)
                cpu, memory = _usage(operator.pid)
                await anyio.sleep(10)
                writes = sum(_state(cluster)[verb] for verb in WRITES)
                rows = [
                    Row("all instances Running", times[-1], "s", raw, "the plain writes of one process", "≤ 1.5"),
                    Row("median instance Running", times[len(times) // 2], "s", times[-1], "the last one"),
                    Row(
                        "writes per instance",
                        writes / INSTANCES,
                        "requests",
                        len(list(_objects(_example()))),
                        "children and one status",
                    ),
                    Row("operator CPU", cpu, "s", times[-1], "wall"),
                    Row("operator memory", memory, "MB"),
                ]
                show(f"Convergence of {INSTANCES} instances", rows)
                before = _total(cluster)
                await anyio.sleep(STEADY_SECONDS)
                _show_requests(f"Steady state, {STEADY_SECONDS} s", _requests(cluster, before))
                operator.terminate()
                before = _total(cluster)
                operator = Process(arguments, folder / "operator2.log")
                operator.wait_for("caches are filled", timeout=60)
                await anyio.sleep(15)
                _show_requests("Restart", _requests(cluster, before))
            finally:
                operator.kill()


def _example() -> Object:
    return {
        "apiVersion": INSTANCE.api_version,
        "kind": INSTANCE.name,
        "metadata": {"name": "x", "namespace": NAMESPACE, "uid": "x"},
        "spec": {},
    }


def _events(cluster: ControlPlane) -> list[dict[str, Any]]:
    return list(cluster.audit_events(user=USER))


def _state(cluster: ControlPlane) -> Counter[str]:
    """Count requests by verb, Events apart: those are no state, and are written when there is time."""
    found = (event for event in _events(cluster) if event.get("objectRef", {}).get("resource") != "events")
    return Counter(event["verb"] for event in found)


def _total(cluster: ControlPlane) -> int:
    return len(_events(cluster))


def _requests(cluster: ControlPlane, since: int) -> Counter[str]:
    return Counter(event["verb"] for event in _events(cluster)[since:])


def _show_requests(title: str, counts: Counter[str]) -> None:
    writes = sum(counts[verb] for verb in WRITES)
    reads = counts["get"] + counts["list"]
    show(
        title,
        [
            Row("writes", writes, "requests", goal="0"),
            Row("reads besides watches", reads, "requests", goal="0, lists at a start"),
            Row("watches", counts["watch"], "requests"),
        ],
    )


def _usage(pid: int) -> tuple[float, float]:
    """Return CPU seconds and resident megabytes of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return ticks / os.sysconf("SC_CLK_TCK"), int(status["VmRSS"].split()[0]) / 1024
