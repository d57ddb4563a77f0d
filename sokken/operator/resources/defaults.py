"""What the operator's own settings say about every Tunnel's children."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sokken.operator.model.spec import Image


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a Tunnel says nothing else, and what the cluster can do."""

    image: str
    """With its tag or digest: ``registry.example/sokken:1.2.3``."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    has_pod_monitors: bool = False
    """The cluster knows PodMonitors, and the operator may write them."""
    has_network_policies: bool = True
    """The operator may write NetworkPolicies."""
    operator_namespace: str = ""
    """From where the operator asks pods how they are."""
    operator_labels: Mapping[str, str] = field(default_factory=lambda: {"app.kubernetes.io/component": "operator"})
    """Of its own pods, whatever the release is called."""
    metrics_labels: Mapping[str, str] = field(default_factory=lambda: {"app.kubernetes.io/name": "prometheus"})
    """The labels of the pods that scrape metrics, in whichever namespace."""


def choose_image(image: Image, default: str) -> str:
    """The image of a Tunnel: its own parts, the others from the operator's."""
    repository, version = split_image(default)
    if image.digest:
        version = f"@{image.digest}"
    elif image.tag:
        version = f":{image.tag}"
    return (image.repository or repository) + version


def split_image(reference: str) -> tuple[str, str]:
    """Split a reference before its tag or digest; a colon before a slash is a registry's port."""
    name, at, digest = reference.partition("@")
    if at:
        tagged = name.rpartition("/")[2].partition(":")[0]
        return name.rpartition("/")[0] + ("/" if "/" in name else "") + tagged, f"@{digest}"
    path, slash, last = name.rpartition("/")
    repository, colon, tag = last.partition(":")
    return f"{path}{slash}{repository}", f"{colon}{tag}"
