"""Certificates for tests, made by openssl: an authority of our own, and what it issues."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.services import installed, succeed

_serial = itertools.count(1)
# RFC 5280 asks for these, and Python insists on them since 3.13.
_FIELDS = """
basicConstraints = critical, CA:false
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
extendedKeyUsage = {usage}
"""
_AUTHORITY = """
[req]
distinguished_name = name
x509_extensions = authority
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """An authority whose own certificate is ``file``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._openssl = installed("openssl")
        config = folder / f"{name}.conf"
        config.write_text(_AUTHORITY)
        wanted = ("-config", config, "-subj", f"/CN={name}", "-days", "2", "-keyout", self._key, "-out", self.file)
        succeed(self._openssl, "req", "-x509", *_NEW_KEY, *wanted)

    @property
    def self_signed(self) -> Path:
        """Its own certificate and key."""
        both = self.file.with_suffix(".both")
        both.write_bytes(self.file.read_bytes() + self._key.read_bytes())
        return both

    def issue(
        self, *names: str, subject: str = "sokken test", days: int = 2, usage: str = "serverAuth, clientAuth"
    ) -> Path:
        """A file with a certificate for ``names`` (``DNS:localhost``, ``IP:127.0.0.1``) and its key.

        Negative ``days``: it has ended already. Certificate and key stand alone beside it (``.crt``, ``.key``).
        """
        part = self.folder / f"issued-{next(_serial)}"
        request, certificate, key, fields = (part.with_suffix(suffix) for suffix in (".csr", ".crt", ".key", ".ext"))
        fields.write_text(_FIELDS.format(usage=usage) + (f"subjectAltName = {','.join(names)}\n" if names else ""))
        wanted = ("-subj", f"/CN={subject}", "-keyout", key, "-out", request)
        succeed(self._openssl, "req", *_NEW_KEY, *wanted)
        signing = ("-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-extfile", fields)
        succeed(self._openssl, "x509", "-req", "-in", request, *signing, "-days", days, "-out", certificate)
        both = part.with_suffix(".pem")
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        return both

    def issue_for_seconds(self, seconds: float, common_name: str) -> Path:
        """A file with a certificate that ends soon, which openssl cannot make, and its key."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        authority = x509.load_pem_x509_certificate(self.file.read_bytes())
        signer = serialization.load_pem_private_key(self._key.read_bytes(), None)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
        certificate = (
            x509.CertificateBuilder(authority.subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(seconds=seconds))
            .add_extension(identifier, critical=False)
            .sign(signer, hashes.SHA256())
        )
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path = self.folder / f"issued-{next(_serial)}.pem"
        path.write_bytes(
            certificate.public_bytes(encoding) + key.private_bytes(encoding, form, serialization.NoEncryption())
        )
        return path
