"""The operator against an API server that fails: injected faults at every write, outages, and a start in the wrong order."""

import asyncio
import socket
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager

import pytest

from redisop import configcheck
from redisop.client import Client
from redisop.decide import decide as real_decide
from redisop.errors import ApiError, Conflict, ConnectionFailed
from redisop.kinds import CONFIG_MAP, INSTANCE, POD, Ref, ref_of
from redisop.operator import Operator
from redisop.settings import Settings
from tests.cluster import ControlPlane
from tests.controlplane import operator_process
from tests.controlplane.world import World, accepted, condition
from tests.converged import install

pytestmark = pytest.mark.timeout(300)

PLANTED = "hunter2"
WRITES = 11
"""Of a new instance: nine children, and a status before and after its Pod is ready."""


class Faulty(Client):
    """A real client that fails at the n-th write of instance `demo<n>`; all else goes to the real server."""

    fault = "none"

    def prepare(self, fault):
        self.fault = fault
        self.counts: Counter[str] = Counter()
        self.times: defaultdict[Ref, list[float]] = defaultdict(list)
        self.failed: dict[str, tuple[Ref, float]] = {}

    async def apply(self, obj, **options):
        ref = ref_of(obj)
        name = ref.name.partition("-")[0]
        self.counts[name] += 1
        self.times[ref].append(time.monotonic())
        if self.counts[name] != int(name.removeprefix("demo")) + 1:
            return await super().apply(obj, **options)
        self.failed[name] = (ref, time.monotonic())
        if self.fault == "reply lost":
            await super().apply(obj, **options)
        raise {
            "not sent": ConnectionFailed("reset"),
            "reply lost": ConnectionFailed("reset"),
            "409": Conflict("stale", code=409),
            "429": ApiError("slow down", code=429, retry_after=2.0),
            "500": ApiError("boom", code=500),
            "503": ApiError("not yet", code=503),
            "403": ApiError("not now", code=403),
        }[self.fault]


