"""Plays Kubernetes' API server over real HTTPS: objects, lists, watches, server-side apply, and all its moods.

It knows no schema: what is applied is merged, map by map. What it refuses, and when its streams break, the test says.
"""

import asyncio
import base64
import contextlib
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from sokken.operator.cluster.access import Access
from sokken.transport.tls import TlsFiles, client_context
from tests.support.json_patch import apply_json_patch
from tests.support.loops import AUTHORITIES, server_context
from tests.support.targets import PATIENCE


@dataclass(frozen=True)
class Place:
    """A path, taken apart."""

    prefix: str
    namespace: str
    plural: str
    name: str
    subresource: str


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict | None
    content: bytes = b""


@dataclass
class Refused:
    """What is answered instead, so many times."""

    matches: Callable[[Asked], bool]
    status: int
    document: object
    headers: dict[str, str]
    times: int


@dataclass
class Stream:
    """A watch that is open."""

    place: Place
    selector: str
    events: asyncio.Queue = field(default_factory=asyncio.Queue)


def status(code: int, message: str, reason: str = "", **details: object) -> dict:
    """What the API server says when it refuses."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }


class ApiServer:
    """One that is served by ``api_server``."""

    def __init__(self) -> None:
        self.url = ""
        self.token = "s3cr3t"
        self.asked: list[Asked] = []
        self.objects: dict[tuple[str, str, str, str], dict] = {}
        """By prefix, plural, namespace and name."""
        self.served = {
            "/api/v1": {"namespaces": "Namespace", "events": "Event", "pods": "Pod"},
            "/apis/apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
            "/apis/sokken.dev/v1alpha1": {"tunnels": "Tunnel"},
        }
        """What discovery knows of: kinds by their plural."""
        self.streams: list[Stream] = []
        self.patience = 0.0
        """Seconds that every answer takes."""
        self.is_silent = False
        """Nothing more is told to whoever watches."""
        self.oldest = 0
        """Versions before this one are no longer known."""
        self._version = 100
        self._refusals: list[Refused] = []
        self._history: list[tuple[int, Place, str, dict]] = []
        self._runner: web.AppRunner | None = None
        self._port = 0

    def access(self) -> Access:
        """A way to it."""
        return Access(self.url, "sokken-system", TlsFiles(lambda _a, _p: client_context(AUTHORITIES)), "s3cr3t")

    # What the test does

    def refuse(
        self,
        status_code: int,
        document: object = None,
        *,
        matches: Callable[[Asked], bool] = lambda _: True,
        headers: dict[str, str] | None = None,
        times: int = 1,
    ) -> None:
        """Answer so to the next requests."""
        self._refusals.append(Refused(matches, status_code, document, headers or {}, times))

    def forgive(self) -> None:
        """Refuse nothing more."""
        self._refusals.clear()

    def put(self, api_version: str, plural: str, manifest: dict) -> dict:
        """Somebody else makes an object, or changes it."""
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        metadata = manifest["metadata"]
        place = Place(prefix, metadata.get("namespace", ""), plural, metadata["name"], "")
        kind = self.served.get(prefix, {}).get(plural, plural.removesuffix("s").capitalize())
        return self._store(place, json.loads(json.dumps({"apiVersion": api_version, "kind": kind, **manifest})))

    def remove(self, api_version: str, plural: str, namespace: str, name: str) -> None:
        """Somebody else deletes it."""
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        self._delete(Place(prefix, namespace, plural, name, ""))

    def find(self, plural: str, name: str) -> dict | None:
        """The object of that name."""
        return next((m for (_, kind, _, called), m in self.objects.items() if (kind, called) == (plural, name)), None)

    def writes(self) -> list[Asked]:
        """What it was asked to change."""
        return [asked for asked in self.asked if asked.method != "GET"]

    def send(self, event: dict | bytes) -> None:
        """Put something into every stream."""
        for stream in self.streams:
            stream.events.put_nowait(event)

    def bookmark(self) -> None:
        """Tell every stream the version of the moment."""
        self._version += 1
        self.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self._version)}}})

    def end_streams(self) -> None:
        """End them as planned."""
        self.send(b"")

    def break_streams(self) -> None:
        """Reset them."""
        self.send(b"broken")

    def forget(self) -> None:
        """Know no version before this moment's next."""
        self._version += 1
        self.oldest = self._version
        self._history.clear()

    async def stop(self) -> None:
        """Be gone: connections are refused."""
        if self._runner is not None:
            self.break_streams()
            await self._runner.cleanup()
            self._runner = None

    async def start(self) -> None:
        """Be there (again), at the same address."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=server_context(), reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"https://127.0.0.1:{self._port}"

    # What it does

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = Asked(
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            json.loads(body) if body else None,
            body,
        )
        self.asked.append(asked)
        await asyncio.sleep(self.patience)
        for refused in self._refusals:
            if refused.times and refused.matches(asked):
                refused.times -= 1
                return self._refuse(refused)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response(status(401, "Unauthorized", "Unauthorized"), status=401)
        if asked.method == "GET" and (found := self._discover(asked.path)):
            return web.json_response(found)
        place = _take_apart(request.path)
        if place is None:
            return web.Response(status=404, text="404 page not found\n")
        if asked.method == "GET":
            return await self._read(request, asked, place)
        return self._write(asked, place)

    def _discover(self, path: str) -> dict | None:
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [place.split("/")[2:] for place in self.served if place.startswith("/apis/")]
            named = [
                {"name": group, "versions": [{"version": v}], "preferredVersion": {"version": v}} for group, v in groups
            ]
            return {"kind": "APIGroupList", "groups": named}
        if path not in self.served:
            return None
        resources = [
            {
                "name": plural,
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": kind not in {"Namespace", "CustomResourceDefinition"},
                "verbs": ["get", "list", "watch", "create", "patch", "delete"],
            }
            for plural, kind in self.served[path].items()
        ]
        return {"kind": "APIResourceList", "resources": resources}

    def _refuse(self, refused: Refused) -> web.Response:
        document = refused.document
        if document is None:
            document = status(refused.status, f"refused with {refused.status}")
        text = document if isinstance(document, str) else json.dumps(document)
        return web.Response(status=refused.status, text=text, headers=refused.headers)

    async def _read(self, request: web.Request, asked: Asked, place: Place) -> web.StreamResponse:
        if place.name:
            found = self.objects.get(_key(place))
            if found is None:
                message = f'{place.plural} "{place.name}" not found'
                return web.json_response(status(404, message, "NotFound"), status=404)
            return web.json_response(found)
        if asked.query.get("watch"):
            return await self._watch(request, asked, place)
        return self._list(asked, place)

    def _list(self, asked: Asked, place: Place) -> web.Response:
        selector = asked.query.get("labelSelector", "")
        found = [
            {name: value for name, value in manifest.items() if name not in {"kind", "apiVersion"}}
            for key, manifest in sorted(self.objects.items())
            if _is_within(key, place) and _is_selected(manifest, selector)
        ]
        first = int(asked.query.get("continue", "0"))
        limit = int(asked.query.get("limit", "500"))
        metadata = {"resourceVersion": str(self._version)}
        if first + limit < len(found):
            metadata["continue"] = str(first + limit)
        if "PartialObjectMetadataList" in asked.headers.get("Accept", ""):
            found = [{"metadata": manifest["metadata"]} for manifest in found]
        return web.json_response({"kind": "List", "metadata": metadata, "items": found[first : first + limit]})

    async def _watch(self, request: web.Request, asked: Asked, place: Place) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        stream = Stream(place, asked.query.get("labelSelector", ""))
        since = int(asked.query["resourceVersion"])
        if since < self.oldest:
            gone = {"type": "ERROR", "object": status(410, f"too old resource version: {since}", "Expired")}
            await response.write(json.dumps(gone).encode() + b"\n")
            return response
        for version, at, kind, manifest in self._history:
            if version > since:
                _tell(stream, at, kind, manifest)
        self.streams.append(stream)
        try:
            while event := await stream.events.get():
                if event == b"broken":
                    assert request.transport is not None
                    request.transport.abort()
                    break
                line = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
                await response.write(line)
        except ConnectionError:
            pass
        finally:
            self.streams.remove(stream)
        return response

    def _write(self, asked: Asked, place: Place) -> web.Response:
        known = self.objects.get(_key(place))
        body = asked.body or {}
        if asked.method == "DELETE":
            return self._answer_delete(place, known, body)
        if asked.method == "POST":
            name = body["metadata"].get("name") or f"{body['metadata']['generateName']}{uuid.uuid4().hex[:5]}"
            place = Place(place.prefix, place.namespace, place.plural, name, "")
            if _key(place) in self.objects:
                return web.json_response(status(409, f'"{name}" already exists', "AlreadyExists"), status=409)
            body["metadata"]["name"] = name
            return web.json_response(self._store(place, body), status=201)
        if asked.method == "PUT":
            if known is None:
                return web.json_response(status(404, "not found", "NotFound"), status=404)
            if body["metadata"].get("resourceVersion", "") != known["metadata"]["resourceVersion"]:
                return web.json_response(status(409, "the object has been modified", "Conflict"), status=409)
            return web.json_response(self._store(place, body))
        if isinstance(body, list):
            return web.json_response(self._store(place, apply_json_patch(body, known)))
        return self._answer_patch(place, known, body, is_apply="apply" in asked.headers["Content-Type"])

    def _answer_patch(self, place: Place, known: dict | None, body: dict, *, is_apply: bool) -> web.Response:
        uid = body.get("metadata", {}).get("uid")
        if known is None and (place.subresource or not is_apply or uid):
            code = 409 if uid and not place.subresource else 404
            return web.json_response(status(code, "not found", "NotFound"), status=code)
        if known is not None and uid and uid != known["metadata"]["uid"]:
            return web.json_response(status(409, "uid mismatch", "Conflict"), status=409)
        if place.subresource:
            body = {"status": body.get("status", {})}
            known = {**(known or {}), "status": {}}
        merged = _merge(known or {}, body)
        if known is not None and is_apply and place.plural == "services":
            _keep_foreign_ports(known, merged)
        if known is not None and _plain(merged) == _plain(self.objects[_key(place)]):
            return web.json_response(self.objects[_key(place)])
        return web.json_response(self._store(place, merged), status=200 if known is not None else 201)

    def _answer_delete(self, place: Place, known: dict | None, body: dict) -> web.Response:
        if known is None:
            return web.json_response(status(404, "not found", "NotFound"), status=404)
        wanted = body.get("preconditions", {}).get("uid", known["metadata"]["uid"])
        if wanted != known["metadata"]["uid"]:
            return web.json_response(status(409, "the UID in the precondition does not match", "Conflict"), status=409)
        self._delete(place)
        return web.json_response({"kind": "Status", "status": "Success"})

    def _store(self, place: Place, manifest: dict) -> dict:
        key = _key(place)
        known = self.objects.get(key)
        self._version += 1
        metadata = manifest.setdefault("metadata", {})
        metadata["name"] = place.name
        if place.namespace:
            metadata["namespace"] = place.namespace
        is_same = known is not None and metadata.get("uid", known["metadata"]["uid"]) == known["metadata"]["uid"]
        metadata["uid"] = known["metadata"]["uid"] if known and is_same else metadata.get("uid") or str(uuid.uuid4())
        before = known.get("spec") if known else None
        generation = known["metadata"].get("generation", 1) if known else 1
        metadata["generation"] = generation + (known is not None and before != manifest.get("spec"))
        metadata["resourceVersion"] = str(self._version)
        self.objects[key] = manifest
        self._publish(place, "MODIFIED" if known and is_same else "ADDED", manifest)
        return manifest

    def _delete(self, place: Place) -> None:
        manifest = self.objects.pop(_key(place))
        self._version += 1
        last = json.loads(json.dumps(manifest))
        last["metadata"]["resourceVersion"] = str(self._version)
        self._publish(place, "DELETED", last)

    def _publish(self, place: Place, kind: str, manifest: dict) -> None:
        copy = json.loads(json.dumps(manifest))
        self._history.append((self._version, place, kind, copy))
        if self.is_silent:
            return
        for stream in self.streams:
            _tell(stream, place, kind, copy)


def _tell(stream: Stream, place: Place, kind: str, manifest: dict) -> None:
    if _is_within(_key(place), stream.place) and _is_selected(manifest, stream.selector):
        stream.events.put_nowait({"type": kind, "object": manifest})


def _key(place: Place) -> tuple[str, str, str, str]:
    return place.prefix, place.plural, place.namespace, place.name


def _is_within(key: tuple[str, str, str, str], place: Place) -> bool:
    prefix, plural, namespace, _ = key
    return (prefix, plural) == (place.prefix, place.plural) and place.namespace in {"", namespace}


def _is_selected(manifest: dict, selector: str) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    wanted = [part.partition("=") for part in selector.split(",") if part]
    return all(labels.get(name) == value for name, _, value in wanted)


def _merge(old: dict, new: dict) -> dict:
    merged = dict(old)
    for name, value in new.items():
        is_map = isinstance(value, dict) and isinstance(old.get(name), dict)
        merged[name] = _merge(old[name], value) if is_map else value
    return merged


def _keep_foreign_ports(old: dict, new: dict) -> None:
    """Server-side apply keeps the items of a list that another manager owns."""
    for entry in old["metadata"].get("managedFields", ()):
        owned = [json.loads(key.removeprefix("k:"))["port"] for key in entry["fieldsV1"]["f:spec"]["f:ports"]]
        foreign = [port for port in old["spec"]["ports"] if port["port"] in owned]
        new["spec"]["ports"] = [*foreign, *new["spec"]["ports"]]


def _plain(manifest: dict) -> dict:
    unstable = {"resourceVersion", "generation"}
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in unstable}
    return {**manifest, "metadata": metadata}


def _take_apart(path: str) -> Place | None:
    parts = path.strip("/").split("/")
    length = {"api": 2, "apis": 3}.get(parts[0], 99)
    prefix, rest = "/" + "/".join(parts[:length]), parts[length:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return Place(prefix, namespace, plural, name, subresource)


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    """One on loopback, until the test is over."""
    server = ApiServer()
    await server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(ConnectionError):
            await server.stop()


class Elsewhere:
    """An API server on a loop and a thread of its own, for programs that a test starts."""

    def __init__(self, server: ApiServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop

    def do(self, call: Callable[..., object], *arguments: object, **options: object) -> object:
        """Call something of it, or of the test's, where it lives."""

        async def there() -> object:
            result = call(*arguments, **options)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(PATIENCE)

    def kubeconfig(self, folder: Path) -> Path:
        """A file that leads there."""
        path = folder / "kubeconfig"
        authorities = base64.b64encode(AUTHORITIES.encode()).decode()
        cluster = {"server": self.server.url, "certificate-authority-data": authorities}
        document = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me", "namespace": "sokken-system"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "me", "user": {"token": self.server.token}}],
        }
        path.write_text(json.dumps(document))
        return path


@contextlib.contextmanager
def api_server_elsewhere() -> Iterator[Elsewhere]:
    """One for programs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    elsewhere = Elsewhere(ApiServer(), loop)
    try:
        elsewhere.do(elsewhere.server.start)
        yield elsewhere
    finally:
        elsewhere.do(elsewhere.server.stop)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
