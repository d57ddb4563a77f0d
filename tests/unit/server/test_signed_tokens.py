"""JWTs: which let in, and what is said of those that do not."""

import asyncio
import base64
import hashlib
import hmac
import json

import jwt
import pytest

from sokken.protocol.credentials import Shown, Unproven
from sokken.protocol.identity import Identity
from sokken.server.signed_tokens import JwtAuthenticator, parse_keys
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

issuer = Issuer("rsa", "ec", "ed")
stranger = Issuer("rsa", "ec", "ed")


NESTED = base64.urlsafe_b64encode(b"[" * 9000).decode() + ".e30.AAAA"


class Keys:
    def __init__(self, jwks):
        self.jwks = jwks
        self.refreshed = 0
        self.next = jwks

    def known(self):
        return parse_keys(json.dumps(self.jwks).encode())

    async def refresh(self):
        self.refreshed += 1
        self.jwks = self.next


def identify(token, keys=None):
    authenticator = JwtAuthenticator(ISSUER, AUDIENCE, keys or Keys(issuer.jwks()))
    return asyncio.run(authenticator.identify(Shown(None, token)))


def refusal(token, keys=None):
    with pytest.raises(Unproven) as caught:
        identify(token, keys)
    return str(caught.value)


def encode(value):
    return (
        base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().strip("=")
    )


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed"])
@pytest.mark.parametrize("with_id", [True, False])
def test_a_right_token(kind, with_id):
    token = issuer.token(kind, None if with_id else {})
    assert identify(token) == Identity("system:serviceaccount:ns:name", "jwt", "sub")


@pytest.mark.parametrize(
    "claims", [{"exp": -50}, {"nbf": 50}, {"iat": 50}, {"aud": ["other", AUDIENCE]}, {"nbf": -10, "iat": None}]
)
def test_clocks_may_differ_by_a_minute_and_audiences_be_many(claims):
    assert identify(issuer.token(**claims)).name == "system:serviceaccount:ns:name"


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        ({"exp": -70}, "the token has expired"),
        ({"nbf": 70}, "the token is not valid yet"),
        ({"iat": 70}, "the token is not valid yet"),
        ({"aud": "other"}, "the token is for another audience"),
        ({"aud": [f"{AUDIENCE}-2"]}, "the token is for another audience"),
        ({"iss": f"{ISSUER}/"}, "the token is of another issuer"),
        *(({name: None}, "the token lacks one of exp, iss, aud and sub") for name in ("exp", "iss", "aud", "sub")),
        ({"exp": "soon"}, "the token is malformed"),
        ({"sub": ""}, "the name in the credential is empty, too long, or not printable"),
        ({"sub": "a\nb"}, "the name in the credential is empty, too long, or not printable"),
    ],
)
def test_a_token_with_wrong_claims(claims, problem):
    assert refusal(issuer.token(**claims)) == problem


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed"])
def test_a_token_that_another_has_signed(kind):
    assert refusal(stranger.token(kind)) == "the token's signature is wrong"
    assert refusal(stranger.token(kind, {})) == "the token's signature is wrong"


def test_a_token_that_was_changed():
    head, _, signature = issuer.token().split(".")
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "admin", "exp": 1 << 40}
    assert refusal(f"{head}.{encode(claims)}.{signature}") == "the token's signature is wrong"


def test_no_signature_is_none():
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "admin", "exp": 1 << 40}
    token = jwt.encode(claims, None, algorithm="none", headers={"kid": "ec"})
    assert refusal(token) == "the token is signed with 'none', not with RS, ES or EdDSA"


def test_a_public_key_is_no_secret():
    """The attack of CVE-2015-9235: HS256, keyed with the RSA key that everybody has."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "admin", "exp": 1 << 40}
    for algorithm in ("HS256", "RS256"):
        signed = f"{encode({'alg': algorithm, 'kid': 'rsa'})}.{encode(claims)}"
        signature = hmac.digest(issuer.public_pem("rsa"), signed.encode(), hashlib.sha256)
        expected = {
            "HS256": "the token is signed with 'HS256', not with RS, ES or EdDSA",
            "RS256": "the token's signature is wrong",
        }
        assert refusal(f"{signed}.{encode(signature)}") == expected[algorithm]


def test_a_key_is_used_with_its_own_algorithms():
    token = issuer.token("ec", {"kid": "rsa"})
    assert refusal(token) == "the token is signed with another algorithm than its key is for"
    only_512 = Keys(Issuer("rsa").jwks(alg="RS512"))
    assert refusal(issuer.token("rsa"), only_512) == "the token is signed with another algorithm than its key is for"


@pytest.mark.parametrize(
    "token", ["a", "a.b", "a.b.c", "....", "x" * 8000, "eyJhbGciOiJFUzI1NiJ9.e30.", "." * 5000, NESTED]
)
def test_what_is_no_token_at_all(token):
    assert refusal(token) in {"the token is no JWT, or malformed", "the token's signature is wrong"}


@pytest.mark.parametrize("header", [{"alg": ["ES256"]}, {"alg": None}, {}, {"alg": "ES256", "kid": 7}, [], "ES256"])
def test_odd_headers(header):
    assert refusal(f"{encode(header)}.{encode({})}.AAAA").startswith("the token is ")


def test_what_must_be_understood_and_is_not():
    """RFC 7515 section 4.1.11."""
    assert refusal(issuer.token(headers={"kid": "ec", "crit": ["x"], "x": 1})) == "the token is no JWT, or malformed"


def test_no_token():
    assert refusal(None) == "no token was shown"


def test_an_unknown_key_is_looked_for_once():
    keys = Keys(stranger.jwks())
    keys.jwks["keys"] = [key for key in keys.jwks["keys"] if key["kid"] == "rsa"]
    keys.next = issuer.jwks()
    assert identify(issuer.token("ec"), keys).method == "jwt"
    assert keys.refreshed == 1
    token = issuer.token("ec", {"kid": "unknown"})
    assert refusal(token, keys) == "the token is signed with a key that is not one of the issuer's"
    assert keys.refreshed == 2


def test_keys_that_sign_nothing_here_are_left_out():
    jwks = issuer.jwks()
    jwks["keys"][1]["use"] = "enc"
    jwks["keys"] += [{"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, {"kty": "RSA", "kid": "broken", "n": "!"}]
    jwks["keys"] += [{"kty": "RSA", "kid": "pss", "alg": "PS256", "n": "AQ", "e": "AQAB"}]
    assert [key.id for key in parse_keys(json.dumps(jwks).encode())] == ["rsa", "ed"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"keys": 7}', b'{"keys": [7]}', b"\xff", b"null", b"[" * 100_000]
)
def test_what_is_no_jwk_set(content):
    with pytest.raises(ValueError) as caught:
        parse_keys(content)
    assert str(caught.value) == 'it is no JWK Set, which is JSON: {"keys": [...]}'


@pytest.mark.parametrize("keys", [[], [{"kty": "oct", "k": "c2VjcmV0"}], [{"kty": "RSA"}]])
def test_a_jwk_set_without_a_usable_key(keys):
    with pytest.raises(ValueError) as caught:
        parse_keys(json.dumps({"keys": keys}).encode())
    assert str(caught.value) == "it holds no public key for RS, ES or EdDSA signatures"
