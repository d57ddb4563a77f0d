"""The children of all Tunnels as the cluster has them: followed by informers, found by Tunnel.

One informer for each kind and scope, each with a label selector, so that nothing else is watched. A child that
changes rings for its Tunnel. What a write has returned is noted at once, so that the next plan knows of it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sokken.operator.cluster.cache import Change, Happening, Key
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.informer import Informer
from sokken.operator.cluster.resources import Manifest, Resource
from sokken.operator.model import KIND
from sokken.operator.reconcile import Ref
from sokken.operator.resources import CHILD_KINDS, MANAGED_BY, TUNNEL_LABEL

SELECTOR: Final = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
RESOURCES: Final = {
    (child.api_version, child.kind): Resource(child.api_version, child.kind, child.plural) for child in CHILD_KINDS
}
NETWORK_POLICIES: Final = RESOURCES["networking.k8s.io/v1", "NetworkPolicy"]
POD_MONITORS: Final = RESOURCES["monitoring.coreos.com/v1", "PodMonitor"]
DEPLOYMENTS: Final = RESOURCES["apps/v1", "Deployment"]


def resource_of(ref: Ref) -> Resource:
    """What a child is, for the API server."""
    return RESOURCES[ref.api_version, ref.kind]


class Children:
    """What is known of them. ``follow`` each kind in ``scopes``: namespaces, or ``(None,)`` for all."""

    def __init__(
        self, cluster: Cluster, scopes: Sequence[str | None], on_change: Callable[[Key, Change], object]
    ) -> None:
        """``on_change`` is told of each change, with the Tunnel whose child it was."""
        self.informers: dict[Informer, asyncio.Task[None]] = {}
        self._cluster = cluster
        self._scopes = scopes
        self._on_change = on_change
        self._found: dict[Key, dict[Ref, Manifest]] = {}

    def __repr__(self) -> str:
        return f"<Children of {len(self._found)} {list(self.informers)}>"

    def follow(self, resource: Resource, tasks: asyncio.TaskGroup) -> None:
        """Know this kind, too, from now on."""
        for scope in self._scopes:
            informer = Informer(self._cluster, resource, scope, SELECTOR, self._take)
            name = f"follow {resource.qualified} {scope or ''}".rstrip()
            self.informers[informer] = tasks.create_task(informer.run(), name=name)

    def unfollow(self, resource: Resource) -> None:
        """Know this kind no more: nobody serves it."""
        for informer in [each for each in self.informers if each.resource == resource]:
            self.informers.pop(informer).cancel()
        for key, found in list(self._found.items()):
            self._found[key] = {ref: manifest for ref, manifest in found.items() if resource_of(ref) != resource}
            if not self._found[key]:
                del self._found[key]

    def follows(self, resource: Resource) -> bool:
        """Whether it knows this kind."""
        return any(informer.resource == resource for informer in self.informers)

    async def synced(self) -> None:
        """Until every first list is there."""
        for informer in self.informers:
            await informer.synced.wait()

    def of(self, key: Key) -> list[Manifest]:
        """A Tunnel's."""
        return list(self._found.get(key, {}).values())

    def tunnels(self) -> Iterator[Key]:
        """The Tunnels that have any."""
        return iter(list(self._found))

    def note(self, manifest: Manifest) -> None:
        """What a write has returned: what the watch will tell is no news then."""
        ref = Ref.of(manifest)
        for informer in self.informers:
            if informer.resource == resource_of(ref) and informer.namespace in {None, ref.namespace}:
                for change in informer.cache.take(Happening.MODIFIED, manifest):
                    self._keep(change)

    def _take(self, change: Change) -> None:
        self._keep(change)
        if key := owner_of(change.manifest):
            self._on_change(key, change)

    def _keep(self, change: Change) -> None:
        key, ref = owner_of(change.manifest), Ref.of(change.manifest)
        if change.happening is Happening.DELETED:
            for found in [self._found.get(key, {})] if key else []:
                found.pop(ref, None)
            if key and not self._found.get(key):
                self._found.pop(key, None)
        elif key:
            self._found.setdefault(key, {})[ref] = change.manifest


def owner_of(manifest: Manifest) -> Key | None:
    """The Tunnel that owns it, else the one whose label it has: somebody may have taken the owner away."""
    metadata = manifest["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("kind") == KIND and owner.get("controller"):
            return metadata["namespace"], owner["name"]
    name = (metadata.get("labels") or {}).get(TUNNEL_LABEL)
    return (metadata["namespace"], name) if name else None
