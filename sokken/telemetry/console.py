"""Log lines for a person at a terminal (-log-pretty): time, level, a sentence, then key=value.

Called by logs.py with lines that are plain and masked already. It must let no control character of a value
reach the terminal.
"""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_LEVELS = {
    "debug": ("DBG", "35"),
    "info": ("INF", "32"),
    "warning": ("WRN", "33"),
    "error": ("ERR", "31;1"),
    "critical": ("FTL", "31;1"),
}
_GREY, _CYAN = "90", "36"
_SENTENCES = {
    "forward_listening": ("tunnelling {} to {}", ("listen", "url")),
    "server_listening": ("listening on {}, tunnelling to: [{}]", ("listen", "targets")),
    "library_message": ("{}", ("message",)),
}
_SILENT = {"timestamp", "level", "event", "role", "version", "exception"}  # said elsewhere in the line, or known
_SIZES = ("KiB", "MiB", "GiB", "TiB")


def wants_colour(descriptor: int) -> bool:
    """Tell whether it is a terminal, and its owner has not asked for no colour (https://no-color.org)."""
    return os.isatty(descriptor) and not os.environ.get("NO_COLOR")


def format_console(line: Mapping[str, Any], *, colour: bool) -> str:
    """Return the line for people, with its line feed; an exception follows in lines of its own."""

    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    sentence, told = _format_sentence(line)
    name, code = _LEVELS[line["level"]]
    words = [paint(_format_time(line["timestamp"]), _GREY), paint(name, code), sentence]
    # Our own loggers are named after modules, which tells a reader at a terminal nothing.
    silent = _SILENT.union(told, {"logger"} if line["logger"].startswith("sokken") else ())
    for key, value in line.items():
        if key not in silent and value is not None:
            words.append(paint(f"{_escape(key)}=", _CYAN) + _format_value(key, value))
    return "\n".join([" ".join(words), *_format_exception(line.get("exception", ()))]) + "\n"


def _format_time(timestamp: str) -> str:
    return datetime.fromisoformat(timestamp).astimezone().strftime("%I:%M%p").removeprefix("0")


def _format_sentence(line: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return what happened in words, and the fields that these words have told already."""
    template, fields = _SENTENCES.get(line["event"], ("", ()))
    if not fields or not all(field in line for field in fields):
        return _escape(str(line["event"])), ()
    values = (line[field] for field in fields)
    texts = (" ".join(map(str, value)) if isinstance(value, list) else str(value) for value in values)
    return template.format(*map(_escape, texts)), fields


def _format_value(key: str, value: Any) -> str:  # noqa: ANN401 any JSON value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key.endswith(("_s", "_seconds")):
            return format_duration(value)
        if key.startswith("bytes_") or key.endswith("_bytes"):
            return format_size(value)
    text = value if isinstance(value, str) else json.dumps(value)
    needs_quotes = not text or not text.isprintable() or any(mark in text for mark in ' "=')
    if isinstance(value, str) and needs_quotes:
        return json.dumps(text, ensure_ascii=not text.isprintable())
    return text


def _escape(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _format_exception(links: list[dict[str, Any]] | tuple[()]) -> list[str]:
    lines = []
    for position, link in enumerate(links):
        lines.append(f"    {'from ' if position else ''}{link['type']}: {_escape(link['message'])}")
        lines += [f"      {_escape(frame['file'])}:{frame['line']} in {frame['function']}" for frame in link["frames"]]
    return lines


def format_duration(seconds: float) -> str:
    """Return 12.3ms, 4.21s, 2m3s or 1h2m3s."""
    if seconds < 1:
        return f"{seconds * 1000:.3g}ms"
    if seconds < 60:
        return f"{seconds:.2f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def format_size(size: float) -> str:
    """Return 512B, 1.5KiB, 20.0MiB."""
    if size < 1024:
        return f"{size}B"
    power = min((int(size).bit_length() - 1) // 10, len(_SIZES))
    return f"{size / 1024**power:.1f}{_SIZES[power - 1]}"
