"""The Kubernetes kinds redisop reads or writes, and how an object of them is named and addressed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as plain JSON data; typed models would drop the fields they do not know."""

GROUP = "redis.kubegateway.io"
VERSION = "v1alpha1"
MANAGER = "redisop"
"""Field manager of every write, and value of the label by which watches are filtered."""

MANAGED_BY = "app.kubernetes.io/managed-by"
INSTANCE_LABEL = f"{GROUP}/instance"


@dataclass(frozen=True, slots=True)
class Kind:
    """One namespaced resource of the API server: `api_version` as in a manifest, `plural` as in its URL."""

    api_version: str
    name: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection (of all namespaces where `namespace` is None) or of one object."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [root + self.api_version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


class Ref(NamedTuple):
    """What addresses one object: the key of every cache and the order of every listing."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


INSTANCE = Kind(f"{GROUP}/{VERSION}", "RedisHttpInstance", "redishttpinstances")
API_KEY = Kind(f"{GROUP}/{VERSION}", "ApiKey", "apikeys")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = Kind("v1", "Pod", "pods")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
EVENT = Kind("events.k8s.io/v1", "Event", "events")
TOKEN_REVIEW = Kind("authentication.k8s.io/v1", "TokenReview", "tokenreviews")
ACCESS_REVIEW = Kind("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

OWNED = (CONFIG_MAP, SECRET, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET, NETWORK_POLICY, DISRUPTION_BUDGET)
"""Kinds of the children that carry a controller owner reference to their instance."""

OBSERVED = (CLAIM, POD)
"""Kinds that the StatefulSet controller makes for us: read, and changed only where a plan says so."""

KINDS: Mapping[tuple[str, str], Kind] = {
    (kind.api_version, kind.name): kind for kind in (INSTANCE, API_KEY, EVENT, LEASE, *OWNED, *OBSERVED)
}


def ref_of(obj: Mapping[str, Any]) -> Ref:
    """Return the Ref of `obj`, which must have apiVersion, kind and metadata.name."""
    metadata = obj["metadata"]
    return Ref(obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])


def kind_of(ref: Ref) -> Kind:
    """Return the Kind that `ref` names; KeyError where redisop has no business with it."""
    return KINDS[ref.api_version, ref.kind]


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the owner reference of `obj` that has `controller: true`, if any."""
    for reference in obj.get("metadata", {}).get("ownerReferences", ()):
        if reference.get("controller"):
            found: Mapping[str, Any] = reference
            return found
    return None
