"""Every SOKKEN_ variable and every option, once: the only reader of the environment.

The command line loads them; the programs get a frozen value and never ask again. What this package offers is
imported when it is first asked for: a probe runs every few seconds, and reads one address (own_address) without
what makes the settings.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sokken.settings.environment import UnknownSetting
    from sokken.settings.loading import InvalidSettings, Loaded, Problem, Source, load, read_alone
    from sokken.settings.models import (
        ClientSettings,
        OperatorSettings,
        ProgramSettings,
        ServerSettings,
        TopSettings,
        TunnelSettings,
    )
    from sokken.settings.opentelemetry import OpenTelemetry, read_opentelemetry

__all__ = [
    "ClientSettings",
    "InvalidSettings",
    "Loaded",
    "OpenTelemetry",
    "OperatorSettings",
    "Problem",
    "ProgramSettings",
    "ServerSettings",
    "Source",
    "TopSettings",
    "TunnelSettings",
    "UnknownSetting",
    "load",
    "read_alone",
    "read_opentelemetry",
]

_HOMES = {
    "environment": ["UnknownSetting"],
    "loading": ["InvalidSettings", "Loaded", "Problem", "Source", "load", "read_alone"],
    "models": [
        "ClientSettings",
        "OperatorSettings",
        "ProgramSettings",
        "ServerSettings",
        "TopSettings",
        "TunnelSettings",
    ],
    "opentelemetry": ["OpenTelemetry", "read_opentelemetry"],
}


def __getattr__(name: str) -> object:
    """Import what is asked for (PEP 562)."""
    for module, names in _HOMES.items():
        if name in names:
            found: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
