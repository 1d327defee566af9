"""Where a Pod may run, as in a PodSpec, field by field: nothing that is not written here can reach a Pod.

Left out on purpose: `namespaces` and `namespaceSelector` of an affinity term, since an instance has no business outside its namespace.
"""

from typing import Annotated, Literal

from pydantic import Field

from redisop.api.base import DnsSubdomain, Int, Model, fits
from redisop.api.markers import ATOMIC, ListType, Rule

QUALIFIED_NAME = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LabelKey = Annotated[str, Field(pattern=QUALIFIED_NAME, max_length=317)]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
Labels = Annotated[
    dict[str, LabelValue],
    Field(max_length=32),
    Rule(
        f"self.all(key, size(key) <= 317 && key.matches({QUALIFIED_NAME!r}))",
        "keys must be label keys: name or prefix/name, at most 63 characters of name and 253 of prefix",
        lambda labels: all(fits(LabelKey, key) for key in labels),
    ),
]
Values = Annotated[tuple[LabelValue, ...], Field(max_length=32), ATOMIC]
TopologyKey = LabelKey
Weight = Annotated[Int, Field(ge=1, le=100)]


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


class NodeSelectorRequirement(Model):
    """A condition on one label of a node."""

    key: LabelKey
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How values relate to the label."""
    values: Values | None = None
    """What to compare with: some for In and NotIn, one integer for Gt and Lt, none else."""

    rules = (
        Rule(
            "self.operator in ['Exists', 'DoesNotExist'] ? (!has(self.values) || size(self.values) == 0) : "
            "self.operator in ['Gt', 'Lt'] ? (has(self.values) && size(self.values) == 1 && self.values[0].matches('^[0-9]{1,18}$')) : "
            "(has(self.values) && size(self.values) > 0)",
            "values must hold at least one for In and NotIn, one integer for Gt and Lt, nothing for Exists and DoesNotExist",
            lambda it: _values_fit(it.operator, it.values or ()),
            ".values",
        ),
    )


class NodeFieldRequirement(Model):
    """A condition on a node's name."""

    key: Literal["metadata.name"]
    """The field: metadata.name."""
    operator: Literal["In", "NotIn"]
    """Whether the node must be the one named, or any other."""
    values: Annotated[tuple[DnsSubdomain, ...], Field(min_length=1, max_length=1), ATOMIC]
    """The node's name."""


class NodeSelectorTerm(Model):
    """Conditions that must all hold."""

    match_expressions: Annotated[tuple[NodeSelectorRequirement, ...], Field(max_length=16), ATOMIC] | None = None
    """Conditions on labels of the node."""
    match_fields: Annotated[tuple[NodeFieldRequirement, ...], Field(max_length=4), ATOMIC] | None = None
    """Conditions on the node's name."""


class NodeSelector(Model):
    """Terms of which one must hold."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=8), ATOMIC]
    """The terms."""


class PreferredSchedulingTerm(Model):
    """A term with a weight."""

    weight: Weight
    """Added to a node's score where the preference holds."""
    preference: NodeSelectorTerm
    """The preference."""


class NodeAffinity(Model):
    """Which nodes the Pod must or should run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredSchedulingTerm, ...], Field(max_length=8), ATOMIC] | None
    ) = None
    """What should hold."""


class LabelSelectorRequirement(Model):
    """A condition on one label of a Pod."""

    key: LabelKey
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How values relate to the label."""
    values: Values | None = None
    """What to compare with: some for In and NotIn, none else."""

    rules = (
        Rule(
            "self.operator in ['In', 'NotIn'] == (has(self.values) && size(self.values) > 0)",
            "values must hold at least one for In and NotIn, nothing for Exists and DoesNotExist",
            lambda it: _values_fit(it.operator, it.values or ()),
            ".values",
        ),
    )


class LabelSelector(Model):
    """Which Pods are meant; all conditions must hold, and an empty selector means all."""

    match_labels: Labels | None = None
    """Labels with their values."""
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Field(max_length=16), ATOMIC] | None = None
    """Conditions on labels."""


class PodAffinityTerm(Model):
    """Pods of the same namespace, and the domain that counts as one place."""

    topology_key: TopologyKey
    """Label of nodes whose value tells places apart, for example kubernetes.io/hostname."""
    label_selector: LabelSelector | None = None
    """Which Pods; without it, none."""


class WeightedPodAffinityTerm(Model):
    """A term with a weight."""

    weight: Weight
    """Added to a node's score where the term holds."""
    pod_affinity_term: PodAffinityTerm
    """The term."""


PodTerms = Annotated[tuple[PodAffinityTerm, ...], Field(max_length=8), ATOMIC]
WeightedPodTerms = Annotated[tuple[WeightedPodAffinityTerm, ...], Field(max_length=8), ATOMIC]


class PodAffinity(Model):
    """Which Pods the Pod must or should be near to."""

    required_during_scheduling_ignored_during_execution: PodTerms | None = None
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: WeightedPodTerms | None = None
    """What should hold."""


class PodAntiAffinity(Model):
    """Which Pods the Pod must or should be away from."""

    required_during_scheduling_ignored_during_execution: PodTerms | None = None
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: WeightedPodTerms | None = None
    """What should hold."""


class Affinity(Model):
    """Attraction and repulsion."""

    node_affinity: NodeAffinity | None = None
    """To nodes."""
    pod_affinity: PodAffinity | None = None
    """To nodes that run certain Pods of this namespace."""
    pod_anti_affinity: PodAntiAffinity | None = None
    """Away from nodes that run certain Pods of this namespace."""


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


def _values_fit(operator: str, values: tuple[str, ...]) -> bool:
    if operator in {"Exists", "DoesNotExist"}:
        return not values
    if operator in {"Gt", "Lt"}:
        return len(values) == 1 and values[0].isascii() and values[0].isdigit() and len(values[0]) <= 18
    return bool(values)
