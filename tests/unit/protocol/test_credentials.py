"""Credentials as text: what is read, what is refused, and that no message quotes a secret."""

from hashlib import sha256

import pytest

from sokken.protocol.credentials import (
    Unproven,
    check_name,
    holds_secret,
    identify_certificate,
    parse_bearer,
    parse_header_fields,
    parse_token,
    parse_tokens,
)
from sokken.protocol.identity import Identity

SECRET = "s3cr3t.-_~+/=="
HASH = sha256(b"other").hexdigest()


@pytest.mark.parametrize("content", [b"s3cr3t.-_~+/==", b"  s3cr3t.-_~+/==\r\n\n"])
def test_a_file_holds_one_token(content):
    assert parse_token(content) == SECRET


@pytest.mark.parametrize("content", [b"", b" \n", b"s3cr3t two", b"s3cr3t\ntwo", b"s3cr3t\xff", b"=s3cr3t", b"s3cr3t:"])
def test_what_is_no_token_is_not_quoted(content):
    with pytest.raises(ValueError) as caught:
        parse_token(content)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "token"),
    [([], None), ([""], None), ([f"Bearer {SECRET}"], SECRET), ([f"bearer   {SECRET} "], SECRET)],
)
def test_the_token_of_a_request(values, token):
    assert parse_bearer(values) == token


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (["Bearer a", "Bearer a"], "there is more than one Authorization header"),
        (["Basic czNjcjN0"], "the Authorization header holds no Bearer token"),
        (["Bearer"], "the token is malformed"),
        (["Bearer s3cr3t s3cr3t"], "the token is malformed"),
        (["Bearer s3cr3t,"], "the token is malformed"),
    ],
)
def test_an_authorization_that_is_none(values, problem):
    with pytest.raises(Unproven) as caught:
        parse_bearer(values)
    assert str(caught.value) == problem


def test_tokens_of_a_file():
    tokens = parse_tokens(f"# who\n\nci:{SECRET}\r\n ci:next \nsystem:node:7:{HASH}\n{'x' * 128}:{HASH}0".encode())
    assert tokens.find(SECRET) == tokens.find("next") == "ci"
    assert tokens.find("other") == "system:node:7"
    assert tokens.find(f"{HASH}0") == "x" * 128
    for stranger in ("", "nex", "next ", HASH, "ci"):
        assert tokens.find(stranger) is None


def test_the_same_line_twice_is_one():
    assert parse_tokens(b"a:b\na:b").find("b") == "a"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it holds no token; a line is NAME:TOKEN or NAME:SHA256"),
        (b"# a:s3cr3t\n", "it holds no token; a line is NAME:TOKEN or NAME:SHA256"),
        (b"a:b\ns3cr3t", "line 2 is not NAME:TOKEN or NAME:SHA256"),
        (b":s3cr3t", "line 1 is not NAME:TOKEN or NAME:SHA256"),
        (b"s3cr3t:", "line 1 is not NAME:TOKEN or NAME:SHA256"),
        (b"a b:s3cr3t", "line 1 is not NAME:TOKEN or NAME:SHA256"),
        (b"a:s3cr3t b", "line 1 is not NAME:TOKEN or NAME:SHA256"),
        (b"a:s3cr3t\xff", "line 1 is not NAME:TOKEN or NAME:SHA256"),
        (b"a:s3cr3t\nb:s3cr3t", "line 2 has the token of another name"),
    ],
)
def test_a_file_of_tokens_that_is_none(content, problem):
    with pytest.raises(ValueError) as caught:
        parse_tokens(content)
    assert str(caught.value) == problem


def test_tokens_do_not_show_themselves():
    assert "ci" not in repr(parse_tokens(b"ci:s3cr3t"))


SUBJECT = {"subject": ((("countryName", "XX"),), (("commonName", "cn"),))}


@pytest.mark.parametrize(
    ("certificate", "identity"),
    [
        (
            {"subjectAltName": (("DNS", "a.example"), ("URI", "spiffe://b"), ("URI", "spiffe://c")), **SUBJECT},
            Identity("spiffe://b", "certificate", "SAN URI"),
        ),
        (
            {"subjectAltName": (("IP Address", "::1"), ("DNS", "a.example"), ("DNS", "b")), **SUBJECT},
            Identity("a.example", "certificate", "SAN DNS"),
        ),
        ({"subjectAltName": (("email", "a@b"),), **SUBJECT}, Identity("cn", "certificate", "CN")),
        (SUBJECT, Identity("cn", "certificate", "CN")),
    ],
)
def test_who_a_certificate_is(certificate, identity):
    assert identify_certificate(certificate) == identity


@pytest.mark.parametrize(
    "certificate",
    [{"serialNumber": "01"}, {"subjectAltName": (("URI", ""),)}, {"subject": ((("commonName", "a\nb"),),)}],
)
def test_a_certificate_without_a_name(certificate):
    with pytest.raises(Unproven):
        identify_certificate(certificate)


@pytest.mark.parametrize("name", ["a", "system:serviceaccount:ns:name", "Alice Ünal", "x" * 256])
def test_names_of_identities(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb", "a\x1b[0m", 7, None, ["a"]])
def test_what_is_no_name(name):
    with pytest.raises(Unproven):
        check_name(name)


def test_header_fields():
    assert parse_header_fields("\nX-Route: blue\r\n  Authorization:Basic czNjcjN0 \nX-Empty:\n") == (
        ("X-Route", "blue"),
        ("Authorization", "Basic czNjcjN0"),
        ("X-Empty", ""),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it holds no header field, for example X-Route: blue"),
        ("X: s3cr3t\ns3cr3t", "line 2 is no header field, for example X-Route: blue"),
        ("s3cr3t x: y", "line 1 is no header field, for example X-Route: blue"),
        ("X: s3cr3t\x00", "line 1 is no header field, for example X-Route: blue"),
        ("X: s3cr3\u0165", "line 1 is no header field, for example X-Route: blue"),
        ("host: s3cr3t", "line 1: host is not for you to set"),
        ("Sec-WebSocket-Key: s3cr3t", "line 1: Sec-WebSocket-Key is not for you to set"),
        ("sokken-client-id: s3cr3t", "line 1: sokken-client-id is not for you to set"),
        ("X: s3cr3t\nx: y", "line 2: x is there already"),
    ],
)
def test_header_fields_that_are_none(text, problem):
    with pytest.raises(ValueError) as caught:
        parse_header_fields(text)
    assert str(caught.value) == problem


def test_which_fields_are_credentials():
    assert holds_secret([("X", "y"), ("AUTHORIZATION", "z")])
    assert holds_secret([("cookie", "z")])
    assert holds_secret([("Proxy-Authorization", "z")])
    assert not holds_secret([("X", "y")])
