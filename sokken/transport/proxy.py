"""Through an HTTP proxy: dial it, over TLS if it wants that, and have it connect to the server (CONNECT).

Called by the client in place of a plain dial. What comes out is a channel to the server like any other.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sokken.errors import SokkenError
from sokken.protocol.backoff import Verdict
from sokken.protocol.handshake import HandshakeError
from sokken.protocol.outcomes import ConnectOutcome
from sokken.protocol.proxy import Proxy, format_connect_request, judge_connect
from sokken.transport.channel import Channel
from sokken.transport.dial import DialError, DialFailure, dial
from sokken.transport.exchange import exchange
from sokken.transport.plane import Plane
from sokken.transport.resolve import Resolver
from sokken.transport.tls import start_tls


class ProxyError(SokkenError):
    """A proxy could not be used, or would not connect; the verdict says whether it may another time."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.detail)
        self.verdict = verdict


async def dial_through(
    plane: Plane,
    resolver: Resolver,
    proxy: Proxy,
    authority: str,
    seconds: float,
    context_of: Callable[[], ssl.SSLContext],
) -> Channel:
    """Connect to ``authority`` (HOST:PORT) through ``proxy``; raises ProxyError.

    The proxy resolves the host. ``context_of`` makes TLS for an https:// proxy.
    """
    context = context_of() if proxy.secure else None
    with _told_as(proxy):
        channel: Channel = await dial(resolver, proxy.address, seconds)
        if context is not None:
            channel = await start_tls(plane.loop, channel, context, proxy.address.host.partition("%")[0])
    try:
        await _connect(plane, channel, proxy, authority)
    except BaseException:
        channel.close()
        raise
    return channel


async def _connect(plane: Plane, channel: Channel, proxy: Proxy, authority: str) -> None:
    with _told_as(proxy):
        answer, tail = await exchange(plane, channel, format_connect_request(authority, proxy))
    if verdict := judge_connect(answer, authority, proxy):
        raise ProxyError(verdict)
    if tail:  # the server speaks only after the client: these are not its bytes
        raise _failed(f"the proxy {proxy} sent something of its own behind its answer", retry=False)


@contextmanager
def _told_as(proxy: Proxy) -> Iterator[None]:
    """Make what may happen on the way to a proxy an error that names it."""
    try:
        yield
    except DialError as error:
        outcome = ConnectOutcome.SERVER_DNS if error.failure is DialFailure.DNS else ConnectOutcome.SERVER_UNREACHABLE
        raise ProxyError(Verdict(True, outcome.value, f"the proxy {proxy}: {error.detail}")) from None  # noqa: FBT003
    except HandshakeError:
        raise _failed(f"what answered at {proxy} is no HTTP proxy", retry=False) from None
    except ssl.SSLCertVerificationError as error:
        problem = f"the certificate of the proxy {proxy} is not accepted: {error.verify_message.rstrip('.')}"
        raise ProxyError(Verdict(False, ConnectOutcome.SERVER_TLS.value, problem)) from None  # noqa: FBT003
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        problem = f"TLS with the proxy {proxy} failed: {reason}; is http:// meant?"
        raise ProxyError(Verdict(False, ConnectOutcome.SERVER_TLS.value, problem)) from None  # noqa: FBT003
    except OSError as error:
        problem = (error.strerror or "").lower() or "it ended the connection without an answer"
        raise _failed(f"the proxy {proxy} failed: {problem}", retry=True) from None


def _failed(detail: str, *, retry: bool) -> ProxyError:
    return ProxyError(Verdict(retry, ConnectOutcome.SERVER_UNREACHABLE.value, detail))
