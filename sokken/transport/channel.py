"""A channel is a connected, non-blocking socket with the calls of one: recv_into, send, shutdown, close.

A plain TCP socket is one as it is. Over TLS, ``TlsChannel`` gives the same calls the same meaning, so that the
relay and the head reader know no difference.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from functools import cache, partial
from typing import Any, Final

Channel = socket.socket
"""Plain, or a TlsChannel."""

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that say: this host has no descriptor or memory left for another socket."""

RECORD_BYTES: Final = 16384  # what one TLS record holds (RFC 8446 section 5.1)
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_LINGER_OFF: Final = struct.pack("ii", 0, 0)
_WAIT: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_nobodys = cache(partial(ssl.SSLContext, ssl.PROTOCOL_TLS_CLIENT))  # made when it is needed: start-up is measured
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


def prepare(sock: socket.socket) -> None:
    """Set what every socket of a connection has: non-blocking, no delay, keep-alive, and reset on close.

    Reset on close (SO_LINGER 1, 0) holds from the start, so that a process that is killed resets its connections
    too: an end that nobody decided must not look like one. Buffer sizes are left alone (autotuning), and so is
    TCP_USER_TIMEOUT, which would kill a closed window. Accepted sockets inherit all of it but non-blocking from
    the listening one (Linux, tcp(7) and socket(7)), which saves seven calls a connection.
    """
    if sock.gettimeout() != 0:
        sock.setblocking(False)  # noqa: FBT003 -- the standard library's signature
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def close_cleanly(sock: socket.socket) -> None:
    """Close after an end that both sides agreed on: what is still in the kernel is delivered."""
    try:  # noqa: SIM105 -- suppress() costs more than the call
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
    except OSError:  # it is closed all the same
        pass
    sock.close()


def raise_pending(sock: socket.socket) -> None:
    """Raise the error that has come meanwhile, such as a reset: an SSLSocket made of this would not be closed."""
    if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))


async def wait_ready(loop: asyncio.AbstractEventLoop, sock: socket.socket, *, to_write: bool = False) -> None:
    """Until ``sock`` can be read, or written. Nobody else may watch it meanwhile."""
    ready = loop.create_future()
    fileno = sock.fileno()
    watch, forget = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    watch(fileno, _wake, ready)
    try:
        await ready
    finally:
        forget(fileno)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def forget_tls_errors() -> None:
    """Empty OpenSSL's queue of errors; due after every call on a TLS connection that raised anything but "wait".

    The queue is the thread's, not the connection's, and must be empty before a call (SSL_get_error(3)). CPython does
    not empty it of the system's errors (github.com/python/cpython/issues/148594): the reset of one connection would be
    raised by the next one that has only to wait, and so by all. A list of ciphers that names none is refused, and that
    is what empties the queue.
    """
    with contextlib.suppress(ssl.SSLError):
        _nobodys().set_ciphers("none of them")


class TlsChannel(ssl.SSLSocket):
    """A TLS connection with a plain socket's manners: BlockingIOError where it must wait, as much as fits a call."""

    _sslobj: Any
    """OpenSSL's connection, used as it is: the calls of SSLSocket around it cost a tenth of all. None after the end."""
    _failure: OSError | None = None

    def recv_into(self, buffer, nbytes=None, flags=0):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """Fill ``buffer`` as far as decrypted bytes go; 0 at the end. More may be left: ask ``pending``."""
        if self._failure is not None:
            raise self._failure
        view, count = memoryview(buffer), 0
        size = nbytes or len(view)
        if self._sslobj is None:
            return super().recv_into(view, size)
        read = self._sslobj.read
        while count < size:
            try:
                received = read(size - count, view[count:size])
            except ssl.SSLEOFError:  # the end of TCP alone: whether that was one is the protocol's above to know
                break
            except _WAIT:
                if not count:
                    raise BlockingIOError from None
                break
            except OSError as error:
                forget_tls_errors()
                # It is told once, but what came before it is read first.
                self._failure = error
                if not count:
                    raise
                break
            if not received:
                break
            count += received
        return count

    def send(self, data, flags=0):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """Send as many records as the connection takes; returns how many bytes of ``data`` went."""
        if self._sslobj is None:
            return super().send(data)
        view, sent, write = memoryview(data), 0, self._sslobj.write
        while sent < len(view):
            try:
                # One record a call: OpenSSL wants a call that had to wait repeated with the same bytes, and it is,
                # because the bytes from ``sent`` on are what the caller keeps.
                sent += write(view[sent : sent + RECORD_BYTES])
            except _WAIT:
                if not sent:
                    raise BlockingIOError from None
                break
            except OSError:
                forget_tls_errors()
                raise
        return sent

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT002 -- the standard library's signature
        """Go on with it; raises SSLWantReadError or SSLWantWriteError where it must wait."""
        try:
            super().do_handshake(block)
        except _WAIT:
            raise
        except OSError:
            forget_tls_errors()
            raise

    def shutdown(self, how: int) -> None:
        """Say the end in TLS (close_notify) as far as that goes at once, then in TCP."""
        try:
            self.unwrap()
        except (OSError, ValueError):
            forget_tls_errors()
        super().shutdown(how)
