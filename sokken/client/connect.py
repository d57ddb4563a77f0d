"""From a forward's URL to an open WebSocket: dial, TLS, upgrade, and again before the first byte was sent."""

import asyncio
import itertools
import os
import random
import ssl
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from typing import Final, NamedTuple, Protocol, TypeVar

from sokken import __version__
from sokken.errors import ConfigurationError, SokkenError
from sokken.protocol.address import Address, ServerUrl
from sokken.protocol.backoff import judge_answer, next_delay, parse_retry_after
from sokken.protocol.handshake import (
    Answer,
    HandshakeError,
    format_check_request,
    format_upgrade_request,
    verify_upgrade,
)
from sokken.protocol.identity import CLIENT_ID, CONNECTION_ID, TUNNEL, VERSION
from sokken.protocol.outcomes import ConnectOutcome, Outcome
from sokken.protocol.proxy import connect_authority
from sokken.telemetry.logs import get_logger
from sokken.telemetry.trail import NO_TRAIL, Stage, Trail
from sokken.transport.channel import Channel
from sokken.transport.credentials import Credentials, CredentialSettings, RouteSettings, find_proxy
from sokken.transport.dial import DialError, DialFailure, dial
from sokken.transport.eager import become_task
from sokken.transport.exchange import exchange, read_body, send_at_once
from sokken.transport.plane import Plane
from sokken.transport.proxy import ProxyError, dial_through
from sokken.transport.resolve import Resolver
from sokken.transport.tls import start_tls

T = TypeVar("T")

log = get_logger("connect")

_KEY_BYTES: Final = 16
_SWITCHING: Final = 101
_CHECK_PASSED: Final = 204
_ORIGINAL_CHECKED: Final = frozenset({400, 426})


class ConnectSettings(CredentialSettings, RouteSettings, Protocol):
    """What connecting needs to know of the settings."""

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
    def connect_timeout_seconds(self) -> float:
        """For all attempts together."""

    @property
    def attempt_timeout_seconds(self) -> float:
        """For one attempt."""


