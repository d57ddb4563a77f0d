"""The kinds of values that values.yaml names with ``@type``: for each, its JSON schema.

Called by schema. What the programs can be told is read from their own settings, what a policy can hold from its
rules: neither is written down a second time.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Final

import yaml
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from charts.generate.values import CHART
from sokken.protocol.policy import Limits
from sokken.settings.catalogue import PROGRAMS, Setting, settings_of

Schema = dict[str, Any]

PLACED: Final[dict[str, dict[str, str]]] = yaml.safe_load((CHART / "files" / "placed-settings.yaml").read_text())
"""Of each program, the settings that have a value of their own, and which."""

_PORT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 65535}
_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}
_PLAIN_URL: Final = r"^https?://[^@\s]*$"


def schema_of_kind(kind: str) -> Schema:
    """Return the schema of a kind; raises KeyError for one that is none."""
    name, _, program = kind.partition(" ")
    return _OF_PROGRAMS[name](program) if program else dict(_KINDS[name])


def _strict(properties: Schema, *required: str) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": list(required)} if required else schema


def _settings(program: str) -> Schema:
    """Every setting of a program by its own name; those that have a value of their own are refused by the templates."""
    fields = PROGRAMS[program].model_fields
    return _strict(
        {
            setting.variable: {"description": f"Not here: {PLACED[program][setting.variable]}"}
            if setting.variable in PLACED[program]
            else {"description": _describe(setting), **_setting(setting, fields[name])}
            for name, setting in settings_of(PROGRAMS[program]).items()
        }
    )


def _secret_settings(program: str) -> Schema:
    reference = _strict({"name": _TEXT, "key": _TEXT, "optional": {"type": "boolean"}}, "name", "key")
    return _strict(
        {
            setting.variable: {"description": setting.meaning, **reference}
            for setting in settings_of(PROGRAMS[program]).values()
            if setting.is_secret
        }
    )


def _describe(setting: Setting) -> str:
    unit = f" ({setting.unit})" if setting.unit else ""
    aside = ". With a password in it: secretSettings" if setting.is_secret else ""
    return f"{setting.meaning}{unit}; by default {setting.default or 'none'}{aside}"


def _setting(setting: Setting, described: FieldInfo) -> Schema:
    """What a setting may be. None is as if it were not there, for values that override others."""
    if setting.is_secret:
        return {"type": ["string", "null"], "pattern": _PLAIN_URL}
    if setting.unit == "list":
        return {"type": ["array", "string", "null"], "items": _TEXT}
    annotation: Any = Annotated[(described.annotation, *described.metadata)]
    found = TypeAdapter(annotation).json_schema()
    found = found.get("anyOf", [found])[0]
    bounds = {key: found[key] for key in ("minimum", "maximum") if key in found}
    if "enum" in found:
        return {"enum": [*found["enum"], None]}
    return {"type": [found.get("type", "string"), "null"], **bounds}


def _policy() -> Schema:
    numbers = {field.name: {"type": "number", "exclusiveMinimum": 0} for field in dataclasses.fields(Limits)}
    rule = _strict(
        {
            "name": {"type": "string", "maxLength": 100},
            "action": {"enum": ["allow", "deny"]},
            "identities": {**_TEXTS, "minItems": 1},
            "targets": {**_TEXTS, "minItems": 1},
            "limits": _strict({**numbers, "proxy_protocol": {"type": "boolean"}}),
        },
        "action",
        "identities",
        "targets",
    )
    return _strict({"rules": {"type": "array", "minItems": 1, "items": rule}})


def _forwards() -> Schema:
    # A name is that of a container's port, too (IANA_SVC_NAME); a host is what stands in a tunnel's URL.
    name = {"type": "string", "maxLength": 15, "pattern": r"^([a-z0-9]+-)*[0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$"}
    host = {"type": "string", "minLength": 1, "pattern": r"^[^\s,/?#@\[\]]+$"}
    listen = {**_PORT, "minimum": 1024, "description": "The pod may not listen below 1024; servicePort may be lower"}
    target = _strict({"host": host, "port": _PORT}, "host", "port")
    forward = {"name": name, "listenPort": listen, "servicePort": _PORT, "target": target}
    return {"type": "array", "items": _strict(forward, "name", "listenPort", "target")}


_OF_PROGRAMS: Final[dict[str, Callable[[str], Schema]]] = {
    "settings": _settings,
    "secretSettings": _secret_settings,
}
_KINDS: Final[dict[str, Schema]] = {
    # Of Kubernetes or of another program, whose own schema says what is in it.
    "open": {"type": "object"},
    "manifests": {"type": "array", "items": {"type": "object"}},
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "strings": _TEXTS,
    "addresses": {"type": "array", "items": {"type": "string", "pattern": r"^[^\s,]+:[0-9]{1,5}$"}},
    "references": {"type": "array", "items": _strict({"name": _TEXT}, "name")},
    "port": _PORT,
    "optionalPort": {**_PORT, "type": ["integer", "null"]},
    "countOrPercent": {"type": ["integer", "string"], "minimum": 0, "pattern": "^(100|[0-9]{1,2})%$"},
    "duration": {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"},
    # As they stand in OTEL_RESOURCE_ATTRIBUTES, separated by commas.
    "resourceAttributes": {
        "type": "object",
        "propertyNames": {"pattern": r"^[A-Za-z0-9._/-]+$"},
        "additionalProperties": {"type": "string", "pattern": r'^[^\s,;=$%"\\]*$'},
    },
    "policy": _policy(),
    "forwards": _forwards(),
}
