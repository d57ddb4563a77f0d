"""The doctor's hands on the network: look up, dial, pass a proxy, make TLS, ask over HTTP. Facts come out.

Called by the walk. It uses the client's own settings, credentials and transports, in the client's order, so that
what works here works there; it judges nothing.
"""

import asyncio
import os
import socket
import ssl
from binascii import b2a_base64
from collections.abc import Awaitable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final, Protocol, TypeVar

from sokken import __version__
from sokken.doctor.certificate import Certificate, read_certificate
from sokken.doctor.judge_http import Exchange, NoAnswer
from sokken.doctor.judge_network import Dialled, LookUp
from sokken.doctor.judge_tls import Handshake, TlsFailure
from sokken.doctor.line import Line
from sokken.protocol.address import Address, ServerUrl
from sokken.protocol.backoff import parse_retry_after
from sokken.protocol.handshake import (
    Answer,
    HandshakeError,
    format_check_request,
    format_upgrade_request,
    verify_upgrade,
)
from sokken.protocol.identity import CLIENT_ID, CONNECTION_ID, REASON, TUNNEL, VERSION
from sokken.protocol.outcomes import Reason
from sokken.protocol.proxy import Proxy, connect_authority
from sokken.transport.channel import Channel
from sokken.transport.connections import new_connection_id
from sokken.transport.credentials import Credentials, PlaintextSettings, find_proxy
from sokken.transport.dial import DialError, dial
from sokken.transport.exchange import exchange, read_body
from sokken.transport.nested_tls import NestedTlsChannel
from sokken.transport.plane import Plane
from sokken.transport.proxy import ProxyError, dial_through
from sokken.transport.resolve import Resolver
from sokken.transport.tls import client_context, start_tls

T = TypeVar("T")

_KEY_BYTES: Final = 16
_GREETING_BYTES: Final = 60
_GREETING_SECONDS: Final = 1.0
_MOST_ADDRESSES: Final = 16
_RATE_LIMITED_AGAIN: Final = 3


class DoctorSettings(PlaintextSettings, Protocol):
    """What the doctor needs to know of a client's settings."""

    @property
    def client_id(self) -> str:
        """Who this client says it is."""

    @property
    def tunnel_name(self) -> str | None:
        """Which tunnel it says that it belongs to."""

    @property
    def server_name(self) -> str | None:
        """Whose certificate a server must have, instead of its URL's host."""

    @property
    def max_message_bytes(self) -> int:
        """How large the messages are that it sends."""


