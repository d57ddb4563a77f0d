"""Take a command line apart: options with one dash or two, anywhere, and words.

Called by main. The form is that of Go's flag package (``-name value``, ``-name=value``, ``--name``; ``--``
ends the options), but options may also stand after words. Values stay text: the settings read them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sokken.settings import Problem
from sokken.settings.catalogue import PROGRAMS, Setting, all_settings, programs_of
from sokken.settings.environment import suggest

CHECK: Final = "check-config"
POLICY: Final = "policy"
TOP: Final = "top"
DOCTOR: Final = "doctor"
PROBE: Final = "probe"
OPERATOR: Final = "operator"
_HELP: Final = ("-h", "-help")
_VERSION: Final = "-version"


@dataclass(slots=True)
class CommandLine:
    """What was said: the words in order, the text of each option by setting, and what is wrong with them."""

    words: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    wants_help: bool = False
    wants_version: bool = False

    @property
    def is_check(self) -> bool:
        """Whether the settings are only to be checked."""
        return self.words[:1] == [CHECK]

    @property
    def program(self) -> str:
        """The program's name as given, "" if none was."""
        return next(iter(self.words[self.is_check :]), "")

    @property
    def arguments(self) -> list[str]:
        """The words after the program: addresses and URLs."""
        return self.words[self.is_check + 1 :]


def parse_command_line(argv: Sequence[str]) -> CommandLine:
    """Tell options from words. An option's last value counts."""
    line = CommandLine()
    known = {setting.option: setting for setting in all_settings().values() if not setting.argument}
    rest = iter(argv)
    for word in rest:
        if word == "--":
            line.words.extend(rest)
        elif len(word) > 1 and word.startswith("-"):
            _take_option(line, word, rest, known)
        else:
            line.words.append(word)
    if line.program in PROGRAMS:
        line.problems.extend(_foreign_options(line))
    return line


def _take_option(line: CommandLine, word: str, rest: Iterator[str], known: Mapping[str, Setting]) -> None:
    name, equals, text = word.partition("=")
    option = name.removeprefix("-") if name.startswith("--") else name
    if option in _HELP:
        line.wants_help = True
    elif option == _VERSION:
        line.wants_version = True
    elif option not in known:
        near = suggest(option, known)
        hint = f"did you mean {near}?" if near else "see sokken server --help and sokken client --help"
        line.problems.append(Problem("", f"unknown option {name}, {hint}"))
    elif known[option].is_secret:
        variable = known[option].variable
        if not equals:
            next(rest, None)  # else it would be taken for an address, and told as one
        line.problems.append(Problem("", f"option {name} would be seen by everybody on this host; set {variable}"))
    else:
        setting = known[option]
        value = text if equals else _value_of(setting, rest)
        if value is not None:
            line.options[setting.name] = value
        else:
            example = f"{setting.option} {setting.example or setting.unit.upper()}"
            line.problems.append(Problem(setting.name, f"option {setting.option} needs a value, for example {example}"))


def _value_of(setting: Setting, rest: Iterator[str]) -> str | None:
    """Return the value that is not in the same word: a switch alone is on, others take the next word."""
    return "true" if setting.is_switch else next(rest, None)


def _foreign_options(line: CommandLine) -> Iterator[Problem]:
    settings = all_settings()
    for name in line.options:
        programs = programs_of(name)
        if line.program not in programs:
            owner = " and ".join(programs)
            yield Problem(name, f"option {settings[name].option} is one of sokken {owner}, not {line.program}")
