"""From arguments and environment to the settings of one program, or to every problem with them.

Called once, at start, by cli/. An argument beats a variable, a variable beats the default, and an empty
variable is the same as none. Nothing is opened, resolved or bound here.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sokken.errors import SokkenError
from sokken.settings.catalogue import Setting, format_value, settings_of
from sokken.settings.environment import UnknownSetting, find_unknown
from sokken.settings.models import ProgramSettings

S = TypeVar("S", bound=ProgramSettings)

_SHOWN = 200
_WORDING: Final = {
    "bool_parsing": "this is neither true nor false",
    "finite_number": "this is no finite number",
    "float_parsing": "this is no number",
    "greater_than_equal": "this is less than {ge}",
    "int_from_float": "this is no whole number",
    "int_parsing": "this is no whole number",
    "int_parsing_size": "this number is too large",
    "less_than_equal": "this is more than {le}",
    "literal_error": "this is not {expected}",
}


class Source(StrEnum):
    """Where a value came from."""

    ARGUMENT = "argument"
    ENVIRONMENT = "environment"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one setting ("" for several together), in one line."""

    setting: str
    text: str
    is_missing: bool = False


class InvalidSettings(SokkenError):
    """Settings that no program can start with: at least one problem, malformed ones before missing ones."""

    def __init__(self, problems: Iterable[Problem], warnings: tuple[UnknownSetting, ...]) -> None:
        """Keep the problems, of which the first is the message, and the variables that are nobody's."""
        self.problems = tuple(sorted(problems, key=lambda problem: problem.is_missing))
        self.warnings = warnings
        super().__init__(self.problems[0].text)

    @property
    def is_missing(self) -> bool:
        """Whether nothing is malformed: something is only missing."""
        return self.problems[0].is_missing


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """The settings of a program, where each came from, and the variables that are nobody's."""

    settings: S
    sources: Mapping[str, Source]
    warnings: tuple[UnknownSetting, ...]


def load(program: type[S], arguments: Mapping[str, Any], problems: Iterable[Problem] = ()) -> Loaded[S]:
    """Load the settings of a program; raises InvalidSettings with all problems.

    The arguments are values or texts by setting. The problems are those the caller has found already: the
    settings they are about are left out of ``arguments``, and are not reported missing for that.
    """
    found = [*problems, *_empty_variables(program, arguments)]
    unknown = find_unknown(os.environ)
    try:
        settings = program(**arguments)
    except ValidationError as error:
        known = {problem.setting for problem in found}
        translator = _Translator(settings_of(program), arguments, unknown)
        translated = map(translator.translate, error.errors(include_url=False))
        found.extend(problem for problem in translated if problem.setting not in known)
    if found:
        raise InvalidSettings(found, unknown)
    sources = {name: _find_source(name, settings, arguments) for name in program.model_fields}
    return Loaded(settings, sources, unknown)


def read_alone(program: type[S], variables: Mapping[str, str]) -> S:
    """The settings that a program would have with these variables and nothing else; raises InvalidSettings.

    For who starts it elsewhere. Variables that are none of its own are left out.
    """
    catalogue = settings_of(program)
    values = {name: variables[each.variable] for name, each in catalogue.items() if variables.get(each.variable)}
    settings = program.__new__(program)
    try:
        BaseModel.__init__(settings, **values)  # not the settings' own, which would read this process's variables
    except ValidationError as error:
        translator = _Translator(catalogue, {}, ())
        raise InvalidSettings(map(translator.translate, error.errors(include_url=False)), ()) from None
    return settings


def _empty_variables(program: type[S], arguments: Mapping[str, Any]) -> Iterator[Problem]:
    for setting in settings_of(program).values():
        if setting.refuses_empty and setting.name not in arguments and os.environ.get(setting.variable) == "":
            text = f"variable {setting.variable}: it is empty; set it, or leave it out"
            yield Problem(setting.name, text, is_missing=True)


def _find_source(name: str, settings: ProgramSettings, arguments: Mapping[str, Any]) -> Source:
    if name in arguments:
        return Source.ARGUMENT
    return Source.ENVIRONMENT if name in settings.model_fields_set else Source.DEFAULT


@dataclass(frozen=True, slots=True)
class _Translator:
    """Says in our words what pydantic found."""

    catalogue: Mapping[str, Setting]
    arguments: Mapping[str, Any]
    unknown: tuple[UnknownSetting, ...]

    def translate(self, details: ErrorDetails) -> Problem:
        if not details["loc"]:
            return Problem("", _reason(details))
        setting = self.catalogue[str(details["loc"][0])]
        if details["type"] == "missing":
            return Problem(setting.name, self._missing(setting), is_missing=True)
        return Problem(setting.name, f"{self._place(setting)}: {_complaint(setting, details)}")

    def _place(self, setting: Setting) -> str:
        """Name where a value was given."""
        if setting.name not in self.arguments:
            return f"variable {setting.variable}"
        return f"argument {setting.argument}" if setting.argument else f"option {setting.option}"

    def _missing(self, setting: Setting) -> str:
        """Name both places where a value could have been given, and the one where it perhaps was."""
        text = f"{setting.argument} is missing: give it as an argument, or set {setting.variable}"
        misspelt = [item.name for item in self.unknown if item.suggestion == setting.variable]
        if misspelt:
            return f"{text} ({misspelt[0]} is set: is that what you mean?)"
        return f"{text}, for example {setting.variable}={setting.example}"


def _complaint(setting: Setting, details: ErrorDetails) -> str:
    if setting.is_secret:
        return "this secret is malformed (it is not shown)"
    if details["type"] == "value_error":
        return _reason(details)
    limits = {name: format_value(limit) for name, limit in details.get("ctx", {}).items()}
    wording = _WORDING.get(details["type"], details["msg"]).format(**limits)
    return f"{str(details['input'])[:_SHOWN]!r}: {wording}, for example {setting.example}"


def _reason(details: ErrorDetails) -> str:
    """Return the message of the ValueError that a validator of ours raised."""
    return str(details["ctx"]["error"])
