"""RedisHttpInstance: one Redis, reached through the HTTP gateway and, inside the cluster, directly."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from redisop import quantity
from redisop.api.base import (
    INSTANCE_LENGTH,
    INSTANCE_PATTERN,
    Bool,
    Condition,
    DnsLabel,
    DnsSubdomain,
    InstanceName,
    Int,
    Metadata,
    Model,
    Timestamp,
    fits,
)
from redisop.api.markers import SET, ListType, Rule
from redisop.api.quantity import Cpu, MemoryText, StorageSize
from redisop.api.redis import RedisConfig
from redisop.api.scheduling import Scheduling
from redisop.kinds import GROUP, VERSION

_TAG = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_PART = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
_HOST = "[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
IMAGE_PATTERN = f"^({_HOST}/)?{_PART}(/{_PART})*(:{_TAG})?(@sha256:[0-9a-f]{{64}})?$"
DEFAULT_SIZE = "1Gi"

# What was never claimed may still be chosen freely.
_UNCLAIMED = "(!has(oldSelf.storage) && !oldSelf.redisConfig.persistence)"


# Optional access (`self.?storage`) would be shorter, but the server's cost estimate knows no bounds for it.
def _size(spec: str) -> str:
    return f"quantity(has({spec}.storage) ? {spec}.storage.size : '{DEFAULT_SIZE}')"


def _class(spec: str) -> str:
    name = f"{spec}.storage.storageClassName"
    return f"(has({spec}.storage) && has({name}) ? {name} : '')"


class Storage(Model):
    """The PersistentVolumeClaim. Once set it can only grow, also while persistence is off: the claim may still be there."""

    size: StorageSize = DEFAULT_SIZE
    """Size of the claim, in Mi, Gi or Ti, at least redisConfig.memory. Growing it expands the claim; shrinking is refused."""
    storage_class_name: DnsSubdomain | None = None
    """StorageClass of the claim; the cluster's default where left out. Cannot be changed."""
    reclaim_policy: Literal["Retain", "Delete"] = "Retain"
    """What happens to the claim and its data when the instance is deleted."""

    @property
    def size_bytes(self) -> int:
        """`size` in bytes."""
        return int(quantity.parse(self.size))


class Requests(Model):
    """What the scheduler reserves."""

    cpu: Cpu | None = None
    """Cores, for example 2 or 500m."""
    memory: MemoryText | None = None
    """Memory, in Mi or Gi. Follows redisConfig.memory where left out."""


class Limits(Model):
    """What the container may use at most. There is no memory limit to choose: it follows redisConfig.memory."""

    cpu: Cpu | None = None
    """Cores, for example 2 or 500m."""


class Resources(Model):
    """Compute resources of the Redis container."""

    requests: Requests = Requests()
    """What the scheduler reserves."""
    limits: Limits = Limits()
    """What the container may use at most."""

    rules = (
        Rule(
            "!has(self.requests) || !has(self.requests.cpu) || !has(self.limits) || !has(self.limits.cpu) || "
            "quantity(string(self.requests.cpu)).compareTo(quantity(string(self.limits.cpu))) <= 0",
            "requests.cpu must not be more than limits.cpu",
            lambda it: (
                it.requests.cpu is None
                or it.limits.cpu is None
                or quantity.parse(it.requests.cpu) <= quantity.parse(it.limits.cpu)
            ),
            ".requests.cpu",
        ),
    )


class Networking(Model):
    """How the instance is reached."""

    subdomain: DnsLabel | None = None
    """Host under the gateway's domain, unique per gateway; derived from name and namespace where left out."""
    allowed_namespaces: Annotated[tuple[DnsLabel, ...], Field(max_length=64), SET] = ()
    """Namespaces whose Pods may reach the Redis port, besides the gateway. None by default, not even this one."""


class Monitoring(Model):
    """What is measured."""

    exporter: Bool = False
    """Run a metrics exporter beside Redis, with its own port on Pod and Service."""


