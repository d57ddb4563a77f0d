"""What a user may say of a Tunnel's pods: a typed part of Kubernetes' PodTemplateSpec.

Used by the spec. It is typed so that the API server refuses what is wrong, and a part so that nothing in it can take
a pod out of the restricted Pod Security Standard, or contradict what the operator itself puts there.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from sokken.operator.model.names import GROUP, SETTINGS_IN_ENV
from sokken.operator.model.rules import (
    ATOMIC,
    Labels,
    Model,
    ObjectName,
    Quantity,
    Schema,
    list_map,
    names_within,
    quote_cel,
    rule,
    rules,
    rules_of_class,
    without,
)
from sokken.operator.model.scheduling import Affinity, Toleration, TopologySpread

_OURS: Final = f"{GROUP}/ is the operator's own"
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_ENV_NAMES: Final = ", ".join(map(quote_cel, SETTINGS_IN_ENV))


class Resources(Model):
    """What a pod asks for and may use at most."""

    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default={})
    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default={})


class LocalObject(Model):
    """The name of an object in the same namespace."""

    name: ObjectName = Field(description="Its name")


class DnsOption(Model):
    """One option of a resolver."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    value: Annotated[str, Field(max_length=63)] | None = None


class DnsConfig(Model):
    """How names are resolved, beside or instead of what the policy says."""

    nameservers: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=3), ATOMIC] = ()
    searches: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253)], ...], Field(max_length=32), ATOMIC
    ] = ()
    options: Annotated[tuple[DnsOption, ...], Field(max_length=32), ATOMIC] = ()


class HostAlias(Model):
    """Names for an address, in /etc/hosts."""

    ip: Annotated[str, Field(min_length=2, max_length=64, pattern=r"^[0-9A-Fa-f:.]+$")]
    hostnames: Annotated[tuple[ObjectName, ...], Field(min_length=1, max_length=16), ATOMIC]


class EnvVar(Model):
    """One variable. Secrets do not belong here: everybody who may read the Tunnel reads them."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=128, pattern="^[A-Za-z_][A-Za-z0-9_]*$"),
        rules(
            rule(
                f"!self.matches('^(?i)sokken_') || self in [{_ENV_NAMES}]",
                "this setting is the Tunnel's own: use its field in spec, or leave it out",
            )
        ),
    ]
    value: Annotated[str, Field(max_length=4096)] = ""


class SELinuxOptions(Model):
    """An SELinux context; user and role stay as the node has them (restricted Pod Security Standard)."""

    type: Literal["container_t", "container_init_t", "container_kvm_t"] | None = None
    level: Annotated[str, Field(max_length=128)] | None = None


class SeccompProfile(Model):
    """A seccomp profile; to have none is not restricted."""

    type: Literal["RuntimeDefault", "Localhost"] = "RuntimeDefault"
    localhost_profile: Annotated[str, Field(max_length=253)] | None = None

    model_config = rules_of_class(
        rule(
            "(self.type == 'Localhost') == has(self.localhostProfile)",
            "a profile of type Localhost has a localhostProfile, and no other has one",
            ".localhostProfile",
        )
    )


class PodSecurityContext(Model):
    """As whom the pod runs. That it is restricted stands already, and cannot be changed."""

    run_as_user: Annotated[int, Field(ge=1, le=2**31 - 1), Schema({"format": "int64"})] | None = None
    run_as_group: Annotated[int, Field(ge=0, le=2**31 - 1), Schema({"format": "int64"})] | None = None
    fs_group: Annotated[int, Field(ge=0, le=2**31 - 1), Schema({"format": "int64"})] | None = None
    fs_group_change_policy: Literal["Always", "OnRootMismatch"] | None = None
    supplemental_groups: Annotated[
        tuple[Annotated[int, Field(ge=0, le=2**31 - 1), Schema({"format": "int64"})], ...], Field(max_length=16), ATOMIC
    ] = ()
    se_linux_options: SELinuxOptions | None = None
    seccomp_profile: SeccompProfile | None = None


class PodTemplate(Model):
    """What the client's pods have beside what the operator puts there."""

    labels: Annotated[Labels, without(f"{GROUP}/", _OURS)] = Field(
        default={}, description="Labels for the pods; the operator's own win"
    )
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]],
        Field(max_length=32),
        names_within("an annotation"),
        without(f"{GROUP}/", _OURS),
        without(_APPARMOR, "pods have their runtime's AppArmor profile, because they are restricted"),
    ] = Field(default={}, description="Annotations for the pods; changing one rolls them")
    resources: Resources | None = Field(
        default=None, description="What a pod asks for and may use; else 50m and 64Mi, and 512Mi at most"
    )
    node_selector: Labels = Field(default={}, description="Labels of the nodes that may run them")
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32), ATOMIC] = Field(
        default=(), description="Taints that they bear"
    )
    affinity: Affinity | None = Field(default=None, description="Where they are put")
    topology_spread_constraints: Annotated[
        tuple[TopologySpread, ...], Field(max_length=8), list_map("topologyKey", "whenUnsatisfiable")
    ] = Field(default=(), description="How they are spread; else over nodes, as far as that is possible")
    priority_class_name: ObjectName | None = Field(default=None, description="Their PriorityClass")
    runtime_class_name: ObjectName | None = Field(default=None, description="Their RuntimeClass")
    service_account_name: ObjectName | None = Field(
        default=None, description="A ServiceAccount of yours; else the operator makes one"
    )
    image_pull_secrets: Annotated[tuple[LocalObject, ...], Field(max_length=8), list_map("name")] = Field(
        default=(), description="Secrets that the image is pulled with"
    )
    dns_policy: Literal["ClusterFirst", "Default", "None"] | None = Field(
        default=None, description="Where names are resolved"
    )
    dns_config: DnsConfig | None = Field(default=None, description="How names are resolved")
    host_aliases: Annotated[tuple[HostAlias, ...], Field(max_length=32), list_map("ip")] = Field(
        default=(), description="Lines for /etc/hosts"
    )
    env: Annotated[tuple[EnvVar, ...], Field(max_length=32), list_map("name")] = Field(
        default=(),
        description="Variables for the client: NO_PROXY, OTEL_*, settings that have no field; no secrets",
    )
    security_context: PodSecurityContext = Field(
        default=PodSecurityContext(), description="As whom the pods run; they are restricted whatever stands here"
    )

    model_config = rules_of_class(
        rule(
            "!has(self.dnsPolicy) || self.dnsPolicy != 'None' || "
            "has(self.dnsConfig) && has(self.dnsConfig.nameservers) && size(self.dnsConfig.nameservers) > 0",
            "dnsPolicy None needs dnsConfig.nameservers",
            ".dnsConfig",
        )
    )
