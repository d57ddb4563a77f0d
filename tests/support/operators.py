"""An operator's term on a played API server, and the pods that it asks."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import TUNNELS
from sokken.operator.model import decode_tunnel
from sokken.operator.resources import Annotation
from sokken.operator.resources.environment import connection_hash
from sokken.operator.term import Term
from sokken.settings import OperatorSettings
from sokken.telemetry.reconciles import Reconcile, Reconciles
from tests.support.fake_api_server import ApiServer
from tests.support.loops import soon

SPEC = {
    "server": {"url": "wss://tunnel.example"},
    "forwards": [{"name": "ssh", "listenPort": 2222, "target": {"host": "10.0.0.7", "port": 22}}],
}
KINDS = ("serviceaccounts", "deployments", "services")


def put_tunnel(server: ApiServer, name: str = "web", namespace: str = "team", /, **spec: Any) -> dict:
    """Somebody makes a Tunnel, or edits it."""
    known = server.find("tunnels", name)
    metadata = {"name": name, "namespace": namespace}
    if known:
        metadata["uid"] = known["metadata"]["uid"]
    manifest = {
        "apiVersion": TUNNELS.api_version,
        "kind": TUNNELS.kind,
        "metadata": metadata,
        "spec": {**SPEC, **spec},
        **({"status": known["status"]} if known and "status" in known else {}),
    }
    return server.put(TUNNELS.api_version, "tunnels", manifest)


def conditions(server: ApiServer, name: str = "web") -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    tunnel = server.find("tunnels", name) or {}
    found = tunnel.get("status", {}).get("conditions", ())
    return {each["type"]: (each["status"], each["reason"]) for each in found}


def ready(server: ApiServer, name: str = "web") -> tuple[str, str] | None:
    """Of the condition Ready."""
    return conditions(server, name).get("Ready")


def roll_out(server: ApiServer, name: str = "web") -> None:
    """The Deployment's controller does its work."""
    deployment = json.loads(json.dumps(server.find("deployments", f"{name}-sokken")))
    replicas = deployment["spec"]["replicas"]
    deployment["status"] = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": replicas,
        "availableReplicas": replicas,
        "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
    }
    server.put("apps/v1", "deployments", deployment)


def put_pod(server: ApiServer, tunnel: str = "web", name: str = "web-1", *, address: str = "127.0.0.1") -> dict:
    """One of its pods, ready, and made of the Tunnel as it is, if there is one."""
    document = server.find("tunnels", tunnel)
    made_of = (
        {} if document is None else {Annotation.CONNECTION_HASH.value: connection_hash(decode_tunnel(document).spec)}
    )
    return server.put(
        "v1",
        "pods",
        {
            "metadata": {
                "name": name,
                "namespace": "team",
                "labels": {"app.kubernetes.io/managed-by": "sokken-operator", "sokken.dev/tunnel": tunnel},
                "annotations": made_of,
            },
            "spec": {"containers": []},
            "status": {
                "phase": "Running",
                "podIP": address,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
    )


class Client:
    """What a client's pods answer at /statusz."""

    def __init__(self) -> None:
        self.port = 0
        self.status = 200
        self.asked = 0
        self.at_once = self.most_at_once = 0
        self.patience = 0.0
        self.body: bytes | None = None
        self.admit()

    def admit(self) -> None:
        """The server lets it in."""
        self.check = {"passed": True, "has_passed": True, "outcome": None, "problem": None, "asked_s_ago": 3.0}

    def refuse(self, outcome: str, problem: str) -> None:
        """It does not."""
        self.check = {
            "passed": False,
            "has_passed": False,
            "outcome": outcome,
            "problem": problem,
            "asked_s_ago": 3.0,
        }

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.patience)
        finally:
            self.at_once -= 1
        check = {"server": "wss://tunnel.example/tunnel/10.0.0.7:22", **self.check}
        document = {"role": "client", "ready": True, "not_ready": None, "servers": [check], "files": []}
        body = json.dumps(document).encode() if self.body is None else self.body
        return web.Response(status=self.status, body=body, content_type="application/json")


@asynccontextmanager
async def client_pods() -> AsyncIterator[Client]:
    """Pods that answer at 127.0.0.1."""
    client = Client()
    app = web.Application()
    app.router.add_get("/statusz", client.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client.port = runner.addresses[0][1]
    try:
        yield client
    finally:
        await runner.cleanup()


@asynccontextmanager
async def working(server: ApiServer, client: Client | None = None, **settings: Any) -> AsyncIterator[Term]:
    """A term that has begun."""
    async with leading(server, client, **settings) as term:
        await soon(lambda: term.problem is None)
        yield term


class Results(Reconciles):
    """How reconciles ended."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str | None] = []

    def begin(self, namespace: str, name: str) -> Reconcile:
        errors = self.errors

        class Noted(Reconcile):
            __slots__ = ()

            def end(self, result: str, error: str | None = None) -> None:
                errors.append(error)
                super().end(result, error)

        return Noted(None, None, namespace, name)


@asynccontextmanager
async def leading(server: ApiServer, client: Client | None = None, **settings: Any) -> AsyncIterator[Term]:
    """A term that may not have begun yet."""
    chosen = OperatorSettings(api_addr="127.0.0.1:0", operator_pod_name="operator-1", **settings)
    cluster = Cluster(server.access())
    results = Results()
    term = Term(chosen, cluster, server.access(), results)
    if client is not None:
        term.pods.port = client.port
    task = asyncio.ensure_future(term.run())
    try:
        yield term
    finally:
        if task.done():
            task.result()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await cluster.close()
        assert "internal_error" not in results.errors
