"""Stands in for the kubelet and for a volume provisioner, which a bare control plane lacks. Nothing runs: Pods only look it.

It registers a Node; every Pod of a redisop instance that is bound to it becomes Running and Ready, and goes when it is deleted;
every claim gets a volume. Images of the tag MISSING cannot be pulled, and storage classes of that name have no volumes. Writes carry the uid of the object they were decided on, so that a Pod which was replaced meanwhile is
never touched. A process of its own, for all namespaces, until it is terminated:

    python -m tests.controlplane.fake_kubelet --kubeconfig FILE [--delay SECONDS] [--pod-ip 127.0.0.1]
"""

import argparse
import asyncio
import json
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2

from redisop.client import Client
from redisop.errors import ApiError, ConnectionFailed
from redisop.kinds import CLAIM, MANAGED_BY, MANAGER, POD

NODE = "fake-node"
HEARTBEAT = 10.0
SELECTOR = f"{MANAGED_BY}={MANAGER}"
AT_ONCE = 8
MISSING = "missing"
MERGE = {"Content-Type": "application/merge-patch+json"}


class FakeKubelet:
    """One watch of Pods and one of claims; `counts` says what was done."""

    def __init__(self, client, delay=0.0, pod_ip="127.0.0.1"):
        self.client = client
        self.delay = delay
        self.pod_ip = pod_ip
        self.counts: Counter[str] = Counter()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self):
        await self._register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._follow(POD, self._pod))
            group.create_task(self._follow(CLAIM, self._claim))

    async def _follow(self, kind, act):
        while True:
            try:
                page = await self.client.list(kind, selector=SELECTOR)
                version = page.resource_version
                for obj in page.items:
                    self._start(act, obj, "ADDED")
                while True:
                    async with self.client.watch(kind, selector=SELECTOR, resource_version=version) as events:
                        async for event in events:
                            version = event.object["metadata"]["resourceVersion"]
                            if event.type != "BOOKMARK":
                                self._start(act, event.object, event.type)
            except (ApiError, ConnectionFailed):
                await asyncio.sleep(0.3)

    def _start(self, act, obj, event):
        task = asyncio.create_task(act(obj, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _register(self):
        amount = {"cpu": "100k", "memory": "100Ti", "pods": "100k"}
        await self._send("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        ready = {"type": "Ready", "status": "True", "reason": "Fake", "message": "stands in for a kubelet"}
        status = {"capacity": amount, "allocatable": amount, "conditions": [ready]}
        await self._send("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status})

    async def _beat(self):
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NODE}}
        await self._send("POST", leases, lease)
        while True:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": now}
            await self._send("PATCH", f"{leases}/{NODE}", {"spec": spec})
            await asyncio.sleep(HEARTBEAT)

    async def _pod(self, pod, event):
        metadata, status = pod["metadata"], pod.get("status", {})
        if event == "DELETED" or pod["spec"].get("nodeName") != NODE:
            return
        if "deletionTimestamp" in metadata:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            await self._send("DELETE", POD.path(metadata["namespace"], metadata["name"]), options)
        elif status.get("phase") == "Pending" and not status.get("containerStatuses"):
            await asyncio.sleep(self.delay)
            await self._patch(POD, pod, status_of(pod, self.pod_ip), "status")
            self.counts["pods"] += 1

    async def _claim(self, claim, event):
        metadata, spec = claim["metadata"], claim["spec"]
        volume = f"fake-{metadata['uid']}"
        path = f"/api/v1/persistentvolumes/{volume}"
        if event == "DELETED":
            await self._send("DELETE", path)
            return
        wanted, status = spec["resources"]["requests"]["storage"], claim.get("status", {})
        if spec.get("storageClassName") == MISSING:
            return
        if status.get("phase") == "Pending" and not spec.get("volumeName"):
            await self._send("POST", "/api/v1/persistentvolumes", volume_for(claim, volume))
            self.counts["claims"] += 1
        elif status.get("phase") == "Bound" and status.get("capacity", {}).get("storage") != wanted:
            await self._send("PATCH", path, {"spec": {"capacity": {"storage": wanted}}})
            await self._patch(CLAIM, claim, {"capacity": {"storage": wanted}, "conditions": None}, "status")
            self.counts["expansions"] += 1

    async def _patch(self, kind, obj, status, subresource):
        metadata = obj["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await self._send("PATCH", kind.path(metadata["namespace"], metadata["name"], subresource), body)

    async def _send(self, method, path, body=None):
        headers = MERGE if method == "PATCH" else {"Content-Type": "application/json"}
        try:
            async with self._at_once:
                response = await self.client._http.request(
                    method, path, content=json.dumps(body or {}), headers=headers
                )
        except httpx2.HTTPError as error:
            # The server is away; what was to be done shows again in the list after it is back.
            print(f"fake kubelet: {method} {path}: {error!r}", flush=True)
            return
        # 404, 409, 422: the object is another one by now, and its own event follows.
        if response.status_code >= 400 and response.status_code not in {404, 409, 422}:
            print(f"fake kubelet: {method} {path}: {response.status_code} {response.text[:300]}", flush=True)


def status_of(pod, ip):
    """Return the status of a Pod whose containers all run.

    Its time is rounded up, so that a container never seems to have started before the files it reads were written.
    """
    if any(container["image"].endswith(f":{MISSING}") for container in pod["spec"]["containers"]):
        return unpulled(pod)
    now = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": now,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": f"fake://{container['image']}",
                "containerID": f"fake://{secrets.token_hex(16)}",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for container in pod["spec"]["containers"]
        ],
    }


def unpulled(pod):
    """Return the status of a Pod whose images the registry does not have."""
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image: manifest unknown"}
    return {
        "phase": "Pending",
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": False,
                "started": False,
                "restartCount": 0,
                "state": {"waiting": waiting},
            }
            for container in pod["spec"]["containers"]
        ],
    }


def volume_for(claim, name):
    """Return a PersistentVolume bound in advance to exactly this claim."""
    metadata, spec = claim["metadata"], claim["spec"]
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": reference,
            "hostPath": {"path": "/nowhere"},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": spec.get("storageClassName", ""),
        },
    }


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that a Pod takes to become ready")
    parser.add_argument("--pod-ip", default="127.0.0.1", help="address of every Pod")
    arguments = parser.parse_args()
    async with Client.connect(arguments.kubeconfig) as client:
        await FakeKubelet(client, arguments.delay, arguments.pod_ip).run()


if __name__ == "__main__":
    asyncio.run(main())
