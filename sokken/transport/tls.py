"""TLS toward a server: whom to trust, and the handshake on a non-blocking socket."""

import asyncio
import socket
import ssl
from pathlib import Path

from sokken.errors import ConfigurationError
from sokken.transport.channel import Channel, TlsChannel, wait_ready


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verification on, TLS 1.2 at least; ``ca_file`` replaces the system's authorities. Raises ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        problem = "it holds no certificate in PEM form"
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.sslsocket_class = TlsChannel
        return context
    message = f"SOKKEN_CA_FILE: cannot use {ca_file}: {problem}; give a PEM file of the authorities to trust"
    raise ConfigurationError(message)


async def start_tls(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, context: ssl.SSLContext, server_name: str
) -> Channel:
    """Make TLS of a connected socket, which is then the channel's; raises OSError (ssl.SSLError).

    ``server_name`` is what the certificate must be for, a name or an IP address.
    """
    channel = context.wrap_socket(sock, server_hostname=server_name, do_handshake_on_connect=False)
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
