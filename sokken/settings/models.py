"""Every setting of both programs, declared once: name, type, default and one line of help.

``-help``, docs/settings.md and the check of unknown variables are made from these classes; a field
``max_connections`` is the variable SOKKEN_MAX_CONNECTIONS and the option ``-max-connections``. No name may end
like the variables that Kubernetes makes for a Service (``_PORT``, ``_SERVICE_HOST`` ...).
"""

import re
import socket
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sokken.protocol.address import LISTEN_EXAMPLE
from sokken.settings.fields import (
    BasePath,
    Claim,
    Connections,
    Days,
    Files,
    Forwards,
    ListenAddress,
    Mark,
    Megabytes,
    MessageBytes,
    OptionalClaim,
    OptionalPath,
    Origins,
    Seconds,
    SecondsFromZero,
    Switch,
    Targets,
)

T = TypeVar("T")

PREFIX: Final = "SOKKEN_"
_OUTSIDE_CLAIMS = re.compile(r"[^A-Za-z0-9._:/@-]")


def host_claim() -> str:
    """Return the host's name, reduced to what a client id may hold."""
    return _OUTSIDE_CLAIMS.sub("-", socket.gethostname())[:128] or "localhost"


class ProgramSettings(BaseSettings):
    """What both programs know."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,  # lists are separated by commas, spaces or newlines, they are no JSON
        extra="ignore",
        frozen=True,
        defer_build=True,  # a process builds the validator of the one program that it is
        hide_input_in_errors=True,
    )

    api_addr: ListenAddress = Field(
        description="Where HTTP is served: /health, /livez and /readyz, and on the server the tunnels"
    )
    max_connections: Connections = Field(default=100, description="When reached, further connections are rejected")
    log_debug: Switch = Field(default=False, description="Log at level DEBUG rather than INFO")
    log_file: OptionalPath = Field(default=None, description="Path of the log file, if absent log to stderr")
    log_max_age_days: Days = Field(default=1, description="Age of the log file at which it is rotated")
    log_max_rotated: Files = Field(default=7, description="Rotated log files to keep, 0 keeps none")
    log_max_size_mb: Megabytes = Field(default=10, description="Size of the log file at which it is rotated")
    log_pretty: Switch = Field(
        default=False, description="Log to the console in colour, not JSON; overrides the log file"
    )
    half_closed_timeout_seconds: Seconds = Field(
        default=3600, description="A half-closed connection is aborted when nothing moves for this long"
    )
    max_message_bytes: MessageBytes = Field(
        default=524288, description="Largest WebSocket message to send, for gateways that cap it"
    )
    endpoint_delay_seconds: SecondsFromZero = Field(
        default=0, description="At shutdown, go on as before for this long after /readyz has turned 503"
    )
    drain_timeout_seconds: SecondsFromZero = Field(
        default=25, description="At shutdown, how long connections may take to end by themselves"
    )
    event_loop: Annotated[Literal["auto", "asyncio", "uvloop"], Mark(unit="name")] = Field(
        default="auto", description="Event loop: asyncio, uvloop, or auto, which is uvloop if it is installed"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings passes it by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment; no file that lies about is ever read."""
        return init_settings, env_settings


class ServerSettings(ProgramSettings):
    """What `sokken server` knows."""

    targets: Targets = Field(description="Targets that tunnels may lead to, HOST:PORT each")
    base_path: BasePath = Field(default="", description="Path before /tunnel/, behind a proxy that keeps it")
    allowed_origins: Origins = Field(
        default=(), description="Origins whose web pages may open tunnels; without one, browsers may not"
    )
    target_timeout_seconds: Seconds = Field(default=10, description="How long dialling a target may take")


class ClientSettings(ProgramSettings):
    """What `sokken client` knows."""

    forwards: Forwards = Field(description="Listen addresses and the server URLs they are tunnelled to")
    client_id: Annotated[Claim, Mark(unit="name", shown_default="the host name")] = Field(
        default_factory=host_claim, description="Who this client says it is, in the logs of both ends"
    )
    tunnel_name: OptionalClaim = Field(
        default=None, description="Name of the tunnel this client belongs to, in the logs of both ends"
    )
    ca_file: OptionalPath = Field(
        default=None, description="PEM file of the authorities to trust instead of the system's, for wss://"
    )
    connect_timeout_seconds: Seconds = Field(
        default=30, description="How long a local connection waits for its tunnel, retries included"
    )
    attempt_timeout_seconds: Seconds = Field(default=12, description="How long one attempt to open a tunnel may take")
    check_interval_seconds: Seconds = Field(
        default=20, description="How often the client asks its servers whether they would let it in"
    )
    readiness: Annotated[Literal["server", "listener"], Mark(unit="name")] = Field(
        default="server",
        description="What /readyz waits for: server (one has let the client in), or listener (it listens)",
    )

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        """Refuse what could never listen, or never be told apart. Port 0 is a new port every time."""
        listens = [forward.listen for forward in self.forwards if forward.listen.port]
        names = [forward.name for forward in self.forwards if forward.name != str(forward.listen)]
        if self.api_addr in listens:
            problem = "a forward's listen address is API_ADDR, too; give it its own"
            raise ValueError(f"'{self.api_addr}': {problem}, for example {LISTEN_EXAMPLE}")
        if listen := _first_repeated(listens):
            problem = "two forwards have this listen address; give each its own"
            raise ValueError(f"'{listen}': {problem}, for example {LISTEN_EXAMPLE}")
        if name := _first_repeated(names):
            problem = "two forwards have this name; give each its own"
            raise ValueError(f"'{name}': {problem}, for example {name}-2")
        return self


def _first_repeated(items: Sequence[T]) -> T | None:
    return next((item for place, item in enumerate(items) if item in items[:place]), None)
