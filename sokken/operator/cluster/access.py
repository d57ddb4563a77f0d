"""Who asks the API server, where it is, and whom it must be: the pod's ServiceAccount, or a kubeconfig.

Opened once by the program, and used by client.py and, through a session of its own, by kopf. Tokens and authorities
are followed while they change; TLS is verified always. It must not show a token in a message.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sokken.errors import ConfigurationError
from sokken.operator.cluster.kubeconfig import Context, parse_kubeconfig
from sokken.protocol.address import Address
from sokken.protocol.credentials import AUTHORIZATION, parse_token
from sokken.transport.files import WatchedFile
from sokken.transport.tls import KeyPair, TlsFiles, client_context, parse_authorities, parse_key_pair

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LOOK_SECONDS: Final = 10.0
"""How old what is known of the files may be: the kubelet replaces a token long before it expires."""
HOME_KUBECONFIG: Final = Path(".kube/config")


class Access:
    """The way to one API server."""

    def __init__(
        self,
        url: str,
        namespace: str,
        tls: TlsFiles,
        token: WatchedFile[str] | str | None = None,
        server_name: str | None = None,
    ) -> None:
        """``namespace`` is where the operator itself is at home; ``server_name`` whose certificate the server has."""
        self.url = url
        self.namespace = namespace
        self.tls = tls
        self.server_name = server_name
        self._token = token
        self._looked_at = time.monotonic()

    def __repr__(self) -> str:
        return f"<Access {self.url}>"

    def headers(self) -> Mapping[str, str]:
        """What proves who asks; raises ConfigurationError while a file has never been good. From any thread."""
        token = self._token.value if isinstance(self._token, WatchedFile) else self._token
        return {} if token is None else {AUTHORIZATION: f"Bearer {token}"}

    def freshen(self) -> None:
        """Look at the files if that was some time ago: once for each request."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self.look()

    def look(self) -> bool:
        """Look at the files now; whether there is anything new to show or to trust."""
        self._looked_at = time.monotonic()
        has_new_token = isinstance(self._token, WatchedFile) and self._token.look()
        return self.tls.look() or has_new_token


def open_access(kubeconfig: Path | None, api_server: Address | None) -> Access:
    """What the settings name, else the pod's own, else the kubeconfig in the home folder.

    Raises ConfigurationError: one line.
    """
    if kubeconfig is not None:
        return _open_kubeconfig(kubeconfig)
    if api_server is not None:
        return open_service_account(api_server, SERVICE_ACCOUNT)
    home = Path.home() / HOME_KUBECONFIG
    if not home.exists():
        raise ConfigurationError("there is no API server: run it in a cluster, or name a file in KUBECONFIG")
    return _open_kubeconfig(home)


def open_service_account(api_server: Address, folder: Path) -> Access:
    """What the kubelet has mounted; raises ConfigurationError if that is not there, or cannot be used."""
    authorities = WatchedFile(folder / "ca.crt", parse_authorities, "the ServiceAccount's authorities")
    token = WatchedFile(folder / "token", parse_token, "the ServiceAccount's token")
    namespace = WatchedFile(folder / "namespace", lambda content: content.decode().strip(), "the pod's namespace")
    tls = TlsFiles(client_context, authorities)
    return Access(f"https://{api_server}", namespace.value, tls, token)


def _open_kubeconfig(path: Path) -> Access:
    file = WatchedFile(path, lambda content: parse_kubeconfig(content, path.absolute().parent), "KUBECONFIG")
    context = file.value
    try:
        token = _open_token(context.token)
        tls = _open_tls(context)
    except ValueError as error:
        raise ConfigurationError(f"KUBECONFIG: cannot use {path}: {error}") from None
    return Access(context.server, context.namespace, tls, token, context.server_name)


def _open_token(token: Path | bytes | None) -> WatchedFile[str] | str | None:
    if isinstance(token, Path):
        return WatchedFile(token, parse_token, "KUBECONFIG's tokenFile")
    return None if token is None else parse_token(token)


def _open_tls(context: Context) -> TlsFiles:
    """Content that stands in the file itself never changes; what it names is followed."""
    inline_authorities, authorities = _split(
        context.authorities, parse_authorities, "KUBECONFIG's certificate-authority"
    )
    inline_pair: KeyPair | None = None
    pair: WatchedFile[KeyPair] | None = None
    match context.certificate, context.key:
        case None, None:
            pass
        case Path() as certificate, Path() as key:
            pair = WatchedFile(certificate, parse_key_pair, "KUBECONFIG's client-certificate", beside=[key])
        case certificate, key:
            inline_pair = parse_key_pair(_content(certificate), _content(key))
    return TlsFiles(
        lambda found, shown: client_context(found or inline_authorities, shown or inline_pair), authorities, pair
    )


def _split(
    given: Path | bytes | None, parse: Callable[[bytes], str], what: str
) -> tuple[str | None, WatchedFile[str] | None]:
    if isinstance(given, Path):
        return None, WatchedFile(given, parse, what)
    return (None if given is None else parse(given)), None


def _content(given: Path | bytes | None) -> bytes:
    """Of a pair of which one part is a file and the other is not."""
    if isinstance(given, Path):
        return given.read_bytes()
    if given is None:
        raise ValueError("a client certificate and its key belong together; one of them is missing")
    return given
