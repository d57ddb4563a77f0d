"""JSON Patch as the operator uses it: what an API server would make of it."""

from copy import deepcopy
from typing import Any


def apply_json_patch(operations: list[dict[str, Any]], live: dict[str, Any]) -> dict[str, Any]:
    """The part of RFC 6902 that is used."""
    whole = deepcopy(live)
    for operation in operations:
        *way, last = operation["path"].split("/")[1:]
        place = whole
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        key = int(last) if isinstance(place, list) else last
        if operation["op"] == "test":
            assert place[key] == operation["value"]
        else:
            del place[key]
    return whole
