"""The judgement of what the client would show, as far as it can be seen without a server. No input or output.

Called by the walk. A finding names settings, times and names in certificates; never a token or a header.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from datetime import UTC, datetime

from sokken.doctor.certificate import Certificate
from sokken.doctor.report import Finding, failed, format_date, format_span, ok, warning


def judge_credentials(
    settings: Sequence[str], certificate: Certificate | None, token: str | None, now: datetime
) -> Finding:
    """Whether they are still good; ``settings`` are those that name them."""
    if certificate is not None and (problem := _judge_certificate(certificate, now)):
        return failed("credentials", problem, "have it issued anew: no server accepts it now")
    if token is not None and (problem := _judge_token(token, now)):
        advice = "have it issued anew, unless this clock is wrong (the kubelet renews a projected token by itself)"
        return warning("credentials", problem, advice, settings=list(settings))
    found = f"{', '.join(settings)} can be read" if settings else "none are set"
    return ok("credentials", found, settings=list(settings))


def judge_unusable(problem: str) -> Finding:
    """A file that cannot be used, or settings that contradict each other; ``problem`` names them."""
    return failed("credentials", problem, "until that is mended, the client opens no tunnel")


def _judge_certificate(certificate: Certificate, now: datetime) -> str:
    name = "the certificate in SOKKEN_CLIENT_CERT_FILE"
    if now > certificate.not_after:
        return f"{name} expired on {format_date(certificate.not_after)}, {format_span(now - certificate.not_after)} ago"
    return f"{name} is not valid before {format_date(certificate.not_before)}" if now < certificate.not_before else ""


def _judge_token(token: str, now: datetime) -> str:
    """Look at the times of what looks like a JWT; only its issuer could say that it is one."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        times = {name: datetime.fromtimestamp(claims[name], UTC) for name in ("exp", "nbf") if name in claims}
    except (IndexError, ValueError, TypeError, OverflowError, OSError, RecursionError):
        return ""
    if "exp" in times and now > times["exp"]:
        ago = format_span(now - times["exp"])
        return f"the token in SOKKEN_TOKEN_FILE expired on {format_date(times['exp'])}, {ago} ago"
    if "nbf" in times and now < times["nbf"]:
        return f"the token in SOKKEN_TOKEN_FILE is not valid before {format_date(times['nbf'])}"
    return ""
