"""Writes the chart's README.md: its values, each with its default and what the comment above it says.

Called by ``make docs``.
"""

import json
from typing import Any, Final

from charts.generate.values import Value, read_values

_HEAD: Final = """\
# The chart sokken

Made from values.yaml by `make docs`. How to run sokken in a cluster: [docs/kubernetes.md](../../docs/kubernetes.md).

    helm install sokken charts/sokken --set 'server.targets={db.internal:5432}'
    helm test sokken

- `server` takes WebSockets and connects to targets; `client` takes TCP connections inside the cluster and carries
  them to a server elsewhere. Either can be left out.
- A value that is unknown or of the wrong type, and values that exclude each other, are refused with a sentence that
  names them.
- No value holds a secret: `existingSecret` and `secretSettings` name Secrets of yours.
- What the chart does not decide, the programs can be told by `server.settings` and `client.settings`: every
  [setting](../../docs/settings.md) by its own name.
- Values of a pod or of another Kubernetes object that have no meaning here are passed on as they are.

"""
# What most values of a name mean; of any other, Kubernetes' documentation says it.
_USUAL: Final = {
    "enabled": "",
    "existingSecret": "The Secret's name",
    "existingConfigMap": "A ConfigMap's name, instead of a Secret",
    "key": "The key in it",
    "annotations": "More annotations",
    "labels": "More labels",
}
_KUBERNETES: Final = "As Kubernetes has it"


def readme() -> str:
    """Return the whole text."""
    values = read_values()
    single = [value for value in values if not value.children]
    sections = [_section("The release", "", single)]
    sections += [_section(value.name, value.description, list(value.walk())[1:]) for value in values if value.children]
    return _HEAD + "\n".join(sections)


def _section(title: str, text: str, values: list[Value]) -> str:
    head = f"## {title}\n\n" + (f"{text}.\n\n" if text else "") + "| value | default | meaning |\n|---|---|---|\n"
    return head + "".join(map(_row, values))


def _row(value: Value) -> str:
    if value.children:
        return f"| **{'.'.join(value.path)}** | | {value.description} |\n"
    meaning = (value.description or _USUAL.get(value.name, _KUBERNETES)).replace("|", "\\|")
    if "enum" in value.schema and not all(str(choice) in meaning for choice in value.schema["enum"]):
        meaning += ": " + ", ".join(f"`{_show(choice)}`" for choice in value.schema["enum"])
    return f"| `{'.'.join(value.path)}` | `{_show(value.default)}` | {meaning} |\n"


def _show(default: Any) -> str:  # noqa: ANN401 -- whatever YAML holds
    text = json.dumps(default, ensure_ascii=False)
    return text.strip('"') if isinstance(default, str) and default else text
