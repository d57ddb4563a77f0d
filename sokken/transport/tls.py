"""TLS: what each end trusts and shows, made of the files' contents, and the client's handshake.

Contexts come from contents rather than from paths, so that what was looked at is what is used, whatever happens to
the files meanwhile. Called by the two programs; a message about a file never quotes it.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sokken.transport.channel import Channel, TlsChannel, raise_pending, wait_ready
from sokken.transport.files import WatchedFile
from sokken.transport.nested_tls import NestedTlsChannel

_ALPN: Final = ("http/1.1",)


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """A certificate, with what it was issued by, and its key: PEM."""

    certificate: bytes
    key: bytes


class TlsFiles:
    """A context that follows its files. ``make`` gets what they hold; None for what is not configured."""

    def __init__(
        self,
        make: Callable[[str | None, KeyPair | None], ssl.SSLContext],
        authorities: WatchedFile[str] | None = None,
        pair: WatchedFile[KeyPair] | None = None,
    ) -> None:
        self._make = make
        self._authorities = authorities
        self._pair = pair
        self._context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"<TlsFiles {self._authorities!r} {self._pair!r}>"

    @property
    def files(self) -> list[WatchedFile[Any]]:
        """Those that are configured."""
        return [file for file in (self._authorities, self._pair) if file is not None]

    def look(self) -> bool:
        """Look at the files again; whether new connections get something else now."""
        found = [file.look() for file in self.files]
        if any(found):
            self._context = None
        return any(found)

    def context(self) -> ssl.SSLContext:
        """What holds now; raises ConfigurationError while a file has never been good."""
        if self._context is None:
            authorities = None if self._authorities is None else self._authorities.value
            self._context = self._make(authorities, None if self._pair is None else self._pair.value)
        return self._context


def parse_authorities(content: bytes) -> str:
    """Certificates in PEM form, as text; raises ValueError unless there is at least one, and all can be read."""
    try:
        text = content.decode("ascii", "ignore")  # what stands between the certificates may be anything
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError):
        problem = "it holds no certificate in PEM form; give a PEM file of the authorities to trust"
        raise ValueError(problem) from None
    return text


def parse_key_pair(certificate: bytes, key: bytes | None = None) -> KeyPair:
    """A certificate and its key; without ``key`` it stands in the same file. Raises ValueError if they are none."""
    pair = KeyPair(certificate, certificate if key is None else key)
    try:
        _load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError("the key is another certificate's") from None
        raise ValueError("it needs a certificate and its key, both in PEM form") from None
    return pair


def client_context(authorities: str | None, pair: KeyPair | None = None, *, verifies: bool = True) -> ssl.SSLContext:
    """TLS 1.2 at least; ``authorities`` replace the system's, ``pair`` is shown to a server that asks for one."""
    context = ssl.create_default_context(cadata=authorities)
    if not verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return _finish(context, pair)


def server_context(authorities: str | None, pair: KeyPair | None) -> ssl.SSLContext:
    """TLS 1.2 at least; with ``authorities``, clients are asked for a certificate that one of them has issued.

    Asked, not made to have one: whether a request may do without is decided where it is authenticated.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.options |= ssl.OP_NO_RENEGOTIATION  # it costs the server more than who asks for it
    context.num_tickets = 0  # no resumption (TLS 1.3): each connection shows its certificate anew
    if authorities is not None:
        context.load_verify_locations(cadata=authorities)
        context.verify_mode = ssl.CERT_OPTIONAL
    return _finish(context, pair)


async def start_tls(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, context: ssl.SSLContext, server_name: str
) -> Channel:
    """Make TLS of a connected socket, which is then the channel's; raises OSError (ssl.SSLError).

    ``server_name`` is what the certificate must be for, a name or an IP address.
    """
    channel = _wrap(sock, context, server_name)
    try:
        while True:
            try:
                channel.do_handshake()
            except ssl.SSLWantReadError:
                await wait_ready(loop, channel)
            except ssl.SSLWantWriteError:
                await wait_ready(loop, channel, to_write=True)
            else:
                return channel
    except BaseException:
        channel.close()
        raise


def _wrap(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> NestedTlsChannel | ssl.SSLSocket:
    try:
        if isinstance(sock, TlsChannel):
            return NestedTlsChannel(sock, context, server_name)
        raise_pending(sock)
        return context.wrap_socket(sock, server_hostname=server_name, do_handshake_on_connect=False)
    except BaseException:
        sock.close()
        raise


def _finish(context: ssl.SSLContext, pair: KeyPair | None) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    context.sslsocket_class = TlsChannel
    if pair is not None:
        _load_pair(context, pair)
    return context


def _load_pair(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Through files in memory, because OpenSSL takes a chain from a path alone."""
    with _in_memory(pair.certificate) as certificate, _in_memory(pair.key) as key:
        context.load_cert_chain(certificate, key, _refuse_password)


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Give some content a path (memfd_create(2)); nothing of it reaches a disk."""
    with os.fdopen(os.memfd_create("sokken"), "wb", buffering=0) as file:
        file.write(content)
        yield f"/proc/self/fd/{file.fileno()}"


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; give one without a passphrase")
