"""The judgement of a TLS handshake and of certificates: facts in, a finding out. No input or output, no clock.

Called by the walk.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from sokken.doctor.certificate import Certificate
from sokken.doctor.report import Finding, failed, format_date, format_seconds, format_span, milliseconds, ok, warning

SOON: Final = timedelta(days=14)
_SHOWN: Final = 6

# X509_V_ERR_* (OpenSSL's x509_vfy.h)
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_SELF_SIGNED: Final = 18
_NO_ISSUER: Final = frozenset({2, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 64})


class TlsFailure(Enum):
    """Why there was no TLS."""

    CERTIFICATE = auto()
    NO_TLS = auto()
    ENDED = auto()
    TIMEOUT = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Handshake:
    """One with a server. ``name`` is whose certificate was expected, ``code`` OpenSSL's of what is wrong with it."""

    name: str
    seconds: float = 0.0
    version: str = ""
    certificate: Certificate | None = None
    failure: TlsFailure | None = None
    code: int = 0
    detail: str = ""
    is_verified: bool = True
    has_own_authorities: bool = False


def judge_handshake(shake: Handshake, now: datetime) -> Finding:
    """Whether the server is who it should be, and how long its certificate is still good."""
    match shake.failure:
        case None:
            return _judge_success(shake, now)
        case TlsFailure.CERTIFICATE:
            return _judge_certificate(shake, now)
        case TlsFailure.NO_TLS:
            advice = (
                "write ws:// instead of wss://, or the port where TLS is spoken; or give the server its certificate"
            )
            return failed("tls", "what answers there does not speak TLS", f"{advice} (SOKKEN_TLS_CERT_FILE)")
        case TlsFailure.ENDED:
            advice = "is the port one of TLS? a proxy may know no site of that name, a firewall may inspect TLS"
            return failed("tls", f"the connection was ended within the handshake for {shake.name}", advice)
        case TlsFailure.TIMEOUT:
            advice = "is the port one of TLS? something in between may swallow what it does not know"
            return failed("tls", f"the handshake did not end within {format_seconds(shake.seconds)}", advice)
        case _:
            advice = "both must have a TLS version in common, 1.2 at least; or a client's certificate is asked for"
            advice += " (SOKKEN_CLIENT_CERT_FILE)"
            return failed("tls", f"the handshake failed: {shake.detail}", advice)


def _judge_success(shake: Handshake, now: datetime) -> Finding:
    values: dict[str, object] = {"ms": milliseconds(shake.seconds), "version": shake.version}
    found = f"{shake.version} in {format_seconds(shake.seconds)}"
    certificate = shake.certificate
    if certificate is not None:
        names, end = list(certificate.names), certificate.not_after
        values |= {"names": names, "issuer": certificate.issuer, "not_after": end.isoformat()}
        found += f", certificate of {_name(certificate)} by {certificate.issuer}, valid to {format_date(end)}"
    if not shake.is_verified:
        advice = "unset SOKKEN_TLS_INSECURE_SKIP_VERIFY, and name the authority in SOKKEN_CA_FILE"
        return warning("tls", f"{found}; it was not verified, anybody may be the server", advice, **values)
    if certificate is not None and _ends_soon(certificate, now):
        left = format_span(certificate.not_after - now)
        return warning("tls", f"{found}, which is in {left}", "have it renewed; find out why it was not", **values)
    return ok("tls", found, **values)


def _judge_certificate(shake: Handshake, now: datetime) -> Finding:
    certificate = shake.certificate
    if certificate is None:
        return failed("tls", f"the server's certificate is not accepted: {shake.detail}", _other_authority(shake, ""))
    if shake.code in (_NOT_YET, _EXPIRED):
        return _judge_time(shake.code, certificate, now)
    if shake.code in _OTHER_NAME:
        found = f"the server's certificate is for {_name(certificate)}, not for {shake.name}"
        advice = "write such a name as the URL's host or in SOKKEN_SERVER_NAME, or have a certificate issued for"
        return failed("tls", found, f"{advice} {shake.name}")
    if shake.code == _SELF_SIGNED or (shake.code in _NO_ISSUER and certificate.is_self_signed):
        found = f"the server's certificate ({_name(certificate)}) is self-signed, and nothing says that it is trusted"
        return failed("tls", found, "if it is the right one, put it into a file and name that in SOKKEN_CA_FILE")
    if shake.code in _NO_ISSUER:
        found = f"the server's certificate is issued by {certificate.issuer!r}, which is not trusted here"
        return failed("tls", found, _other_authority(shake, certificate.issuer))
    return failed("tls", f"the server's certificate is not accepted: {shake.detail}", _other_authority(shake, ""))


def _judge_time(code: int, certificate: Certificate, now: datetime) -> Finding:
    clock = f"(if it is not, this host's clock is wrong: it says {format_date(now)})"
    if code == _EXPIRED:
        ago = format_span(now - certificate.not_after)
        found = f"the server's certificate expired on {format_date(certificate.not_after)}, {ago} ago"
        if now < certificate.not_after:
            found = "a certificate in the server's chain has expired"
        return failed("tls", found, f"have it renewed and loaded at the server or its proxy {clock}")
    found = f"the server's certificate is not valid before {format_date(certificate.not_before)}"
    return failed("tls", found, f"wait, or have it issued anew {clock}")


def _other_authority(shake: Handshake, issuer: str) -> str:
    who = f" of {issuer!r}" if issuer else " that issued it"
    if shake.has_own_authorities:
        first = f"SOKKEN_CA_FILE names other authorities: add the certificate{who}"
    else:
        first = f"name a file with the certificate{who} in SOKKEN_CA_FILE"
    return f"{first}; if that is an intermediate one, the server must send it, too, behind its own certificate"


def _ends_soon(certificate: Certificate, now: datetime) -> bool:
    """Whether it should have been renewed: certificates of a day are renewed every few hours."""
    life = certificate.not_after - certificate.not_before
    return certificate.not_after - now < min(SOON, life / 4)


def _name(certificate: Certificate) -> str:
    names = certificate.names or (certificate.subject,)
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
