"""What the operator asks the API server about: each resource's group, version and path.

Pure names. Called by client.py and by everybody who asks.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

Manifest = dict[str, Any]
"""An object as the API server's JSON has it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object, as paths and RBAC name it."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """Empty for the core's."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """Of the API."""
        return self.api_version.rpartition("/")[2]

    @property
    def qualified(self) -> str:
        """``deployments.apps``, as RBAC and kubectl say it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """Where its group and version are described."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """The URL's path; without a namespace that of all namespaces."""
        within = ("namespaces", namespace) if namespace else ()
        parts = (*within, self.plural, name, subresource)
        return "/".join([self.root, *(quote(part, safe="") for part in parts if part)])


TUNNELS: Final = Resource("sokken.dev/v1alpha1", "Tunnel", "tunnels")
PODS: Final = Resource("v1", "Pod", "pods")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")
EVENTS: Final = Resource("events.k8s.io/v1", "Event", "events")
