"""What the client shows to its servers, and whom it trusts: files that are read again at each connection.

A file that is not there, or not good, is no reason to end the program: it may come in a moment. Until then no
connection is made without it, and as soon as it is there, they are.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from sokken.errors import ConfigurationError
from sokken.protocol.address import Forward, ServerUrl
from sokken.protocol.credentials import AUTHORIZATION, holds_secret, parse_header_fields, parse_token
from sokken.protocol.proxy import Exemption, Proxy, choose_proxy, parse_proxy_credentials
from sokken.transport.files import WatchedFile
from sokken.transport.tls import TlsFiles, client_context, parse_authorities, parse_key_pair

T = TypeVar("T")

_LEAST_SECRET: Final = 8  # characters; anything shorter is a word of its own


class CredentialSettings(Protocol):
    """What credentials need to know of the settings."""

    @property
    def ca_file(self) -> Path | None:
        """Whom to trust instead of the system's authorities."""

    @property
    def client_cert_file(self) -> Path | None:
        """The client's certificate."""

    @property
    def client_key_file(self) -> Path | None:
        """Its key, if that is elsewhere."""

    @property
    def tls_insecure_skip_verify(self) -> bool:
        """Trust everybody."""

    @property
    def token_file(self) -> Path | None:
        """The bearer token."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """More header fields."""

    @property
    def headers_file(self) -> Path | None:
        """Still more."""

    @property
    def proxy(self) -> Proxy | None:
        """Through which every server is reached."""

    @property
    def proxy_credentials_file(self) -> Path | None:
        """What that proxy is shown."""


class RouteSettings(Protocol):
    """What decides through which proxy a server is reached."""

    @property
    def proxy(self) -> Proxy | None:
        """Through which every server is reached."""

    @property
    def https_proxy(self) -> Proxy | None:
        """Through which else those of wss:// are."""

    @property
    def http_proxy(self) -> Proxy | None:
        """Through which else those of ws:// are."""

    @property
    def no_proxy(self) -> tuple[Exemption, ...]:
        """Which servers are reached without one."""


class PlaintextSettings(CredentialSettings, RouteSettings, Protocol):
    """What else decides whether credentials may go over ws://."""

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """Where they would go."""

    @property
    def allow_plaintext_credentials(self) -> bool:
        """They may go anywhere."""


class Credentials:
    """Header fields and TLS as the files have them now."""

    def __init__(self, settings: CredentialSettings, *, are_required: bool = False) -> None:
        """Reads the files; raises ConfigurationError for settings that contradict each other.

        ``are_required``: also for a file that cannot be used as it is now.
        """
        open_file = partial(_open, is_required=are_required)
        refuse_contradictions(settings)
        self._headers = dict(settings.headers)
        self._shown: tuple[str, ...] = ()
        self._token = open_file(settings.token_file, parse_token, "SOKKEN_TOKEN_FILE")
        parse = partial(_parse_headers_file, has_token=settings.token_file is not None)
        self._headers_file = open_file(settings.headers_file, parse, "SOKKEN_HEADERS_FILE")
        path, what = settings.proxy_credentials_file, "SOKKEN_PROXY_CREDENTIALS_FILE"
        self._proxy = settings.proxy
        self._proxy_credentials = open_file(path, parse_proxy_credentials, what)
        authorities = open_file(settings.ca_file, parse_authorities, "SOKKEN_CA_FILE")
        key = settings.client_key_file
        pair = open_file(settings.client_cert_file, parse_key_pair, "SOKKEN_CLIENT_CERT_FILE", *([key] if key else []))
        make_context = partial(client_context, verifies=not settings.tls_insecure_skip_verify)
        self._tls = TlsFiles(make_context, authorities, pair)
        self._authorities = authorities

    @property
    def files(self) -> list[WatchedFile[Any]]:
        """Those that are read again at each connection."""
        ours = (self._token, self._headers_file, self._proxy_credentials)
        return [file for file in (*ours, *self._tls.files) if file is not None]

    def headers(self) -> Mapping[str, str]:
        """What to send along; raises ConfigurationError while a file has never been good."""
        headers = dict(self._headers)
        if self._headers_file is not None:
            self._headers_file.look()
            headers.update(self._headers_file.value)
        if self._token is not None:
            self._token.look()
            headers[AUTHORIZATION] = f"Bearer {self._token.value}"
        self._shown = tuple(headers.values())
        return headers

    def hide(self, text: str) -> str:
        """What somebody has answered, without what was shown: who dislikes a token may repeat it."""
        for part in (part for value in self._shown for part in value.split()):
            if len(part) >= _LEAST_SECRET:
                text = text.replace(part, "***")
        return text

    def context(self) -> ssl.SSLContext:
        """TLS toward a server; raises ConfigurationError while a file has never been good."""
        self._tls.look()
        return self._tls.context()

    def show_to(self, proxy: Proxy) -> Proxy:
        """A proxy with what it is shown; raises ConfigurationError while its file has never been good."""
        if self._proxy_credentials is None or proxy != self._proxy:
            return proxy
        self._proxy_credentials.look()
        return replace(proxy, authorization=self._proxy_credentials.value)

    def proxy_context(self) -> ssl.SSLContext:
        """TLS toward a proxy: the same authorities, always verified, and no certificate is shown."""
        self._tls.look()
        return _proxy_context(None if self._authorities is None else self._authorities.value)


