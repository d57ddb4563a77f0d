"""The Secrets and ConfigMaps that a Tunnel refers to, as files in its pods.

The operator never reads them: kubelet puts them into the pod, and the client reads the files at each connection. Each
is optional to kubelet, so that a pod starts without it, says in its status what is missing, and goes on when it comes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sokken.operator.model import TunnelSpec

MOUNT_PATH: Final = "/etc/sokken/credentials"
TOKEN: Final = "token"  # noqa: S105 -- a file's name
VOLUME: Final = "credentials"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a file of the client comes from."""

    field: str
    """In the Tunnel: ``spec.auth.tokenSecretRef``."""
    kind: str
    """``Secret`` or ``ConfigMap``."""
    name: str
    files: Mapping[str, tuple[str, str]]
    """By setting: the key, and the file's name in the pod."""

    @property
    def source(self) -> dict[str, Any]:
        """It as a source of a projected volume."""
        items = [{"key": key, "path": path} for key, path in self.files.values()]
        return {_SOURCES[self.kind]: {"name": self.name, "items": items, "optional": True}}


_SOURCES: Final = {"Secret": "secret", "ConfigMap": "configMap"}


def references(spec: TunnelSpec) -> tuple[Reference, ...]:
    """What a Tunnel refers to and its pods read from files."""
    token, certificate = spec.auth.token_secret_ref, spec.auth.client_certificate_secret_ref
    authorities = spec.server.ca_bundle_ref
    credentials = spec.proxy.credentials_secret_ref if spec.proxy else None
    found = []
    if token:
        files = {"SOKKEN_TOKEN_FILE": (token.key, TOKEN)}
        found.append(Reference("spec.auth.tokenSecretRef", "Secret", token.name, files))
    if certificate:
        files = {
            "SOKKEN_CLIENT_CERT_FILE": ("tls.crt", "tls.crt"),
            "SOKKEN_CLIENT_KEY_FILE": ("tls.key", "tls.key"),
        }
        found.append(Reference("spec.auth.clientCertificateSecretRef", "Secret", certificate.name, files))
    if authorities:
        files = {"SOKKEN_CA_FILE": (authorities.key, "ca.crt")}
        found.append(Reference("spec.server.caBundleRef", authorities.kind, authorities.name, files))
    if credentials:
        files = {"SOKKEN_PROXY_CREDENTIALS_FILE": (credentials.key, "proxy")}
        found.append(Reference("spec.proxy.credentialsSecretRef", "Secret", credentials.name, files))
    return tuple(found)


def file_settings(spec: TunnelSpec) -> dict[str, str]:
    """The settings that name these files."""
    settings = {
        setting: f"{MOUNT_PATH}/{path}"
        for reference in references(spec)
        for setting, (_, path) in reference.files.items()
    }
    if spec.auth.service_account_token:
        settings["SOKKEN_TOKEN_FILE"] = f"{MOUNT_PATH}/{TOKEN}"
    return settings


def volume(spec: TunnelSpec) -> dict[str, Any] | None:
    """One volume with all of them, in which what belongs together changes together; None without any."""
    sources = [reference.source for reference in references(spec)]
    token = spec.auth.service_account_token
    if token:
        projected = {"audience": token.audience, "expirationSeconds": token.expiration_seconds, "path": TOKEN}
        sources.append({"serviceAccountToken": projected})
    return {"name": VOLUME, "projected": {"sources": sources}} if sources else None
