"""Certificates and tokens that change under live traffic, as the kubelet changes them: no connection is lost."""

import json
import threading

import pytest

from tests.support.certificates import Authority
from tests.support.programs import client, join, server
from tests.support.raw_http import upgrade
from tests.support.targets import connect, echo, eventually, receive_exactly, target
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

pytestmark = pytest.mark.programs

RELOAD = {"SOKKEN_RELOAD_INTERVAL_SECONDS": "1"}


class Volume:
    """A folder like a mounted Secret: its files are links into ``..data``, a link that is replaced at once."""

    def __init__(self, folder, **files):
        self.folder = folder
        self.count = 0
        self.swap(**files)
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")

    def swap(self, **files):
        self.count += 1
        new = self.folder / f"..{self.count}"
        new.mkdir(parents=True)
        for name, content in files.items():
            (new / name).write_bytes(content)
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")

    def __truediv__(self, name):
        return str(self.folder / name)


class Traffic:
    """Bytes to and fro on a connection that was open before, until it is ended."""

    def __init__(self, entry):
        self.sock = connect(entry)
        self.turns = 0
        self.has_ended = threading.Event()
        self.problem = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.has_ended.wait(0.01):
                self.sock.sendall(b"x" * 1000)
                receive_exactly(self.sock, 1000)
                self.turns += 1
        except (OSError, AssertionError) as error:
            self.problem = error

    def goes_on(self):
        turns = self.turns
        eventually(lambda: self.turns > turns + 2)
        return self.problem is None

    def end(self):
        self.has_ended.set()
        self.thread.join()
        self.sock.close()


def works(near):
    with connect(near.entry) as app:
        app.sendall(b"x")
        return receive_exactly(app, 1) == b"x"


def test_everything_is_rotated_and_nothing_is_dropped(loop, tmp_path):
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")

    def certificate_of(authority, *names):
        path = authority.issue(*names)
        return path.with_suffix(".crt").read_bytes(), path.with_suffix(".key").read_bytes()

    first, second = certificate_of(old, "IP:127.0.0.1"), certificate_of(new, "IP:127.0.0.1")
    both = old.file.read_bytes() + new.file.read_bytes()
    far_files = Volume(tmp_path / "far", crt=first[0], key=first[1], tokens=b"ci:first")
    near_files = Volume(tmp_path / "near", ca=old.file.read_bytes(), token=b"first")
    far_env = {
        "SOKKEN_TLS_CERT_FILE": far_files / "crt",
        "SOKKEN_TLS_KEY_FILE": far_files / "key",
        "SOKKEN_TOKENS_FILE": far_files / "tokens",
    }
    near_env = {"SOKKEN_CA_FILE": near_files / "ca", "SOKKEN_TOKEN_FILE": near_files / "token"}
    with (
        target(echo) as where,
        server(where, env=loop | RELOAD | far_env) as far,
        client(far.url(where, scheme="wss"), env=loop | near_env) as near,
    ):
        traffic = Traffic(near.entry)
        assert traffic.goes_on()
        # The new token is valid beside the old one, the new authority trusted beside the old one.
        far_files.swap(crt=first[0], key=first[1], tokens=b"ci:first\nci:second")
        far.program.wait_for("reload", setting="SOKKEN_TOKENS_FILE", result="loaded")
        near_files.swap(ca=both, token=b"second")
        assert works(near)
        # Then the certificate, and the old ones go.
        far_files.swap(crt=second[0], key=second[1], tokens=b"ci:second")
        far.program.wait_for("reload", setting="SOKKEN_TLS_CERT_FILE", result="loaded")
        far.program.wait_for("reload", 2, setting="SOKKEN_TOKENS_FILE", result="loaded")
        near_files.swap(ca=new.file.read_bytes(), token=b"second")
        assert works(near)
        # What is broken changes nothing.
        far_files.swap(crt=second[0], key=first[1], tokens=b"broken")
        far.program.wait_for("reload", setting="SOKKEN_TLS_CERT_FILE", result="kept_last_good")
        far.program.wait_for("reload", setting="SOKKEN_TOKENS_FILE", result="kept_last_good")
        assert works(near)
        assert traffic.goes_on()
        traffic.end()
        far.program.wait_for("connection_closed", 4, outcome="completed")
        assert not near.program.events("connection_failed")
        assert not far.program.events("connection_refused")


@pytest.mark.parametrize("content", [b"", b"\n", b"# nobody\n", None])
def test_a_tokens_file_that_becomes_empty_opens_nothing(tmp_path, content):
    """It is not taken for a server that asks nobody, and who was known stays so."""
    file = tmp_path / "tokens"
    file.write_bytes(b"ci:first")
    with target(echo) as where, server(where, env=RELOAD | {"SOKKEN_TOKENS_FILE": str(file)}) as far:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        far.program.wait_for("reload", setting="SOKKEN_TOKENS_FILE", result="kept_last_good")
        asked = [upgrade(f"/tunnel/{join(where)}", *fields) for fields in ((), [("Authorization", "Bearer first")])]
        for data, status in zip(asked, (b"401", b"101"), strict=True):
            with connect(far.api) as sock:
                sock.sendall(data)
                assert receive_exactly(sock, 12)[-3:] == status


def test_an_authority_that_was_taken_out_of_the_bundle(tmp_path, authority):
    """Its certificates let nobody in any more; who is in stays."""
    other = Authority(tmp_path, "other")
    mine = other.issue("DNS:client.example")
    files = Volume(tmp_path / "far", ca=authority.file.read_bytes() + other.file.read_bytes())
    far_env = {"SOKKEN_TLS_CERT_FILE": str(authority.server), "SOKKEN_CLIENT_CA_FILE": files / "ca"}
    near_env = {"SOKKEN_CA_FILE": str(authority.file), "SOKKEN_CLIENT_CERT_FILE": str(mine)}
    with (
        target(echo) as where,
        server(where, env=RELOAD | far_env) as far,
        client(far.url(where, scheme="wss"), env=near_env) as near,
    ):
        traffic = Traffic(near.entry)
        assert traffic.goes_on()
        files.swap(ca=authority.file.read_bytes())
        far.program.wait_for("reload", setting="SOKKEN_CLIENT_CA_FILE", result="loaded")
        with connect(near.entry) as app, pytest.raises(ConnectionResetError):
            app.recv(1)
        failed = near.program.wait_for("connection_failed", outcome="server_tls")
        assert "unknown ca" in failed["detail"]
        far.program.wait_for("tls_handshake_failed")
        assert traffic.goes_on()
        traffic.end()


def test_an_issuers_keys_in_a_file(tmp_path):
    """New keys are in force at the first token that needs them."""
    old, new = Issuer("ec"), Issuer("rsa")
    files = Volume(tmp_path / "far", jwks=json.dumps(old.jwks()).encode())
    token = tmp_path / "token"
    token.write_text(old.token("ec"))
    far_env = {
        "SOKKEN_JWT_ISSUER": ISSUER,
        "SOKKEN_JWT_AUDIENCE": AUDIENCE,
        "SOKKEN_JWT_JWKS_FILE": files / "jwks",
    }
    with (
        target(echo) as where,
        server(where, env=far_env) as far,
        client(far.url(where), env={"SOKKEN_TOKEN_FILE": str(token)}) as near,
    ):
        assert works(near)
        files.swap(jwks=json.dumps(new.jwks()).encode())
        token.write_text(new.token("rsa"))
        assert works(near)