_proxy_context = lru_cache(maxsize=1)(client_context)


def find_proxy(settings: RouteSettings, url: ServerUrl) -> Proxy | None:
    """Through which a server is reached."""
    inherited = settings.https_proxy if url.secure else settings.http_proxy
    return choose_proxy(url, settings.proxy, inherited, settings.no_proxy)


def refuse_contradictions(settings: CredentialSettings) -> None:
    """Two tokens for one header, or a key for no certificate; raises ConfigurationError."""
    if settings.client_key_file is not None and settings.client_cert_file is None:
        raise ConfigurationError("SOKKEN_CLIENT_KEY_FILE is set: set SOKKEN_CLIENT_CERT_FILE, too")
    if settings.proxy_credentials_file is not None:
        if settings.proxy is None:
            raise ConfigurationError("SOKKEN_PROXY_CREDENTIALS_FILE is set: set SOKKEN_PROXY, too")
        if settings.proxy.authorization is not None:
            raise ConfigurationError("SOKKEN_PROXY_CREDENTIALS_FILE is set, and SOKKEN_PROXY has credentials; keep one")
    has_authorization = any(name.lower() == AUTHORIZATION.lower() for name, _ in settings.headers)
    if settings.token_file is not None and has_authorization:
        raise ConfigurationError("SOKKEN_TOKEN_FILE and an Authorization in SOKKEN_HEADERS are two tokens; keep one")


def refuse_plaintext(settings: PlaintextSettings) -> None:
    """Credentials that everybody on the way could read; raises ConfigurationError."""
    given = {
        "SOKKEN_TOKEN_FILE": settings.token_file is not None,
        "SOKKEN_CLIENT_CERT_FILE": settings.client_cert_file is not None,
        "SOKKEN_HEADERS_FILE": settings.headers_file is not None,
        "SOKKEN_HEADERS": holds_secret(settings.headers),
    }
    name = next((name for name, is_given in given.items() if is_given), None)
    if name is None or settings.allow_plaintext_credentials:
        return
    for forward in settings.forwards:
        if not forward.url.secure and not _stays_here(forward.url, settings):
            raise ConfigurationError(
                f"{name} is set, and {forward.url} would send it where everybody on the way can read it: "
                "use wss://, or set SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS=true"
            )


def _stays_here(url: ServerUrl, settings: PlaintextSettings) -> bool:
    """Whether the server is on this host, and no proxy elsewhere leads to it: loopback would then be the proxy's."""
    proxy = find_proxy(settings, url)
    return _is_loopback(url.host) and (proxy is None or _is_loopback(proxy.address.host))


def _open(
    path: Path | None, parse: Callable[..., T], what: str, *beside: Path, is_required: bool
) -> WatchedFile[T] | None:
    return None if path is None else WatchedFile(path, parse, what, beside=beside, is_required=is_required)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse_headers_file(content: bytes, *, has_token: bool) -> dict[str, str]:
    fields = dict(parse_header_fields(content.decode("utf-8", "replace")))
    if has_token and any(name.lower() == AUTHORIZATION.lower() for name in fields):
        raise ValueError("it has an Authorization, and SOKKEN_TOKEN_FILE is set; keep one")
    return fields
