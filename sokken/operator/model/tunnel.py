"""From an object of the API server to a Tunnel, or to one sentence that says why it is none.

Most of what could be wrong the API server has refused already, by the rules of the CustomResourceDefinition. What is
left is an older definition in the cluster, and what only the client's own parsers know (acceptance.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sokken.errors import SokkenError
from sokken.operator.model.spec import TunnelSpec


class InvalidTunnel(SokkenError):
    """A Tunnel that no pods can be made of; the message names the field and says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One Tunnel as it is now."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: TunnelSpec
    annotations: Mapping[str, str]
    status: Mapping[str, Any]
    """As it was found."""
    is_leaving: bool = False
    """It is being deleted: what it owns goes with it, and nothing is to be done."""

    def __str__(self) -> str:
        """Its name within the cluster."""
        return f"{self.namespace}/{self.name}"


def decode_tunnel(document: Mapping[str, Any]) -> Tunnel:
    """Read an object of the API server; raises InvalidTunnel."""
    metadata = document["metadata"]
    try:
        spec = TunnelSpec.model_validate(document.get("spec") or {})
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        raise InvalidTunnel(f"{_path(details['loc'])}: {details['msg'][:1].lower()}{details['msg'][1:]}") from None
    return Tunnel(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=spec,
        annotations=metadata.get("annotations") or {},
        status=document.get("status") or {},
        is_leaving="deletionTimestamp" in metadata,
    )


def _path(location: tuple[int | str, ...]) -> str:
    """As the API server writes it: ``spec.forwards[0].listenPort``."""
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
