import asyncio
import socket
import ssl
import threading
from pathlib import Path

import pytest

from sokken.errors import ConfigurationError
from sokken.transport.channel import TlsChannel
from sokken.transport.files import WatchedFile
from sokken.transport.tls import client_context, parse_authorities, start_tls
from tests.support.loops import AUTHORITIES, LOOPS, run, server_context, tcp_pair
from tests.support.targets import PATIENCE, was_reset

every_loop = pytest.mark.parametrize("loop", LOOPS)


def test_who_is_trusted():
    context = client_context(AUTHORITIES)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is True
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert [dict(pair[0] for pair in ca["subject"])["commonName"] for ca in context.get_ca_certs()] == ["sokken test"]


def test_the_systems_authorities_are_trusted_where_none_is_named():
    system = ssl.create_default_context()
    assert len(client_context(None).get_ca_certs()) == len(system.get_ca_certs())


def open_authorities(path: Path) -> WatchedFile[str]:
    return WatchedFile(path, parse_authorities, "SOKKEN_CA_FILE")


NO_CERTIFICATE = "it holds no certificate in PEM form; give a PEM file of the authorities to trust"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file or directory"),
        (b"", NO_CERTIFICATE),
        (b"no certificate", NO_CERTIFICATE),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NO_CERTIFICATE),
    ],
)
def test_a_file_that_is_of_no_use_is_an_error(tmp_path, content, problem):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        open_authorities(path)
    assert str(caught.value) == f"SOKKEN_CA_FILE: cannot use {path}: {problem}"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigurationError, match=r"SOKKEN_CA_FILE: cannot use .*: is a directory"):
        open_authorities(tmp_path)


def serve(ours: socket.socket, context: ssl.SSLContext, names: list[str | None]) -> threading.Thread:
    """Shake hands on a thread; gives what name was asked for."""
    context.sni_callback = lambda _sock, name, _context: names.append(name)

    def shake() -> None:
        try:
            context.wrap_socket(ours, server_side=True).close()
        except OSError:
            ours.close()

    thread = threading.Thread(target=shake)
    thread.start()
    return thread


@every_loop
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_server_with_the_right_name(loop, name):
    async def main():
        with tcp_pair() as (ours, theirs):
            names = []
            thread = serve(ours, server_context(), names)
            channel = await start_tls(asyncio.get_running_loop(), theirs, client_context(AUTHORITIES), name)
            with channel:
                assert isinstance(channel, TlsChannel)
                assert channel.gettimeout() == 0
                assert names == [name if name == "localhost" else None]  # no address is sent (RFC 6066 section 3)
            thread.join(PATIENCE)

    run(main(), loop)


@every_loop
def test_http_1_is_asked_for(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            context = server_context()
            context.set_alpn_protocols(["h2", "http/1.1"])
            thread = serve(ours, context, [])
            running = asyncio.get_running_loop()
            with await start_tls(running, theirs, client_context(AUTHORITIES), "localhost") as channel:
                assert channel.selected_alpn_protocol() == "http/1.1"
            thread.join(PATIENCE)

    run(main(), loop)


@every_loop
@pytest.mark.parametrize("authorities", [AUTHORITIES, None], ids=["another name", "an unknown authority"])
def test_a_server_that_cannot_be_trusted(loop, authorities):
    async def main():
        with tcp_pair() as (ours, theirs):
            thread = serve(ours, server_context(), [])
            name = "localhost" if authorities is None else "other.test"
            with pytest.raises(ssl.SSLCertVerificationError):
                await start_tls(asyncio.get_running_loop(), theirs, client_context(authorities), name)
            assert theirs.fileno() == -1
            thread.join(PATIENCE)

    run(main(), loop)


@every_loop
def test_a_server_that_speaks_no_tls(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            ours.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(ssl.SSLError) as caught:
                await start_tls(asyncio.get_running_loop(), theirs, client_context(AUTHORITIES), "localhost")
            assert caught.value.reason == "WRONG_VERSION_NUMBER"

    run(main(), loop)


@every_loop
def test_a_server_that_ends(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            ours.shutdown(socket.SHUT_WR)
            with pytest.raises(ssl.SSLError):
                await start_tls(asyncio.get_running_loop(), theirs, client_context(AUTHORITIES), "localhost")

    run(main(), loop)


@every_loop
def test_who_gives_up_leaves_no_socket(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await start_tls(asyncio.get_running_loop(), theirs, client_context(AUTHORITIES), "localhost")
            assert was_reset(ours)

    run(main(), loop)
