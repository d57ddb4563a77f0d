"""Certificates for tests, made by openssl: an authority of our own, and what it issues."""

import itertools
from pathlib import Path

from tests.support.services import installed, succeed

_serial = itertools.count(1)
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """An authority whose own certificate is ``file``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._openssl = installed("openssl")
        names = ("-subj", f"/CN={name}", "-days", "2", "-keyout", self._key, "-out", self.file)
        succeed(self._openssl, "req", "-x509", *_NEW_KEY, *names)

    @property
    def self_signed(self) -> Path:
        """Its own certificate and key."""
        both = self.file.with_suffix(".both")
        both.write_bytes(self.file.read_bytes() + self._key.read_bytes())
        return both

    def issue(self, *names: str, subject: str = "sokken test", days: int = 2) -> Path:
        """A file with a certificate for ``names`` (``DNS:localhost``, ``IP:127.0.0.1``) and its key.

        Negative ``days``: it has ended already. Certificate and key stand alone beside it (``.crt``, ``.key``).
        """
        part = self.folder / f"issued-{next(_serial)}"
        request, certificate, key = (part.with_suffix(suffix) for suffix in (".csr", ".crt", ".key"))
        wanted = ["-subj", f"/CN={subject}"]
        if names:
            wanted += ["-addext", "subjectAltName=" + ",".join(names)]
        succeed(self._openssl, "req", *_NEW_KEY, *wanted, "-keyout", key, "-out", request)
        signing = ("-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-copy_extensions", "copy")
        succeed(self._openssl, "x509", "-req", "-in", request, *signing, "-days", days, "-out", certificate)
        both = part.with_suffix(".pem")
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        return both
