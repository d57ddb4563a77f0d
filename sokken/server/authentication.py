"""Who a request is from: the one place where a server finds out, for tunnels and for checks.

Any of what is configured will do: a client certificate, a token of the file, a JWT, asked in this order. Made before
anything listens, so that what is configured and cannot work ends the program instead of leaving it open.
"""

import time
from pathlib import Path
from ssl import cert_time_to_seconds
from typing import Any, Final, Protocol

from sokken.errors import ConfigurationError
from sokken.protocol.credentials import (
    AUTHORIZATION,
    Shown,
    Tokens,
    Unproven,
    identify_certificate,
    parse_bearer,
    parse_tokens,
)
from sokken.protocol.identity import ANONYMOUS, Identity
from sokken.protocol.outcomes import Reason, Refusal
from sokken.protocol.proxy import Exemption, Proxy
from sokken.server.request import TunnelRequest
from sokken.transport.channel import TlsChannel
from sokken.transport.files import WatchedFile
from sokken.transport.tls import TlsFiles, parse_authorities, parse_key_pair, server_context

_JWT: Final = ("jwt_issuer", "jwt_audience", "jwt_jwks_url", "jwt_jwks_file", "jwt_jwks_ca_file", "jwt_jwks_token_file")


class AuthenticationSettings(Protocol):
    """What authentication and TLS need to know of the settings."""

    @property
    def tls_cert_file(self) -> Path | None:
        """The server's certificate."""

    @property
    def tls_key_file(self) -> Path | None:
        """Its key, if that is elsewhere."""

    @property
    def client_ca_file(self) -> Path | None:
        """The authorities of client certificates."""

    @property
    def tokens_file(self) -> Path | None:
        """The tokens."""

    @property
    def jwt_issuer(self) -> str | None:
        """Who issues JWTs."""

    @property
    def jwt_audience(self) -> str | None:
        """For whom."""

    @property
    def jwt_jwks_url(self) -> str | None:
        """Where the issuer's keys are published."""

    @property
    def jwt_jwks_file(self) -> Path | None:
        """Or the file where they are."""

    @property
    def jwt_jwks_ca_file(self) -> Path | None:
        """Whom to trust at the URL."""

    @property
    def jwt_jwks_token_file(self) -> Path | None:
        """What to show at the URL."""

    @property
    def https_proxy(self) -> Proxy | None:
        """What leads to the URL."""

    @property
    def no_proxy(self) -> tuple[Exemption, ...]:
        """Unless it is one of these."""


class PublishedKeys(Protocol):
    """Keys that are fetched (server/published_keys.py)."""

    @property
    def problem(self) -> str | None:
        """Why the last fetch failed."""

    @property
    def has_keys(self) -> bool:
        """Whether one has succeeded."""

    async def run(self) -> None:
        """Keep them fresh, for ever."""


class Authenticator(Protocol):
    """One way to prove who one is."""

    async def identify(self, shown: Shown) -> Identity:
        """Who the credentials prove the client to be; raises Unproven."""


class CertificateAuthenticator:
    """Believes the certificates that the TLS handshake has verified, until they end."""

    async def identify(self, shown: Shown) -> Identity:
        """By the certificate's name."""
        if not shown.certificate:
            raise Unproven("no client certificate was shown")
        # TLS 1.2 resumes sessions without verifying their certificates again (RFC 5077 section 5.6).
        if cert_time_to_seconds(shown.certificate["notAfter"]) < time.time():
            raise Unproven("the client's certificate has expired")
        return identify_certificate(shown.certificate)


class TokenAuthenticator:
    """Knows the tokens of a file."""

    def __init__(self, file: WatchedFile[Tokens]) -> None:
        self._file = file

    async def identify(self, shown: Shown) -> Identity:
        """By the name beside the token."""
        if shown.bearer is None:
            raise Unproven("no token was shown")
        name = self._file.value.find(shown.bearer)
        if name is None:
            raise Unproven("the token is not known here")
        return Identity(name, "token")


