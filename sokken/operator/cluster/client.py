"""Requests to the API server: read, list, watch, apply, delete, and what the Lease and Events need.

The one place that speaks HTTP to it, and turns whatever goes wrong into a ``ClusterError``. It tries nothing again
but a request with a token that had been replaced: that is decided by who asks. Every request has an end.
"""

import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp.http import HttpProcessingError

from sokken import __version__
from sokken.errors import ConfigurationError
from sokken.operator.cluster.access import Access
from sokken.operator.cluster.answers import Call, ClusterError, Trouble, judge_refusal
from sokken.operator.cluster.resources import Manifest, Resource

Body = Manifest | list[Manifest]

REQUEST_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 70.0
"""Bookmarks come every minute: a watch that is silent for longer is dead, whatever TCP thinks of it."""
WATCH_SECONDS: Final = (240, 300)
"""For how long a watch is asked for; it varies, so that not all of them end at once."""
PAGE: Final = 500
_LINE_BYTES: Final = 4 * 2**20
"""An event of a watch is one line with a whole object, which etcd lets have 1.5 MiB at most."""
_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
_MERGE: Final = "application/merge-patch+json"
_AMEND: Final = "application/json-patch+json"
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Listing:
    """What there was, all of one moment: ``version`` is where a watch goes on from."""

    items: list[Manifest]
    version: str


