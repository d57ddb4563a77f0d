"""What a certificate says, read from its DER form, also of one that is not trusted.

Called by the walk; the standard library only reads certificates that it has verified.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificate:
    """``names`` are DNS names and IP addresses of its subjectAltName; times are in UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    is_self_signed: bool = False


def read_certificate(der: bytes) -> Certificate:
    """Read it; raises ValueError."""
    found = x509.load_der_x509_certificate(der)
    return Certificate(
        _short(found.subject),
        _short(found.issuer),
        _names(found),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
        found.subject == found.issuer,
    )


def read_first_certificate(pem: bytes) -> Certificate:
    """Read the first certificate of a PEM file; raises ValueError."""
    return read_certificate(x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER))


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    addresses = alternative.get_values_for_type(x509.IPAddress)
    return (*alternative.get_values_for_type(x509.DNSName), *map(str, addresses))


def _short(name: x509.Name) -> str:
    """Return the common name, or else the organisation, or else all of it."""
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(kind):
            return str(found[0].value)
    return name.rfc4514_string()
