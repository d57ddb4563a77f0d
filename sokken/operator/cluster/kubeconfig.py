"""A kubeconfig file: where its current context leads, and what it shows there.

Pure, but for the YAML library: text in, values out. Called by access.py, for development and tests; in a cluster
there is none. Programs that a kubeconfig wants run (``exec``) are not, and no certificate goes unverified.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_REFUSED_USER: Final = ("exec", "auth-provider", "username", "as", "impersonate-user")


@dataclass(frozen=True, slots=True, repr=False)
class Context:
    """A context: each credential is a file's path, or its content, or None."""

    server: str
    namespace: str = "default"
    server_name: str | None = None
    authorities: Path | bytes | None = None
    certificate: Path | bytes | None = None
    key: Path | bytes | None = None
    token: Path | bytes | None = None


def parse_kubeconfig(content: bytes, folder: Path) -> Context:
    """Read the current context; paths in it are relative to ``folder``. Raises ValueError without quoting secrets."""
    document = _load(content)
    context = _named(document, "contexts", "context", document.get("current-context"))
    cluster = _named(document, "clusters", "cluster", context.get("cluster"))
    user = _named(document, "users", "user", context.get("user"))
    _refuse(cluster, user)
    return Context(
        server=str(cluster["server"]).rstrip("/"),
        namespace=str(context.get("namespace") or "default"),
        server_name=cluster.get("tls-server-name") or None,
        authorities=_credential(cluster, "certificate-authority", folder),
        certificate=_credential(user, "client-certificate", folder),
        key=_credential(user, "client-key", folder),
        token=_token(user, folder),
    )


def _load(content: bytes) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError):
        document = None  # what the parser says may quote a secret
    if isinstance(document, dict):
        return document
    raise ValueError("it is no kubeconfig in YAML")


def _named(document: Mapping[str, Any], group: str, kind: str, name: object) -> Mapping[str, Any]:
    if not name:
        raise ValueError(f"it names no {'current-context' if kind == 'context' else kind}")
    entries = document.get(group)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind), dict):
            found: Mapping[str, Any] = entry[kind]
            return found
    raise ValueError(f"it has no {kind} {str(name)[:100]!r}")


def _refuse(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith("https://"):
        raise ValueError("its server is no https:// URL")
    if cluster.get("insecure-skip-tls-verify"):
        raise ValueError("insecure-skip-tls-verify is set: give the cluster's certificate-authority-data instead")
    if cluster.get("proxy-url"):
        raise ValueError("proxy-url is not supported: the API server is asked directly")
    for key in _REFUSED_USER:
        if user.get(key):
            raise ValueError(f"its user has {key}, which is not supported: give a token or a client certificate")


def _credential(entry: Mapping[str, Any], key: str, folder: Path) -> Path | bytes | None:
    if inline := entry.get(f"{key}-data"):
        try:
            return b64decode(str(inline), validate=True)
        except Base64Error:
            raise ValueError(f"{key}-data is no base64") from None
    return folder / str(entry[key]) if entry.get(key) else None


def _token(user: Mapping[str, Any], folder: Path) -> Path | bytes | None:
    if path := user.get("tokenFile"):
        return folder / str(path)
    return str(user["token"]).encode() if user.get("token") else None
