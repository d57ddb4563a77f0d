"""The PROXY protocol on an accepted connection: the header of a trusted proxy, before anything else is read.

One of the stages between accept and the head of the request (transport/http.py), before TLS. Not a byte behind the
header is taken. A connection that does not begin as it must is closed, with one line in the log: nobody at its
other end could read an answer. This host may ask as itself (``sokken probe``): with a header that names nobody.
"""

import socket
from collections.abc import Callable
from typing import Final

from sokken.protocol.forwarded import Networks, is_within
from sokken.protocol.proxy_header import MAX_HEADER_BYTES, ProxyHeaderError, decode_proxy_header
from sokken.telemetry.logs import get_logger
from sokken.transport.channel import Channel, close_cleanly
from sokken.transport.listen import format_peer
from sokken.transport.plane import Plane

HEADER_SECONDS: Final = 10.0
_UNTRUSTED: Final = "it comes from no proxy in SOKKEN_TRUSTED_PROXIES"

log = get_logger("proxy")

Next = Callable[[Channel, str], object]
"""What comes after the header; it gets the channel and the client's address."""


class ProxyHeaderReader:
    """Reads one header, then passes the connection on to ``then``; ``trusted`` are the networks of the proxies."""

    __slots__ = ("_buffer", "_channel", "_is_done", "_is_trusted", "_is_waiting", "_peer", "_plane", "_then", "due")

    def __init__(self, plane: Plane, trusted: Networks, channel: Channel, peer: str, then: Next) -> None:
        self._plane = plane
        self._channel = channel
        self._peer = peer
        self._then = then
        self._buffer = b""
        self.due = 0
        self._is_done = self._is_waiting = False
        self._is_trusted = is_within(_host(peer), trusted)
        if not self._is_trusted and not _is_own(channel, peer):
            self._reject(_UNTRUSTED)
            return
        self._on_readable()  # it is often here already
        if not self._is_done:
            self._is_waiting = True
            plane.wheel.wake(self, plane.wheel.refresh() + HEADER_SECONDS)
            plane.watch.read(channel, self._on_readable)

    def __repr__(self) -> str:
        return f"<ProxyHeaderReader {self._peer} {len(self._buffer)} bytes>"

    def on_timer(self, now: float) -> None:  # noqa: ARG002 -- the wheel's signature
        """The time for the header is over."""
        self._reject(f"its PROXY header did not end within {HEADER_SECONDS:g} s")

    def _on_readable(self) -> None:
        while not self._is_done and self._read_some():
            pass

    def _read_some(self) -> bool:
        """Look at what is there, and take what belongs to the header; whether there may be more."""
        view = self._plane.inbound_view[: MAX_HEADER_BYTES - len(self._buffer)]
        try:
            count = self._channel.recv_into(view, 0, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            count = 0
        known = len(self._buffer)
        self._buffer += view[:count]
        try:
            header = decode_proxy_header(self._buffer) if count else None
        except ProxyHeaderError as error:
            self._reject(str(error))
            return False
        if count:
            self._channel.recv_into(view[: (header.size if header else len(self._buffer)) - known])
        if header and header.client and not self._is_trusted:
            self._reject(_UNTRUSTED)
            return False
        if header:
            self._release()
            self._then(self._channel, str(header.client or self._peer))
        elif not count:
            self._lose()
        return header is None and count > 0

    def _lose(self) -> None:
        if self._buffer:
            self._reject("the connection ended within its PROXY header")
            return
        log.debug("connection_without_request", peer=self._peer)  # a port scan, a probe of TCP
        self._release()
        close_cleanly(self._channel)

    def _reject(self, detail: str) -> None:
        log.warning("proxy_header_rejected", peer=self._peer, detail=detail)
        self._release()
        self._channel.close()

    def _release(self) -> None:
        self._is_done = True
        if self._is_waiting:
            self._plane.wheel.forget(self)
            self._plane.watch.remove(self._channel)


def _is_own(channel: Channel, peer: str) -> bool:
    """Whether this host has connected to itself: from the same address."""
    try:
        return _host(format_peer(channel.getsockname())) == _host(peer)
    except OSError:  # it has gone
        return False


def _host(peer: str) -> str:
    return peer.rpartition(":")[0].strip("[]")