class Reach:
    """The way to one URL. ``seconds`` is how long each step may take."""

    def __init__(self, plane: Plane, settings: DoctorSettings, url: ServerUrl, seconds: float) -> None:
        self._plane = plane
        self._settings = settings
        self._url = url
        self._seconds = seconds
        self._resolver = Resolver(plane.loop)
        self.credentials: Credentials | None = None
        self.configured_proxy = settings.proxy or (settings.https_proxy if url.secure else settings.http_proxy)
        self.proxy = find_proxy(settings, url)
        self.first = Address(url.host, url.port) if self.proxy is None else self.proxy.address
        """Whom this host connects to."""

    async def look_up(self) -> LookUp:
        """Resolve the name of the first host on the way."""
        whose, host = ("the proxy" if self.proxy else "the server"), self.first.host
        began = self._plane.loop.time()
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._resolver.resolve(host, self.first.port)
        except TimeoutError:
            return LookUp(whose, host, (), self._since(began), f"not within {self._seconds:g} s", is_silent=True)
        except OSError as error:
            is_silent = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            problem = (error.strerror or str(error)).lower()
            return LookUp(whose, host, (), self._since(began), problem, is_silent=is_silent)
        addresses = tuple(dict.fromkeys(str(answer[4][0]) for answer in found))
        return LookUp(whose, host, addresses, self._since(began))

    async def dial_each(self, addresses: tuple[str, ...]) -> list[Dialled]:
        """Connect to each of these addresses, all at once."""
        return list(await asyncio.gather(*map(self._dial_one, addresses[:_MOST_ADDRESSES])))

    async def pass_proxy(self, proxy: Proxy) -> tuple[float, str]:
        """Have the proxy connect to the server: how long it took, and what was wrong ("" if nothing)."""
        began, problem = self._plane.loop.time(), ""
        try:
            async with asyncio.timeout(self._seconds):
                (await self._connect()).close()
        except ProxyError as error:
            problem = str(error)
        except TimeoutError:
            problem = f"the proxy {proxy} did not connect to {connect_authority(self._url)} within {self._seconds:g} s"
        except DialError as error:
            problem = error.detail
        return self._since(began), problem

    async def shake(self) -> Handshake:
        """Make TLS with the server, and read its certificate, trusted or not."""
        began = self._plane.loop.time()
        name, is_verified = self._server_name, not self._settings.tls_insecure_skip_verify
        version, certificate, failure, code, detail = "", None, None, 0, ""
        try:
            async with asyncio.timeout(self._seconds):
                channel = await self.open()
                version, certificate = _describe_tls(channel)
                channel.close()
        except TimeoutError:
            failure = TlsFailure.TIMEOUT
        except ssl.SSLCertVerificationError as error:
            failure, code, detail = TlsFailure.CERTIFICATE, error.verify_code, error.verify_message.rstrip(".")
            certificate = await self._peek_certificate()
        except ssl.SSLError as error:
            detail = (error.reason or str(error)).lower().replace("_", " ")
            failure = _TLS_FAILURES.get(error.reason or "", TlsFailure.OTHER)
            if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
                failure = TlsFailure.ENDED
        except OSError:
            failure = TlsFailure.ENDED
        except (DialError, ProxyError) as error:
            failure, detail = TlsFailure.OTHER, str(error)
        return Handshake(
            name,
            self._since(began),
            version,
            certificate,
            failure,
            code,
            detail,
            is_verified,
            self._settings.ca_file is not None,
        )

    async def check(self) -> Exchange:
        """Ask whether a tunnel would be let in."""
        exchanged, _ = await self._ask(lambda headers: format_check_request(self._url, headers))
        return exchanged

    async def upgrade(self) -> tuple[Exchange, Line | None, str, str]:
        """Ask for a tunnel: what came of it, the line if it is open, its subprotocol, and what was wrong with a 101."""
        key = b2a_base64(os.urandom(_KEY_BYTES), newline=False).decode()
        exchanged, kept = await self._ask(lambda headers: format_upgrade_request(self._url, key, headers))
        if kept is None or exchanged.answer is None:
            return exchanged, None, "", ""
        channel, tail = kept
        try:
            subprotocol = verify_upgrade(exchanged.answer, key)
        except HandshakeError as error:
            channel.close()
            return exchanged, None, "", error.detail
        return exchanged, Line(self._plane, channel, subprotocol, tail), subprotocol, ""

    async def open(self, *, is_secure: bool | None = None) -> Channel:
        """Connect to the server, over TLS if its URL says so; raises DialError, ProxyError and OSError."""
        channel = await self._connect()
        if not (self._url.secure if is_secure is None else is_secure):
            return channel
        context = client_context(None, verifies=False) if is_secure else self._credentials.context()
        return await start_tls(self._plane.loop, channel, context, self._server_name)

    async def speaks_tls(self) -> bool:
        """Whether TLS is spoken where ws:// is plain."""
        return await self._try(self._speak_tls(), otherwise=False)

    async def hear_greeting(self) -> str:
        """What is said there before anybody asks; "" if nothing."""
        return await self._try(self._hear(), otherwise="")

    @property
    def _credentials(self) -> Credentials:
        if self.credentials is None:
            raise AssertionError("credentials come first")  # pragma: no cover -- the walk sees to it
        return self.credentials

    @property
    def _server_name(self) -> str:
        return self._settings.server_name or self._url.host.partition("%")[0]

    def _since(self, began: float) -> float:
        return self._plane.loop.time() - began

    async def _connect(self) -> Channel:
        if self.proxy is None:
            return await dial(self._resolver, self.first, self._seconds)
        authority = connect_authority(self._url)
        context_of = self._credentials.proxy_context
        shown = self._credentials.show_to(self.proxy)
        return await dial_through(self._plane, self._resolver, shown, authority, self._seconds, context_of)

    async def _dial_one(self, host: str) -> Dialled:
        address, began, failure = Address(host, self.first.port), self._plane.loop.time(), None
        try:
            (await dial(self._resolver, address, self._seconds)).close()
        except DialError as error:
            failure = error.failure
        return Dialled(address, self._since(began), failure)

    async def _peek_certificate(self) -> Certificate | None:
        """Read the certificate of a server that is not trusted."""

        async def peek() -> Certificate | None:
            channel = await self.open(is_secure=True)
            certificate = _describe_tls(channel)[1]
            channel.close()
            return certificate

        return await self._try(peek(), otherwise=None)

    async def _speak_tls(self) -> bool:
        (await self.open(is_secure=True)).close()
        return True

    async def _hear(self) -> str:
        channel = await self.open()
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                greeting = await self._plane.loop.sock_recv(channel, _GREETING_BYTES)
        finally:
            channel.close()
        return greeting.decode("ascii", "replace").partition("\n")[0].strip()

    async def _try(self, attempt: Awaitable[T], otherwise: T) -> T:
        try:
            async with asyncio.timeout(self._seconds):
                return await attempt
        except (OSError, DialError, ProxyError):  # TimeoutError, too
            return otherwise

    async def _ask(self, format_request: "FormatRequest") -> tuple[Exchange, tuple[Channel, bytes] | None]:
        """Make one request; what has switched protocols is kept open.

        It waits where the server wants that for a moment: the doctor asks more often than a client does.
        """
        for _ in range(_RATE_LIMITED_AGAIN):
            exchanged, kept = await self._ask_once(format_request)
            wait = _rate_limited_for(exchanged.answer)
            if wait is None or wait > self._seconds:
                break
            await asyncio.sleep(wait)
        return exchanged, kept

    async def _ask_once(self, format_request: "FormatRequest") -> tuple[Exchange, tuple[Channel, bytes] | None]:
        headers = {**self._credentials.headers(), **self._claims(), CONNECTION_ID: new_connection_id()}
        began = self._plane.loop.time()
        answer: Answer | None = None
        body, failure, detail, channel = b"", None, "", None
        try:
            async with asyncio.timeout(self._seconds):
                channel = await self.open()
                answer, tail = await exchange(self._plane, channel, format_request(headers))
                seconds = self._since(began)
                if answer.status == 101:
                    self._plane.watch.remove(channel)
                    kept, channel = (channel, tail), None
                    return Exchange(seconds, answer), kept
                body = await read_body(self._plane, channel, answer, tail)
                return Exchange(seconds, answer, body), None
        except TimeoutError:
            failure = NoAnswer.TIMEOUT
        except HandshakeError as error:
            failure, detail = NoAnswer.NO_HTTP, error.detail
        except ssl.SSLError as error:
            is_alert = "_ALERT_" in (error.reason or "")
            failure = NoAnswer.REFUSED_CERTIFICATE if is_alert else NoAnswer.ENDED
            detail = (error.reason or str(error)).partition("_ALERT_")[2].lower().replace("_", " ")
        except (OSError, DialError, ProxyError) as error:
            failure, detail = NoAnswer.ENDED, str(error)
        finally:
            if channel is not None:
                channel.close()
        return Exchange(self._since(began), answer, body, failure, detail), None

    def _claims(self) -> dict[str, str]:
        claims = {CLIENT_ID: self._settings.client_id, VERSION: __version__}
        return claims | ({TUNNEL: self._settings.tunnel_name} if self._settings.tunnel_name else {})


