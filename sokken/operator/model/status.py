"""What a Tunnel says of itself: the shape of its ``status``.

Only the schema is made from it (crd.py); what stands in it is decided in status.py of the operator. There is no
number in it that moves with connections: those are metrics.
"""

from typing import Annotated, Literal

from pydantic import Field

from sokken.operator.model.rules import ATOMIC, Int32, Int64, Model, Port, Schema, list_map


class Condition(Model):
    """One aspect of the Tunnel, in the standard form (Kubernetes API conventions, "Typical status properties")."""

    type: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Which aspect")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is as it should be")
    observed_generation: Int64 = Field(description="Of which spec this is said")
    last_transition_time: Annotated[str, Schema({"format": "date-time"})] = Field(
        description="When the status changed last"
    )
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Z][A-Za-z]*$")] = Field(
        description="Why, in one word: docs/operator.md lists them all"
    )
    message: Annotated[str, Field(max_length=4096)] = Field(description="Why, and what to do")


class ForwardAddress(Model):
    """Where a forward is reached."""

    forward: Annotated[str, Field(max_length=15)] = Field(description="Its name")
    host: Annotated[str, Field(max_length=253)] = Field(description="A name or an address")
    port: Port = Field(description="The port there")


class TunnelStatus(Model):
    """What the operator has found; nobody else writes it."""

    observed_generation: Int64 | None = Field(default=None, description="Of which spec all this is said")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8), list_map("type")] = Field(
        default=(), description="Ready sums them up"
    )
    replicas: Int32 | None = Field(default=None, description="Pods there are, without those that drain")
    updated_replicas: Int32 | None = Field(default=None, description="Those that are as spec wants them")
    ready_replicas: Int32 | None = Field(default=None, description="Those that are ready")
    selector: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Which pods are the Tunnel's, for autoscalers"
    )
    service_name: Annotated[str, Field(max_length=63)] | None = Field(default=None, description="Its Service")
    addresses: Annotated[tuple[ForwardAddress, ...], Field(max_length=256), ATOMIC] = Field(
        default=(), description="Where its forwards are reached"
    )
    image: Annotated[str, Field(max_length=512)] | None = Field(default=None, description="What its pods run")
    template_hash: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Changes when its pods are rolled"
    )