class InstanceSpec(Model):
    """What is wanted. Everything has a default."""

    version: Annotated[str, Field(pattern=f"^{_TAG}$", max_length=128)] | None = None
    """Redis version: a tag of the operator's image repository, for example 8.2. The operator's default where left out."""
    image: Annotated[str, Field(pattern=IMAGE_PATTERN, max_length=512)] | None = None
    """Full image instead of version. Must be allowed by the operator's image allow-list, else no Pod is started."""
    redis_config: RedisConfig = RedisConfig()
    """How Redis is configured."""
    # The server must not fill it in: the first choice of size and class, made when persistence is turned on, is free.
    storage: Annotated[Storage, Field(json_schema_extra={"default": None})] = Storage()
    """The PersistentVolumeClaim, used while redisConfig.persistence is on. Once set it cannot be removed."""
    resources: Resources = Resources()
    """Compute resources of the Redis container."""
    networking: Networking = Networking()
    """How the instance is reached."""
    scheduling: Scheduling = Scheduling()
    """Where the Pod may run, as in a Pod."""
    monitoring: Monitoring = Monitoring()
    """What is measured."""
    paused: Bool = False
    """The operator leaves everything of this instance alone, also what somebody else broke."""
    hibernated: Bool = False
    """Run no Pod but keep everything else. Without persistence the data is lost."""

    rules = (
        Rule(
            "!has(self.version) || !has(self.image)",
            "version and image exclude each other",
            lambda spec: spec.version is None or spec.image is None,
            ".image",
        ),
        Rule(
            f"!self.redisConfig.persistence || {_size('self')}.compareTo(quantity(self.redisConfig.memory)) >= 0",
            f"storage.size (default {DEFAULT_SIZE}) must be at least redisConfig.memory: a snapshot has to fit",
            lambda spec: (
                not spec.redis_config.persistence
                or quantity.parse(spec.storage.size) >= quantity.parse(spec.redis_config.memory)
            ),
            ".storage.size",
        ),
        Rule(
            f"{_UNCLAIMED} || {_size('self')}.compareTo({_size('oldSelf')}) >= 0",
            f"storage.size (default {DEFAULT_SIZE}) cannot shrink: a claim only grows",
            None,
            ".storage.size",
        ),
        Rule(
            f"{_UNCLAIMED} || {_class('self')} == {_class('oldSelf')}",
            "storage.storageClassName cannot be changed, set or removed: the claim has its class for life",
            None,
            ".storage.storageClassName",
        ),
        Rule(
            "!has(oldSelf.storage) || has(self.storage)",
            "storage cannot be removed: turn redisConfig.persistence off instead",
            None,
            ".storage",
        ),
    )


class Endpoint(Model):
    """Where the instance is reached."""

    http: Annotated[str, Field(max_length=512)] | None = None
    """URL at the HTTP gateway."""
    redis: Annotated[str, Field(max_length=512)] | None = None
    """host:port of the Redis protocol inside the cluster."""


class StorageStatus(Model):
    """The PersistentVolumeClaim as observed."""

    requested: Annotated[str, Field(max_length=32)] | None = None
    """Size that the claim asks for."""
    actual: Annotated[str, Field(max_length=32)] | None = None
    """Size of the volume."""


class LastPlan(Model):
    """The last plan that changed something."""

    time: Timestamp
    """When it was applied."""
    summary: Annotated[str, Field(max_length=1024)]
    """What it changed, in one line."""


class InstanceStatus(Model):
    """What was observed when the operator last looked."""

    phase: Literal["Pending", "Running", "Failed", "Terminating", "Paused", "Hibernated"] | None = None
    """Summary of the conditions, for people."""
    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """Generation of the spec that this status was computed from."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32), ListType("map", ("type",))] | None = None
    """Ready, Progressing, Degraded, ConfigApplied, StorageReady, GatewayConfigured, AclApplied."""
    endpoint: Endpoint | None = None
    """Where the instance is reached."""
    redis_version: Annotated[str, Field(max_length=128)] | None = None
    """Version of Redis that runs."""
    ready_replicas: Annotated[Int, Field(ge=0)] | None = None
    """Pods that are ready: 0 or 1."""
    storage: StorageStatus | None = None
    """The claim as observed."""
    last_plan: LastPlan | None = None
    """The last plan that changed something."""


class RedisHttpInstance(Model):
    """One Redis, reached over HTTP through the gateway and, inside the cluster, over Redis' own protocol."""

    api_version: Literal["redis.kubegateway.io/v1alpha1"] = f"{GROUP}/{VERSION}"  # type: ignore[assignment]
    kind: Literal["RedisHttpInstance"] = "RedisHttpInstance"
    metadata: Metadata
    spec: InstanceSpec = InstanceSpec()
    """What is wanted. Everything has a default."""

    Name: ClassVar = InstanceName
    Status: ClassVar = InstanceStatus

    rules = (
        Rule(
            f"size(self.metadata.name) <= {INSTANCE_LENGTH} && self.metadata.name.matches('{INSTANCE_PATTERN}')",
            f"metadata.name must be at most {INSTANCE_LENGTH} lower case letters, digits and hyphens, "
            "begin with a letter and end with a letter or digit (RFC 1035)",
            lambda it: fits(it.Name, it.metadata.name),
            ".metadata.name",
        ),
    )
