"""Writes the tables in docs/operator.md: ``python -m sokken.operator.document < docs/operator.md``.

The table of a Tunnel's fields comes from its definition, and that of conditions from the reasons in the code, so that
neither can be wrong or forgotten. Everything else on that page is written by hand.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sokken.operator.crd import structural
from sokken.operator.model import TunnelSpec
from sokken.operator.status import REASONS, ConditionType

_AS_IN_A_POD: Final = frozenset(
    {
        "affinity",
        "dnsConfig",
        "env",
        "hostAliases",
        "imagePullSecrets",
        "resources",
        "securityContext",
        "tolerations",
        "topologySpreadConstraints",
    }
)
"""Fields of podTemplate whose own fields are those of Kubernetes."""
_NO_BOUND: Final = 2**31 - 1


def document(page: str) -> str:
    """The page with its tables written anew, each between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    for name, table in (("fields", _fields()), ("reasons", _reasons())):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = pattern.sub(lambda found, table=table: f"{found[1]}\n{table}\n{found[2]}", page)  # type: ignore[misc]
    return page


def _fields() -> str:
    rows = _rows(structural(TunnelSpec.model_json_schema(by_alias=True)), "")
    return _table(("field", "value", "default", "meaning"), rows)


def _rows(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for name, each in schema["properties"].items():
        where = f"{path}{name}"
        inner = each.get("items", each)
        has_fields = "properties" in inner and name not in _AS_IN_A_POD
        if not has_fields or each.get("type") == "array":
            default = "(required)" if name in required else _default(each)
            yield f"`{where}{'[]' if 'items' in each else ''}`", _value(each), default, each.get("description", "")
        if has_fields:
            yield from _rows(inner, f"{where}{'[]' if 'items' in each else ''}.")


def _value(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    match schema["type"]:
        case "integer" if schema["maximum"] == _NO_BOUND:
            return f"from {schema['minimum']}"
        case "integer":
            return f"{schema['minimum']} to {schema['maximum']}"
        case "array":
            return f"{schema.get('minItems', 0)} to {schema['maxItems']}"
        case "object":
            return "names and texts" if "additionalProperties" in schema else "as in a Pod"
        case kind:
            return {"boolean": "`true`, `false`"}.get(kind, "text")


def _default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    return "(none)" if value in (None, {}, []) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _reasons() -> str:
    rows = (
        (entry.condition.value, entry.status, f"`{reason.value}`", entry.cause, entry.remedy)
        for condition in ConditionType
        for reason, entry in REASONS.items()
        if entry.condition is condition
    )
    return _table(("condition", "is", "reason", "cause", "what to do"), rows)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [" | ".join(cell.replace("|", r"\|") for cell in line) for line in (head, *rows)]
    written = [f"| {line} |\n" for line in lines]
    return "".join([written[0], f"|{'---|' * len(head)}\n", *written[1:]])


if __name__ == "__main__":
    sys.stdout.write(document(sys.stdin.read()))
