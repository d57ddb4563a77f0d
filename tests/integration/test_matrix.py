"""Everything that may stand between an application and its target, in every combination.

Plain and TLS, each way to prove who one is, directly and through a proxy, and peers that speak only the original's
subprotocol.
"""

import json
import socket
import ssl
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.programs import client, join, server
from tests.support.raw_http import upgrade
from tests.support.targets import PATIENCE, connect, count, receive_all, receive_exactly, target
from tests.support.tinyproxy import over_tls, tinyproxy
from tests.support.tokens import AUDIENCE, ISSUER, Issuer
from tests.support.wire import BINARY, CLOSE, Wire, accept_key, format_head, receive_head

pytestmark = pytest.mark.programs

issuer = Issuer("ec")
SCHEMES = ["ws", "wss"]
WAYS = ["directly", "through a proxy", "through a proxy over TLS"]
PROOFS = {
    "nothing": ("anonymous", "none"),
    "token": ("ci", "token"),
    "jwt": ("system:serviceaccount:ns:name", "jwt"),
    "certificate": ("me", "certificate"),
}
CASES = [(scheme, proof) for scheme in SCHEMES for proof in PROOFS if (scheme, proof) != ("ws", "certificate")]


@pytest.fixture(scope="module")
def world(tmp_path_factory, authority):
    """A target, proxies, and two servers of each scheme: one knows all credentials, one asks nobody."""
    folder = tmp_path_factory.mktemp("matrix")
    (folder / "tokens").write_text("ci:s3cr3t")
    (folder / "jwks").write_text(json.dumps(issuer.jwks()))
    (folder / "token").write_text("s3cr3t")
    (folder / "jwt").write_text(issuer.token(exp=7200))
    certificate = authority.issue("DNS:me")
    proofs = {
        "nothing": {},
        "token": {"SOKKEN_TOKEN_FILE": str(folder / "token")},
        "jwt": {"SOKKEN_TOKEN_FILE": str(folder / "jwt")},
        "certificate": {"SOKKEN_CLIENT_CERT_FILE": str(certificate)},
    }
    guarded = {
        "SOKKEN_TOKENS_FILE": str(folder / "tokens"),
        "SOKKEN_JWT_ISSUER": ISSUER,
        "SOKKEN_JWT_AUDIENCE": AUDIENCE,
        "SOKKEN_JWT_JWKS_FILE": str(folder / "jwks"),
    }
    tls = {"SOKKEN_TLS_CERT_FILE": str(authority.server), "SOKKEN_CLIENT_CA_FILE": str(authority.file)}
    with ExitStack() as stack:
        proxy = stack.enter_context(tinyproxy(folder))
        secure_proxy = stack.enter_context(over_tls(folder, proxy, authority.server))
        ways = {
            "directly": {},
            "through a proxy": {"SOKKEN_PROXY": f"http://{join(proxy)}"},
            "through a proxy over TLS": {"SOKKEN_PROXY": f"https://{join(secure_proxy)}"},
        }
        where = stack.enter_context(target(count))
        certificate_only = {"SOKKEN_TLS_CERT_FILE": str(authority.server)}
        guards = {
            ("ws", True): guarded,
            ("wss", True): guarded | tls,
            ("ws", False): {},
            ("wss", False): certificate_only,
        }
        servers = {kind: stack.enter_context(server(where, env=env)) for kind, env in guards.items()}
        yield where, ways, servers, proofs


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("scheme", "proof"), CASES)
def test_a_tunnel(world, authority, scheme, proof, way):
    where, ways, servers, proofs = world
    far = servers[scheme, proof != "nothing"]
    env = proofs[proof] | ways[way] | {"SOKKEN_CA_FILE": str(authority.file)}
    with client(far.url(where, ("localhost", far.api[1]), scheme), env=env) as near:
        with connect(near.entry) as app:
            app.sendall(b"x" * 100_000)
            app.shutdown(socket.SHUT_WR)
            assert receive_all(app) == b"100000"
        opened = near.program.wait_for("connection_opened")
        closed = far.program.wait_for("connection_closed", connection_id=opened["connection_id"])
    assert (closed["identity"], closed["identity_method"]) == PROOFS[proof]
    assert closed["outcome"] == "completed"


@pytest.mark.parametrize(("scheme", "proof"), CASES)
def test_an_old_client(world, authority, scheme, proof):
    where, _, servers, proofs = world
    far = servers[scheme, proof != "nothing"]
    fields = [("Sec-WebSocket-Protocol", "sokken")]
    context = ssl.create_default_context(cafile=authority.file)
    if proof == "certificate":
        context.load_cert_chain(proofs[proof]["SOKKEN_CLIENT_CERT_FILE"])
    elif proof != "nothing":
        token = Path(proofs[proof]["SOKKEN_TOKEN_FILE"]).read_text()
        fields.append(("Authorization", f"Bearer {token}"))
    with connect(far.api) as plain:
        sock = context.wrap_socket(plain, server_hostname="localhost") if scheme == "wss" else plain
        sock.sendall(upgrade(f"/tunnel/{join(where)}", *fields))
        head = receive_head(sock)
        assert (head.status, head.fields["sec-websocket-protocol"]) == (101, "sokken")
        with Wire(sock, head.rest, masks=True) as wire:
            wire.send(BINARY, b"x" * 1000)
            wire.send_close(1000)
            assert wire.receive().opcode == CLOSE
        line = far.program.wait_for("connection_closed", bytes_up=1000, identity_method=PROOFS[proof][1])
        assert line["outcome"] == "completed"


@contextmanager
def old_server(scheme, authority):
    """Made by hand: it echoes one message, and knows no checks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    seen = []

    def handle(plain):
        sock = context.wrap_socket(plain, server_side=True) if scheme == "wss" else plain
        sock.settimeout(PATIENCE)
        request = receive_head(sock)
        if request.method == "HEAD":
            sock.sendall(format_head("HTTP/1.1 426 Upgrade Required", {"Connection": "close"}))
            sock.close()
            return
        seen.append(request.fields.get("authorization"))
        fields = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(request.fields["sec-websocket-key"]),
            "Sec-WebSocket-Protocol": "sokken",
        }
        sock.sendall(format_head("HTTP/1.1 101 Switching Protocols", fields))
        with Wire(sock, request.rest, masks=False) as wire:
            wire.send(BINARY, wire.receive().payload)
            assert wire.receive().opcode == CLOSE
            wire.send_close(1000)

    with target(handle) as where:
        yield where, seen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_old_server(world, authority, scheme, way):
    """It asks for no credential, but a gateway in front of it may."""
    _, ways, _, proofs = world
    env = proofs["token"] | ways[way] | {"SOKKEN_CA_FILE": str(authority.file)}
    with old_server(scheme, authority) as (where, seen), ExitStack() as stack:
        near = stack.enter_context(client(f"{scheme}://localhost:{where[1]}/tunnel/a:1", env=env))
        with connect(near.entry) as app:
            app.sendall(b"hello")
            assert receive_exactly(app, 5) == b"hello"
        near.program.wait_for("connection_closed", outcome="completed")
    assert seen == ["Bearer s3cr3t"]
