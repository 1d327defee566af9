"""Where a Pod may run, as in a PodSpec."""

from typing import Annotated, Literal

from pydantic import Field

from redisop.api.affinity import Affinity, LabelKey, Labels, LabelSelector, LabelValue, TopologyKey
from redisop.api.base import DnsSubdomain, Int, Model
from redisop.api.markers import ATOMIC, ListType, Rule


class Toleration(Model):
    """A taint that the Pod tolerates."""

    key: LabelKey | None = None
    """Key of the taint; without it, operator Exists tolerates all."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the taint's value must be equal, or anything."""
    value: LabelValue | None = None
    """Value of the taint, for operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; without it, every effect."""
    toleration_seconds: Annotated[Int, Field(ge=0, le=31_536_000)] | None = None
    """How long the Pod stays after a NoExecute taint appeared; without it, for ever."""

    rules = (
        Rule(
            "self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "value must be left out with operator Exists",
            lambda it: it.operator != "Exists" or not it.value,
            ".value",
        ),
        Rule(
            "has(self.key) || self.operator == 'Exists'",
            "operator must be Exists when key is left out",
            lambda it: it.key is not None or it.operator == "Exists",
            ".operator",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "effect must be NoExecute when tolerationSeconds is set",
            lambda it: it.toleration_seconds is None or it.effect == "NoExecute",
            ".effect",
        ),
    )


class TopologySpreadConstraint(Model):
    """How Pods are spread over places."""

    max_skew: Annotated[Int, Field(ge=1, le=1000)]
    """By how many Pods two places may differ."""
    topology_key: TopologyKey
    """Label of nodes whose value tells places apart."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """Whether the Pod waits or runs anyway."""
    label_selector: LabelSelector | None = None
    """Which Pods of this namespace are counted; without it, none."""
    min_domains: Annotated[Int, Field(ge=1, le=1000)] | None = None
    """Places that there must be at least. Needs DoNotSchedule."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes that affinity and nodeSelector exclude are counted."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether nodes with taints that are not tolerated are counted."""

    rules = (
        Rule(
            "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
            "minDomains needs whenUnsatisfiable: DoNotSchedule",
            lambda it: it.min_domains is None or it.when_unsatisfiable == "DoNotSchedule",
            ".minDomains",
        ),
    )


class Scheduling(Model):
    """Where the Pod may run, as in a Pod."""

    node_selector: Labels | None = None
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16), ATOMIC] | None = None
    """Taints that the Pod tolerates."""
    affinity: Affinity | None = None
    """Nodes and Pods that the Pod is attracted to or kept away from."""
    topology_spread_constraints: (
        Annotated[
            tuple[TopologySpreadConstraint, ...],
            Field(max_length=8),
            ListType("map", ("topologyKey", "whenUnsatisfiable")),
        ]
        | None
    ) = None
    """How the Pod is spread together with others that the selectors choose."""
    priority_class_name: DnsSubdomain | None = None
    """PriorityClass of the Pod."""
