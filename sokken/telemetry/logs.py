"""Structured logs: every line of a process, whoever says it, goes through one chain into one sink.

Programs call ``configure`` and ``install_exception_hooks`` once, and ``reopen`` on SIGHUP; every module takes its
logger with ``get_logger`` at import. Two lines are written per tunnelled connection, never one per chunk.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

import structlog
from structlog.typing import FilteringBoundLogger

from sokken.telemetry.console import format_console, wants_colour
from sokken.telemetry.log_file import RotatingFile
from sokken.telemetry.log_intake import capture_logging, exception_handler, hush, install_exception_hooks
from sokken.telemetry.log_json import format_json
from sokken.telemetry.log_queue import LineQueue, Told
from sokken.telemetry.log_sink import STANDARD_ERROR, Sink, StandardErrorSink, widen_standard_error
from sokken.telemetry.log_values import clean, describe_exception, make_plain, mask_address

__all__ = ["batching", "configure", "exception_handler", "get_logger", "hush", "install_exception_hooks", "reopen"]

HEAD = ("timestamp", "level", "event", "logger", "role", "version", "service")
_NAMES = frozenset(HEAD)
_PEERS = frozenset({"peer", "forwarded_for"})


class LogSettings(Protocol):
    """The settings that decide where the log goes and how much of it there is."""

    @property
    def log_debug(self) -> bool:
        """Log debugging lines, too."""

    @property
    def log_pretty(self) -> bool:
        """Write for a person at a terminal; overrides the file."""

    @property
    def log_peer(self) -> str:
        """``full``, or ``network``: peers' addresses are cut to their network."""

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


Format = Callable[[Mapping[str, str], Mapping[str, object]], str]
"""Writes a line, with its line feed, of our head and of the fields as they were told."""


class Output:
    """What structlog has at the end of the chain: the logger's name."""

    __slots__ = ("name",)

    def __init__(self, name: str = "sokken") -> None:
        self.name = name

    def debug(self, nothing: str) -> None:
        """Called by structlog at the end of the chain, where the line has been queued already."""

    info = warning = error = critical = debug


class Logger:
    """Stands for structlog's logger of a name, and binds it once instead of for every line.

    A method is looked up at its first use; ``forget`` has it looked up again, when configure() has decided anew.
    """

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __repr__(self) -> str:
        return f"<Logger {self._name}>"

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 -- whatever structlog's logger has
        found = self.__dict__[method] = getattr(structlog.get_logger(self._name).bind(), method)
        return found

    def forget(self) -> None:
        """Bind anew at the next line."""
        name = self._name
        self.__dict__.clear()
        self.__dict__["_name"] = name


_loggers: dict[str, Logger] = {}


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of that name; what configure() decides later holds for it, too."""
    return cast(FilteringBoundLogger, _loggers.setdefault(name, Logger(name)))


def configure(settings: LogSettings, role: str, version: str, service: str = "") -> None:
    """Send all logs of this process where the settings say; role is ``server`` or ``client``.

    ``service`` is what others call it (OTEL_SERVICE_NAME), on every line if it is given.

    Raises ConfigurationError when the log file cannot be opened.
    """
    _occupy_standard_streams()
    widen_standard_error()
    _process.queue.flush()
    former, _process.sink = _process.sink, _open_sink(settings)
    former.close()
    _process.identity = {"role": role, "version": version, **({"service": service} if service else {})}
    _process.masks_peers = settings.log_peer == "network"
    _process.render = _choose_format(settings)
    level = logging.DEBUG if settings.log_debug else logging.INFO
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    for logger in _loggers.values():
        logger.forget()
    capture_logging(level)


def silence() -> None:
    """Write no log: for commands that say themselves what they find (no line of ours is critical)."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def reopen() -> None:
    """Open the log file anew under its name, after something else has moved it away (SIGHUP)."""
    _process.queue.flush()
    _process.sink.reopen()


@contextmanager
def batching(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let what this thread tells while the loop runs wait for company (log_queue.py)."""
    _process.queue.attach(loop)
    try:
        yield
    finally:
        _process.queue.detach()


def _open_sink(settings: LogSettings) -> Sink:
    if settings.log_pretty or settings.log_file is None:
        return StandardErrorSink(_format_line)
    return RotatingFile(
        settings.log_file,
        _format_line,
        max_bytes=settings.log_max_size_mb * 1024 * 1024,
        max_age_seconds=settings.log_max_age_days * 86400,
        keep=settings.log_max_rotated,
    )


def _choose_format(settings: LogSettings) -> Format:
    if not settings.log_pretty:
        return format_json
    colour = wants_colour(STANDARD_ERROR)
    return lambda head, fields: format_console({**head, **make_plain(fields)}, colour=colour)


def _occupy_standard_streams() -> None:
    """Keep descriptors 0 to 2 out of use: a connection that became number 2 would be sent the log."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass
    os.close(descriptor)


# ------------------------------------------------------------------------------------------------ the chain
# structlog's processors are one, which takes the logger's output, the level, and the fields: a line's most frequent
# use is to tell of a connection, and that should cost one call. What makes a line of them runs when the queue does.

Line = dict[str, Any]


def _describe_exc_info(line: Line) -> None:
    exc_info = line.pop("exc_info")
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if isinstance(error, BaseException):
        line["exception"] = describe_exception(error)


def _mask_peers(line: Line) -> None:
    for name in _PEERS & line.keys():
        line[name] = ", ".join(map(mask_address, str(line[name]).split(",")))


def _make_line(output: Output, level: str, line: Line, told_at: float) -> bytes:
    if _process.masks_peers:
        _mask_peers(line)
    head = {
        "timestamp": _format_time(told_at),
        "level": level,
        "event": clean(str(line.pop("event", ""))),
        "logger": output.name,
        **_process.identity,
    }
    if not _NAMES.isdisjoint(line):  # such as a peer's version: the head is ours, the field has its value
        line = {f"field_{name}" if name in _NAMES else name: value for name, value in line.items()}
    return _process.render(head, line).encode(errors="backslashreplace")


def _format_time(told_at: float) -> str:
    second, microseconds = divmod(round(told_at * 1e6), 1_000_000)
    return f"{_format_second(second)}.{microseconds:06d}Z"


@lru_cache(maxsize=2)
def _format_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _finish(lines: Sequence[Told]) -> None:
    _process.sink.write_all(_make_line(*line) for line in lines)


def _queue(output: Output, level: str, line: Line) -> str:
    """The only processor: what it returns goes to the output's method of that level, which has nothing left to do."""
    if "exc_info" in line:
        _describe_exc_info(line)
    _process.queue.put(output, level, line)
    return ""


# The ids of a connection's trace are among its fields: most of its lines come from callbacks, and no trace is current.
_CHAIN: list[Any] = [_queue]


def _format_line(level: str, event: str, **fields: object) -> bytes:
    """Make a line that a sink says of itself: a logger would hand it to that very sink."""
    return _make_line(Output("sokken.telemetry"), level, {**fields, "event": event}, time.time())


class _Process:
    """What configure() decided; JSON on standard error until then, so that no early line is lost."""

    def __init__(self) -> None:
        self.identity = {"role": "", "version": ""}
        self.masks_peers = False
        self.sink: Sink = StandardErrorSink(_format_line)
        self.render: Format = format_json
        self.queue = LineQueue(_finish)


_process = _Process()
structlog.configure(
    processors=_CHAIN,
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    context_class=dict,
    logger_factory=Output,
    cache_logger_on_first_use=False,  # a logger taken at import, and used before configure(), must heed it
)
