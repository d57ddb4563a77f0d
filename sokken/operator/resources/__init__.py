"""From a Tunnel to the objects that it stands for, and back to nothing else: no cluster is asked, no clock, no chance.

The same Tunnel and the same defaults give the same bytes. The reconciler compares these objects with those that are
there, and applies what differs.
"""

from sokken.operator.model.names import ADMIN_PORT, HEALTH_PORT
from sokken.operator.resources.build import CHILD_KINDS, ChildKind, build
from sokken.operator.resources.credentials import Reference, references
from sokken.operator.resources.defaults import Defaults
from sokken.operator.resources.naming import (
    FIELD_MANAGER,
    MANAGED_BY,
    STATUS_FIELD_MANAGER,
    TUNNEL_LABEL,
    Annotation,
    Manifest,
    child_name,
    label_value,
    selector_labels,
)

__all__ = [
    "ADMIN_PORT",
    "CHILD_KINDS",
    "FIELD_MANAGER",
    "HEALTH_PORT",
    "MANAGED_BY",
    "STATUS_FIELD_MANAGER",
    "TUNNEL_LABEL",
    "Annotation",
    "ChildKind",
    "Defaults",
    "Manifest",
    "Reference",
    "build",
    "child_name",
    "label_value",
    "references",
    "selector_labels",
]
