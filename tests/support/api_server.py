"""What the API server would say of an object, by its CustomResourceDefinition: schema first, and then the rules.

A second opinion for unit tests, by libraries that know nothing of ours: jsonschema for the structure, and a CEL of
its own for the rules. The real API server is asked in tests/e2e.
"""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

import cel
from jsonschema import Draft4Validator

RULES = "x-kubernetes-validations"


def admit(crd: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The object with its defaults; raises Refused."""
    schema = schema_of(crd)
    admitted = _with_defaults(schema, deepcopy(document))
    problems = [*_schema_problems(schema, admitted), *_unknown_fields(schema, admitted, "")]
    if not problems:  # the API server skips rules, too, where the structure is wrong
        problems = list(_broken_rules(schema, admitted, ""))
    if problems:
        raise Refused(problems)
    return admitted


class Refused(Exception):
    """Why it was not admitted: a list of ``PATH: MESSAGE``."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    [version] = crd["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def rules_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Every rule, with the field that it stands at."""
    for rule in schema.get(RULES, ()):
        yield path, rule
    for name, each in schema.get("properties", {}).items():
        yield from rules_of(each, f"{path}.{name}")
    if "items" in schema:
        yield from rules_of(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from rules_of(schema["additionalProperties"], f"{path}{{}}")


def _with_defaults(schema: dict[str, Any], value: Any) -> Any:
    if isinstance(value, dict):
        for name, each in schema.get("properties", {}).items():
            if name not in value and "default" in each:
                value[name] = deepcopy(each["default"])
            if name in value:
                value[name] = _with_defaults(each, value[name])
    elif isinstance(value, list):
        value = [_with_defaults(schema.get("items", {}), item) for item in value]
    return value


def _schema_problems(schema: dict[str, Any], document: Any) -> Iterator[str]:
    for error in Draft4Validator(schema).iter_errors(document):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        yield f"{path.lstrip('.')}: {error.message}"


def _unknown_fields(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    """With strict field validation, as kubectl asks for it."""
    if isinstance(value, dict) and "properties" in schema:
        for name, each in value.items():
            if name in schema["properties"]:
                yield from _unknown_fields(schema["properties"][name], each, f"{path}.{name}")
            elif path:  # metadata has a schema of its own
                yield f"{path.lstrip('.')}: unknown field {name}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_fields(schema.get("items", {}), item, f"{path}[{index}]")


_compiled = cache(cel.compile)


def _broken_rules(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    for rule in schema.get(RULES, ()):
        if not _compiled(rule["rule"]).execute(cel.Context({"self": value})):
            yield f"{(path + rule.get('fieldPath', '')).lstrip('.')}: {rule['message']}"
    if isinstance(value, dict):
        for name, each in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            yield from _broken_rules(inner, each, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _broken_rules(schema.get("items", {}), item, f"{path}[{index}]")
