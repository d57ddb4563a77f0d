"""IPv6 at every place where an address can be, and both families at an address without a host."""

import socket
from contextlib import closing

import pytest

from tests.support.certificates import Authority
from tests.support.haproxy import haproxy
from tests.support.health import ask
from tests.support.programs import client, join, server
from tests.support.services import free_port
from tests.support.targets import connect, count, echo, receive_all, target

LOOPBACK = "::1"


@pytest.fixture(autouse=True)
def _ipv6():
    with closing(socket.socket(socket.AF_INET6)) as sock:
        try:
            sock.bind((LOOPBACK, 0))
        except OSError as error:
            pytest.fail(f"this host has no IPv6 on its loopback interface ({error}); give it some", pytrace=False)


def exchange(entry, data):
    with connect(entry) as app:
        app.sendall(data)
        app.shutdown(socket.SHUT_WR)
        return receive_all(app)


def test_everything_over_ipv6():
    with (
        target(count, LOOPBACK) as where,
        server(where, listen="[::1]:0") as far,
        client(far.url(where), listen="[::1]:0") as near,
    ):
        assert near.entry[0] == far.api[0] == LOOPBACK
        assert exchange(near.entry, b"x" * 1_000_000) == b"1000000"
        for program in (near.program, far.program):
            closed = program.wait_for("connection_closed", outcome="completed")
            assert closed["target"] == join(where)
            assert closed["peer"].startswith("[::1]:")


def test_a_target_is_the_same_in_whatever_way_it_is_written():
    with target(echo, LOOPBACK) as where, server(where) as far:
        written = ["[::1]", "[0:0:0:0:0:0:0:1]", "[0::0001]", "%5B::1%5D", "%5b%3A%3a1%5D"]
        urls = [f"ws://{join(far.api)}/tunnel/{host}:{where[1]}" for host in written]
        with client(*urls) as near:
            for entry in near.entries:
                assert exchange(entry, b"same") == b"same"


def test_no_host_listens_on_both_families():
    with target(echo) as where, server(where, listen=":0") as far, client(far.url(where), listen=":0") as near:
        for host in ("127.0.0.1", LOOPBACK):
            entry = (host, near.entry[1])
            with connect(entry) as app:
                peer = join(app.getsockname()[:2])
                app.sendall(b"here too")
                app.shutdown(socket.SHUT_WR)
                assert receive_all(app) == b"here too"
            near.program.wait_for("connection_closed", peer=peer)
            assert ask((host, far.api[1]), "/livez") == 200


@pytest.mark.programs
def test_a_certificate_for_an_ipv6_address(tmp_path):
    authority = Authority(tmp_path)
    certificate = authority.issue("IP:::1")
    entries = [(LOOPBACK, free_port(LOOPBACK)), (LOOPBACK, free_port(LOOPBACK))]
    with (
        target(echo) as where,
        server(where) as far,
        haproxy(far.api, tmp_path, certificate, entries=entries) as between,
        client(far.url(where, between.tls, "wss"), env={"SOKKEN_CA_FILE": str(authority.file)}) as near,
    ):
        assert exchange(near.entry, b"by address") == b"by address"
        assert far.program.wait_for("connection_opened")["forwarded_for"] == LOOPBACK
