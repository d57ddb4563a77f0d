"""The words after the program: API_ADDR, and the addresses and URLs of targets and forwards.

Called by main and check_config. What is given here replaces the variable of the same setting as a whole; what
is wrong here is told by the argument's number and name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sokken.cli.options import CommandLine
from sokken.protocol.address import (
    URL_EXAMPLE,
    AddressError,
    Forward,
    parse_listen_address,
    parse_server_url,
    parse_target,
)
from sokken.settings import ClientSettings, Loaded, OperatorSettings, Problem, ProgramSettings, load

T = TypeVar("T")
S = TypeVar("S", bound=ProgramSettings)


def load_settings(program: type[S], line: CommandLine) -> Loaded[S]:
    """Load a program's settings from its command line and the environment; raises InvalidSettings."""
    arguments = parse_arguments(program, line.arguments)
    values = {**line.options, **arguments.values}
    return load(program, values, [*line.problems, *arguments.problems])


@dataclass(slots=True)
class Arguments:
    """The values by setting, and what is wrong with those that have none."""

    values: dict[str, object] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, setting: str, place: int, name: str, parse: Callable[[str], T], text: str) -> T | None:
        """Parse one argument; None and a problem if it is malformed."""
        try:
            return parse(text)
        except AddressError as error:
            self.problems.append(Problem(setting, f"argument {place} ({name}): {error}"))
            return None


def parse_arguments(program: type[ProgramSettings], words: Sequence[str]) -> Arguments:
    """Parse the words after ``server``, ``client`` or ``operator``."""
    arguments = Arguments()
    if words:
        address = arguments.take("api_addr", 1, "API_ADDR", parse_listen_address, words[0])
        arguments.values["api_addr"] = address
    if words[1:] and program is ClientSettings:
        arguments.values["forwards"] = _parse_forwards(arguments, words)
    elif words[1:] and program is OperatorSettings:
        problem = f"argument 2: {words[1]!r}: the operator has one argument, API_ADDR, for example :8000"
        arguments.problems.append(Problem("", problem))
    elif words[1:]:
        arguments.values["targets"] = tuple(
            arguments.take("targets", place, "REMOTE_ADDR", parse_target, word)
            for place, word in enumerate(words[1:], 2)
        )
    return arguments


def _parse_forwards(arguments: Arguments, words: Sequence[str]) -> tuple[Forward, ...]:
    forwards = []
    for place in range(1, len(words), 2):
        text = words[place]
        listen = arguments.take("forwards", place + 1, "LISTEN_ADDR", parse_listen_address, text)
        if place + 1 == len(words):
            missing = f"argument {place + 2} (REMOTE_ADDR) is missing: {text!r} is followed by its URL"
            arguments.problems.append(Problem("forwards", f"{missing}, for example {URL_EXAMPLE}"))
            break
        url = arguments.take("forwards", place + 2, "REMOTE_ADDR", parse_server_url, words[place + 1])
        if listen is not None and url is not None:
            forwards.append(Forward(str(listen), listen, url))
    return tuple(forwards)
