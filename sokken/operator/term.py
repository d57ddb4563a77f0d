"""What one operator does while it leads: it follows Tunnels, children and pods, and keeps making Tunnels true.

Begun when the Lease is won, and ended with it. Everything that it knows it has read anew, so nothing of a former term
is believed. At its end what has been begun is finished (``drain``), or, if the Lease is lost, broken off.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from sokken.operator.children import NETWORK_POLICIES, POD_MONITORS, RESOURCES, Children
from sokken.operator.cluster.access import Access
from sokken.operator.cluster.answers import ClusterError, Trouble
from sokken.operator.cluster.cache import Change, Happening, Key, key_of
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import TUNNELS, Resource
from sokken.operator.handlers import Bell, Doorbell
from sokken.operator.notices import Notices
from sokken.operator.pods import Pods
from sokken.operator.queue import Schedule, Workers
from sokken.operator.reconciler import Done, Outdated, Reconciler, RefusedError
from sokken.operator.resources import Defaults
from sokken.operator.turns import Turns
from sokken.operator.watchdog import Deliveries, Watchdog
from sokken.telemetry.logs import get_logger
from sokken.telemetry.reconciles import Reconciles

RESYNC_SECONDS: Final = 600.0
PREPARE_SECONDS: Final = 10.0
"""Between two looks whether Tunnels are served at all."""

log = get_logger("operator")


class TermSettings(Protocol):
    """What it needs to know of the settings."""

    @property
    def operator_watch_namespaces(self) -> tuple[str, ...]:
        """Whose Tunnels; of all if empty."""

    @property
    def operator_image(self) -> str:
        """What clients run."""

    @property
    def operator_image_pull_policy(self) -> str:
        """When it is pulled."""

    @property
    def operator_image_pull_secrets(self) -> tuple[str, ...]:
        """With what."""

    @property
    def operator_workers(self) -> int:
        """Tunnels at once."""

    @property
    def operator_max_concurrent_rollouts(self) -> int:
        """Rolled at once."""

    @property
    def operator_network_policies(self) -> bool:
        """Whether they may be written."""

    @property
    def operator_pod_monitors(self) -> bool:
        """Whether they may be written."""

    @property
    def operator_pod_name(self) -> str:
        """Who tells Events."""


class Term:
    """One time of leading. ``run`` it; cancel that to break it off."""

    def __init__(self, settings: TermSettings, cluster: Cluster, access: Access, reconciles: Reconciles) -> None:
        """``access`` is for kopf."""
        self.problem: str | None = "it has not begun yet"
        """Why it does not work (yet)."""
        self.ready: dict[Key, str] = {}
        """The condition ``Ready`` of each Tunnel, as last written or found."""
        scopes: Sequence[str | None] = settings.operator_watch_namespaces or (None,)
        self._settings = settings
        self._cluster = cluster
        self._reconciles = reconciles
        self.schedule = Schedule()
        self._turns = Turns(settings.operator_max_concurrent_rollouts)
        self.children = Children(cluster, scopes, self._on_child)
        self.pods = Pods(cluster, scopes, self._ring)
        self._deliveries = Deliveries()
        self.watchdog = Watchdog(cluster, scopes, self._deliveries, self._ring)
        notices = Notices(cluster, settings.operator_pod_name)
        self._reconciler = Reconciler(cluster, self.children, self.pods, notices, self._turns, self._defaults)
        self._workers = Workers(self.schedule, settings.operator_workers, self._work)
        self._doorbell = Doorbell(access, settings.operator_watch_namespaces, self._on_bell)
        self._scopes = scopes
        self._namespace = access.namespace
        self._told: dict[Key, str] = {}
        self._working: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Term {self.problem or 'works'} {self.schedule!r} {self.children!r}>"

    async def run(self) -> None:
        """Work until it is cancelled; raises DoorbellError (in a group) if kopf ends."""
        await self._prepare()
        async with asyncio.TaskGroup() as tasks:
            self.problem = "what there is has not been listed yet"
            for resource in RESOURCES.values():
                if resource not in {NETWORK_POLICIES, POD_MONITORS}:
                    self.children.follow(resource, tasks)
            if self._settings.operator_network_policies:
                self.children.follow(NETWORK_POLICIES, tasks)
            await self._look_for_pod_monitors(tasks)
            tasks.create_task(self.pods.run(), name="pods")
            await self.children.synced()
            self._note_rollouts()
            self._working = tasks.create_task(self._workers.run(), name="workers")
            tasks.create_task(self._doorbell.run(), name="doorbell")
            tasks.create_task(self.watchdog.run(), name="watchdog")
            self.problem = None
            log.info("working", namespaces=list(self._settings.operator_watch_namespaces))
            while True:
                await asyncio.sleep(RESYNC_SECONDS)
                await self._resync(tasks)

    async def drain(self, seconds: float) -> None:
        """Begin nothing more, and let what has been begun end within so many seconds: after that nothing is written."""
        self._workers.close()
        if self._working is not None:
            await asyncio.wait([self._working], timeout=seconds)
            self._working.cancel()
            await asyncio.wait([self._working])

    # What there must be before anything can be done

    async def _prepare(self) -> None:
        """Until Tunnels are served, and may be listed in every scope: kopf would idle, or end, without."""
        while (problem := await self._find_obstacle()) is not None:
            if problem != self.problem:
                log.warning("not_ready", detail=problem)
            self.problem = problem
            await asyncio.sleep(PREPARE_SECONDS)

    async def _find_obstacle(self) -> str | None:
        try:
            if not await self._cluster.serves(TUNNELS):
                apply = "sokken operator crds | kubectl apply --server-side -f -"
                return f"the API server knows no {TUNNELS.qualified}: {apply}"
            for scope in self._scopes:
                await self._cluster.list(TUNNELS, scope, only_metadata=True)
        except ClusterError as error:
            return str(error)
        return None

    async def _look_for_pod_monitors(self, tasks: asyncio.TaskGroup) -> None:
        """They are another project's: their definition may come at any time."""
        if not self._settings.operator_pod_monitors or self.children.follows(POD_MONITORS):
            return
        try:
            is_served = await self._cluster.serves(POD_MONITORS)
        except ClusterError as error:
            log.warning("discovery_failed", resource=POD_MONITORS.qualified, detail=str(error))
        else:
            if is_served:
                self.children.follow(POD_MONITORS, tasks)

    async def _let_pod_monitors_go(self) -> None:
        """Their definition may go at any time, too."""
        if not self.children.follows(POD_MONITORS):
            return
        try:
            is_served = await self._cluster.serves(POD_MONITORS)
        except ClusterError as error:
            log.warning("discovery_failed", resource=POD_MONITORS.qualified, detail=str(error))
        else:
            if not is_served:
                self.children.unfollow(POD_MONITORS)

    def _note_rollouts(self) -> None:
        for key in self.children.tunnels():
            for manifest in self.children.of(key):
                self._reconciler.note_rollout(manifest)

    def _defaults(self) -> Defaults:
        settings = self._settings
        return Defaults(
            image=settings.operator_image,
            image_pull_policy=settings.operator_image_pull_policy,
            image_pull_secrets=settings.operator_image_pull_secrets,
            has_pod_monitors=self.children.follows(POD_MONITORS),
            has_network_policies=settings.operator_network_policies,
            operator_namespace=self._namespace,
        )

    # What rings

    def _ring(self, key: Key) -> None:
        self.schedule.ring(key, time.monotonic())

    def _on_bell(self, bell: Bell) -> None:
        self._deliveries.note(bell)
        self.schedule.ring(bell.key, time.monotonic(), edition=None if bell.is_gone else bell.edition)

    def _on_child(self, key: Key, change: Change) -> None:
        self._ring(key)
        if change.manifest["kind"] == "Deployment":
            self._reconciler.note_rollout(change.manifest, is_gone=change.happening is Happening.DELETED)
            for waiting in self._reconciler.awaiting_turn:  # it may be another's turn now
                self._ring(waiting)

    async def _resync(self, tasks: asyncio.TaskGroup) -> None:
        """Look at every Tunnel again, whatever was told or not, spread over a minute."""
        await self._let_pod_monitors_go()
        await self._look_for_pod_monitors(tasks)
        try:
            listings = [await self._cluster.list(TUNNELS, scope, only_metadata=True) for scope in self._scopes]
        except ClusterError as error:
            log.warning("resync_failed", detail=str(error))
            return
        keys = {key_of(item) for listing in listings for item in listing.items} | set(self.children.tunnels())
        now = time.monotonic()
        for key in keys:
            uniform = random.random()  # noqa: S311 -- spreads load, hides nothing
            self.schedule.ring(key, now, delay=60 * uniform)

    # The work

    async def _work(self, key: Key) -> None:
        """Reconcile one, and tell the schedule, the log and the metrics how that went."""
        trail = self._reconciles.begin(*key)
        try:
            done = await self._reconciler.reconcile(key)
        except RefusedError as error:
            trail.end("refused", error.trouble)
            self.ready[key] = "False"
            self._fail(key, error, error.seconds)
        except (ClusterError, Outdated) as error:
            if isinstance(error, Outdated):  # again and again: perhaps there is no such kind any more
                await self._let_pod_monitors_go()
            trouble = error.trouble if isinstance(error, ClusterError) else Trouble.CONFLICT
            if trouble is Trouble.TERMINATING:
                trail.end("leaving")
                self._finish(key, Done("leaving"))
            else:
                trail.end("failed", trouble)
                self._fail(key, error, getattr(error, "retry_after", None) or 0.0)
        except Exception as error:  # a fault of ours in one Tunnel must not end the work on the others
            log.exception("reconcile_failed", namespace=key[0], tunnel=key[1])
            trail.end("failed", "internal_error")
            self._fail(key, error, 0.0)
        else:
            trail.end(done.result)
            self._finish(key, done)

    def _fail(self, key: Key, error: Exception, at_least: float) -> None:
        uniform = random.random()  # noqa: S311 -- spreads retries, hides nothing
        delay = self.schedule.fail(key, time.monotonic(), uniform, at_least)
        say = log.debug if self._told.get(key) == str(error) else log.warning
        say("reconcile_failed", namespace=key[0], tunnel=key[1], detail=str(error), again_in_s=round(delay, 1))
        self._told[key] = str(error)

    def _finish(self, key: Key, done: Done) -> None:
        self._told.pop(key, None)
        if done.result in {"gone", "leaving"}:
            self.ready.pop(key, None)
            if done.result == "gone":
                self.schedule.forget(key)
                return
        elif done.ready:
            if done.result == "applied":
                log.info("reconciled", namespace=key[0], tunnel=key[1], ready=done.ready)
            self.ready[key] = done.ready
        self.schedule.succeed(key, time.monotonic(), done.again_in)

    # What metrics and the status page show

    def count_ready(self) -> Counter[str]:
        """How many Tunnels are ready, are not, or may be."""
        return Counter(self.ready.values())

    def watch_ages(self) -> dict[Resource, float]:
        """For how long each watch has heard nothing, the worst of a resource's."""
        now = time.monotonic()
        ages = {TUNNELS: now - self.watchdog.agreed_at}
        for informer in self.children.informers:
            ages[informer.resource] = max(ages.get(informer.resource, 0.0), now - informer.heard_at)
        return ages
