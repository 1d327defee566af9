"""The desired objects of one custom resource, each with its owner and its wave."""

from collections.abc import Iterable
from dataclasses import dataclass

from redisop.kinds import OBSERVED, Object, Ref, kind_of, ref_of

OWNER_UID = "redis.kubegateway.io/owner-uid"
"""Annotation that repeats the uid of the controller owner, so that a child whose owner references somebody removed is
still known as ours. An orphan of an earlier owner of the same name carries the earlier uid, and stays a stranger."""


@dataclass(frozen=True, slots=True)
class Node:
    """One desired object.

    `owned` is False for what the StatefulSet controller makes and we only expand (the claim): it carries no owner
    reference of ours, is recognised by its name and its instance label, and is never created or deleted by a plan.
    """

    wave: int
    want: Object
    owned: bool

    @property
    def ref(self) -> Ref:
        """The address of the object."""
        return ref_of(self.want)


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes of one custom resource (`key`, `uid`) by wave, then by Ref."""

    key: Ref
    uid: str
    nodes: tuple[Node, ...]
    deleting: bool = False
    """The owner is being deleted: its children are left to Kubernetes' garbage collection, so nothing is planned."""


def build(instance: Object, manifests: Iterable[tuple[int, Object]]) -> Graph:
    """Return the Graph of `instance`, a live custom resource, from its manifests as (wave, object).

    Manifests without a namespace get the instance's. ValueError where two manifests have the same Ref.
    """
    metadata = instance["metadata"]
    key, uid = ref_of(instance), metadata["uid"]
    if "deletionTimestamp" in metadata:
        return Graph(key, uid, (), deleting=True)
    nodes = sorted((_node(key, uid, wave, obj) for wave, obj in manifests), key=lambda node: (node.wave, node.ref))
    refs = [node.ref for node in nodes]
    if len(set(refs)) != len(refs):
        raise ValueError(f"two manifests of {key} have the same name: {', '.join(map(str, refs))}")
    return Graph(key, uid, tuple(nodes))


def _node(key: Ref, uid: str, wave: int, obj: Object) -> Node:
    metadata = {"namespace": key.namespace, **obj["metadata"]}
    owned = kind_of(ref_of(obj)) not in OBSERVED
    if owned:
        metadata["annotations"] = {**metadata.get("annotations", {}), OWNER_UID: uid}
        metadata["ownerReferences"] = [
            {
                "apiVersion": key.api_version,
                "kind": key.kind,
                "name": key.name,
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return Node(wave, {**obj, "metadata": metadata}, owned)
