import anyio
import anyio.lowlevel

from redisop.apply import AT_ONCE, execute
from redisop.client import Client
from redisop.kinds import Ref
from redisop.plan import Action, Plan, Step
from redisop.store import Store

LIMIT = 8


class Hanging(Client):
    """A server that answers writes about `slow` never and all others at once."""

    def __init__(self):
        self.begun = 0

    async def apply(self, obj, *, subresource=None, dry_run=False):
        del subresource, dry_run
        if obj["metadata"]["name"].startswith("slow"):
            self.begun += 1
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return {**obj, "metadata": {**obj["metadata"], "uid": obj["metadata"]["name"], "resourceVersion": "1"}}


def plan(name):
    key = Ref("redis.kubegateway.io/v1alpha1", "RedisHttpInstance", "team", name)
    refs = [Ref("v1", "ConfigMap", "team", f"{name}-{index}") for index in range(6)]
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ref.name, "namespace": "team"}} for ref in refs
    ]
    return Plan(key, tuple(Step(Action.CREATE, ref, 0, want, None) for ref, want in zip(refs, objects, strict=True)))


async def test_an_instance_whose_writes_hang_leaves_room_for_the_others():
    server, limiter = Hanging(), anyio.CapacityLimiter(LIMIT)
    async with anyio.create_task_group() as group:
        for name in ("slow-a", "slow-b", "slow-c"):
            group.start_soon(execute, server, plan(name), Store(), {}, limiter)
        await anyio.wait_all_tasks_blocked()
        assert server.begun == 3 * AT_ONCE
        with anyio.fail_after(5):
            for _ in range(20):
                outcome = await execute(server, plan("quick"), Store(), {}, limiter)
                assert len(outcome.done) == 6
        group.cancel_scope.cancel()
