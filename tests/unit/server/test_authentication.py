"""What authentication is made of: half of it, or broken, is an error before anything listens."""

import json

import pytest

from sokken.errors import ConfigurationError
from sokken.server.authentication import open_authentication, open_tls
from sokken.settings import ServerSettings
from tests.support.tokens import Issuer


def settings(**values):
    return ServerSettings(api_addr="127.0.0.1:0", targets="127.0.0.1:1", **values)


def problem(**values):
    given = settings(**values)
    with pytest.raises(ConfigurationError) as caught:
        (open_tls(given), open_authentication(given))
    return str(caught.value)


@pytest.fixture
def jwks(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(Issuer().jwks()))
    return path


def test_without_anything_nobody_is_asked():
    assert not open_authentication(settings()).is_enabled
    assert open_tls(settings()) is None


@pytest.mark.parametrize("name", ["tls_key_file", "client_ca_file"])
def test_tls_needs_a_certificate(name, tmp_path):
    message = f"SOKKEN_{name.upper()} is set, but the server speaks no TLS: set SOKKEN_TLS_CERT_FILE, too"
    assert problem(**{name: tmp_path / "x"}) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"jwt_issuer": "i"}, "SOKKEN_JWT_ISSUER is set: set SOKKEN_JWT_AUDIENCE, too"),
        ({"jwt_audience": "a"}, "SOKKEN_JWT_AUDIENCE is set: set SOKKEN_JWT_ISSUER, too"),
        ({"jwt_jwks_url": "https://i.test"}, "SOKKEN_JWT_JWKS_URL is set: set SOKKEN_JWT_AUDIENCE, too"),
        (
            {"jwt_issuer": "i", "jwt_audience": "a"},
            "JWTs need the issuer's keys: set one of SOKKEN_JWT_JWKS_URL and SOKKEN_JWT_JWKS_FILE",
        ),
        (
            {"jwt_issuer": "i", "jwt_audience": "a", "jwt_jwks_url": "https://i.test", "jwt_jwks_file": "/x"},
            "JWTs need the issuer's keys: set one of SOKKEN_JWT_JWKS_URL and SOKKEN_JWT_JWKS_FILE",
        ),
        (
            {"jwt_issuer": "i", "jwt_audience": "a", "jwt_jwks_file": "/x", "jwt_jwks_ca_file": "/y"},
            "SOKKEN_JWT_JWKS_CA_FILE is for SOKKEN_JWT_JWKS_URL, which is not set",
        ),
        (
            {"jwt_issuer": "i", "jwt_audience": "a", "jwt_jwks_url": "https://i.test", "jwt_jwks_token_file": "/y"},
            "SOKKEN_JWT_JWKS_TOKEN_FILE: cannot use /y: no such file or directory",
        ),
    ],
)
def test_half_of_what_jwts_need(given, message):
    assert problem(**given) == message


@pytest.mark.parametrize(
    "name",
    ["tls_cert_file", "client_ca_file", "tokens_file", "jwt_jwks_file", "jwt_jwks_ca_file", "jwt_jwks_token_file"],
)
@pytest.mark.parametrize("content", [None, "", "garbage \x00 s3cr3t"])
def test_a_file_that_is_missing_empty_or_broken(name, content, tmp_path, jwks, certificate):
    file = tmp_path / "file"
    if content is not None:
        file.write_text(content)
    given = {"tls_cert_file": certificate, name: file}
    if name.startswith("jwt"):
        given |= {"jwt_issuer": "i", "jwt_audience": "a"}
        if name != "jwt_jwks_file":
            given["jwt_jwks_url"] = "https://i.test/"
    said = problem(**given)
    assert said.startswith(f"SOKKEN_{name.upper()}: cannot use {file}: ")
    assert "s3cr3t" not in said


def test_what_is_good_is_watched(tmp_path, jwks, certificate):
    tokens = tmp_path / "tokens"
    tokens.write_text("ci:s3cr3t")
    given = settings(
        tls_cert_file=certificate,
        client_ca_file=certificate,
        tokens_file=tokens,
        jwt_issuer="i",
        jwt_audience="a",
        jwt_jwks_file=jwks,
    )
    authentication = open_authentication(given)
    assert authentication.is_enabled
    assert authentication.problem is None
    assert len(authentication.files) == 2
    tls = open_tls(given)
    before = tls.context()
    assert tls.context() is before
    assert not tls.look()
    certificate.write_bytes(certificate.read_bytes() + b"\n")
    assert tls.look()
    assert tls.context() is not before


def test_the_kubernetes_api_server_is_asked_with_the_pods_own(tmp_path, monkeypatch, certificate):
    from sokken.server import published_keys

    (tmp_path / "ca.crt").write_bytes(certificate.read_bytes())
    (tmp_path / "token").write_text("s3cr3t")
    monkeypatch.setattr(published_keys, "_POD", tmp_path)
    for url in ("https://kubernetes.default.svc/openid/v1/jwks", "https://kubernetes.default.svc.cluster.local/jwks"):
        assert published_keys.open_published_keys(url, None, None)._token.value == "s3cr3t"
    for url in ("https://issuer.test/", "https://kubernetes.default.svc@issuer.test/", "https://kubernetes.default/"):
        assert published_keys.open_published_keys(url, None, None)._token is None
