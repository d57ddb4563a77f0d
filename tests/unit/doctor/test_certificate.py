"""Certificates as they are, made by openssl."""

from datetime import UTC, datetime, timedelta

import pytest

from sokken.doctor.certificate import read_certificate, read_first_certificate
from tests.support.certificates import Authority
from tests.support.services import succeed


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def test_what_it_says(authority):
    issued = authority.issue("DNS:a.example", "DNS:*.b.example", "IP:192.0.2.1", "URI:spiffe://c", subject="who")
    found = read_first_certificate(issued.read_bytes())
    assert (found.subject, found.issuer) == ("who", "authority")
    assert found.names == ("a.example", "*.b.example", "192.0.2.1")
    now = datetime.now(UTC)
    assert found.not_before <= now <= found.not_after
    assert timedelta(days=1) < found.not_after - now <= timedelta(days=2)
    assert not found.is_self_signed


def test_one_without_names(authority):
    found = read_first_certificate(authority.issue(subject="alone").read_bytes())
    assert (found.subject, found.names) == ("alone", ())


def test_one_that_issued_itself(authority):
    assert read_first_certificate(authority.file.read_bytes()).is_self_signed


@pytest.mark.parametrize(("subject", "shown"), [("/O=Some & Co", "Some & Co"), ("/C=FR", "C=FR")])
def test_one_without_a_common_name(tmp_path, subject, shown):
    made = tmp_path / "made.pem"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "key")
    succeed("openssl", "req", "-x509", *key, "-subj", subject, "-out", made)
    assert read_first_certificate(made.read_bytes()).subject == shown


def test_what_is_none():
    with pytest.raises(ValueError):
        read_certificate(b"none")
    with pytest.raises(ValueError):
        read_first_certificate(b"none")
