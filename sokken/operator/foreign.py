"""What others have put where the operator has rendered something: seen from who owns which field (managedFields).

Server-side apply keeps what another writer has added to a list. A list that was rendered is meant whole, so such an
item is taken out. Not if it stands under the operator's own name: then the API server's admission has added it to
what was applied, and would do so again, for ever.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sokken.operator.comparison import Path, key_of, list_keys
from sokken.operator.resources import FIELD_MANAGER, Manifest

Operation = dict[str, Any]
"""One operation of a JSON Patch (RFC 6902)."""


def build_removal(desired: Manifest, live: Manifest) -> tuple[Operation, ...]:
    """A patch that takes foreign items out of rendered lists; nothing if there are none.

    It holds only for the object as it was seen. The last come first, so that places stay what they are.
    """
    found = [pointer for pointer, path in _extra(desired, live, "", ()) if _is_foreign(live, path)]
    if not found:
        return ()
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}
    return version, *({"op": "remove", "path": pointer} for pointer in reversed(found))


def find_scaler(live: Manifest) -> str:
    """Which program has set a Deployment's replicas last, if it was not us. Somebody with kubectl does it once."""
    owners = (manager for manager, fields in _managers(live) if _has(fields, ("f:spec", "f:replicas")))
    return next((owner for owner in owners if owner != FIELD_MANAGER and not owner.startswith("kubectl")), "")


def _extra(desired: Any, live: Any, pointer: str, path: Path) -> Iterator[tuple[str, Path]]:  # noqa: ANN401 -- JSON
    """Items that are not rendered, in lists under ``spec`` that are: where, and as managedFields writes that."""
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        for name, value in desired.items():
            if path or name == "spec":
                yield from _extra(value, live.get(name), f"{pointer}/{name}", (*path, f"f:{name}"))
        return
    if not isinstance(desired, list) or not isinstance(live, list):
        return
    keys = list_keys(tuple(part.removeprefix("f:") for part in path), desired)
    wanted = {_format_key(key_of(item, keys)): item for item in desired} if keys else {}
    for index, item in enumerate(live if keys else ()):
        name = _format_key(key_of(item, keys))
        if name in wanted:
            yield from _extra(wanted[name], item, f"{pointer}/{index}", (*path, name))
        else:
            yield f"{pointer}/{index}", (*path, name)


def _is_foreign(live: Manifest, path: Path) -> bool:
    owners = {manager == FIELD_MANAGER for manager, fields in _managers(live) if _has(fields, path)}
    return owners == {False}


def _managers(live: Manifest) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in live["metadata"].get("managedFields", ()):
        yield entry.get("manager", ""), entry.get("fieldsV1", {})


def _has(fields: Mapping[str, Any], path: Path) -> bool:
    for part in path:
        if part not in fields:
            return False
        fields = fields[part]
    return True


def _format_key(key: Mapping[str, Any]) -> str:
    """As managedFields has it: ``k:{"containerPort":80,"protocol":"TCP"}``."""
    return "k:" + json.dumps(key, sort_keys=True, separators=(",", ":"))