class ConnectError(SokkenError):
    """An attempt failed. ``retry`` says whether another may succeed, ``retry_after`` (seconds) not before when.

    ``answer`` is what the server said, if it did.
    """

    def __init__(
        self,
        outcome: str,
        detail: str,
        *,
        retry: bool,
        retry_after: float | None = None,
        answer: Answer | None = None,
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.retry = retry
        self.retry_after = retry_after
        self.answer = answer


class Opened(NamedTuple):
    """A WebSocket that is up; ``tail`` is what the server has already sent behind its answer."""

    channel: Channel
    subprotocol: str
    tail: bytes


class Connector:
    """Connects to servers, for tunnels and for checks."""

    def __init__(self, plane: Plane, settings: ConnectSettings) -> None:
        """Raises ConfigurationError for credentials that contradict each other."""
        self._plane = plane
        self._settings = settings
        self._resolver = Resolver(plane.loop)
        self.credentials = Credentials(settings)
        self._proxy_of = cache(partial(find_proxy, settings))  # a client has few servers
        self._claims = {CLIENT_ID: settings.client_id, VERSION: __version__}
        if settings.tunnel_name:
            self._claims[TUNNEL] = settings.tunnel_name

    async def open(self, url: ServerUrl, connection_id: str, trail: Trail = NO_TRAIL) -> Opened:
        """Open a WebSocket, trying again as long as the budget lasts; raises ConnectError."""
        headers = {**self._claims, CONNECTION_ID: connection_id, **trail.headers}
        loop = self._plane.loop
        deadline = loop.time() + self._settings.connect_timeout_seconds
        full, failure = self._settings.attempt_timeout_seconds, None
        for attempt in itertools.count():
            remaining = deadline - loop.time()
            try:
                return await self._attempt(lambda until: self._upgrade(url, headers, trail, until), remaining)
            except ConnectError as error:
                if failure is not None and error.outcome == ConnectOutcome.CONNECT_TIMEOUT and remaining < full:
                    raise failure from None  # this attempt was cut short: the one before says more
                failure = error
                remaining = deadline - loop.time()
                uniform = random.random()  # noqa: S311 -- spreads retries, hides nothing
                delay = next_delay(attempt, uniform, error.retry_after, remaining) if error.retry else None
                if delay is None:
                    raise
                log.debug("connect_retry", connection_id=connection_id, attempt=attempt + 1, detail=error.detail)
                trail.retry(error.outcome)
                await asyncio.sleep(delay)
        raise AssertionError  # pragma: no cover -- count() does not end

    async def check(self, url: ServerUrl) -> None:
        """Ask the server once whether it would let a tunnel in; raises ConnectError if not."""
        await self._attempt(lambda until: self._check(url, until), self._settings.attempt_timeout_seconds)

    async def _attempt(self, attempt: Callable[[float], Awaitable[T]], remaining: float) -> T:
        """``attempt`` is told until when (in the loop's time) it may wait."""
        seconds = min(self._settings.attempt_timeout_seconds, remaining)
        try:
            return await attempt(self._plane.loop.time() + seconds)
        except TimeoutError:
            detail = f"the server did not answer within {seconds:.3g} s"
            raise ConnectError(ConnectOutcome.CONNECT_TIMEOUT, detail, retry=True) from None
        except ConfigurationError as error:
            raise ConnectError(ConnectOutcome.CREDENTIAL_UNAVAILABLE, str(error), retry=False) from None
        except DialError as error:
            outcome = _DIAL_OUTCOMES.get(error.failure, ConnectOutcome.SERVER_UNREACHABLE)
            raise ConnectError(outcome, error.detail, retry=True) from None
        except ProxyError as error:
            verdict = error.verdict
            raise ConnectError(verdict.outcome, verdict.detail, retry=verdict.retry) from None
        except HandshakeError as error:
            raise ConnectError(Outcome.PROTOCOL_ERROR, error.detail, retry=False) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            detail = "the connection to the server was lost: it ended within the TLS handshake"
            raise ConnectError(ConnectOutcome.SERVER_UNREACHABLE, detail, retry=True) from None
        except ssl.SSLError as error:
            raise ConnectError(ConnectOutcome.SERVER_TLS, _explain_tls(error), retry=False) from None
        except OSError as error:
            detail = f"the connection to the server was lost: {(error.strerror or '').lower() or error}"
            raise ConnectError(ConnectOutcome.SERVER_UNREACHABLE, detail, retry=True) from None

    async def _upgrade(self, url: ServerUrl, headers: Mapping[str, str], trail: Trail, until: float) -> Opened:
        headers = {**self.credentials.headers(), **headers}
        key = b2a_base64(os.urandom(_KEY_BYTES), newline=False).decode()
        channel = await self._dial(url, trail, until)
        try:
            trail.enter(Stage.UPGRADE)
            rest = send_at_once(channel, format_upgrade_request(url, key, headers))
            await become_task()
            async with asyncio.timeout_at(until):
                answer, tail = await exchange(self._plane, channel, rest)
                if answer.status != _SWITCHING:
                    raise self._refused(answer, await read_body(self._plane, channel, answer, tail))  # noqa: TRY301
            return Opened(channel, verify_upgrade(answer, key), tail)
        except BaseException:
            self._plane.watch.forget(channel)
            channel.close()
            raise

    async def _check(self, url: ServerUrl, until: float) -> None:
        headers = {**self.credentials.headers(), **self._claims}
        channel = await self._dial(url, NO_TRAIL, until)
        try:
            async with asyncio.timeout_at(until):
                answer, _ = await exchange(self._plane, channel, format_check_request(url, headers))
        finally:
            channel.close()
        # An original knows no check: it has answered, and that is all that can be learned from it.
        is_original = answer.status in _ORIGINAL_CHECKED and "sokken-reason" not in answer.headers
        if answer.status != _CHECK_PASSED and not is_original:
            raise self._refused(answer, b"")

    def _refused(self, answer: Answer, body: bytes) -> ConnectError:
        verdict = judge_answer(answer, body)
        retry_after = parse_retry_after(answer.headers.get("retry-after", ""))
        detail = self.credentials.hide(verdict.detail)
        return ConnectError(verdict.outcome, detail, retry=verdict.retry, retry_after=retry_after, answer=answer)

    async def _dial(self, url: ServerUrl, trail: Trail, until: float) -> Channel:
        if not url.secure:
            return await self._reach(url, trail, until)
        context = self.credentials.context()
        await become_task()
        channel = await self._reach(url, trail, until)
        trail.enter(Stage.TLS)
        name = self._settings.server_name or url.host.partition("%")[0]
        async with asyncio.timeout_at(until):
            return await start_tls(self._plane.loop, channel, context, name)

    async def _reach(self, url: ServerUrl, trail: Trail, until: float) -> Channel:
        seconds = max(0, until - self._plane.loop.time())
        proxy = self._proxy_of(url)
        if proxy is None:
            return await dial(self._resolver, Address(url.host, url.port), seconds, trail=trail)
        trail.enter(Stage.TCP)
        authority, context_of = connect_authority(url), self.credentials.proxy_context
        await become_task()
        async with asyncio.timeout_at(until):
            shown = self.credentials.show_to(proxy)
            return await dial_through(self._plane, self._resolver, shown, authority, seconds, context_of)


_DIAL_OUTCOMES: Final = {
    DialFailure.DNS: ConnectOutcome.SERVER_DNS,
    DialFailure.TIMEOUT: ConnectOutcome.CONNECT_TIMEOUT,
}


_OTHER_NAME: Final = "; the URL must name the server as its certificate does"
_OTHER_AUTHORITY: Final = "; SOKKEN_CA_FILE names other authorities"
_CERTIFICATE_ADVICE: Final = {
    **dict.fromkeys((2, 18, 19, 20, 21), _OTHER_AUTHORITY),  # X509_V_ERR_*: no issuer, self-signed
    **dict.fromkeys((62, 64), _OTHER_NAME),  # host name mismatch, IP address mismatch
}
"""By the failure's number in OpenSSL (x509_vfy.h)."""


def _explain_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = _CERTIFICATE_ADVICE.get(error.verify_code, "")
        return f"the server's certificate is not accepted: {error.verify_message.rstrip('.')}{advice}"
    if error.reason == "WRONG_VERSION_NUMBER":
        return "the server does not speak TLS there: is ws:// meant instead of wss://?"
    return f"TLS with the server failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
