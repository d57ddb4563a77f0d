"""The server's TLS handshake on an accepted connection, before its first request is read.

One of the stages between accept and the head of the request (transport/http.py). It has a time limit, and it says
in one line why there was no TLS; who a certificate makes the client is for the server to decide.
"""

import socket
import ssl
from collections.abc import Callable
from typing import Final

from sokken.telemetry.logs import get_logger
from sokken.transport.channel import Channel, close_cleanly, raise_pending
from sokken.transport.leave import Leave
from sokken.transport.plane import Plane

_ADVICE: Final = {
    "HTTP_REQUEST": "this is plain HTTP, but TLS is spoken here: use wss:// or https://",
    "WRONG_VERSION_NUMBER": "this is no TLS: use wss:// or https://",
    "UNSUPPORTED_PROTOCOL": "the client offers nothing newer than TLS 1.1",
}
"""By OpenSSL's reason; the others are told as OpenSSL tells them."""

log = get_logger("tls")

Next = Callable[[Channel, str], object]
"""What comes after the handshake; it gets the channel and the peer."""


class TlsAcceptor:
    """Makes TLS of a connection within ``seconds``, then passes it on to ``then``."""

    __slots__ = ("_channel", "_is_writing", "_peer", "_plane", "_seconds", "_then", "due")

    def __init__(
        self,
        plane: Plane,
        context_of: Callable[[], ssl.SSLContext],
        channel: socket.socket,
        peer: str,
        then: Next,
        seconds: float,
    ) -> None:
        self._plane = plane
        self._peer = peer
        self._then = then
        self._seconds = seconds
        self._is_writing: bool | None = None
        self.due = 0
        try:
            raise_pending(channel)
            self._channel = context_of().wrap_socket(channel, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            log.debug("connection_without_request", peer=peer, detail=str(error))
            channel.close()
            return
        plane.wheel.wake(self, plane.wheel.refresh() + seconds)
        self._shake()

    def __repr__(self) -> str:
        return f"<TlsAcceptor {self._peer}>"

    def on_timer(self, now: float) -> None:  # noqa: ARG002 -- the wheel's signature
        """The time for the handshake is over."""
        self._tell(f"the handshake did not end within {self._seconds:g} s")
        self._release()
        self._channel.close()

    def _shake(self) -> None:
        try:
            self._channel.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(is_writing=False)
        except ssl.SSLWantWriteError:
            self._watch(is_writing=True)
        except OSError as error:
            self._fail(error)
        else:
            self._release()
            self._then(self._channel, self._peer)

    def _watch(self, *, is_writing: bool) -> None:
        if is_writing is self._is_writing:
            return
        self._unwatch()
        watch = self._plane.watch.write if is_writing else self._plane.watch.read
        watch(self._channel, self._shake)
        self._is_writing = is_writing

    def _unwatch(self) -> None:
        if self._is_writing is not None:
            self._plane.watch.remove(self._channel)
            self._is_writing = None

    def _release(self) -> None:
        self._plane.wheel.forget(self)
        self._unwatch()

    def _fail(self, error: OSError) -> None:
        self._release()
        # An end is an SSLZeroReturnError to early releases of Python 3.11.
        if not isinstance(error, ssl.SSLError) or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            log.debug("connection_without_request", peer=self._peer)  # a port scan, a probe of TCP
            close_cleanly(self._channel)
            return
        self._tell(_explain(error))
        # OpenSSL has sent its alert: it must not be overtaken by a reset for what the client said meanwhile.
        plain = socket.socket(fileno=self._channel.detach())
        plain.setblocking(False)  # noqa: FBT003 -- the standard library's signature
        Leave(self._plane, plain)

    def _tell(self, detail: str) -> None:
        log.warning("tls_handshake_failed", peer=self._peer, detail=detail)


def _explain(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not accepted: {error.verify_message.rstrip('.')}"
    reason = error.reason or str(error)
    if "_ALERT_" in reason:
        return f"the client ended it: {reason.partition('_ALERT_')[2].lower().replace('_', ' ')}"
    return _ADVICE.get(reason, reason.lower().replace("_", " "))
