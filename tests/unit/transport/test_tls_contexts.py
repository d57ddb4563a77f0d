"""Contexts made of contents: what is refused, and that no message quotes a key."""

import gc
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sokken.transport.channel import TlsChannel
from sokken.transport.tls import client_context, parse_authorities, parse_key_pair, server_context

PEM = serialization.Encoding.PEM


def issue(password=None):
    """A self-signed certificate, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sokken test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return certificate.public_bytes(PEM), key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.fixture(scope="module")
def pair():
    return issue()


def test_a_certificate_and_its_key_in_two_files_or_one(pair):
    assert parse_key_pair(*pair).key == pair[1]
    assert parse_key_pair(pair[0] + pair[1]).key == pair[0] + pair[1]


@pytest.mark.parametrize("case", ["mismatch", "encrypted", "no key", "no certificate", "nothing", "cut"])
def test_what_is_no_pair(pair, case):
    certificate, key = pair
    given, problem = {
        "mismatch": ((certificate, issue()[1]), "the key is another certificate's"),
        "encrypted": (issue(b"s3cr3t"), "the key is encrypted; give one without a passphrase"),
        "no key": ((certificate,), None),
        "no certificate": ((key, key), None),
        "nothing": ((b"", b""), None),
        "cut": ((certificate, key[: len(key) // 2]), None),
    }[case]
    with pytest.raises(ValueError) as caught:
        parse_key_pair(*given)
    assert str(caught.value) == (problem or "it needs a certificate and its key, both in PEM form")


def test_a_pair_does_not_show_itself(pair):
    assert "KEY" not in repr(parse_key_pair(*pair))


@pytest.mark.parametrize("content", [b"", b"none", b"\xff" * 100, b"-----BEGIN CERTIFICATE-----\nAA==\n"])
def test_what_are_no_authorities(content):
    with pytest.raises(ValueError, match="it holds no certificate in PEM form"):
        parse_authorities(content)


def test_what_stands_between_certificates_is_passed_over(pair):
    context = client_context(parse_authorities("Ünsere CA\n".encode() + pair[0]))
    assert context.cert_store_stats()["x509"] == 1


def test_a_server_is_verified_unless_told_otherwise(pair):
    context = client_context(pair[0].decode())
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.cert_store_stats()["x509"] == 1  # and not the system's
    blind = client_context(None, verifies=False)
    assert (blind.check_hostname, blind.verify_mode) == (False, ssl.CERT_NONE)


def test_a_server_asks_for_certificates_if_it_can_verify_them(pair):
    ours = parse_key_pair(*pair)
    assert server_context(None, ours).verify_mode == ssl.CERT_NONE
    assert server_context(pair[0].decode(), ours).verify_mode == ssl.CERT_OPTIONAL


@pytest.mark.parametrize("make", [client_context, server_context])
def test_both_ends_have_the_same_floor(make, pair):
    context = make(pair[0].decode(), parse_key_pair(*pair))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.sslsocket_class is TlsChannel


def test_no_descriptor_is_left(pair):
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        parse_key_pair(*pair)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
