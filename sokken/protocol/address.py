"""Listen addresses, targets, server URLs and forwards: from text to value and back.

Called by the settings (arguments, variables) and by the server (the path of a request). Pure: nothing is
resolved here, and for every value ``parse(str(value)) == value``. Two spellings of one IP address or of one
host name become the same value, because a target is allowed by comparing values.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NoReturn
from urllib.parse import quote, unquote

from sokken.errors import SokkenError

LISTEN_EXAMPLE = "127.0.0.1:2222 or :8000"
TARGET_EXAMPLE = "127.0.0.1:22"
URL_EXAMPLE = "ws://machine-b:8000/tunnel/127.0.0.1:22"
FORWARD_EXAMPLE = f"ssh=127.0.0.1:2222={URL_EXAMPLE}"

_SHOWN = 200
_MAX_NAME = 253
_MAX_PORT = 65535
# One DNS label; underscores are no host name by RFC 952, but container and Windows names have them.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# A last label that resolvers take for a part of an IPv4 address (127.1, 0x7f.1): never a name.
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")
_PORT = re.compile(r"[0-9]{1,5}")
_FORWARD_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# Surrogates are what Python makes of bytes in arguments and variables that are no UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>.*)", re.DOTALL)
_CREDENTIALS = re.compile(r"^((?:.*?://)?).*@", re.DOTALL)
# RFC 3986 section 3.3 and 3.4, "%" of what is encoded already, and the brackets of /tunnel/[::1]:22.
_REQUEST_LINE_SAFE = "/?%:@!$&'()*+,;=-._~[]"


class AddressError(SokkenError):
    """A text that is no address: the text (without credentials), what is wrong with it, and a good one."""

    def __init__(self, text: str, problem: str, example: str) -> None:
        """Keep the text as it may be shown: credentials before an "@" are masked, and it is cut."""
        shown = mask_user(text)
        self.text = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
        self.problem = problem
        self.example = example
        super().__init__(f"{self.text!r}: {problem}, for example {example}")


def mask_user(text: str) -> str:
    """The text as it may be shown: what stands before an "@" may be a password."""
    return _CREDENTIALS.sub(r"\1***@", text) if "@" in text else text


@dataclass(frozen=True, slots=True)
class Address:
    """A host (a lower-case name or a canonical IP address) and a port; an empty host is every interface."""

    host: str
    port: int

    def __str__(self) -> str:
        """Format it: ``127.0.0.1:22``, ``[::1]:22``, ``:8000``."""
        return f"{_bracket(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """Where a tunnel's WebSocket is opened. The path is as the request line needs it, with its query."""

    secure: bool
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        """Format the whole URL; a zone's percent sign is escaped (RFC 6874 section 2)."""
        return f"{self._scheme}://{_bracket(self.host).replace('%', '%25')}{self._port_suffix}{self.path}"

    @property
    def authority(self) -> str:
        """The value of the Host header: no default port, and no zone (RFC 6874 section 4)."""
        return f"{_bracket(self.host.partition('%')[0])}{self._port_suffix}"

    @property
    def target(self) -> str | None:
        """What the path asks the server to dial, decoded, as claimed; None if it has no /tunnel/."""
        _, found, target = self.path.partition("?")[0].rpartition("/tunnel/")
        return unquote(target) if found and target else None

    @property
    def _scheme(self) -> str:
        return "wss" if self.secure else "ws"

    @property
    def _port_suffix(self) -> str:
        return "" if self.port == _default_port(secure=self.secure) else f":{self.port}"


@dataclass(frozen=True, slots=True)
class Forward:
    """A listen address and the URL that its connections are tunnelled to."""

    name: str
    listen: Address
    url: ServerUrl

    def __str__(self) -> str:
        """Format it as ``[NAME=]LISTEN=URL``; the name is left out when it is the listen address."""
        prefix = "" if self.name == str(self.listen) else f"{self.name}="
        return f"{prefix}{self.listen}={self.url}"


def parse_listen_address(text: str) -> Address:
    """Parse ``[HOST]:PORT``, port 0 to 65535; raises AddressError."""
    host, port = _split(text, LISTEN_EXAMPLE)
    return Address(
        _parse_host(text, host, LISTEN_EXAMPLE) if host else "",
        _parse_port(text, port, 0, LISTEN_EXAMPLE),
    )


@lru_cache(maxsize=1024)
def parse_target(text: str) -> Address:
    """Parse ``HOST:PORT``, port 1 to 65535; raises AddressError."""
    if "://" in text:
        raise AddressError(text, "a target is HOST:PORT, not a URL", TARGET_EXAMPLE)
    host, port = _split(text, TARGET_EXAMPLE)
    return Address(
        _parse_host(text, host, TARGET_EXAMPLE),
        _parse_port(text, port, 1, TARGET_EXAMPLE),
    )