class FormatRequest(Protocol):
    """Writes a request with these header fields."""

    def __call__(self, headers: Mapping[str, str], /) -> bytes:
        """Return the whole head."""


_TLS_FAILURES: Final = {
    "WRONG_VERSION_NUMBER": TlsFailure.NO_TLS,
    "HTTP_REQUEST": TlsFailure.NO_TLS,
    "PACKET_LENGTH_TOO_LONG": TlsFailure.NO_TLS,
    "RECORD_LAYER_FAILURE": TlsFailure.NO_TLS,
    "UNEXPECTED_EOF_WHILE_READING": TlsFailure.ENDED,
}


def _rate_limited_for(answer: Answer | None) -> float | None:
    """How many seconds the server wants to be left alone; None if it is not for having been asked too often."""
    if answer is None or answer.headers.get(REASON.lower()) != Reason.RATE_LIMITED:
        return None
    return parse_retry_after(answer.headers.get("retry-after", "")) or 1.0


def _describe_tls(channel: Channel) -> tuple[str, Certificate | None]:
    """Return the version, and the server's certificate."""
    if not isinstance(channel, ssl.SSLSocket | NestedTlsChannel):
        return "", None
    der = channel.getpeercert(binary_form=True)
    try:
        certificate = read_certificate(der) if der else None
    except ValueError:
        certificate = None
    return channel.version() or "TLS", certificate


def read_skew(exchanged: Exchange, now: float) -> float | None:
    """How many seconds this host's clock (``now``, Unix time) is ahead of the answer's Date; None without one."""
    date = "" if exchanged.answer is None else exchanged.answer.headers.get("date", "")
    try:
        then = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    skew = now - then
    return skew - 1 if skew > 1 else min(skew, 0.0)  # Date has no fractions