@asynccontextmanager
async def running(operator):
    task = asyncio.create_task(operator.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("kubelet")
@pytest.mark.parametrize("fault", ["not sent", "reply lost", "409", "429", "500", "503", "403"])
async def test_one_fault_at_any_write_costs_at_most_one_more(world, fault):
    names = [f"demo{number}" for number in range(WRITES)]
    async with Faulty.connect(world.cluster.kubeconfig_for(world.user)) as client:
        client.prepare(fault)
        async with running(Operator(client, Settings(), [world.namespace], 8, None)):
            for name in names:
                world.create(name)
            for name in names:
                await world.ready(name)
            await asyncio.sleep(1.5)
    assert len(client.failed) >= WRITES - 1, "a fault was never reached"
    writes = world.writes()
    assert set(accepted(writes).values()) == {1}, "something was written twice"
    refused = [write for write in writes if write[4] >= 300]
    assert len(refused) <= len(names), refused
    if fault == "429":
        for ref, when in client.failed.values():
            after = [moment for moment in client.times[ref] if moment > when]
            assert min(after) >= when + 2.0, f"{ref} was tried again before Retry-After"
    for name in names:
        assert await world.planned(name) == []


@pytest.mark.usefixtures("kubelet")
async def test_an_unforeseen_error_of_one_instance_stops_neither_it_nor_others(world, monkeypatch, caplog):
    broken: list[str] = []

    def decide(obj, *rest):
        if obj["metadata"]["name"] == "bad" and len(broken) < 3:
            broken.append("once")
            raise RuntimeError(PLANTED)
        return real_decide(obj, *rest)

    monkeypatch.setattr("redisop.controller.decide", decide)
    async with (
        Client.connect(world.cluster.kubeconfig_for(world.user)) as client,
        asyncio.timeout(60),
        running(Operator(client, Settings(), [world.namespace], 1, None)),
    ):
        world.create("bad")
        world.create("good")
        await world.ready("good")
        await world.ready("bad")
    said = [str(vars(record)) for record in caplog.records if record.message == "pass crashed"]
    assert len(said) == len(broken) == 3
    assert all("RuntimeError" in text and PLANTED not in text for text in said), "its text may hold anything"


@pytest.fixture(scope="module")
def own():
    """A control plane that may be broken, and that has no CRDs yet."""
    with ControlPlane.start(audit=True) as started:
        yield started


async def test_it_waits_for_its_crds_and_for_the_server_and_never_exits(own, tmp_path):
    own.kubectl("create", "namespace", "team")
    user = "redisop"
    own.kubectl("create", "clusterrolebinding", user, "--clusterrole=cluster-admin", f"--user={user}")
    kubeconfig = own.kubeconfig_for(user)
    with (
        operator_process.operator(kubeconfig, tmp_path / "log", ready=False) as process,
        operator_process.fake_kubelet(own.kubeconfig, tmp_path / "kubelet"),
    ):
        process.wait_for("redisop gen-crds -o - | kubectl apply")
        install(own)
        process.wait_for("caches are filled", 15)
        async with Client.connect(own.kubeconfig) as client:
            world = World(own, "team", client, user)
            for name in ("one", "two"):
                world.create(name)
                await world.ready(name)
            # Stopping waits for what is in flight, a kill does not: both happen to real servers.
            for end in (own.apiserver.stop, own.apiserver.kill):
                end()
                await asyncio.sleep(6)
                assert process.alive
                own.apiserver.start()
                own.wait_ready()
                back = time.monotonic()
                ref = Ref(CONFIG_MAP.api_version, CONFIG_MAP.name, "team", "one-redis-config")
                old = await world.get(CONFIG_MAP, ref.name)
                await world.send("DELETE", ref)

                async def repaired(ref=ref, old=old):
                    new = await world.find(CONFIG_MAP, ref.name)
                    return new is not None and new["metadata"]["uid"] != old["metadata"]["uid"]

                await world.until(repaired, 10)
                assert time.monotonic() - back < 3.5, "the back-off outlived the outage"
            before = len(world.writes())
            own.apiserver.pause()
            await asyncio.sleep(3)
            own.apiserver.resume()
            await asyncio.sleep(4)
            assert process.alive
            assert [write for write in world.writes(before) if write[3] is None] == []


async def test_what_was_deleted_during_an_outage_of_the_operators_watches_leaves_no_ghost(own):
    """Half of the watch cache is lost with every restart of the server, so the operator has to list again."""
    install(own)
    async with Client.connect(own.kubeconfig) as client:
        operator = Operator(client, Settings(), ["ghosts"], 2, None)
        own.kubectl("create", "namespace", "ghosts")
        async with running(operator):
            world = World(own, "ghosts", client, "nobody")
            world.create("demo")
            await world.until(lambda: world.find(CONFIG_MAP, "demo-redis-config"))
            for reflector in operator.reflectors:
                # As if the versions had been compacted away: the server answers 410 to the next watch.
                reflector._version = "1"
            own.apiserver.kill()
            own.apiserver.start()
            own.wait_ready()
            await world.send("DELETE", world.key("demo"))

            async def gone():
                return not operator.store.of_kind(INSTANCE) and not operator.store.of_kind(CONFIG_MAP)

            await world.until(gone, 30)
            assert sum(reflector.lists for reflector in operator.reflectors) > len(operator.reflectors)


async def test_a_redis_that_never_answers_delays_nobody_and_causes_no_writes(own, tmp_path):
    install(own)
    own.kubectl("create", "namespace", "silent")
    user, address = "silent", "127.9.9.9"
    kubeconfig = own.kubeconfig_for(user, ["system:masters"])
    # The kernel takes the connection and nobody ever reads from it.
    with (
        socket.create_server((address, 6379)),
        operator_process.fake_kubelet(own.kubeconfig, tmp_path / "kubelet", "--pod-ip", address),
        operator_process.operator(kubeconfig, tmp_path / "log", "-n", "silent", "--workers", "1"),
    ):
        async with Client.connect(own.kubeconfig) as client:
            world = World(own, "silent", client, user)
            names = [f"demo{number}" for number in range(6)]
            for name in names:
                world.create(name)
            for name in names:
                await world.ready(name)
            ref = Ref(CONFIG_MAP.api_version, CONFIG_MAP.name, "silent", "demo0-redis-config")
            await asyncio.sleep(3)
            started = time.monotonic()
            await world.send("DELETE", ref)
            await world.until(lambda: world.find(CONFIG_MAP, ref.name), 2)
            assert time.monotonic() - started < 2
            await asyncio.sleep(8)
            before = len(world.writes())
            await asyncio.sleep(configcheck.RETRY + 8)
            assert world.writes(before) == [], "asking again is no news"


async def test_a_watch_of_one_namespace_leaves_others_alone(world, operator_user, tmp_path):
    kubeconfig = world.cluster.kubeconfig_for(operator_user)
    other = f"{world.namespace}-other"
    world.cluster.kubectl("create", "namespace", other)
    elsewhere = World(world.cluster, other, world.client, world.user)
    with operator_process.operator(kubeconfig, tmp_path / "log", WATCH_NAMESPACE=f"{world.namespace}, ") as process:
        assert f"in {world.namespace}" in process.output
        world.create("demo")
        elsewhere.create("demo")
        await world.until(lambda: world.find(CONFIG_MAP, "demo-redis-config"))
        await asyncio.sleep(1)
        assert await elsewhere.children("demo") == {}
        assert await world.find(POD, "nobody") is None
        assert condition(await elsewhere.get(INSTANCE, "demo")) == {}
    world.cluster.kubectl("delete", "namespace", other, "--wait=false")


def test_a_start_that_cannot_work_says_why(tmp_path):
    missing = operator_process.Process(
        ["-m", "redisop", "run", "--kubeconfig", str(tmp_path / "none")], tmp_path / "log"
    )
    assert missing._process.wait(30) == 2
    assert "no such file" in missing.output
    wrong = operator_process.Process(
        ["-m", "redisop", "run"], tmp_path / "log2", REDISOP_DOMAIN="-", HOME=str(tmp_path)
    )
    assert wrong._process.wait(30) == 2
    assert "REDISOP_DOMAIN" in wrong.output
