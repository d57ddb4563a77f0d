"""Who may see the admin routes: one middleware asks for the right Host, for the same site, and for the token.

What a browser could be tricked into is refused before anything is looked up: a name that an attacker's DNS points
here (DNS rebinding), another site's page (CSRF), a frame around ours (clickjacking). It must never log a token.
"""

from hmac import compare_digest
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from sokken.admin.door import Door
from sokken.protocol.credentials import Unproven, parse_bearer
from sokken.protocol.outcomes import Reason, Refusal

PROBES: Final = frozenset({"/livez", "/readyz", "/health"})
"""Asked by whatever keeps the program running, under whatever name: they tell no secret, and no page is about them."""
SHELL: Final = frozenset({"/", "/page.js", "/page.css", "/icon.svg"})
"""The page without what it shows. A browser cannot send a token with a link, and a cookie would come with other
sites' requests, too; so the shell needs no token, asks for it, and sends it with each of its own requests."""

# Trusted Types: not even a mistake in the page's own script can turn a connection's fields into markup.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    hdrs.CACHE_CONTROL: "no-store",
}
_MISDIRECTED: Final = 421
_FORBIDDEN: Final = 403
_ADVICE: Final = "nobody may abort connections here: name a file that holds a token in SOKKEN_ADMIN_TOKEN_FILE"


class Access:
    """What a request must bring: the token of the door, if there is one, and a Host that is ours."""

    def __init__(self, door: Door) -> None:
        self._token = door.token
        self._hosts = door.hosts

    @property
    def needs_token(self) -> bool:
        """Whether there is a token; without one nothing can be changed."""
        return self._token is not None

    def check_host(self, request: web.Request) -> None:
        """Refuse a Host that may be anybody's name for this address: 421 (RFC 9110 section 15.5.20)."""
        host = _host_of(request.headers.get(hdrs.HOST, ""))
        if not (host == "localhost" or host in self._hosts or _is_ip(host)):
            detail = "the Host is no IP address, not localhost, and not in SOKKEN_ADMIN_HOSTS"
            raise Refusal(Reason.BAD_REQUEST, detail, status=_MISDIRECTED)

    def check_site(self, request: web.Request) -> None:
        """Refuse what another site's page has sent: only a person's click may come from elsewhere."""
        headers = request.headers
        origin = headers.get(hdrs.ORIGIN)
        is_foreign = origin is not None and urlsplit(origin).netloc != headers.get(hdrs.HOST)
        if headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            is_click = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
            is_foreign = is_foreign or not is_click or request.method != hdrs.METH_GET
        if is_foreign:
            raise Refusal(Reason.FORBIDDEN_ORIGIN, "another site's page may ask nothing here")

    def check_token(self, request: web.Request) -> None:
        """Refuse who does not show the token, if there is one."""
        if self._token is None:
            if request.method == hdrs.METH_POST:
                raise Refusal(Reason.UNAUTHENTICATED, _ADVICE, status=_FORBIDDEN)
            return
        self._token.look()  # at once, so that a token that is replaced is worth nothing from that moment on
        try:
            shown = parse_bearer(request.headers.getall(hdrs.AUTHORIZATION, []))
        except Unproven as error:
            raise Refusal(Reason.UNAUTHENTICATED, str(error)) from None
        if shown is None:
            raise Refusal(Reason.UNAUTHENTICATED, "the token is missing: Authorization: Bearer TOKEN")
        if not compare_digest(shown.encode(), self._token.value.encode()):
            raise Refusal(Reason.UNAUTHENTICATED, "the token is not the one in SOKKEN_ADMIN_TOKEN_FILE")


def guard(access: Access) -> Middleware:
    """All of it, as aiohttp's middleware."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_unknown = isinstance(request.match_info.http_exception, web.HTTPNotFound)
        if request.path not in PROBES and not is_unknown:
            access.check_host(request)
            access.check_site(request)
            if request.path not in SHELL:
                access.check_token(request)
        return await handler(request)

    return check


async def harden(_: web.Request, response: web.StreamResponse) -> None:
    """Say on each answer, refusals too, what a browser may do with it; a signal of aiohttp (on_response_prepare)."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _host_of(text: str) -> str:
    """The host of ``HOST[:PORT]``, as names are compared: lower case, without brackets and without a last dot."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].lower().removesuffix(".")


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
