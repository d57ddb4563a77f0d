"""The chart's values.yaml as a tree: each value with its default, and what the comment above it says.

Called by schema and readme. The comment directly above a key is its description; in it, ``@type KIND`` names a kind
of value that the default does not show (kinds.py), and ``@schema {…}`` holds more of its JSON schema.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parents[1] / "sokken"


@dataclass(frozen=True, slots=True)
class Value:
    """One value. ``children`` are those of a mapping whose keys are fixed; of any other the default is a whole."""

    path: tuple[str, ...]
    default: Any
    description: str = ""
    kind: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    children: tuple["Value", ...] = ()

    @property
    def name(self) -> str:
        """Its last key."""
        return self.path[-1]

    def walk(self) -> Iterator["Value"]:
        """Itself, and all that is below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_values(text: str | None = None) -> tuple[Value, ...]:
    """Read the tree, of the chart unless given."""
    text = (CHART / "values.yaml").read_text() if text is None else text
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise TypeError("values.yaml is no mapping")
    return _read_mapping(root, (), text.splitlines())


def _read_mapping(node: yaml.MappingNode, path: tuple[str, ...], lines: list[str]) -> tuple[Value, ...]:
    return tuple(
        _read_value(child, (*path, str(key.value)), _comment_above(key.start_mark.line, lines), lines)
        for key, child in node.value
    )


def _read_value(node: yaml.Node, path: tuple[str, ...], comment: list[str], lines: list[str]) -> Value:
    description, kind, schema = [], "", {}
    for line in comment:
        if line.startswith("@type "):
            kind = line.removeprefix("@type ")
        elif line.startswith("@schema "):
            schema = yaml.safe_load(line.removeprefix("@schema "))
        else:
            description.append(line)
    loader = yaml.SafeLoader("")
    default = loader.construct_document(node)
    children = _read_mapping(node, path, lines) if isinstance(node, yaml.MappingNode) and not kind else ()
    if default == {} and not kind:
        raise ValueError(f"{'.'.join(path)}: an empty mapping needs a comment with @type")
    return Value(path, default, " ".join(description), kind, schema, children)


def _comment_above(number: int, lines: list[str]) -> list[str]:
    """The lines of the comment that ends directly above a line."""
    first = number
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return [line.lstrip()[1:].strip() for line in lines[first:number]]
