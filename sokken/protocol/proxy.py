"""HTTP proxies of a client: which one is used for a server, what it is asked (CONNECT), and what its answer means.

Called by the settings and by the client's transport. No name is resolved here, and no message or representation
holds a proxy's password.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import unquote_to_bytes

from sokken.protocol.address import Address, AddressError, ServerUrl, parse_target
from sokken.protocol.backoff import Verdict
from sokken.protocol.handshake import Answer
from sokken.protocol.outcomes import ConnectOutcome, Reason

PROXY_EXAMPLE: Final = "http://proxy.example:3128"
NO_PROXY_EXAMPLE: Final = "localhost,.example.com,10.0.0.0/8"

_URL = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?:(?P<user>[!-~]*)@)?(?P<authority>[^/?#@]*)/?")
_HAS_PORT = re.compile(r":[0-9]*\Z")
_PORT = re.compile(r"(?P<host>.*?)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where an HTTP proxy is, and what it is shown (a Basic credential, RFC 7617), which is never printed."""

    secure: bool
    address: Address
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Its URL, without what it is shown."""
        return f"{'https' if self.secure else 'http'}://{self.address}"


@dataclass(frozen=True, slots=True)
class Exemption:
    """One item of NO_PROXY: servers that are reached directly. ``port`` None is any port."""

    text: str
    host: str = ""
    network: Network | None = None
    port: int | None = None

    def __str__(self) -> str:
        """As it was given."""
        return self.text

    def covers(self, host: str, port: int) -> bool:
        """Whether this server is meant: by its address, or by its name or that of a domain above it."""
        if self.port not in (None, port):
            return False
        if self.host == "*":
            return True
        address = _read_address(host)
        if self.network is not None or address is not None:
            return self.network is not None and address is not None and address in self.network
        return host == self.host or host.endswith("." + self.host.removeprefix("."))


def parse_proxy(text: str) -> Proxy:
    """Parse ``[http[s]://][USER:PASSWORD@]HOST[:PORT]``; raises ValueError, without the text."""
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(f"this is no proxy's URL, for example {PROXY_EXAMPLE}")
    scheme, authority = (match["scheme"] or "http").lower(), match["authority"]
    if scheme not in _DEFAULT_PORTS:
        raise ValueError(f"a proxy is http:// or https://, nothing else, for example {PROXY_EXAMPLE}")
    if not _HAS_PORT.search(authority):
        authority += f":{_DEFAULT_PORTS[scheme]}"
    try:
        address = parse_target(authority)
    except AddressError as error:
        raise ValueError(f"{error.problem}, for example {PROXY_EXAMPLE}") from None
    return Proxy(scheme == "https", address, None if match["user"] is None else _basic(match["user"]))


def parse_proxy_credentials(content: bytes) -> str:
    """Read a file that holds ``USER:PASSWORD``, as they are: what a proxy is shown. Raises ValueError, without them."""
    text = content.decode("utf-8", "replace").strip("\r\n")
    user, colon, _ = text.partition(":")
    if not user or not colon or not text.isprintable():
        raise ValueError("it does not hold one line USER:PASSWORD")
    return "Basic " + b64encode(text.encode()).decode("ascii")


def parse_exemption(text: str) -> Exemption:
    """Parse one item of NO_PROXY; raises ValueError.

    ``*`` is every server, ``example.com`` that name and those below it, ``.example.com`` those below it,
    ``192.0.2.1`` an address and ``10.0.0.0/8`` a network; all but the network may end with ``:PORT``.
    """
    bare = text.lower()
    if "/" in bare or _read_address(bare) is not None:
        try:
            return Exemption(text, network=ip_network(bare, strict=False))
        except ValueError:
            raise ValueError(f"{text!r}: this is no network, for example 10.0.0.0/8") from None
    match = _PORT.fullmatch(bare)
    if match is None or not match["host"]:
        raise ValueError(f"{text!r}: this is no host, for example {NO_PROXY_EXAMPLE}")
    host, port = match["host"], int(match["port"]) if match["port"] else None
    address = _read_address(host.removeprefix("[").removesuffix("]"))
    if address is not None:
        return Exemption(text, network=ip_network(address), port=port)
    return Exemption(text, host=host if host == "*" else host.removeprefix("*").removesuffix("."), port=port)


def choose_proxy(
    where: ServerUrl | Address, ours: Proxy | None, inherited: Proxy | None, exemptions: Iterable[Exemption]
) -> Proxy | None:
    """Which proxy leads to a server, None for none.

    ``inherited`` is what the environment has for every program (HTTPS_PROXY, HTTP_PROXY): as usual, it is not used
    for servers on loopback. ``ours`` was set for this program, and is.
    """
    host = where.host.partition("%")[0]
    if any(item.covers(host, where.port) for item in exemptions):
        return None
    return ours or (None if _is_loopback(host) else inherited)


def connect_authority(url: ServerUrl) -> str:
    """What a proxy is asked for (RFC 9110 section 9.3.6): host and port, without a zone."""
    return str(Address(url.host.partition("%")[0], url.port))


def format_connect_request(authority: str, proxy: Proxy) -> bytes:
    """Write the request for a connection to ``authority`` (RFC 9110 section 9.3.6)."""
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def judge_connect(answer: Answer, authority: str, proxy: Proxy) -> Verdict | None:
    """Decide about a proxy's answer: None if it has connected (any 2xx), else what to do."""
    status = answer.status
    if 200 <= status < 300:
        return None
    said = f"the proxy {proxy} answered {status}"
    match status:
        case 401 | 407 if proxy.authorization is None:
            advice = (
                "it asks for credentials: give them in the proxy's URL (http://USER:PASSWORD@HOST:PORT), or in a file"
            )
        case 401 | 407:
            advice = "it does not accept the credentials that it is shown"
        case 403 | 405:
            advice = f"it does not allow a connection to {authority}: its rules must allow CONNECT to that port"
        case 502 | 503 | 504:
            advice = f"it could not connect to {authority}"
        case _:
            advice = f"it was asked to connect to {authority}: is it an HTTP proxy?"
    outcome = Reason.UNAUTHENTICATED if status in (401, 407) else ConnectOutcome.SERVER_UNREACHABLE
    return Verdict(status in _RETRIED, outcome.value, f"{said}; {advice}")


def _basic(user: str) -> str:
    name, _, password = user.partition(":")
    plain = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return "Basic " + b64encode(plain).decode("ascii")


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(host: str) -> bool:
    address = _read_address(host)
    return host == "localhost" if address is None else address.is_loopback
