"""The settings as the command line, its help and the documents see them, read from the models.

Called by cli/, loading and document; it knows no value. One Setting is one field of one or more programs.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic.fields import FieldInfo

from sokken.settings.fields import Mark
from sokken.settings.models import PREFIX, ClientSettings, OperatorSettings, ProgramSettings, ServerSettings

PROGRAMS: Final[dict[str, type[ProgramSettings]]] = {
    "server": ServerSettings,
    "client": ClientSettings,
    "operator": OperatorSettings,
}
MASKED: Final = "********"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. An argument's name is what it is called on the command line, "" for an option."""

    name: str
    variable: str
    """The environment variable: ``SOKKEN_LOG_FILE``."""
    meaning: str
    unit: str
    argument: str
    default: str
    example: str
    is_switch: bool
    is_secret: bool
    refuses_empty: bool

    @property
    def option(self) -> str:
        """The option: ``-log-file``."""
        return "-" + self.name.replace("_", "-")

    def show(self, value: object) -> str:
        """Format a value for a person; secrets are masked."""
        return MASKED if self.is_secret and value else format_value(value)


def settings_of(program: type[ProgramSettings]) -> dict[str, Setting]:
    """Return a program's settings by name, in the order in which they are declared."""
    return {name: _describe(name, field) for name, field in program.model_fields.items()}


def all_settings() -> dict[str, Setting]:
    """Return the settings of every program by name."""
    return {name: setting for program in PROGRAMS.values() for name, setting in settings_of(program).items()}


def programs_of(name: str) -> list[str]:
    """Return the programs that have this setting."""
    return [program for program, settings in PROGRAMS.items() if name in settings.model_fields]


def shown_settings(settings: ProgramSettings) -> list[dict[str, object]]:
    """What holds, for a person: each variable, its value without secrets, and whether it was given."""
    return [
        {
            "variable": setting.variable,
            "value": setting.show(getattr(settings, name)),
            "given": name in settings.model_fields_set,
        }
        for name, setting in settings_of(type(settings)).items()
    ]


def format_value(value: object) -> str:
    """Format a value as an argument or a variable would give it; bytes that are no text are escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, os.PathLike | str) or not isinstance(value, Iterable):
        return str(value).encode(errors="backslashreplace").decode()
    return ", ".join(map(format_value, value))


def _describe(name: str, field: FieldInfo) -> Setting:
    # A field's own mark stands after the one of its type.
    mark = next((item for item in reversed(field.metadata) if isinstance(item, Mark)), Mark())
    default = mark.shown_default or ("" if field.is_required() else format_value(field.default))
    return Setting(
        name=name,
        variable=mark.variable or PREFIX + name.upper(),
        meaning=field.description or "",
        unit=mark.unit,
        argument=mark.argument,
        default=default,
        example=mark.example or default,
        is_switch=field.annotation is bool,
        is_secret=mark.is_secret,
        refuses_empty=mark.refuses_empty,
    )