class Cluster:
    """The API server. One for a loop; close it."""

    def __init__(
        self, access: Access, *, request_seconds: float = REQUEST_SECONDS, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self.on_trouble: Callable[[Trouble], object] = lambda _: None
        """Told of every request that has not succeeded, and why."""
        self._access = access
        self._limits = aiohttp.ClientTimeout(total=request_seconds, sock_connect=CONNECT_SECONDS)
        self._patience = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
        self._session = open_session()

    def __repr__(self) -> str:
        return f"<Cluster {self._access.url}>"

    async def close(self) -> None:
        """End what is open."""
        await self._session.close()

    # Reading

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """Read one object; raises ClusterError."""
        call = Call("get", resource.qualified, namespace, name)
        return await self._exchange(call, "GET", resource.path(namespace, name))

    async def list(
        self, resource: Resource, namespace: str | None, selector: str = "", *, only_metadata: bool = False
    ) -> Listing:
        """All objects, a page at a time, each with its apiVersion and kind, which the items of a list lack.

        ``only_metadata`` asks for nothing else of them. Raises ClusterError.
        """
        call = Call("list", resource.qualified, namespace or "")
        query = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        headers = {"Accept": _METADATA} if only_metadata else {}
        items: list[Manifest] = []
        while True:
            page = await self._exchange(call, "GET", resource.path(namespace), query=query, headers=headers)
            for item in page.get("items") or ():
                item["apiVersion"], item["kind"] = resource.api_version, resource.kind
                items.append(item)
            metadata = page.get("metadata", {})
            if not metadata.get("continue"):
                return Listing(items, str(metadata.get("resourceVersion", "")))
            query["continue"] = metadata["continue"]

    async def watch(
        self, resource: Resource, namespace: str | None, selector: str, version: str
    ) -> AsyncGenerator[Manifest, None]:
        """Each event from ``version`` on, until the server ends the stream. Raises ClusterError."""
        call = Call("watch", resource.qualified, namespace or "")
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),  # noqa: S311 -- spreads load, hides nothing
            **({"labelSelector": selector} if selector else {}),
        }
        async with self._request(call, "GET", resource.path(namespace), query=query, limits=self._patience) as answer:
            while line := await answer.content.readline(max_line_length=_LINE_BYTES):
                yield _decode(call, line)

    async def serves(self, resource: Resource) -> bool:
        """Whether the API server knows such objects at all; raises ClusterError."""
        call = Call("get", resource.root)
        try:
            found = await self._exchange(call, "GET", resource.root)
        except ClusterError as error:
            if error.trouble is Trouble.NOT_FOUND:
                return False
            raise
        return any(entry.get("name") == resource.plural for entry in found.get("resources") or ())

    # Writing

    async def apply(self, resource: Resource, manifest: Manifest, manager: str, subresource: str = "") -> Manifest:
        """Server-side apply: take every field of the manifest, whoever had it. Raises ClusterError."""
        metadata = manifest["metadata"]
        return await self._write(
            "patch",
            "PATCH",
            resource,
            (metadata["namespace"], metadata["name"], subresource),
            manifest,
            query={"fieldManager": manager, "force": "true"},
            content_type=_APPLY,
        )

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete that very object, and none that has come in its place; that it is gone already is as good."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._write("delete", "DELETE", resource, (namespace, name, ""), options)
        except ClusterError as error:
            if error.trouble not in {Trouble.NOT_FOUND, Trouble.CONFLICT}:
                raise

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Make a new object; raises ClusterError, with CONFLICT if there is one of that name."""
        return await self._write("create", "POST", resource, (manifest["metadata"]["namespace"], "", ""), manifest)

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Write it over the version that it says it was read as; raises ClusterError, with CONFLICT if that is past."""
        metadata = manifest["metadata"]
        return await self._write("update", "PUT", resource, (metadata["namespace"], metadata["name"], ""), manifest)

    async def merge(self, resource: Resource, namespace: str, name: str, change: Manifest) -> Manifest:
        """Change some fields of an object; raises ClusterError."""
        return await self._write("patch", "PATCH", resource, (namespace, name, ""), change, content_type=_MERGE)

    async def amend(self, resource: Resource, namespace: str, name: str, operations: Sequence[Manifest]) -> Manifest:
        """Change an object by a JSON Patch (RFC 6902); raises ClusterError, with INVALID if it is another by now."""
        body = list(operations)
        return await self._write("patch", "PATCH", resource, (namespace, name, ""), body, content_type=_AMEND)

    async def _write(
        self,
        verb: str,
        method: str,
        resource: Resource,
        place: tuple[str, str, str],
        body: Body,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        namespace, name, subresource = place
        what = f"{resource.qualified}/{subresource}" if subresource else resource.qualified
        call = Call(verb, what, namespace, name)
        path = resource.path(namespace, name, subresource)
        headers = {"Content-Type": content_type}
        return await self._exchange(call, method, path, query=query, headers=headers, body=body)

    # HTTP

    async def _exchange(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Manifest:
        """One request and its whole answer."""
        for is_last in (False, True):
            try:
                async with self._request(call, method, path, query=query, headers=headers, body=body) as answer:
                    return _decode(call, await answer.read())
            except ClusterError as error:
                if is_last or error.trouble is not Trouble.UNAUTHENTICATED or not self._access.look():
                    raise
        raise AssertionError  # pragma: no cover -- the second turn returns or raises

    @asynccontextmanager
    async def _request(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        limits: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            self._access.freshen()
            async with self._session.request(
                method,
                self._access.url + path,
                params=query,
                headers={**self._access.headers(), **(headers or {})},
                data=None if body is None else _encode(body),
                ssl=self._access.tls.context(),
                server_hostname=self._access.server_name,
                timeout=limits or self._limits,
                allow_redirects=False,  # the token is for this server alone
            ) as answer:
                if answer.status >= 300:
                    raise judge_refusal(call, answer.status, answer.headers, await answer.read())
                yield answer
        except ClusterError as error:
            if error.trouble is not Trouble.NOT_FOUND:  # which is an answer
                self.on_trouble(error.trouble)
            raise
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError) as error:
            self.on_trouble(Trouble.UNAVAILABLE)
            raise ClusterError(Trouble.UNAVAILABLE, call, describe_failure(error)) from error
        except ConfigurationError as error:  # a file of credentials that cannot be used
            self.on_trouble(Trouble.UNAUTHENTICATED)
            raise ClusterError(Trouble.UNAUTHENTICATED, call, str(error)) from error


def open_session(connector: aiohttp.BaseConnector | None = None, **options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 -- aiohttp's
    """What requests go through: no cookies, no proxy, no credentials but those that are given."""
    return aiohttp.ClientSession(
        headers={"User-Agent": f"sokken-operator/{__version__}", "Accept": "application/json"},
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=connector or aiohttp.TCPConnector(limit=0),  # how much is asked at once is limited by who asks
        **options,
    )


def open_bound_session(access: Access) -> aiohttp.ClientSession:
    """A session for who makes requests without us (kopf): it shows what the access has at that moment."""

    async def show(request: aiohttp.ClientRequest, handle: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers.update(access.headers())
        return await handle(request)

    return open_session(aiohttp.TCPConnector(limit=0, ssl=access.tls.context()), middlewares=(show,))


def _encode(body: Body) -> bytes:
    """Without escapes: what is applied is read as YAML, which has no surrogate pairs as JSON has."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _decode(call: Call, content: bytes) -> Manifest:
    try:
        document: Any = json.loads(content)
    except ValueError:
        raise ClusterError(Trouble.UNAVAILABLE, call, "the answer is no JSON") from None
    if not isinstance(document, dict):
        raise ClusterError(Trouble.UNAVAILABLE, call, "the answer is no object")
    return document


def describe_failure(error: Exception) -> str:
    """Why there was no answer, in one line without aiohttp's insides."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate cannot be verified: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or str(error.os_error)
        return f"cannot connect: {reason.lower()}" if reason and reason != "None" else "the connection broke"
    return str(error) or type(error).__name__
