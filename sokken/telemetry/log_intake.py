"""What others have to say: libraries through ``logging``, Python's warnings, exceptions nobody handled.

Installed by logs.py and by the programs at start. Each becomes one line of the common chain; none may reach
standard error as a bare trace.
"""

import asyncio
import logging
import math
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Final, TextIO

import structlog

_SDK_INTERVAL_SECONDS: Final = 60.0
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO)


class LoggingBridge(logging.Handler):
    """Takes a record of the standard library's logging into the chain, under its own logger's name."""

    def __init__(self) -> None:
        super().__init__()
        self.hushed: dict[str, tuple[str, ...]] = {}
        """How messages begin that are passed over, by library."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record as ``library_message``."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 a library's malformed call must not become a trace on standard error
            message = str(record.msg)
        if message.startswith(self.hushed.get(record.name.partition(".")[0], ())):
            return
        level = next((level for level in _LEVELS if record.levelno >= level), logging.DEBUG)
        structlog.get_logger(record.name).log(level, "library_message", message=message, exc_info=record.exc_info)


class SdkFilter(logging.Filter):
    """Lets OpenTelemetry's SDK say each thing once a minute, without its tracebacks, and no secret at all."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record goes on; those of others do."""
        if not record.name.startswith("opentelemetry."):
            return True
        record.exc_info = None
        if record.name == "opentelemetry.util.re":  # it quotes a header, which may be a credential
            record.msg, record.args = "OTEL_EXPORTER_OTLP_HEADERS: an entry is no NAME=VALUE, and is left out", ()
        what, now = (record.name, str(record.msg)), self._clock()
        if now - self._said.get(what, -math.inf) < _SDK_INTERVAL_SECONDS:
            return False
        self._said[what] = now
        return True


def capture_logging(level: int) -> None:
    """Take in what libraries log at that level or above, and Python's warnings."""
    if not any(isinstance(handler, LoggingBridge) for handler in logging.root.handlers):
        bridge = LoggingBridge()
        bridge.addFilter(SdkFilter())
        logging.root.addHandler(bridge)
    logging.root.setLevel(level)
    # Tunnels tell of themselves, and health checks are not worth a line each.
    logging.getLogger("aiohttp.access").disabled = True
    warnings.showwarning = _log_warning


def hush(library: str, *words: str) -> None:
    """Take in only what a library warns of, and of that nothing that begins with the words."""
    logging.getLogger(library).setLevel(logging.WARNING)
    for handler in logging.root.handlers:
        if isinstance(handler, LoggingBridge):
            handler.hushed[library] = words


def install_exception_hooks(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Make every exception that nobody handled one ``unhandled_exception`` line, wherever it was raised."""
    sys.excepthook = lambda _kind, error, _trace: _log_unhandled(error, "main")
    threading.excepthook = _log_thread_exception
    sys.unraisablehook = lambda args: _log_unhandled(
        args.exc_value, "finalizer", message=args.err_msg, source=args.object
    )
    if loop is not None:
        loop.set_exception_handler(exception_handler)


def exception_handler(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what an event loop reports (asyncio.loop.set_exception_handler)."""
    future = context.get("task") or context.get("future")
    task = future.get_name() if isinstance(future, asyncio.Task) else None
    _log_unhandled(context.get("exception"), "event_loop", message=context.get("message"), task=task)


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:  # a thread may end itself so (threading.excepthook)
        _log_unhandled(args.exc_value, "thread", thread=args.thread and args.thread.name)


def _log_unhandled(error: BaseException | None, where: str, **fields: object) -> None:
    told = {name: value for name, value in fields.items() if value is not None}
    structlog.get_logger("sokken").error("unhandled_exception", where=where, **told, exc_info=error)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 the signature of warnings.showwarning
    line: str | None = None,  # noqa: ARG001 as above
) -> None:
    structlog.get_logger("py.warnings").warning(
        "python_warning", message=message, category=category.__name__, file=filename, line=lineno
    )
