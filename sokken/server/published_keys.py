"""An issuer's public keys from where it publishes them (JWKS): fetched at start, and regularly from then on.

The last good ones stay in force while the issuer cannot be reached. A token with an unknown key brings the next
fetch forward, but nobody can make this server fetch more often than every few seconds.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from sokken.errors import ConfigurationError, SokkenError
from sokken.protocol.address import Address
from sokken.protocol.credentials import AUTHORIZATION, Unproven, parse_token
from sokken.protocol.proxy import Exemption, Proxy, choose_proxy
from sokken.server.signed_tokens import Key, parse_keys
from sokken.telemetry.logs import get_logger
from sokken.transport.files import WatchedFile
from sokken.transport.tls import TlsFiles, client_context, parse_authorities

REFRESH_SECONDS: Final = 300.0
LEAST_SECONDS: Final = 10.0
"""Between two fetches for tokens with unknown keys."""
FETCH_SECONDS: Final = 5.0
MAX_BYTES: Final = 1024 * 1024
_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_API_SERVER: Final = "kubernetes.default.svc"

log = get_logger("keys")


class FetchError(SokkenError):
    """The keys could not be had; the message says why."""


class PublishedKeys:
    """The keys at a URL; ``run`` keeps them fresh."""

    def __init__(
        self, url: str, authorities: WatchedFile[str] | None, token: WatchedFile[str] | None, proxy: Proxy | None
    ) -> None:
        self._url = url
        self._proxy = proxy
        self._tls = TlsFiles(lambda trusted, _: client_context(trusted), authorities)
        self._token = token
        self._keys: tuple[Key, ...] = ()
        self._content = b""
        self._fetching = asyncio.Lock()
        self._fetched_at = float("-inf")
        self.problem: str | None = "the keys of SOKKEN_JWT_JWKS_URL have not been fetched yet"
        """Why the last fetch failed."""

    def __repr__(self) -> str:
        return f"<PublishedKeys {self._url} {len(self._keys)} {self.problem or 'good'}>"

    @property
    def has_keys(self) -> bool:
        """Whether a fetch has succeeded."""
        return bool(self._keys)

    def known(self) -> tuple[Key, ...]:
        """The last good ones; raises Unproven while there were none."""
        if not self._keys:
            raise Unproven("the server has not got the issuer's keys yet")
        return self._keys

    async def run(self) -> None:
        """Fetch for ever."""
        failures = 0
        while True:
            await self._look()
            failures = failures + 1 if self.problem else 0
            delay = min(REFRESH_SECONDS, 2.0**failures) if failures else REFRESH_SECONDS
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 -- spreads requests, hides nothing

    async def refresh(self) -> None:
        """Fetch now, unless that was done a moment ago."""
        if asyncio.get_running_loop().time() - self._fetched_at >= LEAST_SECONDS:
            await self._look()

    async def _look(self) -> None:
        async with self._fetching:
            self._fetched_at = asyncio.get_running_loop().time()
            known, content = self.problem, self._content
            try:
                self._content = await self._fetch()
                if self._content != content:
                    self._keys = parse_keys(self._content)
            except (FetchError, ConfigurationError, ValueError) as error:
                self._content = content
                self.problem = f"{self._url}: {error}"
            else:
                self.problem = None
        if self.problem != known or self._content != content:
            self._log_result()

    async def _fetch(self) -> bytes:
        self._tls.look()
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        try:
            # No redirects: the token is for this URL alone.
            async with (
                aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
                session.get(
                    self._url,
                    headers=self._headers(),
                    ssl=self._tls.context(),
                    allow_redirects=False,
                    proxy=None if self._proxy is None else str(self._proxy),
                    proxy_headers=self._proxy_headers(),
                ) as answer,
            ):
                if answer.status != 200:
                    raise FetchError(f"it answers {answer.status}")
                content = await answer.content.read(MAX_BYTES)
                while more := await answer.content.read(MAX_BYTES):
                    content += more
                    if len(content) > MAX_BYTES:
                        raise FetchError(f"its answer has more than {MAX_BYTES} bytes")
        except TimeoutError:
            raise FetchError(f"it did not answer within {FETCH_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise FetchError(str(error) or type(error).__name__) from None
        return content

    def _headers(self) -> Mapping[str, str]:
        # Not compressed: what it would take to undo that has no limit.
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        if self._token is not None:
            self._token.look()
            headers[AUTHORIZATION] = f"Bearer {self._token.value}"
        return headers

    def _proxy_headers(self) -> Mapping[str, str] | None:
        if self._proxy is None or self._proxy.authorization is None:
            return None
        return {"Proxy-Authorization": self._proxy.authorization}

    def _log_result(self) -> None:
        if self.problem is None:
            log.info("reload", setting="SOKKEN_JWT_JWKS_URL", result="loaded", keys=len(self._keys))
        else:
            result = "kept_last_good" if self._keys else "unavailable"
            log.error("reload", setting="SOKKEN_JWT_JWKS_URL", result=result, detail=self.problem)


def open_published_keys(
    url: str,
    ca_file: Path | None,
    token_file: Path | None,
    https_proxy: Proxy | None = None,
    no_proxy: Sequence[Exemption] = (),
) -> PublishedKeys:
    """With what the settings name, else at the API server of the pod's own cluster with the pod's; fetches nothing.

    That one is asked directly, whatever ``https_proxy`` leads elsewhere to. Raises ConfigurationError.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = choose_proxy(Address(host, parts.port or 443), None, https_proxy, no_proxy)
    if host == _API_SERVER or host.startswith(f"{_API_SERVER}."):
        proxy = None
        ca_file = ca_file or _existing(_POD / "ca.crt")
        token_file = token_file or _existing(_POD / "token")
    return PublishedKeys(
        url,
        WatchedFile(ca_file, parse_authorities, "SOKKEN_JWT_JWKS_CA_FILE") if ca_file else None,
        WatchedFile(token_file, parse_token, "SOKKEN_JWT_JWKS_TOKEN_FILE") if token_file else None,
        proxy,
    )


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
