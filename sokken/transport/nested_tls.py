"""TLS inside TLS: a wss:// server behind an https:// proxy. OpenSSL can have only the outer one on the socket.

Made by transport/tls.py where a TLS handshake is to happen over a TlsChannel. It has a TlsChannel's calls with the
same meaning, so that the relay and the exchange know no difference.
"""

import contextlib
import socket
import ssl
from typing import Final

from sokken.transport.channel import RECORD_BYTES, TlsChannel

_scratch: Final = memoryview(bytearray(4 * RECORD_BYTES))  # used within one call only


class NestedTlsChannel(socket.socket):
    """The inner connection. It is the same socket as ``outer``, which it closes with itself."""

    def __init__(self, outer: TlsChannel, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(fileno=outer.fileno())
        self.setblocking(False)  # noqa: FBT003 -- the standard library's signature
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._unsent = memoryview(b"")
        self._owed = 0
        """How many bytes of the caller's are encrypted already, but not counted as sent."""

    def do_handshake(self) -> None:
        """Go on with it; raises SSLWantReadError or SSLWantWriteError where it must wait, as an SSLSocket does."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush_handshake()
                if not self._fill():
                    raise
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # the alert
                raise
            else:
                self._flush_handshake()
                return

    def recv_into(self, buffer, nbytes=None, flags=0):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """Fill ``buffer`` as far as decrypted bytes go; 0 at the end. More may be left: ask ``pending``."""
        view, count = memoryview(buffer), 0
        size = nbytes or len(view)
        while count < size:
            try:
                received = self._read(view[count:size])
            except OSError:  # BlockingIOError, too
                if not count:
                    raise
                break
            if not received:
                break
            count += received
        return count

    def send(self, data, flags=0):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """Send as many records as the connection takes; returns how many bytes of ``data`` went.

        A record that went in part is none that went: the caller repeats its bytes, as after an SSLSocket's.
        """
        view, sent = memoryview(data), 0
        while sent < len(view):
            self._owed = self._owed or self._tls.write(view[sent : sent + RECORD_BYTES])
            try:
                self._flush()
            except BlockingIOError:
                if not sent:
                    raise
                break
            sent += self._owed
            self._owed = 0
        return sent

    def pending(self) -> int:
        """Whether there is more that raises no event: decrypted once, or twice."""
        return self._tls.pending() + self._incoming.pending + self._outer.pending()

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        """Give the inner server's certificate in DER form, as an SSLSocket does if asked for that."""
        return self._tls.getpeercert(binary_form=True) if binary_form else None

    def version(self) -> str | None:
        """Which TLS the inner one is."""
        return self._tls.version()

    def shutdown(self, how: int) -> None:
        """Say the end in the inner TLS as far as that goes at once, then in the outer one."""
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._flush()
        self._outer.shutdown(how)

    def close(self) -> None:
        """Close the socket that both are."""
        self.detach()
        self._outer.close()

    def _read(self, view: memoryview) -> int:
        while True:
            try:
                return self._tls.read(len(view), view)  # type: ignore[return-value]
            except ssl.SSLWantReadError:
                if not self._fill():
                    raise BlockingIOError from None
            except ssl.SSLEOFError:
                return 0

    def _fill(self) -> bool:
        """Hand on what the outer connection has; False if that is nothing now."""
        try:
            count = self._outer.recv_into(_scratch)  # type: ignore[no-untyped-call]
        except BlockingIOError:
            return False
        if count:
            self._incoming.write(_scratch[:count])
        else:
            self._incoming.write_eof()
        return True

    def _flush(self) -> None:
        """Send what is encrypted; raises BlockingIOError while not all of it has gone."""
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
            sent = self._outer.send(self._unsent)  # type: ignore[no-untyped-call]
            self._unsent = self._unsent[sent:]

    def _flush_handshake(self) -> None:
        try:
            self._flush()
        except BlockingIOError:
            raise ssl.SSLWantWriteError from None
