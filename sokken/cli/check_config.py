"""``sokken check-config``: show the effective settings and where each came from, and every problem with them.

Called by main. It looks at what can be seen without leaving a trace: nothing is bound, written or dialled.
"""

import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from sokken.admin.door import open_token
from sokken.cli.arguments import load_settings
from sokken.cli.options import CommandLine
from sokken.errors import ConfigurationError
from sokken.protocol.address import Address
from sokken.settings import (
    ClientSettings,
    InvalidSettings,
    Loaded,
    OperatorSettings,
    ProgramSettings,
    ServerSettings,
    Source,
    UnknownSetting,
)
from sokken.settings.catalogue import PROGRAMS, settings_of
from sokken.transport.credentials import Credentials, refuse_plaintext

SOUND: Final = 0
UNSOUND: Final = 3

_DIM, _RED, _YELLOW, _PLAIN = "\033[2m", "\033[31m", "\033[33m", "\033[0m"


def check_config(line: CommandLine) -> int:
    """Print the settings (stdout) and their problems (stderr, one a line); return the exit code."""
    try:
        loaded = load_settings(PROGRAMS[line.program], line)
    except InvalidSettings as error:
        _tell(error.warnings)
        return _report(problem.text for problem in error.problems)
    _tell(loaded.warnings)
    print(_table(loaded))
    return _report(find_problems(loaded.settings))


def find_problems(settings: ProgramSettings) -> Iterator[str]:
    """Yield one line for each well-formed setting that cannot work on this host, as it is now."""
    yield from _unresolvable("API_ADDR", settings.api_addr)
    if settings.admin_addr is not None:
        yield from _unresolvable("SOKKEN_ADMIN_ADDR", settings.admin_addr)
    yield from _failing(lambda: open_token(settings.admin_token_file))
    if isinstance(settings, ClientSettings):
        for forward in settings.forwards:
            yield from _unresolvable("a forward", forward.listen)
        yield from _failing(
            lambda: refuse_plaintext(settings), lambda: Credentials(settings, are_required=True).context()
        )
    if isinstance(settings, OperatorSettings):
        from sokken.operator.cluster.access import open_access  # not for who checks an end of tunnels
        from sokken.settings.kubernetes import read_api_server

        yield from _failing(lambda: open_access(settings.kubeconfig, read_api_server()))
    if isinstance(settings, ServerSettings):
        from sokken.server.authentication import open_authentication, open_tls  # not for who checks a client
        from sokken.server.policy_file import open_policy

        yield from _failing(
            lambda: open_tls(settings),
            lambda: open_authentication(settings),
            lambda: open_policy(settings.policy_file, settings.targets),
        )
    if not settings.log_pretty:
        yield from _unwritable(settings.log_file)
    if settings.event_loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        yield "event-loop: uvloop is not installed, for example pip install 'sokken[fast]'"


def _tell(warnings: Iterable[UnknownSetting]) -> None:
    for warning in warnings:
        print(_coloured(f"warning: {warning}", _YELLOW, sys.stderr.isatty()), file=sys.stderr)


def _report(problems: Iterable[str]) -> int:
    code = SOUND
    for problem in problems:
        print(_coloured(problem, _RED, sys.stderr.isatty()), file=sys.stderr)
        code = UNSOUND
    return code


def _table(loaded: Loaded[ProgramSettings]) -> str:
    settings = settings_of(type(loaded.settings))
    rows = [("SETTING", "VALUE", "FROM")]
    for name, source in loaded.sources.items():
        setting = settings[name]
        origin = f"environment {setting.variable}" if source is Source.ENVIRONMENT else str(source)
        shown = setting.show(getattr(loaded.settings, name)) or "-"
        rows.append((setting.option.removeprefix("-"), shown, origin))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(
        _coloured(
            f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}",
            _DIM if origin == Source.DEFAULT else "",
            sys.stdout.isatty(),
        )
        for name, value, origin in rows
    )


def _coloured(text: str, colour: str, is_terminal: bool) -> str:
    return f"{colour}{text}{_PLAIN}" if colour and is_terminal else text


def _unresolvable(what: str, address: Address) -> Iterator[str]:
    try:
        socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        yield f"{what}: '{address}' does not resolve here: {error.strerror}"


def _failing(*checks: Callable[[], object]) -> Iterator[str]:
    for check in checks:
        try:
            check()
        except ConfigurationError as error:
            yield str(error)


def _unwritable(path: Path | None) -> Iterator[str]:
    """Look for what would keep the log from being opened or rotated; missing directories will be made."""
    if path is None:
        return
    try:
        nearest = next(place for place in [path, *path.absolute().parents] if place.exists())
        may_write = os.access(nearest, os.W_OK)
    except OSError as error:
        yield f"log-file: {str(path)!r} cannot be reached: {error.strerror}"
        return
    if nearest == path and path.is_dir():
        yield f"log-file: {str(path)!r} is a directory"
    elif nearest != path and not nearest.is_dir():
        yield f"log-file: {str(nearest)!r} is no directory"
    elif not may_write:
        yield f"log-file: {str(nearest)!r} may not be written to"
