"""The clients' pods, and what they say of themselves: listed and asked every half minute, sooner where something moves.

Pods are not watched: they change often, and what matters of them is what they answer. Run by the leader, beside the
reconciler, so that pods which do not answer hold nothing up. Word that differs from the last rings for the Tunnel.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import aiohttp

from sokken.operator.children import SELECTOR, owner_of
from sokken.operator.cluster.answers import ClusterError, Trouble
from sokken.operator.cluster.cache import Key, uid_of
from sokken.operator.cluster.client import Cluster, describe_failure, open_session
from sokken.operator.cluster.resources import PODS, Manifest
from sokken.operator.queue import Schedule, Workers
from sokken.operator.resources import ADMIN_PORT, TUNNEL_LABEL, label_value
from sokken.operator.status import Answer, wants_answer
from sokken.telemetry.logs import get_logger

ROUND_SECONDS: Final = 30.0
SOON_SECONDS: Final = 5.0
SOON_FOR_SECONDS: Final = 120.0
"""How long a Tunnel that does not settle is looked at more often."""
AT_ONCE: Final = 10
ANSWER_SECONDS: Final = 3.0
BELIEVED: Final = timedelta(seconds=90)
"""How long a pod's word is good, when it answers no more."""
MOST_BYTES: Final = 1024 * 1024
_STALE_CHECK_SECONDS: Final = 60.0

log = get_logger("pods")


@dataclass(frozen=True, slots=True)
class Seen:
    """A Tunnel's pods, and what they answered, by uid."""

    pods: Sequence[Manifest] = ()
    answers: Mapping[str, Answer] = field(default_factory=dict)

    def only(self, pods: Sequence[Manifest]) -> "Seen":
        """With these pods, and what is known of them."""
        uids = {uid_of(pod) for pod in pods}
        return Seen(pods, {uid: answer for uid, answer in self.answers.items() if uid in uids})


NOTHING: Final = Seen()


