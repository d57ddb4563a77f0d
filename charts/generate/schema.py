"""Writes values.schema.json: no value that is unknown, of another type, or out of its bounds gets into a release.

Called by ``make docs``. What one value says about another stands in the chart's checks, which say it in a sentence.
"""

import json
from typing import Any, Final

from charts.generate.kinds import schema_of_kind
from charts.generate.values import Value, read_values

_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
# A chart above this one switches it on and off with this (Chart.yaml, dependencies, condition).
_CONDITION: Final = {"type": "boolean", "description": "For a condition of a chart that depends on this one"}


def schema() -> str:
    """Return the whole text."""
    document = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart sokken"}
    properties = {value.name: _schema_of(value) for value in read_values()}
    body = {"type": "object", "additionalProperties": False, "properties": {"enabled": _CONDITION, **properties}}
    return json.dumps({**document, **body}, indent=2, ensure_ascii=False) + "\n"


def _schema_of(value: Value) -> dict[str, Any]:
    described = {"description": value.description} if value.description else {}
    if value.children:
        properties = {child.name: _schema_of(child) for child in value.children}
        strict = {"type": "object", "additionalProperties": False, "properties": properties}
        return {**described, **strict, **value.schema}
    kind = schema_of_kind(value.kind) if value.kind else {"type": _type_of(value)}
    return {**described, **kind, **value.schema}


def _type_of(value: Value) -> str:
    try:
        return _TYPES[type(value.default)]
    except KeyError:
        raise TypeError(f"{'.'.join(value.path)}: its default does not show its type; say @type") from None
