"""From a command line to the one thing it asks for: a text, a check, or a program that runs until it ends.

Called by main. Only the chosen program is imported, and only when its settings are sound: a client listens
before a server would have finished importing.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from sokken import __version__
from sokken.cli.arguments import load_settings
from sokken.cli.help import overview, program_help
from sokken.cli.options import (
    CHECK,
    DOCTOR,
    OPERATOR,
    POLICY,
    PROBE,
    TOP,
    CommandLine,
    parse_command_line,
)
from sokken.errors import ConfigurationError, UsageError
from sokken.settings import (
    ClientSettings,
    InvalidSettings,
    Loaded,
    OperatorSettings,
    ProgramSettings,
    ServerSettings,
)
from sokken.settings.catalogue import PROGRAMS
from sokken.settings.environment import suggest

S = TypeVar("S", bound=ProgramSettings)


def dispatch(argv: Sequence[str]) -> int:
    """Do what the command line says and return the exit code; raises SokkenError."""
    if command := _find_command(argv):
        return command()
    line = parse_command_line(argv)
    if line.wants_version:
        print(f"sokken {__version__}")
        return 0
    if line.wants_help:
        print(program_help(line.program) if line.program in PROGRAMS else overview(), end="")
        return 0
    if not line.words and not line.problems:
        print(overview(), end="", file=sys.stderr)
        return 2
    if line.program not in PROGRAMS:
        raise UsageError(_unknown_program(line))
    if line.is_check:
        from sokken.cli.check_config import check_config

        return check_config(line)
    return _run(line)


def _find_command(argv: Sequence[str]) -> Callable[[], int] | None:
    """Find the small command that is called so; None if it is none."""
    match list(argv):
        case ["policy", *words]:
            from sokken.cli.policy import policy

            return partial(policy, words)
        case ["doctor", *words]:
            from sokken.cli.doctor import doctor

            return partial(doctor, words)
        case ["top", *words]:
            from sokken.cli.top import top

            return partial(top, words)
        case ["operator", "crds", *words]:
            from sokken.cli.crds import crds

            return partial(crds, words)
        case _:
            return None


def _run(line: CommandLine) -> int:
    if line.program == "server":
        server = _load(ServerSettings, line)
        from sokken.server.program import run as run_server

        return run_server(server.settings, server.warnings)
    if line.program == OPERATOR:
        operator = _load(OperatorSettings, line)
        _require_kopf()
        from sokken.operator.program import run as run_operator

        return run_operator(operator.settings, operator.warnings)
    client = _load(ClientSettings, line)
    from sokken.client.program import run as run_client

    return run_client(client.settings, client.warnings)


def _require_kopf() -> None:
    if importlib.util.find_spec("kopf") is None:
        raise ConfigurationError("the operator needs kopf, which is not installed: pip install 'sokken[operator]'")


def _load(program: type[S], line: CommandLine) -> Loaded[S]:
    """Load the settings; of several problems the first is told, and how to see the others."""
    try:
        return load_settings(program, line)
    except InvalidSettings as error:
        others = len(error.problems) - 1
        hint = f" (and {others} more: sokken {CHECK} {line.program} ... lists them)" if others else ""
        kind = ConfigurationError if error.is_missing else UsageError
        raise kind(f"{error}{hint}") from error


def _unknown_program(line: CommandLine) -> str:
    if line.problems:
        return line.problems[0].text
    if not line.program:
        return f"{CHECK} is followed by server, client or operator, for example sokken {CHECK} server"
    near = suggest(line.program, [*PROGRAMS, CHECK, POLICY, DOCTOR, PROBE, TOP])
    hint = f"did you mean {near}?" if near else "for example sokken server --help"
    return f"unknown command {line.program!r}, {hint}"
