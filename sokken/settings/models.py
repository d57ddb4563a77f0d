"""Every setting of every program, declared once: name, type, default and one line of help.

``-help``, docs/settings.md and the check of unknown variables are made from these classes; a field
``max_connections`` is the variable SOKKEN_MAX_CONNECTIONS and the option ``-max-connections``, and what other
programs read, too, is their variable (HTTPS_PROXY). No name may end like the variables that Kubernetes makes for a
Service (``_PORT``, ``_SERVICE_HOST`` ...).
"""

import re
import socket
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sokken import __version__
from sokken.protocol.address import LISTEN_EXAMPLE, Address
from sokken.protocol.proxy import NO_PROXY_EXAMPLE
from sokken.settings.fields import (
    BaggageKeys,
    BasePath,
    Claim,
    Connections,
    CredentialPath,
    Days,
    Exemptions,
    Files,
    Forwards,
    HeaderFields,
    HostNames,
    ImageReference,
    JwksUrl,
    KubernetesName,
    KubernetesNames,
    ListenAddress,
    Mark,
    Megabytes,
    MessageBytes,
    Networks,
    OptionalClaim,
    OptionalKubernetesName,
    OptionalListenAddress,
    OptionalPath,
    OptionalSeconds,
    OptionalText,
    Origins,
    ProxyUrl,
    Rate,
    Rollouts,
    Seconds,
    SecondsFromZero,
    ServerName,
    Switch,
    Targets,
    Workers,
)

T = TypeVar("T")

PREFIX: Final = "SOKKEN_"
_OUTSIDE_CLAIMS = re.compile(r"[^A-Za-z0-9._:/@-]")


def host_claim() -> str:
    """Return the host's name, reduced to what a client id may hold."""
    return _OUTSIDE_CLAIMS.sub("-", socket.gethostname())[:128] or "localhost"


