"""Where a Tunnel's pods are put, in Kubernetes' own words: affinity, tolerations, spread.

A typed copy, so that the API server refuses what is wrong when the Tunnel is applied, and not its Deployment later.
"""

from typing import Annotated, Literal

from pydantic import Field

from sokken.operator.model.rules import (
    ATOMIC,
    Int64,
    LabelKey,
    LabelValue,
    Model,
    ObjectName,
    PlainLabels,
    Schema,
    quote_cel,
    rule,
    rules_of_class,
)


def _values_of(*operators: str) -> dict[str, str]:
    quoted = ", ".join(map(quote_cel, operators))
    return rule(
        f"(has(self.values) && size(self.values) > 0) == (self.operator in [{quoted}])",
        f"{', '.join(operators)} have values, and the others have none",
        ".values",
    )


class Requirement(Model):
    """One condition on labels."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64), ATOMIC] = ()

    model_config = rules_of_class(_values_of("In", "NotIn"))


class LabelSelector(Model):
    """Which objects are meant, by their labels; an empty one means all."""

    match_labels: PlainLabels = Field(default={})
    match_expressions: Annotated[tuple[Requirement, ...], Field(max_length=32), ATOMIC] = ()


class NodeRequirement(Model):
    """One condition on a node's labels or fields."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64), ATOMIC] = ()

    model_config = rules_of_class(_values_of("In", "NotIn", "Gt", "Lt"))


class NodeSelectorTerm(Model):
    """Conditions that must all hold."""

    match_expressions: Annotated[tuple[NodeRequirement, ...], Field(max_length=32), ATOMIC] = ()


class NodeSelector(Model):
    """Terms of which one must hold."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=16), ATOMIC]


class PreferredNodes(Model):
    """Nodes that are better than others."""

    weight: Annotated[int, Field(ge=1, le=100), Schema({"format": "int32"})]
    preference: NodeSelectorTerm


class NodeAffinity(Model):
    """On which nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNodes, ...], Field(max_length=16), ATOMIC
    ] = ()


class PodAffinityTerm(Model):
    """Beside which pods, or away from them."""

    label_selector: LabelSelector | None = None
    namespaces: Annotated[tuple[ObjectName, ...], Field(max_length=16), ATOMIC] = ()
    topology_key: LabelKey


class PreferredPods(Model):
    """Places that are better than others."""

    weight: Annotated[int, Field(ge=1, le=100), Schema({"format": "int32"})]
    pod_affinity_term: PodAffinityTerm


class PodAffinity(Model):
    """Beside which pods."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodAffinityTerm, ...], Field(max_length=16), ATOMIC
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredPods, ...], Field(max_length=16), ATOMIC
    ] = ()


class Affinity(Model):
    """Where pods are put."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Toleration(Model):
    """A taint that pods bear."""

    key: LabelKey | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Int64 | None = None

    model_config = rules_of_class(
        rule(
            "has(self.operator) && self.operator == 'Exists' ? !has(self.value) : has(self.key)",
            "Exists has no value, and anything else has a key",
            ".operator",
        ),
        rule(
            "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
            "tolerationSeconds goes with the effect NoExecute alone",
            ".tolerationSeconds",
        ),
    )


class TopologySpread(Model):
    """How pods are spread; without a labelSelector those of this Tunnel are meant."""

    max_skew: Annotated[int, Field(ge=1, le=2**31 - 1), Schema({"format": "int32"})]
    topology_key: LabelKey
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    label_selector: LabelSelector | None = None
    match_label_keys: Annotated[tuple[LabelKey, ...], Field(max_length=8), ATOMIC] = ()
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
