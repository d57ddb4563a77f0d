"""Whether an object in the cluster is what was rendered, so that nothing is written that changes nothing.

The API server adds defaults, and other writers add fields of their own: both are left alone. Called by reconcile;
what somebody has put into a list that was rendered is for foreign.py.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sokken.operator.quantities import parse_quantity
from sokken.operator.resources import Manifest

Item = Mapping[str, Any]
Path = tuple[str, ...]

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "env": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""By which of their fields the items of a list are told apart (x-kubernetes-list-map-keys)."""
_CONTAINER_PORT: Final = ("containerPort", "protocol")
_SERVICE_PORT: Final = ("port", "protocol")
_DEFAULTS: Final = {"protocol": "TCP"}
_WHOLE: Final = frozenset({"ingress", "egress"})
"""What is compared to the last field, because what is absent there means something."""
_ATOMIC: Final = frozenset({"labelSelector", "matchLabels", "nodeSelector", "podSelector", "selector"})
"""Maps that are one value (x-kubernetes-map-type: atomic): an apply takes out what somebody has added to one."""
_QUANTITIES: Final = frozenset({"limits", "requests"})


def is_current(desired: Manifest, live: Manifest) -> bool:
    """Whether applying it would change nothing."""
    return next(differences(desired, live), None) is None


def differences(desired: Manifest, live: Manifest) -> Iterator[str]:
    """The fields that are not as rendered: ``spec.replicas``."""
    return (".".join(path) for path in _differences(desired, live, ()))


def list_keys(path: Path, items: Iterable[Any]) -> tuple[str, ...]:
    """Which fields tell the items of a list apart; none for a list that is one value."""
    if any(part in _WHOLE for part in path):
        return ()
    if path[-1:] == ("ports",):
        return _CONTAINER_PORT if "containers" in path else _SERVICE_PORT
    return _KEYS.get(path[-1], ()) if path and all(isinstance(item, Mapping) for item in items) else ()


def key_of(item: Item, keys: tuple[str, ...]) -> dict[str, Any]:
    """What tells an item apart from the others of its list."""
    return {key: item.get(key, _DEFAULTS.get(key)) for key in keys}


def _differences(desired: Any, live: Any, path: Path) -> Iterator[Path]:  # noqa: ANN401 -- JSON
    if path[-1:] and path[-1] in _WHOLE:
        if desired != live:
            yield path
    elif isinstance(desired, Mapping) and isinstance(live, Mapping):
        if path[-1:] and path[-1] in _ATOMIC and live.keys() - desired.keys():
            yield path
        for name, value in desired.items():
            yield from _differences(value, live.get(name), (*path, name))
    elif isinstance(desired, list) and isinstance(live, list):
        yield from _list_differences(desired, live, path)
    elif not _is_equal(desired, live, path):
        yield path


def _list_differences(desired: Sequence[Any], live: Sequence[Any], path: Path) -> Iterator[Path]:
    keys = list_keys(path, desired)
    if not keys and len(desired) != len(live):
        yield path
    for index, item in enumerate(desired):
        if keys:
            key = key_of(item, keys)
            found = next((other for other in live if key_of(other, keys) == key), None)
        else:
            found = live[index] if index < len(live) else None
        yield from _differences(item, found, (*path, str(index)))


def _is_equal(desired: object, live: object, path: Path) -> bool:
    if desired == live:
        return type(desired) is type(live)
    if live is None:
        return desired in ("", [], {})  # the API server drops what is empty
    if path[-2:-1] and path[-2] in _QUANTITIES:
        amount = parse_quantity(desired)
        return amount is not None and amount == parse_quantity(live)
    return False
