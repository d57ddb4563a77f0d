"""What a Tunnel's children are called and labelled, and how one sees that they have changed."""

import json
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from sokken.operator.model import GROUP, Tunnel
from sokken.operator.model.names import MAX_NAME, NAME_SUFFIX

Manifest = dict[str, Any]
"""A Kubernetes object, as JSON has it."""

FIELD_MANAGER: Final = "sokken-operator"
"""Who applies children. It must never change: what it once applied, it owns by this name."""
STATUS_FIELD_MANAGER: Final = "sokken-operator-status"
TUNNEL_LABEL: Final = f"{GROUP}/tunnel"
MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "sokken-operator"}

_HASH_CHARACTERS: Final = 8


class Annotation(StrEnum):
    """What the operator writes down about its own work, on the objects that it makes."""

    MANIFEST_HASH = f"{GROUP}/manifest-hash"
    """Of the object as it was rendered, but for a pod template: it sees what is no longer rendered."""
    TEMPLATE_HASH = f"{GROUP}/template-hash"
    """Of the pod template as it was rendered."""
    SPEC_HASH = f"{GROUP}/spec-hash"
    """Of the Tunnel's spec that the template was rendered for."""
    CONNECTION_HASH = f"{GROUP}/connection-hash"
    """On pods: of all in the spec that decides whether the server lets them in."""
    ROLLED_BY = f"{GROUP}/rolled-by"
    """Who made the template change last: ``tunnel`` or ``operator``."""
    IGNORE_DRAIN_BACKLOG = f"{GROUP}/ignore-drain-backlog"
    """Written by users, on a Tunnel: ``true`` rolls it however many pods still drain."""


def child_name(tunnel: str) -> str:
    """The name that all children of a Tunnel have; a longer one than a Service may have ends in a hash."""
    room = MAX_NAME - len(NAME_SUFFIX)
    return _cut(tunnel, room) + NAME_SUFFIX


def label_value(tunnel: str) -> str:
    """The name of a Tunnel as the value of a label."""
    return _cut(tunnel, MAX_NAME)


def selector_labels(tunnel: Tunnel) -> dict[str, str]:
    """Which pods are the Tunnel's. It is in what cannot be changed, and so it is made of the name alone."""
    return {TUNNEL_LABEL: label_value(tunnel.name)}


def common_labels(tunnel: Tunnel) -> dict[str, str]:
    """Every child and every pod has them."""
    return {
        "app.kubernetes.io/name": "sokken",
        "app.kubernetes.io/component": "tunnel",
        "app.kubernetes.io/instance": label_value(tunnel.name),
        **MANAGED_BY,
        **selector_labels(tunnel),
    }


def hash_of(value: object) -> str:
    """A few characters that differ where the value does."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()[: 2 * _HASH_CHARACTERS]


def format_selector(labels: Mapping[str, str]) -> str:
    """Labels as a selector in one text."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _cut(name: str, room: int) -> str:
    if len(name) <= room:
        return name
    kept = name[: room - _HASH_CHARACTERS - 1]
    return f"{kept}-{sha256(name.encode()).hexdigest()[:_HASH_CHARACTERS]}"
