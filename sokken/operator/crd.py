"""The CustomResourceDefinition of the Tunnel, made from the model: ``python -m sokken.operator.crd`` prints it.

Called by `sokken operator crds`, by scripts/write-crd and by tests. What pydantic writes is JSON Schema; Kubernetes
takes a structural part of it: no references, no unions, defaults of objects as ``{}`` so that they are filled in from
below (Kubernetes documentation, "Specifying a structural schema", "Defaulting").
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

import yaml

from sokken.operator.model import API_VERSION, CATEGORY, GROUP, KIND, PLURAL, SHORT_NAME, VERSION, TunnelSpec
from sokken.operator.model.names import MAX_NAME, NAME_SUFFIX
from sokken.operator.model.rules import INT_OR_STRING, RULES, quote_cel, rule
from sokken.operator.model.status import TunnelStatus

Manifest = dict[str, Any]

_ABOUT: Final = "A client of a sokken server, and the Service through which applications use its forwards."
_ROOM: Final = MAX_NAME - len(NAME_SUFFIX) - 2  # characters between the first and the last
_NAME: Final = f"^[a-z]([-a-z0-9]{{0,{_ROOM}}}[a-z0-9])?$"
_KEPT: Final = (
    "type", "format", "description", "enum", "default", "pattern", "required", "minimum", "maximum",
    "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
)  # fmt: skip
_EMPTY: Final[tuple[object, ...]] = ({}, [], None)


def build_crd() -> Manifest:
    """The whole object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}", "labels": {"app.kubernetes.io/name": "sokken"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": [CATEGORY],
            },
            "versions": [_version()],
        },
    }


def _version() -> Manifest:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            _column("Ready", '.status.conditions[?(@.type=="Ready")].status', "does the server admit it?"),
            _column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "why, in a word"),
            _column("Connected", '.status.conditions[?(@.type=="Connected")].status', "what the last check said"),
            _column("Replicas", ".status.readyReplicas", "pods that are ready", "integer"),
            _column("Server", ".spec.server.url", "the server"),
            _column("Age", ".metadata.creationTimestamp", "how old it is", "date"),
            _column("Service", ".status.serviceName", "its Service", priority=1),
            _column("Image", ".status.image", "what its pods run", priority=1),
            _column("Message", '.status.conditions[?(@.type=="Ready")].message', "why, and what to do", priority=1),
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {"openAPIV3Schema": _root()},
    }  # fmt: skip


def _column(name: str, path: str, description: str, kind: str = "string", priority: int = 0) -> Manifest:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": priority} if priority else column


def _root() -> Manifest:
    spec = structural(TunnelSpec.model_json_schema(by_alias=True))
    status = structural(TunnelStatus.model_json_schema(by_alias=True))
    short = rule(
        f"self.metadata.name.matches({quote_cel(_NAME)})",
        f"a Tunnel's name is at most {_ROOM + 2} lower-case letters, digits and inner hyphens, "
        "and begins with a letter: its Service is called after it",
    )
    return {
        "type": "object",
        "description": f"{_ABOUT} {API_VERSION}.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        RULES: [short],
    }


def structural(document: Mapping[str, Any]) -> Manifest:
    """A JSON Schema of pydantic as Kubernetes takes it."""
    definitions = document.get("$defs", {})

    def convert(schema: Mapping[str, Any]) -> Manifest:
        schema = resolve(schema)
        kept = {key: schema[key] for key in _KEPT if key in schema}
        kept |= {key: value for key, value in schema.items() if key.startswith("x-kubernetes-")}
        if INT_OR_STRING in kept:
            kept["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        if "properties" in schema:
            kept["properties"] = {name: convert(each) for name, each in schema["properties"].items()}
        if isinstance(schema.get("additionalProperties"), Mapping):
            kept["additionalProperties"] = convert(schema["additionalProperties"])
        if "items" in schema:
            kept["items"] = convert(schema["items"])
        _set_default(kept)
        return kept

    def resolve(schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without its reference, and without "or null": in Kubernetes a field is there or it is not."""
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
        if "$ref" in schema:
            return {**resolve(definitions[schema["$ref"].rpartition("/")[2]]), **beside}
        kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            return {**resolve(kinds[0]), **beside}
        return schema if "const" not in schema else {**schema, "enum": [schema["const"]]}

    return convert(document)


def _set_default(schema: Manifest) -> None:
    """An object is there if something in it has a default; what is empty or absent needs none."""
    default = schema.pop("default", None)
    if schema.get("type") == "object" and "properties" in schema:
        has_defaults = any("default" in each for each in schema["properties"].values())
        if default is not None and has_defaults:
            schema["default"] = {}
    elif default not in _EMPTY:
        schema["default"] = default


_HEAD: Final = "# Made from sokken/operator/model by `make crd`; do not edit.\n"
_LINE: Final = 200


class _Dumper(yaml.SafeDumper):
    """Puts what fits into one line there, and repeats what is there twice: a reader knows no anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- the base class's
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:  # noqa: ANN401
        return super().represent_mapping(tag, mapping, flow_style or len(str(mapping)) <= _LINE)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:  # noqa: ANN401
        return super().represent_sequence(tag, sequence, flow_style or len(str(sequence)) <= _LINE)


def format_crd() -> str:
    """It as YAML: what is committed, and what `sokken operator crds` prints."""
    return _HEAD + yaml.dump(build_crd(), Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


if __name__ == "__main__":
    sys.stdout.write(format_crd())
