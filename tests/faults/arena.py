"""One plan's namespace: the instance in it, the replicas that serve it, and what an administrator sees."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redisop.errors import NotFound
from redisop.kinds import CLAIM, INSTANCE, OWNED, POD, Kind, Object, Ref
from tests.faults.proxy import Fault, Request
from tests.faults.replica import Replica
from tests.faults.site import Site

NAME = "demo"
SEEN = (INSTANCE, *OWNED, POD, CLAIM)
HISTORY = {"lastPlan"}
"""Parts of a status that tell how the state was reached, which a fault may change."""
NOT_OURS = {"kube-root-ca.crt", "default"}


class Arena:
    """`uids` are those that the instance has had so far; `lines` what the replicas logged."""

    def __init__(self, site: Site, namespace: str) -> None:
        self.site = site
        self.namespace = namespace
        self.replicas: list[Replica] = []
        self.lines: list[str] = []
        self.uids: set[str] = set()
        self.started = time.monotonic()
        self.key = Ref(INSTANCE.api_version, INSTANCE.name, namespace, NAME)

    @property
    def replica(self) -> Replica:
        """The latest one."""
        return self.replicas[-1]

    @property
    def log(self) -> list[Request]:
        """All requests of all replicas, by time of arrival."""
        return sorted((it for replica in self.replicas for it in replica.proxy.log), key=lambda it: it.at)

    async def operator(self, fault: Fault | None = None, *, leased: bool = False) -> Replica:
        """Start another replica."""
        name = "ABCDEFGH"[len(self.replicas)]
        replica = Replica(self.site, self.namespace, name, self.lines, fault, leased=leased)
        await replica.start()
        self.replicas.append(replica)
        return replica

    def path(self, kind: Kind, name: str | None = None, sub: str | None = None) -> str:
        return kind.path(self.namespace, name, sub)

    async def create(self, spec: Object) -> None:
        body = {
            "apiVersion": INSTANCE.api_version,
            "kind": INSTANCE.name,
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": spec,
        }
        code, answer = await self.site.send("POST", self.path(INSTANCE), body)
        assert code == 201, answer
        self.uids.add(answer["metadata"]["uid"])

    async def change(self, spec: Object) -> None:
        code, answer = await self.site.send("PATCH", self.path(INSTANCE, NAME), {"spec": spec})
        assert code == 200, answer

    async def delete(self, kind: Kind, name: str) -> None:
        code, answer = await self.site.send("DELETE", self.path(kind, name))
        assert code in {200, 202, 404}, answer

    async def find(self, kind: Kind, name: str) -> Object | None:
        try:
            return await self.site.client.get(kind, self.namespace, name)
        except NotFound:
            return None

    async def ready(self) -> bool:
        """Tell whether the instance says Ready of its present generation, and its Pod is."""
        obj = await self.find(INSTANCE, NAME)
        if obj is None:
            return False
        status = obj.get("status") or {}
        current = status.get("observedGeneration") == obj["metadata"]["generation"]
        return current and condition(obj).get("status") == "True"

    async def until(self, done: Callable[[], Awaitable[bool]], within: float, what: str) -> None:
        """Wait until `done`; raise NotConverged after `within` seconds."""
        deadline = time.monotonic() + within
        while not await done():
            if crashed := [replica.crashed for replica in self.replicas if replica.crashed]:
                raise NotConverged(crashed[0])
            if time.monotonic() > deadline:
                raise NotConverged(f"{what}: not within {within:.0f} s")
            await asyncio.sleep(0.15)

    async def quiet(self, seconds: float, within: float) -> None:
        """Wait until no replica has tried to write for `seconds`; raise NotConverged where that does not come."""
        deadline = time.monotonic() + within
        while True:
            last = max((it.at for it in self.log if it.write), default=self.started)
            rest = last + seconds - time.monotonic()
            asking = any(it.verb != "watch" and not it.told and not it.note for it in self.replica.proxy.log)
            if rest <= 0 and not asking:
                return
            if rest <= 0 and time.monotonic() > deadline:
                return
            if time.monotonic() > deadline:
                tail = ", ".join(it.target for it in self.log if it.write)[-300:]
                raise NotConverged(f"O3: writes never ceased for {seconds} s: …{tail}")
            await asyncio.sleep(min(max(rest, 0.1) + 0.01, 0.5))

    async def snapshot(self) -> dict[str, Any]:
        """Return every leaf of every object of the namespace by path, without what always differs."""
        found: list[Object] = []
        for kind in SEEN:
            page = await self.site.client.list(kind, self.namespace)
            found += [obj for obj in page.items if obj["metadata"]["name"] not in NOT_OURS]
        return flat(found, self.namespace)

    async def secrets(self) -> set[str]:
        """Return every text that only Secrets may hold."""
        import base64

        page = await self.site.client.list(next(it for it in OWNED if it.name == "Secret"), self.namespace)
        texts: set[str] = set()
        for obj in page.items:
            if obj["metadata"]["name"].endswith("-credentials"):
                for value in (obj.get("data") or {}).values():
                    texts |= {value, base64.b64decode(value).decode("latin-1")}
        return {text for text in texts if len(text) >= 16}

    async def close(self) -> None:
        await asyncio.gather(*(replica.kill() for replica in self.replicas))
        await self.site.discard(self.namespace)


class NotConverged(Exception):
    """What was promised did not come in time."""


def condition(obj: Object, kind: str = "Ready") -> Object:
    found: list[Object] = (obj.get("status") or {}).get("conditions") or []
    return next((it for it in found if it["type"] == kind), {})


def flat(objects: list[Object], namespace: str) -> dict[str, Any]:
    """Return {path: leaf}; uids become the names of what has them, and the namespace becomes NS."""
    uids = {obj["metadata"]["uid"]: f"uid of {obj['kind']}/{obj['metadata']['name']}" for obj in objects}
    leaves: dict[str, Any] = {}
    for obj in objects:
        metadata = {
            name: value
            for name, value in obj["metadata"].items()
            if name not in {"resourceVersion", "creationTimestamp", "managedFields", "uid"}
        }
        for entry in obj["metadata"].get("managedFields") or ():
            if entry["manager"] == "redisop":
                metadata[f"owned by {entry['operation']} {entry.get('subresource', '')}"] = entry["fieldsV1"]
        status = {name: value for name, value in (obj.get("status") or {}).items() if name not in HISTORY}
        _walk({**obj, "metadata": metadata, "status": status}, f"{obj['kind']}/{obj['metadata']['name']}", leaves)
    kept = {path: leaf for path, leaf in leaves.items() if not any(f"f:{name}" in path for name in HISTORY)}
    text = json.dumps(kept, sort_keys=True)
    for uid, name in uids.items():
        text = text.replace(uid, name)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "(time)", text.replace(namespace, "NS"))
    result: dict[str, Any] = json.loads(text)
    return result


def pattern(path: str) -> str:
    """Return a path without its list indexes: what a mask is made of."""
    return re.sub(r"\[\d+\]", "[]", path)


def _walk(value: Any, path: str, leaves: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            _walk(item, f"{path}.{name}", leaves)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            _walk(item, f"{path}[{index}]", leaves)
    else:
        leaves[path] = value
