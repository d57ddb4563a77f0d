"""Tokens that an issuer has signed (JWT, RFC 7519), as OIDC providers and Kubernetes give them to their clients.

Imported only when configured. PyJWT and cryptography verify; which algorithms, which keys and which claims count is
decided here. The keys come from a file, or from where the issuer publishes them (server/published_keys.py).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt

from sokken.protocol.credentials import Shown, Unproven, check_name
from sokken.protocol.identity import Identity
from sokken.transport.eager import become_task
from sokken.transport.files import WatchedFile

LEEWAY_SECONDS: Final = 60
_SHOWN: Final = 20
_ALGORITHMS: Final = {
    "RSA": ("RS256", "RS384", "RS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
"""By the key's type (RFC 7518 section 6.1, RFC 8037); none that is symmetric, so that no public key is a secret."""
_ACCEPTED: Final = frozenset(name for names in _ALGORITHMS.values() for name in names)
_MALFORMED: Final = (jwt.PyJWTError, TypeError, ValueError, RecursionError)
"""What reading a token can raise: its parts are JSON of whoever sent it."""
_EXPLAINED: Final[tuple[tuple[type[Exception], str], ...]] = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
    (jwt.InvalidAlgorithmError, "the token is signed with another algorithm than its key is for"),
    (jwt.MissingRequiredClaimError, "the token lacks one of exp, iss, aud and sub"),
)


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A public key of the issuer, and the algorithms that it may be used with."""

    id: str | None
    algorithms: Sequence[str]
    material: Any


class Keys(Protocol):
    """Where the issuer's keys are."""

    def known(self) -> tuple[Key, ...]:
        """The last good ones."""

    async def refresh(self) -> None:
        """Look for new ones now, because a token has one that is not known."""


class KeysFile:
    """The issuer's keys in a file."""

    def __init__(self, file: WatchedFile[tuple[Key, ...]]) -> None:
        self._file = file

    def known(self) -> tuple[Key, ...]:
        """The last good ones."""
        return self._file.value

    async def refresh(self) -> None:
        """Look at the file."""
        self._file.look()


def parse_keys(content: bytes) -> tuple[Key, ...]:
    """Read a JWK Set (RFC 7517), leaving out what signs nothing here; raises ValueError if that is everything."""
    try:
        keys = json.loads(content)["keys"]
        usable = [key for key in keys if key.get("kty") in _ALGORITHMS and key.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError('it is no JWK Set, which is JSON: {"keys": [...]}') from None
    found = tuple(filter(None, map(_make_key, usable)))
    if not found:
        raise ValueError("it holds no public key for RS, ES or EdDSA signatures")
    return found


class JwtAuthenticator:
    """Believes the tokens of one issuer for one audience."""

    def __init__(self, issuer: str, audience: str, keys: Keys) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys

    async def identify(self, shown: Shown) -> Identity:
        """By the token's subject."""
        if shown.bearer is None:
            raise Unproven("no token was shown")
        key_id = _read_header(shown.bearer)
        keys = self._find(key_id)
        if not keys:
            await become_task()
            await self._keys.refresh()
            keys = self._find(key_id)
        if not keys:
            raise Unproven("the token is signed with a key that is not one of the issuer's")
        return Identity(check_name(self._verify(shown.bearer, keys)["sub"]), "jwt", "sub")

    def _find(self, key_id: str | None) -> list[Key]:
        return [key for key in self._keys.known() if key_id is None or key.id in {None, key_id}]

    def _verify(self, token: str, keys: Sequence[Key]) -> dict[str, Any]:
        """The claims; raises Unproven."""
        problem: Exception = jwt.InvalidAlgorithmError()
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key.material,
                    algorithms=key.algorithms,
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["exp", "iss", "aud", "sub"]},
                )
            except jwt.InvalidAlgorithmError:
                pass
            except jwt.InvalidSignatureError as error:
                problem = error
            except _MALFORMED as error:
                problem = error
                break  # its signature is right, and no other key will change its claims
        raise Unproven(_explain(problem)) from None


def _read_header(token: str) -> str | None:
    """The id of the key that the token says it is signed with; raises Unproven."""
    try:
        header = jwt.get_unverified_header(token)
    except _MALFORMED:
        raise Unproven("the token is no JWT, or malformed") from None
    algorithm = str(header.get("alg"))
    if algorithm not in _ACCEPTED:
        raise Unproven(f"the token is signed with {algorithm[:_SHOWN]!r}, not with RS, ES or EdDSA")
    return header.get("kid")


def _make_key(jwk: dict[str, Any]) -> Key | None:
    """One key of a set; None for one that this program cannot use."""
    algorithms = [name for name in _ALGORITHMS[jwk["kty"]] if jwk.get("alg", name) == name]
    try:
        return Key(jwk.get("kid"), algorithms, jwt.PyJWK(jwk).key) if algorithms else None
    except jwt.PyJWTError:
        return None


def _explain(error: Exception) -> str:
    return next((text for kind, text in _EXPLAINED if isinstance(error, kind)), "the token is malformed")
