"""One namespace of a test cluster, seen and changed by somebody who is not the operator."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

from redisop.errors import NotFound
from redisop.kinds import CLAIM, INSTANCE, OWNED, POD, Object, Ref, kind_of
from redisop.observe import decide_now, observe
from redisop.settings import Settings

WRITES = {"create", "update", "patch", "delete", "deletecollection"}


class World:
    """`cluster` and `client` act as administrator, `user` is the operator's name."""

    def __init__(self, cluster, namespace, client, user):
        self.cluster = cluster
        self.namespace = namespace
        self.client = client
        self.user = user

    def key(self, name):
        return Ref(INSTANCE.api_version, INSTANCE.name, self.namespace, name)

    def create(self, name, **spec: Any):
        self.cluster.apply(
            {
                "apiVersion": INSTANCE.api_version,
                "kind": INSTANCE.name,
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": spec,
            }
        )

    async def get(self, kind, name):
        return await self.client.get(kind, self.namespace, name)

    async def find(self, kind, name):
        try:
            return await self.get(kind, name)
        except NotFound:
            return None

    async def send(
        self, method, ref, body: Any = None, *, kind_of_patch="merge-patch", manager="intruder", subresource=None
    ):
        """Do what somebody else might do; return (status, answer)."""
        headers = {"Content-Type": f"application/{kind_of_patch}+json" if method == "PATCH" else "application/json"}
        kind = kind_of(ref)
        name = None if method == "POST" else ref.name
        response = await self.client._http.request(
            method,
            kind.path(ref.namespace, name, subresource),
            params={"fieldManager": manager} if method in {"PATCH", "POST", "PUT"} else None,
            content=None if body is None else json.dumps(body),
            headers=headers,
        )
        return response.status_code, response.json()

    async def children(self, name):
        """Return the objects that belong to an instance, by Ref."""
        found: dict[Ref, Object] = {}
        for kind in (*OWNED, POD, CLAIM):
            page = await self.client.list(kind, self.namespace, selector=f"redis.kubegateway.io/instance={name}")
            found |= {Ref(kind.api_version, kind.name, self.namespace, it["metadata"]["name"]): it for it in page.items}
        return found

    async def until(self, done, within=20.0, why=""):
        """Wait until the coroutine function `done` returns something true, and return that."""
        deadline = time.monotonic() + within
        while True:
            found = await done()
            if found:
                return found
            assert time.monotonic() < deadline, why or f"not true within {within} s"
            await asyncio.sleep(0.03)

    async def ready(self, name, within=30.0):
        """Wait until Ready=True of the present generation; return the instance."""

        async def done():
            obj = await self.get(INSTANCE, name)
            found = condition(obj)
            current = obj.get("status", {}).get("observedGeneration") == obj["metadata"]["generation"]
            return obj if current and found.get("status") == "True" else None

        return await self.until(done, within, f"{name} never became ready")

    async def reason(self, name, reason, within=20.0):
        async def done():
            return condition(await self.get(INSTANCE, name)).get("reason") == reason

        await self.until(done, within, f"{name} never had the reason {reason}")

    async def planned(self, name):
        """Return what `redisop plan` would print as changes, from a fresh look at the cluster."""
        store = await observe(self.client, [self.namespace])
        decision, _ = await decide_now(self.client, store, await self.get(INSTANCE, name), Settings())
        return [
            (step.action, str(step.ref), [change.path for change in step.changes])
            for step in decision.plan.steps
            if step.action != "unchanged"
        ]

    def writes(self, since=0):
        """Return the operator's writes so far as (verb, resource, name, subresource, code), in order; Events are no state."""
        found = []
        for event in self.cluster.audit_events(user=self.user):
            ref = event.get("objectRef", {})
            if event["verb"] in WRITES and ref.get("namespace") == self.namespace and ref["resource"] != "events":
                code = event.get("responseStatus", {}).get("code")
                found.append((event["verb"], ref["resource"], ref.get("name"), ref.get("subresource"), code))
        return found[since:]


def condition(obj, kind="Ready"):
    conditions = obj.get("status", {}).get("conditions", ())
    return next((it for it in conditions if it["type"] == kind), {})


def accepted(writes):
    """Count writes that the server accepted, by (resource, name), status apart."""
    return Counter((resource, name) for _, resource, name, sub, code in writes if code < 300 and sub is None)
