"""Every SOKKEN_ variable and every option, once: the only reader of the environment.

The command line loads them; the programs get a frozen value and never ask again.
"""

from sokken.settings.environment import UnknownSetting
from sokken.settings.load import InvalidSettings, Loaded, Problem, Source, load
from sokken.settings.models import ClientSettings, ProgramSettings, ServerSettings, TopSettings
from sokken.settings.opentelemetry import OpenTelemetry, read_opentelemetry

__all__ = [
    "ClientSettings",
    "InvalidSettings",
    "Loaded",
    "OpenTelemetry",
    "Problem",
    "ProgramSettings",
    "ServerSettings",
    "Source",
    "TopSettings",
    "UnknownSetting",
    "load",
    "read_opentelemetry",
]
