"""Values on their way into a log line: plain JSON types only, secrets masked, texts bounded.

Called by the processors of logs.py for every line. Nothing here may raise, whatever it is given: a value that
cannot be shown is said to be so.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from math import isfinite
from types import TracebackType
from typing import Any

MASK = "***"
MAX_TEXT = 4096  # characters of one value: a peer chooses some of them
MAX_DEPTH = 6  # the deepest line of ours is an exception: fields, causes, cause, frames, frame
MAX_FRAMES = 20  # of one exception, the innermost
MAX_CAUSES = 5
_INT64 = 2**63  # an integer beyond is text: few readers of JSON keep its digits

_SECRET_KEY = re.compile("token|authorization|cookie|password|secret", re.IGNORECASE)
# Both patterns start with a literal and look a bounded way ahead: a hostile value must not cost time.
_USERINFO = re.compile(r"://[^\s/?#]*@")
_SECRET_PARAMETER = re.compile(
    r"([?&][^\s=&#?]{0,40}?(?:token|authorization|cookie|password|secret)[^\s=&#?]{0,40}=)[^\s&#]+",
    re.IGNORECASE,
)


def make_plain(value: object, depth: int = MAX_DEPTH) -> Any:  # noqa: ANN401 JSON has no closed type
    """Return value as what JSON knows: text, finite numbers, true, false, null, lists and objects.

    Values of keys that name a secret and the user information of URLs become ``***``.
    """
    if type(value) is str:
        return clean(value)
    if value is None or (isinstance(value, int) and is_int64(value)) or (isinstance(value, float) and isfinite(value)):
        return value
    try:
        if isinstance(value, Mapping):
            return _plain_mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return [make_plain(item, depth - 1) for item in value] if depth else "…"
    except Exception:  # noqa: BLE001 a foreign container may do anything while it is walked
        return _unprintable(value)
    return clean(_text(value))


def mask_address(text: str) -> str:
    """Return an address (``HOST``, ``HOST:PORT``, ``[HOST]:PORT``) as its network: /24, and of IPv6 /56.

    What is no IP address becomes ``***``: it may be a person's machine all the same.
    """
    text = text.strip()
    if text.count(":") == 1 or text.startswith("["):
        text = text.rpartition(":")[0] if not text.endswith("]") else text
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return MASK
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ip_network((address, 24 if address.version == 4 else 56), strict=False))


def describe_exception(error: BaseException) -> list[dict[str, Any]]:
    """Return error and what caused it, outermost first: type, message and the innermost frames of each.

    The members of an exception group follow the group.
    """
    return [
        {"type": _type_name(link), "message": _text(link), "frames": _frames(link.__traceback__)}
        for link in _chain(error)
    ]


def _plain_mapping(mapping: Mapping[Any, object], depth: int) -> Any:  # noqa: ANN401 as make_plain
    if not depth:
        return "…"
    plain: dict[str, Any] = {}
    for key, value in mapping.items():
        name = key if type(key) is str else _text(key)
        if value is None:
            plain[name] = None
        elif is_secret(name):
            plain[name] = MASK
        elif type(value) is str:
            plain[name] = clean(value)
        else:
            plain[name] = make_plain(value, depth - 1)
    return plain


def is_int64(value: int) -> bool:
    """Whether readers of JSON keep all digits of an integer; so are True and False."""
    return -_INT64 <= value < _INT64


@lru_cache(maxsize=1024)
def is_secret(key: str) -> bool:
    """Whether values under this name must not be shown."""
    return _SECRET_KEY.search(key) is not None


def clean(text: str) -> str:
    """Mask the secrets that show in a text itself, and bound it."""
    if "://" in text:
        text = _USERINFO.sub(f"://{MASK}@", text)
    if "=" in text:
        text = _SECRET_PARAMETER.sub(rf"\1{MASK}", text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def _text(value: object) -> str:
    try:
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).decode(errors="backslashreplace")
        # Some exceptions, such as TimeoutError, have nothing to say but their name.
        return str(value) or type(value).__name__
    except Exception:  # noqa: BLE001 a foreign __str__ may do anything
        return _unprintable(value)


def _unprintable(value: object) -> str:
    return f"<unprintable {type(value).__name__}>"


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = deque([error]), {id(error)}
    for _ in range(1 + MAX_CAUSES):
        if not waiting:
            return
        link = waiting.popleft()
        yield link
        cause = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        members = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
        fresh = [other for other in (*members, cause) if other is not None and id(other) not in seen]
        seen.update(map(id, fresh))
        waiting.extend(fresh)


def _frames(traceback: TracebackType | None) -> list[dict[str, Any]]:
    frames: deque[dict[str, Any]] = deque(maxlen=MAX_FRAMES)
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append({"file": code.co_filename, "line": traceback.tb_lineno, "function": code.co_qualname})
        traceback = traceback.tb_next
    return list(frames)
