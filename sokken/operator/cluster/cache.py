"""What a watch knows of its objects, and what is news in what it is told.

Pure. Used by informer.py: a list replaces everything, events come one by one, and both give the same changes. An
object is told from another of its name by its uid.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sokken.operator.cluster.resources import Manifest

Key = tuple[str, str]
"""Namespace and name."""


class Happening(StrEnum):
    """What has become of an object, in the API's words."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One object's news; a deleted one is as it was last seen."""

    happening: Happening
    manifest: Manifest


HAPPENINGS: Final = frozenset(Happening)


class Cache:
    """The objects by key."""

    def __init__(self) -> None:
        self._objects: dict[Key, Manifest] = {}

    def __repr__(self) -> str:
        return f"<Cache {len(self._objects)}>"

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Manifest]:
        return iter(self._objects.values())

    def get(self, key: Key) -> Manifest | None:
        """What is known of one object."""
        return self._objects.get(key)

    def replace(self, manifests: Iterable[Manifest]) -> list[Change]:
        """This is all there is now: what is not among it has been deleted meanwhile."""
        found = {key_of(manifest): manifest for manifest in manifests}
        missing = [manifest for key, manifest in self._objects.items() if key not in found]
        changes = [self._remove(manifest) for manifest in missing]
        for manifest in found.values():
            changes.extend(self._put(manifest))
        return changes

    def take(self, happening: Happening, manifest: Manifest) -> list[Change]:
        """One event of a watch."""
        known = self._objects.get(key_of(manifest))
        if happening is not Happening.DELETED:
            return [] if known is not None and _is_older(manifest, known) else self._put(manifest)
        return [] if known is None or uid_of(known) != uid_of(manifest) else [self._remove(manifest)]

    def _put(self, manifest: Manifest) -> list[Change]:
        key = key_of(manifest)
        known = self._objects.get(key)
        if known is not None and _version(known) == _version(manifest):
            return []
        is_another = known is not None and uid_of(known) != uid_of(manifest)
        changes = [self._remove(known)] if known is not None and is_another else []
        happening = Happening.ADDED if known is None or is_another else Happening.MODIFIED
        self._objects[key] = manifest
        return [*changes, Change(happening, manifest)]

    def _remove(self, manifest: Manifest) -> Change:
        del self._objects[key_of(manifest)]
        return Change(Happening.DELETED, manifest)


def key_of(manifest: Manifest) -> Key:
    """Under which an object is found."""
    metadata = manifest["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid_of(manifest: Manifest) -> str:
    """Which of all objects that ever had this name it is."""
    uid: str = manifest["metadata"].get("uid", "")
    return uid


def _is_older(manifest: Manifest, known: Manifest) -> bool:
    """Whether it is a former version of what is known already: what a write returned may overtake the watch."""
    one, other = manifest["metadata"].get("resourceVersion", ""), known["metadata"].get("resourceVersion", "")
    is_same = uid_of(manifest) == uid_of(known)
    return is_same and one.isdecimal() and other.isdecimal() and int(one) < int(other)


def _version(manifest: Manifest) -> tuple[str, str]:
    return uid_of(manifest), manifest["metadata"].get("resourceVersion", "")