def parse_server_url(text: str) -> ServerUrl:
    """Parse a ``ws://`` or ``wss://`` URL without credentials or fragment; raises AddressError."""
    if _UNPRINTABLE.search(text):
        _fail_url(text, "a URL holds no space and no control character")
    match = _URL.fullmatch(text)
    if match is None:
        _fail_url(text, "a server URL starts with ws:// or wss://")
    scheme, authority, path = match["scheme"].lower(), match["authority"], match["path"]
    if scheme in ("http", "https"):
        _fail_url(text, f"write {scheme.replace('http', 'ws')}:// instead of {scheme}://")
    if scheme not in ("ws", "wss"):
        _fail_url(text, "a server URL starts with ws:// or wss://")
    if "#" in text:
        _fail_url(text, "a server URL has no fragment (#)")
    if "@" in authority:
        _fail_url(text, "a server URL has no user or password")
    if _BAD_ESCAPE.search(path):
        _fail_url(text, "a % in a URL's path is followed by two hexadecimal digits")
    secure = scheme == "wss"
    host, port = _parse_authority(text, authority, _default_port(secure=secure))
    rooted = path if path.startswith("/") else f"/{path}"
    url = ServerUrl(secure, host, port, quote(rooted, _REQUEST_LINE_SAFE))
    if "@" in (url.target or ""):
        _fail_url(unquote(text), "a target has no user or password")
    return url


def parse_forward(text: str) -> Forward:
    """Parse ``[NAME=]LISTEN=URL``, NAME a DNS label (default: the listen address); raises AddressError."""
    # The URL may hold a "=" of its own, but never before its "://".
    cut = text.partition("://")[0].rfind("=")
    if cut < 0:
        raise AddressError(text, "a forward is [NAME=]LISTEN=URL", FORWARD_EXAMPLE)
    name, named, listen_text = text[:cut].rpartition("=")
    if named and not _FORWARD_NAME.fullmatch(name):
        problem = "a forward's name is 1 to 63 lower-case letters, digits and inner hyphens"
        raise AddressError(name, problem, FORWARD_EXAMPLE)
    listen = parse_listen_address(listen_text)
    return Forward(name or str(listen), listen, parse_server_url(text[cut + 1 :]))


def _fail_url(text: str, problem: str) -> NoReturn:
    raise AddressError(text, problem, URL_EXAMPLE)


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _default_port(*, secure: bool) -> int:
    return 443 if secure else 80


def _split(text: str, example: str) -> tuple[str, str]:
    """Cut at the last colon. The host keeps its brackets, so that it is still known to be IPv6."""
    if "@" in text:
        raise AddressError(text, "an address has no user or password", example)
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise AddressError(text, "the port is missing", example)
    return host, port


def _parse_authority(text: str, authority: str, default_port: int) -> tuple[str, int]:
    if ":" in authority and not authority.endswith("]"):
        host, port_text = _split(authority, URL_EXAMPLE)
        port = _parse_port(text, port_text, 1, URL_EXAMPLE)
    else:
        host, port = authority, default_port
    return _parse_host(text, host.replace("%25", "%", 1), URL_EXAMPLE), port


def _parse_port(text: str, port: str, least: int, example: str) -> int:
    if not _PORT.fullmatch(port) or not least <= int(port) <= _MAX_PORT:
        raise AddressError(text, f"the port is a number from {least} to {_MAX_PORT}", example)
    return int(port)


def _parse_host(text: str, host: str, example: str) -> str:
    if not host:
        raise AddressError(text, "the host is missing", example)
    if host.startswith("[") and host.endswith("]"):
        return _parse_ipv6(text, host[1:-1], example)
    if ":" in host:
        raise AddressError(text, "an IPv6 address is written in brackets", "[::1]:22")
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        return _parse_name(text, host, example)


def _parse_ipv6(text: str, host: str, example: str) -> str:
    try:
        address = IPv6Address(host)
    except AddressValueError:
        raise AddressError(text, "what is in brackets is no IPv6 address", example) from None
    zone = address.scope_id
    if zone is not None and not (address.is_link_local and _ZONE.fullmatch(zone)):
        raise AddressError(text, "a zone is an interface's name after a link-local address", "[fe80::1%eth0]:22")
    return str(address)


def _parse_name(text: str, host: str, example: str) -> str:
    if not host.isascii():
        problem = "an international host name is written in its ASCII form"
        raise AddressError(text, problem, "xn--bcher-kva.example:22")
    name = host.removesuffix(".").lower()
    if _NUMERIC_END.fullmatch(name):
        raise AddressError(text, "an IPv4 address has four decimal numbers from 0 to 255", example)
    if len(name) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise AddressError(text, "this is no host name", example)
    return name