class Pods:
    """What is known of all Tunnels' pods. ``run`` it."""

    def __init__(
        self, cluster: Cluster, scopes: Sequence[str | None], ring: Callable[[Key], object], port: int = ADMIN_PORT
    ) -> None:
        """``ring`` is called for a Tunnel whose pods have something new to say."""
        self._cluster = cluster
        self._scopes = scopes
        self._ring = ring
        self.port = port
        self._seen: dict[Key, Seen] = {}
        self._restless: dict[Key, float] = {}
        """Since when a Tunnel has not been settled (monotonic)."""
        self._unasked: set[Key] = set()
        """Whose pods were there at the first look, and have not been asked yet."""
        self._has_listed = self._is_failing = self._was_refused = False
        self.refusal: ClusterError | None = None
        """Why they may not be listed. A refusal of a single round is a restarting API server's."""
        self._schedule = Schedule()
        self._workers = Workers(self._schedule, AT_ONCE, self._look)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Pods of {len(self._seen)} restless={len(self._restless)} {self._schedule!r}>"

    def of(self, key: Key) -> Seen:
        """A Tunnel's."""
        return self._seen.get(key, NOTHING)

    def expect(self, key: Key, *, is_settled: bool) -> None:
        """The reconciler has looked at a Tunnel: while it is not settled, its pods are asked more often."""
        if is_settled:
            self._restless.pop(key, None)
        else:
            self._restless.setdefault(key, time.monotonic())
            self._hurry(key)

    def stir(self, key: Key) -> None:
        """Something has been done to a Tunnel: it is looked at more often from now on, again."""
        self._restless[key] = time.monotonic()
        self._hurry(key)

    def forget(self, key: Key) -> None:
        """There is no such Tunnel any more."""
        self._seen.pop(key, None)
        self._restless.pop(key, None)

    async def run(self) -> None:
        """Look at them for ever."""
        async with open_session(aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)) as session:
            self._session = session
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._workers.run())
                while True:
                    await self._go_round()
                    await asyncio.sleep(ROUND_SECONDS)

    def has_asked(self, key: Key) -> bool:
        """Whether it is known what there is to know: else a new leader would call unknown what was known before."""
        return self._has_listed and key not in self._unasked

    async def _go_round(self) -> None:
        """List all at once, and have them asked one after the other until the next round."""
        try:
            listings = [await self._cluster.list(PODS, scope, SELECTOR) for scope in self._scopes]
        except ClusterError as error:
            self._fail(error)
            return
        self._is_failing = self._was_refused = False
        self._refuse(None)
        found: dict[Key, list[Manifest]] = {}
        for listing in listings:
            for pod in listing.items:
                if key := owner_of(pod):  # by its label: its owner is a ReplicaSet
                    found.setdefault(key, []).append(_trim(pod))
        is_first, self._has_listed = not self._has_listed, True
        if is_first:
            self._unasked = set(found)
        for key in {*self._seen, *found}:
            self._note(key, self.of(key).only(found.get(key, ())))
        for key in found:
            uniform = 0.0 if is_first else random.random()  # noqa: S311 -- spreads requests, hides nothing
            self._schedule.ring(key, time.monotonic(), delay=uniform * ROUND_SECONDS)

    def _fail(self, error: ClusterError) -> None:
        if not self._is_failing:
            log.warning("pods_not_listed", detail=str(error))
        self._is_failing = True
        is_refused = error.trouble is Trouble.FORBIDDEN
        if is_refused and self._was_refused:
            self._has_listed = True
            self._refuse(error)
        self._was_refused = is_refused

    def _refuse(self, error: ClusterError | None) -> None:
        is_news = (error is None) is not (self.refusal is None)
        self.refusal = error
        if is_news:
            for key in {*self._seen, *self._restless}:
                self._ring(key)

    async def _look(self, key: Key) -> None:
        """Ask a Tunnel's pods; list them anew first where things move."""
        try:
            seen = self.of(key)
            pods = await self._list(key) if self._is_restless(key) else seen.pods
            asked = [pod for pod in pods if wants_answer(pod)]
            answers = await asyncio.gather(*map(self._ask, asked))
        except ClusterError as error:
            log.debug("pods_not_listed", detail=str(error))
        else:
            found = {uid_of(pod): answer for pod, answer in zip(asked, answers, strict=True)}
            self._note(key, Seen(pods, {uid: _believe(seen.answers.get(uid), found[uid]) for uid in found}))
        if key in self._unasked:
            self._unasked.discard(key)
            self._ring(key)
        again = SOON_SECONDS if self._is_restless(key) else None
        self._schedule.succeed(key, time.monotonic(), again)

    async def _list(self, key: Key) -> list[Manifest]:
        namespace, name = key
        selector = f"{SELECTOR},{TUNNEL_LABEL}={label_value(name)}"
        listing = await self._cluster.list(PODS, namespace, selector)
        return [_trim(pod) for pod in listing.items]

    async def _ask(self, pod: Manifest) -> Answer:
        """One GET of its /statusz. It is no secret who is asked: what answers may be anything."""
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        now = datetime.now(UTC)
        if self._session is None:  # pragma: no cover -- for the type checker: workers run within the session
            raise RuntimeError
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._session.get(f"http://{host}:{self.port}/statusz", allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    return Answer.failed(f"it answers {answer.status}", now)
                return Answer.parse(await _read(answer), now)
        except TimeoutError:
            return Answer.failed(f"no answer within {ANSWER_SECONDS:g} s", now)
        except (aiohttp.ClientError, OSError) as error:
            return Answer.failed(describe_failure(error), now)

    def _hurry(self, key: Key) -> None:
        if self._is_restless(key):
            self._schedule.ring(key, time.monotonic(), delay=SOON_SECONDS)

    def _is_restless(self, key: Key) -> bool:
        return time.monotonic() - self._restless.get(key, float("-inf")) < SOON_FOR_SECONDS

    def _note(self, key: Key, seen: Seen) -> None:
        before = self.of(key)
        if seen.pods:
            self._seen[key] = seen
        else:
            self._seen.pop(key, None)
        if _gist(before) != _gist(seen):
            self._ring(key)


def _believe(before: Answer | None, now: Answer) -> Answer:
    """A pod that does not answer once has said what it has said; only then it has not."""
    if not now.problem or before is None or before.problem:
        return now
    return before if now.asked_at - before.asked_at < BELIEVED else now


def _gist(seen: Seen) -> object:
    """What of it may change a status: not the seconds that pass between two looks."""
    pods = {uid_of(pod): (pod["metadata"].get("deletionTimestamp"), pod.get("status")) for pod in seen.pods}
    return pods, {uid: _timeless(answer) for uid, answer in seen.answers.items()}


def _timeless(answer: Answer) -> Answer:
    checks = tuple(
        replace(
            check, asked_s_ago=None if check.asked_s_ago is None else float(check.asked_s_ago > _STALE_CHECK_SECONDS)
        )
        for check in answer.checks
    )
    return replace(answer, asked_at=datetime.min.replace(tzinfo=UTC), checks=checks)


def _trim(pod: Manifest) -> Manifest:
    """Without what nobody reads: most of it."""
    metadata = {name: value for name, value in pod["metadata"].items() if name != "managedFields"}
    return {**pod, "metadata": metadata, "spec": {}}


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    content = b""
    async for chunk in answer.content.iter_chunked(65536):
        content += chunk
        if len(content) > MOST_BYTES:
            break  # and so it is no JSON
    return content


def is_settled(conditions: Iterable[Manifest]) -> bool:
    """Whether a Tunnel is as it should be, or suspended: its pods have nothing new to say soon."""
    found = {condition["type"]: condition for condition in conditions}
    return all(
        found.get(kind, {}).get("status") == "True" or found.get(kind, {}).get("reason") == "Suspended"
        for kind in ("Ready", "Progressing")
    )
