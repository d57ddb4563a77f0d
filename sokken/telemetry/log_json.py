"""A log line as JSON, field by field.

Called by logs.py for every line that is not for a person to read. It writes what ``make_plain`` and ``json`` would
make of the whole line, with a short way for plain values: a tunnelled connection has two lines of a dozen fields.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Final

from sokken.telemetry.log_values import clean, is_int64, is_secret, make_plain

# Pure ASCII: no control character, and no broken surrogate, survives unescaped.
_encode: Final = json.JSONEncoder(check_circular=False, allow_nan=False, separators=(",", ":")).encode


def format_json(head: Mapping[str, str], fields: Mapping[str, object]) -> str:
    """The line, with its line feed: our ``head`` first, then the ``fields`` as they were told."""
    written = [_look_up(name)[0] + encode_basestring_ascii(value) for name, value in head.items()]
    written += [_field(name, value) for name, value in fields.items()]
    return f"{{{','.join(written)}}}\n"


def _field(name: str, value: object) -> str:
    label, may_be_shown = _look_up(name)
    if may_be_shown:
        kind = type(value)
        if isinstance(value, str):
            return label + encode_basestring_ascii(clean(str.__str__(value)))
        if (kind is int and is_int64(value)) or (kind is float and isfinite(value)):  # type: ignore[arg-type]
            return f"{label}{value!r}"
    [plain] = make_plain({name: value}).values()
    return label + _encode(plain)


@lru_cache(maxsize=1024)
def _look_up(name: str) -> tuple[str, bool]:
    return f"{_encode(name)}:", not is_secret(name)