class Variables(BaseSettings):
    """Where settings come from: arguments, then the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,  # lists are separated by commas, spaces or newlines, they are no JSON
        extra="ignore",
        frozen=True,
        defer_build=True,  # a process builds the validator of the one program that it is
        hide_input_in_errors=True,
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


class ProgramSettings(Variables):
    """What every program knows."""

    api_addr: ListenAddress = Field(
        description="Where HTTP is served: /health, /livez and /readyz, and on the server the tunnels"
    )
    admin_addr: OptionalListenAddress = Field(
        default=None,
        description="Where /statusz, /metrics and, of tunnels, the page and /connections are served, if anywhere",
    )
    admin_token_file: CredentialPath = Field(
        default=None,
        description="File of the bearer token without which these are not shown, and no connection aborted",
    )
    admin_hosts: HostNames = Field(
        default=(), description="Names by which they may be asked for, besides IP addresses and localhost"
    )
    log_debug: Switch = Field(default=False, description="Log at level DEBUG rather than INFO")
    log_file: OptionalPath = Field(default=None, description="Path of the log file, if absent log to stderr")
    log_max_age_days: Days = Field(default=1, description="Age of the log file at which it is rotated")
    log_max_rotated: Files = Field(default=7, description="Rotated log files to keep, 0 keeps none")
    log_max_size_mb: Megabytes = Field(default=10, description="Size of the log file at which it is rotated")
    log_pretty: Switch = Field(
        default=False, description="Log to the console in colour, not JSON; overrides the log file"
    )
    log_peer: Annotated[Literal["full", "network"], Mark(unit="name")] = Field(
        default="full", description="Peers' addresses in the log: full, or only their network (/24, IPv6 /56)"
    )
    drain_timeout_seconds: SecondsFromZero = Field(
        default=25,
        description="At shutdown, how long connections, or an operator's work, may take to end by themselves",
    )
    event_loop: Annotated[Literal["auto", "asyncio", "uvloop"], Mark(unit="name")] = Field(
        default="auto", description="Event loop: asyncio, uvloop, or auto, which is uvloop if it is installed"
    )

    @field_validator("admin_addr")
    @classmethod
    def _refuse_one_address_for_both(cls, admin_addr: Address | None, others: ValidationInfo) -> Address | None:
        """Refuse the public address for what is not public."""
        if admin_addr is not None and admin_addr.port and admin_addr == others.data.get("api_addr"):
            raise ValueError(f"'{admin_addr}': this is API_ADDR, too; give it its own, for example 127.0.0.1:19000")
        return admin_addr


class TunnelSettings(ProgramSettings):
    """What both ends of a tunnel know."""

    max_connections: Connections = Field(default=100, description="When reached, further connections are rejected")
    trace_session: Annotated[Literal["link", "child", "off"], Mark(unit="name")] = Field(
        default="link",
        description="A connection's span from opening to end: a trace of its own with a link, a child, or off",
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

    https_proxy: Annotated[ProxyUrl, Mark(unit="URL", variable="HTTPS_PROXY", is_secret=True)] = Field(
        default=None,
        validation_alias="https_proxy",
        description="HTTP proxy for TLS to other hosts: wss:// unless SOKKEN_PROXY is set, and the JWKS URL",
    )
    no_proxy: Annotated[Exemptions, Mark(unit="list", variable="NO_PROXY", example=NO_PROXY_EXAMPLE)] = Field(
        default=(),
        validation_alias="no_proxy",
        description="What is reached without a proxy: names, domains, addresses, networks, or *",
    )


class TopSettings(Variables):
    """What `sokken top` knows."""

    admin_token_file: CredentialPath = Field(
        default=None, description="File of the bearer token to show to the admin address"
    )


class ServerSettings(TunnelSettings):
    """What `sokken server` knows."""

    policy_file: CredentialPath = Field(
        default=None, description="YAML file of rules that say who may reach what, instead of REMOTE_ADDRs"
    )
    targets: Targets = Field(
        default=(),
        validate_default=True,
        description="Targets that tunnels may lead to, HOST:PORT each; none if there is a policy file",
    )
    revoke_grace_seconds: OptionalSeconds = Field(
        default=None,
        description="How long a connection goes on that a new policy forbids, 0 ends it at once; if absent, to its end",
    )
    handshake_rate_per_address: Rate = Field(
        default=0,
        description="How often an address may come: connect over TLS, or ask for a tunnel or check; 0 is any number",
    )
    base_path: BasePath = Field(default="", description="Path before /tunnel/, behind a proxy that keeps it")
    allowed_origins: Origins = Field(
        default=(), description="Origins whose web pages may open tunnels; without one, browsers may not"
    )
    target_timeout_seconds: Seconds = Field(default=10, description="How long dialling a target may take")
    trusted_proxies: Networks = Field(
        default=(), description="Networks of the proxies that are believed when they say who the client is"
    )
    proxy_protocol: Annotated[Literal["off", "required"], Mark(unit="name")] = Field(
        default="off",
        description="If required, each connection begins with a PROXY protocol header (v1 or v2) of a trusted proxy",
    )
    tls_cert_file: CredentialPath = Field(
        default=None, description="PEM file of the server's certificate and its chain; API_ADDR then speaks TLS"
    )
    tls_key_file: CredentialPath = Field(
        default=None, description="PEM file of the certificate's key, if it is not in the certificate's file"
    )
    tls_handshake_timeout_seconds: Seconds = Field(default=10, description="How long a TLS handshake may take")
    client_ca_file: CredentialPath = Field(
        default=None, description="PEM file of the authorities whose client certificates let clients in"
    )
    tokens_file: CredentialPath = Field(
        default=None, description="File of the bearer tokens that let clients in, NAME:TOKEN or NAME:SHA256 a line"
    )
    jwt_issuer: OptionalText = Field(default=None, description="Who must have issued a JWT that lets a client in")
    jwt_audience: OptionalText = Field(default=None, description="For whom a JWT must have been issued")
    jwt_jwks_url: JwksUrl = Field(default=None, description="Where the issuer publishes its keys (JWKS)")
    jwt_jwks_file: CredentialPath = Field(
        default=None, description="File of the issuer's keys (JWKS), instead of a URL"
    )
    jwt_jwks_ca_file: CredentialPath = Field(
        default=None,
        description="PEM file of the authorities to trust at the JWKS URL; for kubernetes.default.svc the pod's own",
    )
    jwt_jwks_token_file: CredentialPath = Field(
        default=None, description="File of the token to show at the JWKS URL; for kubernetes.default.svc the pod's own"
    )
    reload_interval_seconds: Seconds = Field(
        default=10, description="How often certificates, tokens, keys and policy are looked at for changes"
    )

    trace_trust_parent: Annotated[Literal["authenticated", "always", "never"], Mark(unit="name")] = Field(
        default="authenticated",
        description="Whose traces the server continues; from others it begins its own, with a link",
    )
    trace_client_address: Switch = Field(default=False, description="Put clients' addresses into spans")
    baggage_keys: BaggageKeys = Field(
        default=(), description="Names of the W3C baggage entries that become attributes of spans"
    )

    @field_validator("proxy_protocol")
    @classmethod
    def _refuse_untrusted_headers(cls, proxy_protocol: str, others: ValidationInfo) -> str:
        """Refuse to require what nobody is believed for."""
        if proxy_protocol == "required" and not others.data.get("trusted_proxies", ...):
            raise ValueError("it is required of nobody; name the proxies in SOKKEN_TRUSTED_PROXIES, too")
        return proxy_protocol

    @field_validator("targets")
    @classmethod
    def _refuse_two_policies_or_none(cls, targets: tuple[Address, ...], others: ValidationInfo) -> tuple[Address, ...]:
        """Refuse targets beside a policy file: which of them counts would be a guess."""
        if others.data.get("policy_file") and targets:
            raise ValueError("SOKKEN_POLICY_FILE says already what may be reached; give either, not both")
        if others.data.get("policy_file", ...) is None and not targets:
            raise PydanticKnownError("missing")
        return targets


class ClientSettings(TunnelSettings):
    """What `sokken client` knows."""

    forwards: Forwards = Field(description="Listen addresses and the server URLs they are tunnelled to")
    client_id: Annotated[Claim, Mark(unit="name", shown_default="the host name")] = Field(
        default_factory=host_claim, description="Who this client says it is, in the logs of both ends"
    )
    tunnel_name: OptionalClaim = Field(
        default=None, description="Name of the tunnel this client belongs to, in the logs of both ends"
    )
    ca_file: CredentialPath = Field(
        default=None, description="PEM file of the authorities to trust instead of the system's, for wss://"
    )
    client_cert_file: CredentialPath = Field(
        default=None, description="PEM file of the certificate, and its chain, that the client shows to its servers"
    )
    client_key_file: CredentialPath = Field(
        default=None, description="PEM file of that certificate's key, if it is not in the certificate's file"
    )
    server_name: ServerName = Field(
        default=None, description="Name that a server's certificate must have, instead of the URL's host"
    )
    tls_insecure_skip_verify: Switch = Field(
        default=False, description="Accept whatever certificate a server has: anybody may be the server then"
    )
    token_file: CredentialPath = Field(
        default=None, description="File of the bearer token to show to servers, read again at each connection"
    )
    headers: HeaderFields = Field(default=(), description="Header fields to send to servers, NAME: VALUE a line")
    headers_file: CredentialPath = Field(
        default=None, description="File of more such header fields, read again at each connection"
    )
    allow_plaintext_credentials: Switch = Field(
        default=False, description="Send credentials over ws:// to servers that are not on loopback, too"
    )
    proxy: ProxyUrl = Field(default=None, description="HTTP proxy that leads to the servers, http:// or https://")
    proxy_credentials_file: CredentialPath = Field(
        default=None, description="File of USER:PASSWORD for SOKKEN_PROXY, read again at each connection"
    )
    http_proxy: Annotated[ProxyUrl, Mark(unit="URL", variable="HTTP_PROXY", is_secret=True)] = Field(
        default=None,
        validation_alias="http_proxy",
        description="HTTP proxy for ws:// to other hosts, unless SOKKEN_PROXY is set",
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
        for address, what in ((self.api_addr, "API_ADDR"), (self.admin_addr, "SOKKEN_ADMIN_ADDR")):
            if address in listens:
                problem = f"a forward's listen address is {what}, too; give it its own"
                raise ValueError(f"'{address}': {problem}, for example {LISTEN_EXAMPLE}")
        if listen := _first_repeated(listens):
            problem = "two forwards have this listen address; give each its own"
            raise ValueError(f"'{listen}': {problem}, for example {LISTEN_EXAMPLE}")
        if name := _first_repeated(names):
            problem = "two forwards have this name; give each its own"
            raise ValueError(f"'{name}': {problem}, for example {name}-2")
        return self


class OperatorSettings(ProgramSettings):
    """What `sokken operator` knows."""

    operator_watch_namespaces: KubernetesNames = Field(
        default=(), description="Namespaces whose Tunnels it serves; without one those of the whole cluster"
    )
    operator_image: ImageReference = Field(
        default=f"sokken:{__version__}",
        description="Image of the clients of Tunnels that name none of their own",
    )
    operator_image_pull_policy: Annotated[Literal["IfNotPresent", "Always", "Never"], Mark(unit="name")] = Field(
        default="IfNotPresent", description="When nodes pull that image"
    )
    operator_image_pull_secrets: KubernetesNames = Field(
        default=(), description="Secrets in each Tunnel's namespace with which its clients' images are pulled"
    )
    operator_workers: Workers = Field(default=8, description="How many Tunnels are worked on at once")
    operator_max_concurrent_rollouts: Rollouts = Field(
        default=1, description="How many Tunnels' clients are replaced at once when the default image is another"
    )
    operator_network_policies: Switch = Field(
        default=True, description="Whether it may make NetworkPolicies for Tunnels that ask for one"
    )
    operator_pod_monitors: Switch = Field(
        default=True, description="Whether it may make PodMonitors for Tunnels that ask for one, where the API has them"
    )
    operator_lease_name: KubernetesName = Field(
        default="sokken-operator", description="Name of the Lease that says which of several operators works"
    )
    operator_lease_namespace: Annotated[
        OptionalKubernetesName, Mark(unit="name", example="sokken-system", shown_default="the operator's own")
    ] = Field(default=None, description="Namespace of that Lease")
    operator_pod_name: Annotated[Claim, Mark(unit="name", shown_default="the host name")] = Field(
        default_factory=host_claim, description="Who this operator is in the Lease and in Events"
    )
    kubeconfig: Annotated[OptionalPath, Mark(unit="path", variable="KUBECONFIG", example="/etc/kubeconfig")] = Field(
        default=None,
        validation_alias="kubeconfig",
        description="File that says where the API server is, and who asks; if absent, the pod's ServiceAccount does",
    )


def _first_repeated(items: Sequence[T]) -> T | None:
    return next((item for place, item in enumerate(items) if item in items[:place]), None)
