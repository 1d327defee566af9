"""Affinity as in a PodSpec, field by field: nothing that is not written here can reach a Pod.

Left out on purpose: `namespaces` and `namespaceSelector` of an affinity term, since an instance has no business outside its namespace.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from redisop.api.base import DnsSubdomain, Int, Model, fits
from redisop.api.markers import ATOMIC, Rule

QUALIFIED_NAME = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"


def _without_nulls(labels: Any) -> Any:
    """Drop nulls, as the API server does in maps too."""
    return {key: value for key, value in labels.items() if value is not None} if isinstance(labels, dict) else labels


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
    BeforeValidator(_without_nulls),
]
Values = Annotated[tuple[LabelValue, ...], Field(max_length=32), ATOMIC]
TopologyKey = LabelKey
Weight = Annotated[Int, Field(ge=1, le=100)]


def _values_fit(operator: str, values: tuple[str, ...]) -> bool:
    if operator in {"Exists", "DoesNotExist"}:
        return not values
    if operator in {"Gt", "Lt"}:
        return len(values) == 1 and values[0].isascii() and values[0].isdigit() and len(values[0]) <= 18
    return bool(values)


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
