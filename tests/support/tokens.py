"""An issuer of JWTs for tests: keys of each kind, their JWK Set, and tokens right or wrong."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER, AUDIENCE = "https://issuer.test", "sokken"
_ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}


class Issuer:
    """``kinds``: the keys that it has, each with its kind as its id."""

    def __init__(self, *kinds: str) -> None:
        make = {
            "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
            "ed": ed25519.Ed25519PrivateKey.generate,
        }
        self.keys: dict[str, Any] = {kind: make[kind]() for kind in kinds or ("ec",)}

    def jwks(self, **extra: Any) -> dict[str, Any]:
        keys = []
        for kind, key in self.keys.items():
            algorithm = jwt.get_algorithm_by_name(_ALGORITHMS[kind])
            keys.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": kind, "use": "sig", **extra})
        return {"keys": keys}

    def public_pem(self, kind: str) -> bytes:
        return (
            self.keys[kind]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def token(self, kind: str = "ec", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """One that is right, but for what ``claims`` replace; None leaves out. Times are seconds from now."""
        now = int(time.time())
        default = {"iss": ISSUER, "aud": AUDIENCE, "sub": "system:serviceaccount:ns:name", "exp": 600, "iat": 0}
        merged = {name: value for name, value in (default | claims).items() if value is not None}
        for name in ("exp", "nbf", "iat"):
            if isinstance(merged.get(name), int):
                merged[name] += now
        fields = {"kid": kind} if headers is None else headers
        return jwt.encode(merged, self.keys[kind], algorithm=_ALGORITHMS[kind], headers=fields)
