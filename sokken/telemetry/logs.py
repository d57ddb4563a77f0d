"""Structured logs: every line of a process, whoever says it, goes through one chain into one sink.

Programs call ``configure`` once, ``install_exception_hooks`` once, and ``reopen`` on SIGHUP; every module takes its
logger with ``get_logger`` at import. Two lines are written per tunnelled connection, never one per chunk.
"""

import asyncio
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from sokken.telemetry.log_sink import Sink, StandardErrorSink
from sokken.telemetry.log_values import describe_exception, make_plain

HEAD = ("timestamp", "level", "event", "logger", "role", "version")

Line = MutableMapping[str, Any]


class LogSettings(Protocol):
    """The settings that decide where the log goes and how much of it there is."""

    @property
    def log_debug(self) -> bool:
        """Say more."""

    @property
    def log_pretty(self) -> bool:
        """Write for a person at a terminal; overrides the file."""

    @property
    def log_file(self) -> Path | None:
        """The file; standard error when None."""

    @property
    def log_max_size_mb(self) -> int:
        """Mebibytes after which the file is rotated."""

    @property
    def log_max_age_days(self) -> int:
        """Days after which the file is rotated."""

    @property
    def log_max_rotated(self) -> int:
        """Rotated files to keep; 0 keeps none."""


class _Output:
    """What structlog hands a finished line to; it knows the logger's name and finds the sink of the moment."""

    __slots__ = ("name",)

    def __init__(self, name: str = "sokken") -> None:
        self.name = name

    def write(self, line: bytes) -> None:
        _process.sink.write(line)

    debug = info = warning = error = critical = write


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of that name. What configure() decides later holds for it, too."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


def reopen() -> None:
    """Open the log file anew under its name, after something else has moved it away (SIGHUP)."""
    _process.sink.reopen()


def configure(settings: LogSettings, role: str, version: str) -> None:
    """Send all logs of this process where the settings say; role is ``server`` or ``client``.

    Raises ConfigurationError when the log file cannot be opened.
    """
    _process.role, _process.version = role, version
    _process.sink = _open_sink(settings)
    _process.render = _render_json
    level = logging.DEBUG if settings.log_debug else logging.INFO
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    _capture_logging(level)
    warnings.showwarning = _log_warning


def _open_sink(settings: LogSettings) -> Sink:
    return StandardErrorSink(_format_line)


# ------------------------------------------------------------------------------------------ the chain


def _describe_exc_info(_logger: _Output, _method: str, line: Line) -> Line:
    exc_info = line.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if isinstance(error, BaseException):
        line["exception"] = describe_exception(error)
    return line


def _keep_plain(_logger: _Output, _method: str, line: Line) -> Line:
    return cast(Line, make_plain(line))


def _put_head(logger: _Output, method: str, line: Line) -> Line:
    head = {
        "timestamp": datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z",
        "level": method,
        "event": line.pop("event", ""),
        "logger": logger.name,
        "role": _process.role,
        "version": _process.version,
    }
    if not line.keys().isdisjoint(
        HEAD
    ):  # such as a peer's version: the head is ours, the field keeps its value
        line = {f"field_{name}" if name in HEAD else name: value for name, value in line.items()}
    return {**head, **line}


def _render(_logger: _Output, _method: str, line: Line) -> bytes:
    return _process.render(line)


_encode_json = json.JSONEncoder(
    separators=(",", ":"), check_circular=False
).encode  # ASCII: no raw control character


def _render_json(line: Mapping[str, Any]) -> bytes:
    return _encode_json(line).encode("ascii") + b"\n"


# The one list: whatever is to be on every line (ids of the current trace) goes before _keep_plain.
_CHAIN: list[Any] = [_describe_exc_info, _keep_plain, _put_head, _render]


def _format_line(level: str, event: str, **fields: object) -> bytes:
    """Make a line of the log's own, for a sink."""
    line: Any = {**fields, "event": event}
    for process in _CHAIN:
        line = process(_Output("sokken.telemetry.logs"), level, line)
    return cast(bytes, line)


# --------------------------------------------------------------------------------- what others have to say


class _LoggingBridge(logging.Handler):
    """Takes what libraries say through ``logging`` into the chain, under their own logger's name."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 a library's malformed call must not become a traceback on standard error
            message = str(record.msg)
        get_logger(record.name).log(
            _known_level(record.levelno), "library_message", message=message, exc_info=record.exc_info
        )


def _known_level(number: int) -> int:
    levels = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO)
    return next((level for level in levels if number >= level), logging.DEBUG)


def _capture_logging(level: int) -> None:
    if not any(isinstance(handler, _LoggingBridge) for handler in logging.root.handlers):
        logging.root.addHandler(_LoggingBridge())
    logging.root.setLevel(level)
    logging.getLogger(
        "aiohttp.access"
    ).disabled = True  # each tunnel says so itself, health checks say nothing


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 as above
    line: str | None = None,  # noqa: ARG001 as above
) -> None:
    get_logger("py.warnings").warning(
        "python_warning", message=message, category=category.__name__, file=filename, line=lineno
    )


def install_exception_hooks(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Make an exception that nobody handled one ``unhandled_exception`` line, wherever it was raised."""
    sys.excepthook = lambda _kind, error, _traceback: _log_unhandled(error, "main")
    threading.excepthook = lambda args: _log_unhandled(
        args.exc_value, "thread", thread=args.thread and args.thread.name
    )
    sys.unraisablehook = lambda args: _log_unhandled(args.exc_value, "finalizer", message=args.err_msg)
    if loop is not None:
        loop.set_exception_handler(exception_handler)


def exception_handler(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what an event loop reports (loop.set_exception_handler)."""
    future = context.get("task") or context.get("future")
    task = future.get_name() if isinstance(future, asyncio.Task) else None
    _log_unhandled(context.get("exception"), "event_loop", message=context.get("message"), task=task)


def _log_unhandled(error: BaseException | None, where: str, **fields: object) -> None:
    told = {name: value for name, value in fields.items() if value is not None}
    get_logger("sokken").error("unhandled_exception", where=where, **told, exc_info=error)


# ------------------------------------------------------------------------------------- this process's state


class _Process:
    """What configure() decided; until then JSON on standard error, so that no early line is lost."""

    def __init__(self) -> None:
        self.role = self.version = ""
        self.sink: Sink = StandardErrorSink(_format_line)
        self.render: Callable[[Mapping[str, Any]], bytes] = _render_json


_process = _Process()
structlog.configure(
    processors=_CHAIN,
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    context_class=dict,
    logger_factory=_Output,
    cache_logger_on_first_use=False,
)
