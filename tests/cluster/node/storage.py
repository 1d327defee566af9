"""Stand-in for a storage driver: volumes of the StorageClass `local` are folders on the node.

A process that does by polling what two sidecars of a CSI driver do, because there is no driver for
`local` volumes:

- external-provisioner: once the scheduler picked the node of a claim, it creates the
  PersistentVolume; when the claim is gone, it removes both volume and data.
- external-resizer: when a bound claim asks for more, it raises `spec.capacity` of the volume, then
  `status.capacity` of the claim. The folder itself has no size limit, so nothing is resized, and
  a full disk cannot be tried with it.

What is real: scheduling by `WaitForFirstConsumer`, binding, node affinity, `fsGroup` (the kubelet
sets it for `local` volumes), admission (only a class with `allowVolumeExpansion` may grow, no claim
may shrink), and the protection of volumes in use.
"""

import argparse
import http.client
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from tests.cluster.api import Api, ApiError
from tests.cluster.certs import KeyPair

CLASS = "local"
PROVISIONER = "redisop.test/local"

STORAGE_CLASS: dict[str, Any] = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": PROVISIONER,
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
    "reclaimPolicy": "Delete",
}

FIXED_CLASS: dict[str, Any] = {
    **STORAGE_CLASS,
    "metadata": {"name": f"{CLASS}-fixed"},
    "allowVolumeExpansion": False,
}
"""The same, but claims cannot grow."""

_CLAIMS = "/api/v1/persistentvolumeclaims"
_VOLUMES = "/api/v1/persistentvolumes"
_CLASSES = {c["metadata"]["name"] for c in (STORAGE_CLASS, FIXED_CLASS)}


def volume_for(claim: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """The volume that this claim waits for, or `None` when it waits for nothing from here."""
    meta, spec = claim["metadata"], claim["spec"]
    node = meta.get("annotations", {}).get("volume.kubernetes.io/selected-node")
    if (
        spec.get("storageClassName") not in _CLASSES
        or spec.get("volumeName")
        or not node
        or "deletionTimestamp" in meta
    ):
        return None
    name = f"pvc-{meta['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "local": {"path": str(folder / name)},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
                    ]
                }
            },
        },
    }


def growth(claim: dict[str, Any]) -> str | None:
    """The size that a bound claim asks for and does not have yet."""
    if claim["spec"].get("storageClassName") not in _CLASSES or claim["status"].get("phase") != "Bound":
        return None
    wanted: str = claim["spec"]["resources"]["requests"]["storage"]
    return None if claim["status"].get("capacity", {}).get("storage") == wanted else wanted


class LocalStorage:
    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self._folder = folder

    def work(self) -> None:
        """One look at everything."""
        for claim in self._api.get(_CLAIMS)["items"]:
            if volume := volume_for(claim, self._folder):
                self._provision(volume)
            elif size := growth(claim):
                self._grow(claim, size)
        for volume in self._api.get(_VOLUMES)["items"]:
            if self._released(volume):
                self._remove(volume["metadata"]["name"])

    def _provision(self, volume: dict[str, Any]) -> None:
        (self._folder / volume["metadata"]["name"]).mkdir(parents=True, exist_ok=True)
        try:
            self._api.request("POST", _VOLUMES, volume)
        except ApiError as error:
            if error.status != 409:
                raise
        else:
            print(f"made {volume['metadata']['name']}", flush=True)

    def _grow(self, claim: dict[str, Any], size: str) -> None:
        meta = claim["metadata"]
        capacity = {"capacity": {"storage": size}}
        self._api.patch(f"{_VOLUMES}/{claim['spec']['volumeName']}", {"spec": capacity})
        path = f"/api/v1/namespaces/{meta['namespace']}/persistentvolumeclaims/{meta['name']}/status"
        self._api.patch(path, {"status": {**capacity, "conditions": []}})
        print(f"grew {meta['namespace']}/{meta['name']} to {size}", flush=True)

    def _released(self, volume: dict[str, Any]) -> bool:
        made_by = volume["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by")
        released = volume.get("status", {}).get("phase") == "Released"
        return made_by == PROVISIONER and released and "deletionTimestamp" not in volume["metadata"]

    def _remove(self, name: str) -> None:
        shutil.rmtree(self._folder / name, ignore_errors=True)
        self._api.request("DELETE", f"{_VOLUMES}/{name}")
        print(f"removed {name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--url", "--ca", "--cert", "--key", "--folder"):
        parser.add_argument(name, required=True)
    args = parser.parse_args()
    api = Api(args.url, Path(args.ca), KeyPair(Path(args.cert), Path(args.key)))
    storage = LocalStorage(api, Path(args.folder))
    while True:
        try:
            storage.work()
        except (ApiError, OSError, http.client.HTTPException) as error:
            # Tests stop the apiserver; the next look is as good as this one.
            print(f"again after: {error}", file=sys.stderr, flush=True)
        time.sleep(0.4)


if __name__ == "__main__":
    main()