class Authentication:
    """All the ways that are configured; without one, everybody is ``ANONYMOUS``."""

    def __init__(self) -> None:
        self._authenticators: list[Authenticator] = []
        self.files: list[WatchedFile[Any]] = []
        """To be looked at again."""
        self.published: PublishedKeys | None = None
        """To be kept fresh."""

    def __repr__(self) -> str:
        return f"<Authentication {[type(one).__name__ for one in self._authenticators]}>"

    @property
    def is_enabled(self) -> bool:
        """Whether anybody is asked for anything."""
        return bool(self._authenticators)

    @property
    def problem(self) -> str | None:
        """What it waits for before it can let the first client in."""
        return self.published.problem if self.published is not None and not self.published.has_keys else None

    def add(self, authenticator: Authenticator) -> None:
        """One more way."""
        self._authenticators.append(authenticator)

    async def identify(self, request: TunnelRequest) -> Identity:
        """Who the request is from; raises Refusal."""
        if not self._authenticators:
            return ANONYMOUS
        problems: dict[str, None] = {}
        try:
            shown = _shown(request)
        except Unproven as error:
            raise Refusal(Reason.UNAUTHENTICATED, str(error)) from None
        for authenticator in self._authenticators:
            try:
                return await authenticator.identify(shown)
            except Unproven as error:
                problems[str(error)] = None
        raise Refusal(Reason.UNAUTHENTICATED, "; ".join(problems))


def open_tls(settings: AuthenticationSettings) -> TlsFiles | None:
    """The server's TLS, None if it is not configured; raises ConfigurationError."""
    certificate, key, authorities = settings.tls_cert_file, settings.tls_key_file, settings.client_ca_file
    if certificate is None:
        for name, path in (("SOKKEN_TLS_KEY_FILE", key), ("SOKKEN_CLIENT_CA_FILE", authorities)):
            if path is not None:
                raise ConfigurationError(f"{name} is set, but the server speaks no TLS: set SOKKEN_TLS_CERT_FILE, too")
        return None
    pair = WatchedFile(certificate, parse_key_pair, "SOKKEN_TLS_CERT_FILE", beside=[key] if key else [])
    trusted = WatchedFile(authorities, parse_authorities, "SOKKEN_CLIENT_CA_FILE") if authorities else None
    return TlsFiles(server_context, trusted, pair)


def open_authentication(settings: AuthenticationSettings) -> Authentication:
    """What the settings ask for; raises ConfigurationError for what cannot work."""
    authentication = Authentication()
    if settings.client_ca_file is not None:
        authentication.add(CertificateAuthenticator())
    if settings.tokens_file is not None:
        tokens = WatchedFile(settings.tokens_file, parse_tokens, "SOKKEN_TOKENS_FILE")
        authentication.files.append(tokens)
        authentication.add(TokenAuthenticator(tokens))
    if issuer := _jwt_issuer(settings):
        _add_jwt(authentication, settings, *issuer)
    return authentication


def _add_jwt(authentication: Authentication, settings: AuthenticationSettings, issuer: str, audience: str) -> None:
    # Its cryptography takes time to load.
    from sokken.server.published_keys import open_published_keys  # noqa: PLC0415
    from sokken.server.signed_tokens import JwtAuthenticator, KeysFile, parse_keys  # noqa: PLC0415

    if settings.jwt_jwks_file is not None:
        file = WatchedFile(settings.jwt_jwks_file, parse_keys, "SOKKEN_JWT_JWKS_FILE")
        authentication.files.append(file)
        authentication.add(JwtAuthenticator(issuer, audience, KeysFile(file)))
    elif settings.jwt_jwks_url is not None:
        published = open_published_keys(
            settings.jwt_jwks_url,
            settings.jwt_jwks_ca_file,
            settings.jwt_jwks_token_file,
            settings.https_proxy,
            settings.no_proxy,
        )
        authentication.published = published
        authentication.add(JwtAuthenticator(issuer, audience, published))


def _jwt_issuer(settings: AuthenticationSettings) -> tuple[str, str] | None:
    """Issuer and audience if JWTs are asked for; half of what they need is a mistake, never less protection."""
    given = [name for name in _JWT if getattr(settings, name) is not None]
    if not given:
        return None
    if settings.jwt_issuer is None or settings.jwt_audience is None:
        missing = "AUDIENCE" if settings.jwt_audience is None else "ISSUER"
        raise ConfigurationError(f"SOKKEN_{given[0].upper()} is set: set SOKKEN_JWT_{missing}, too")
    if ("jwt_jwks_url" in given) == ("jwt_jwks_file" in given):
        raise ConfigurationError("JWTs need the issuer's keys: set one of SOKKEN_JWT_JWKS_URL and SOKKEN_JWT_JWKS_FILE")
    if "jwt_jwks_file" in given and given[-1] in {"jwt_jwks_ca_file", "jwt_jwks_token_file"}:
        raise ConfigurationError(f"SOKKEN_{given[-1].upper()} is for SOKKEN_JWT_JWKS_URL, which is not set")
    return settings.jwt_issuer, settings.jwt_audience


def _shown(request: TunnelRequest) -> Shown:
    channel = request.channel
    certificate = channel.getpeercert() if isinstance(channel, TlsChannel) else None
    return Shown(certificate, parse_bearer(request.headers.getall(AUTHORIZATION, ())))
