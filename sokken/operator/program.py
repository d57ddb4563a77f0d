"""`sokken operator`: from settings to an exit code.

Several may run: one leads, the others stand by, and are ready to. Who loses the Lease stands by again; who is asked to
end finishes what it has begun, and then gives the Lease back, so that another goes on within seconds.
"""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any

from aiohttp import web

from sokken import __version__
from sokken.admin.door import Door, open_door
from sokken.admin.health import add_probe_routes
from sokken.admin.routes import PlainAdmin
from sokken.errors import SokkenError
from sokken.lifecycle import Signals, freeze_startup
from sokken.lifecycle import run as run_loop
from sokken.operator.cluster.access import Access, open_access
from sokken.operator.cluster.client import Cluster
from sokken.operator.gauges import Status, watch_operator
from sokken.operator.handlers import DoorbellError
from sokken.operator.lease import Campaign
from sokken.operator.term import Term
from sokken.settings import OpenTelemetry, OperatorSettings, UnknownSetting, read_opentelemetry
from sokken.settings.catalogue import shown_settings
from sokken.settings.kubernetes import read_api_server
from sokken.telemetry import logs
from sokken.telemetry.open import Telemetry, open_telemetry
from sokken.telemetry.reconciles import Reconciles
from sokken.transport.http import HttpService
from sokken.transport.listen import bind, bound_address
from sokken.transport.plane import Plane

log = logs.get_logger("operator")


def run(settings: OperatorSettings, warnings: Sequence[UnknownSetting]) -> int:
    """Work or stand by until a signal; returns the exit code. Raises ConfigurationError before that."""
    asked = read_opentelemetry()
    logs.configure(settings, "operator", __version__, asked.service_name)
    logs.install_exception_hooks()
    for unknown in warnings:
        log.warning("unknown_setting", name=unknown.name, suggestion=unknown.suggestion)
    access = open_access(settings.kubeconfig, read_api_server())
    sockets = bind(settings.api_addr, "API_ADDR")
    log.info("health_listening", listen=str(bound_address(sockets, settings.api_addr)))
    door = open_door(settings)
    return run_loop(lambda: _serve(settings, asked, access, sockets, door), settings.event_loop)


async def _serve(
    settings: OperatorSettings, asked: OpenTelemetry, access: Access, sockets: list[socket.socket], door: Door
) -> int:
    loop = asyncio.get_running_loop()
    signals = Signals(loop)
    telemetry = open_telemetry(asked, settings, "operator", __version__, is_scraped=bool(door.sockets))
    cluster = Cluster(access)
    operator = Operator(settings, cluster, access, signals, telemetry.reconciles)
    if telemetry.metrics is not None:
        cluster.on_trouble = watch_operator(telemetry.metrics, operator.campaign, lambda: operator.term)
    plane = Plane(loop, masks=False)
    services = _open_services(plane, settings, operator, telemetry, door, sockets)
    for service in services:
        await service.start()
    freeze_startup()
    try:
        await operator.run()
    finally:
        for service in services:
            await service.close()
        await cluster.close()
        await telemetry.close()
        plane.close()
    log.info("drained")
    return 0


class Operator:
    """The terms of one process, one after the other."""

    def __init__(
        self, settings: OperatorSettings, cluster: Cluster, access: Access, signals: Signals, reconciles: Reconciles
    ) -> None:
        self.term: Term | None = None
        """What it does while it leads."""
        me = f"{settings.operator_pod_name}_{uuid.uuid4()}"  # a former process of this name is somebody else
        namespace = settings.operator_lease_namespace or access.namespace
        self.campaign = Campaign(cluster, namespace, settings.operator_lease_name, me)
        self.signals = signals
        self._settings = settings
        self._cluster = cluster
        self._access = access
        self._reconciles = reconciles

    def __repr__(self) -> str:
        return f"<Operator {self.campaign!r} {self.term!r}>"

    def not_ready(self) -> str | None:
        """A standby is ready as soon as it could lead; who leads, when it works."""
        if self.signals.is_leaving:
            return "draining"
        if not self.campaign.has_read:
            return self.campaign.problem or "the Lease has not been read yet"
        return None if self.term is None else self.term.problem

    def not_alive(self) -> str | None:
        """Why a restart would help."""
        return None if self.term is None else self.term.watchdog.problem

    async def run(self) -> None:
        """Lead and stand by until a signal; raises what ended a term that nobody wanted to end."""
        leaving = asyncio.ensure_future(self.signals.wait())
        try:
            while not leaving.done():
                if await _first(self.campaign.win(), leaving):
                    await self._lead(leaving)
        finally:
            leaving.cancel()

    async def _lead(self, leaving: "asyncio.Future[None]") -> None:
        """One term, until it is lost, or the process is asked to end."""
        self.term = term = Term(self._settings, self._cluster, self._access, self._reconciles)
        running = asyncio.ensure_future(term.run())
        holding = asyncio.ensure_future(self.campaign.hold())
        try:
            await asyncio.wait([running, holding, leaving], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done() and not holding.done():
                log.info("draining", working=term.schedule.working, seconds=self._settings.drain_timeout_seconds)
                await term.drain(self._settings.drain_timeout_seconds)
                await _end(holding)
                await self.campaign.release()  # nothing is written any more; kopf takes its time to end
        finally:
            try:
                await _end_term(running)
            except DoorbellError as error:
                if not leaving.done():
                    raise
                log.warning("kopf_left_behind", detail=str(error))  # it ends with the process
            finally:
                self.term = None
                await _end(holding)
                await self.campaign.release()


async def _first(wanted: Coroutine[Any, Any, None], leaving: "asyncio.Future[None]") -> bool:
    """Whether what is wanted has come before the process was asked to end."""
    task = asyncio.ensure_future(wanted)
    await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return True
    await _end(task)
    return False


async def _end(task: "asyncio.Future[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _end_term(running: "asyncio.Future[None]") -> None:
    """End it, and raise what has ended it before, or keeps it from ending."""
    try:
        await _end(running)
    except BaseExceptionGroup as group:
        known = group.subgroup(SokkenError)
        raise group if known is None else _innermost(known) from None


def _innermost(error: BaseException) -> BaseException:
    return _innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _open_services(
    plane: Plane,
    settings: OperatorSettings,
    operator: Operator,
    telemetry: Telemetry,
    door: Door,
    sockets: list[socket.socket],
) -> list[HttpService]:
    """Probes on API_ADDR; on the admin address status and metrics, too."""
    app = web.Application()
    add_probe_routes(app, operator.not_ready, operator.not_alive)
    services = [HttpService(plane, app, sockets)]
    if door.sockets:
        status = Status(
            shown_settings(settings),
            operator.campaign,
            lambda: operator.term,
            operator.not_ready,
            lambda: operator.signals.is_leaving,
        )
        admin = PlainAdmin(door, status.describe, operator.not_ready, operator.not_alive, telemetry.metrics)
        services.append(HttpService(plane, admin.app(), door.sockets))
    return services
