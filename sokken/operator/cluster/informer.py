"""One resource in one scope, followed by a list and a watch: what there is, and word of whatever changes.

Run by the leader for each kind of child. It never ends by itself: whatever breaks is begun anew, from where it broke
off if the API server still knows that (410 says no), else by a list, whose difference is told like events.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from sokken.operator.cluster.answers import Call, ClusterError, Trouble, judge_status
from sokken.operator.cluster.cache import HAPPENINGS, Cache, Change, Happening
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import Manifest, Resource
from sokken.telemetry.logs import get_logger

FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 10.0
BRIEF_SECONDS: Final = 1.0
"""A watch that ends sooner than this, and without a word, has not worked: the next one waits a little."""

log = get_logger("informer")


class Informer:
    """Follows all objects with the labels, in a namespace or in all (None). ``run`` it."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        namespace: str | None,
        selector: str,
        on_change: Callable[[Change], object],
        *,
        trim: Callable[[Manifest], Manifest] = lambda manifest: manifest,
    ) -> None:
        """``trim`` leaves out of an object what nobody reads, so that it is not kept in memory."""
        self.resource = resource
        self.namespace = namespace
        self.cache = Cache()
        self.synced = asyncio.Event()
        """Set once the first list is there."""
        self.heard_at = time.monotonic()
        """When the API server last said anything: an event, a bookmark, a list."""
        self.problem: str | None = None
        """Why it hears nothing at the moment."""
        self._cluster = cluster
        self._selector = selector
        self._on_change = on_change
        self._trim = trim
        self._version: str | None = None
        self._trouble: Trouble | None = None
        self._failures = 0

    def __repr__(self) -> str:
        return f"<Informer {self.resource.qualified} {self.namespace or '*'} {self.cache!r} {self.problem or 'good'}>"

    async def run(self) -> None:
        """Follow them for ever."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except ClusterError as error:
                await self._recover(error)

    async def _list(self) -> None:
        listing = await self._cluster.list(self.resource, self.namespace, self._selector)
        self._tell(self.cache.replace(map(self._trim, listing.items)))
        self._version = listing.version
        self._hear()
        self.synced.set()

    async def _watch(self) -> None:
        """One stream to its end, which is planned by whoever serves it."""
        began, version = time.monotonic(), self._version
        stream = self._cluster.watch(self.resource, self.namespace, self._selector, self._version or "")
        async with aclosing(stream):
            async for event in stream:
                self._take(event)
        if self._version == version and time.monotonic() - began < BRIEF_SECONDS:
            call = Call("watch", self.resource.qualified, self.namespace or "")
            raise ClusterError(Trouble.UNAVAILABLE, call, "the stream ended at once")

    def _take(self, event: Manifest) -> None:
        happening, manifest = event.get("type"), event.get("object")
        call = Call("watch", self.resource.qualified, self.namespace or "")
        if not isinstance(manifest, dict):
            raise ClusterError(Trouble.UNAVAILABLE, call, "an event without an object")
        if happening == "ERROR":
            raise judge_status(call, int(manifest.get("code") or 500), manifest)
        self._version = manifest["metadata"]["resourceVersion"]
        self._hear()
        if happening in HAPPENINGS:
            manifest.setdefault("apiVersion", self.resource.api_version)
            manifest.setdefault("kind", self.resource.kind)
            self._tell(self.cache.take(Happening(happening), self._trim(manifest)))

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            self._on_change(change)

    def _hear(self) -> None:
        self.heard_at = time.monotonic()
        self._failures = 0
        if self.problem is not None:
            log.info("watch_resumed", resource=self.resource.qualified, namespace=self.namespace)
            self._trouble = self.problem = None

    async def _recover(self, error: ClusterError) -> None:
        """Wait before the next attempt; what a watch cannot go on from is listed anew."""
        if error.trouble not in {Trouble.UNAVAILABLE, Trouble.BUSY}:
            self._version = None
        if error.trouble is Trouble.GONE and not self._failures:
            self._failures = 1
            return
        delay = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(self._failures, 10))
        self._failures += 1
        if self._failures > 1:  # a stream that breaks once is nothing to tell
            if self._trouble is not error.trouble:
                where = {"resource": self.resource.qualified, "namespace": self.namespace}
                log.warning("watch_failed", **where, trouble=error.trouble, detail=str(error))
            self._trouble, self.problem = error.trouble, str(error)
        uniform = random.random()  # noqa: S311 -- spreads retries, hides nothing
        await asyncio.sleep(max(error.retry_after or 0.0, uniform * delay))
