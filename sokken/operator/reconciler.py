"""One Tunnel made true: read it, plan, carry the plan out, and say in its status what came of it.

Called by the workers with a key. What shall be is decided by pure functions (resources, reconcile, status); here is
what asks and writes, and what is done about each kind of refusal. It keeps nothing of a Tunnel that the cluster
does not have, but for how long something has been refused.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sokken.errors import SokkenError
from sokken.operator.acceptance import accept_tunnel
from sokken.operator.children import Children, resource_of
from sokken.operator.cluster.answers import PASSING, ClusterError, Trouble
from sokken.operator.cluster.cache import Key
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import TUNNELS, Manifest
from sokken.operator.model import InvalidTunnel, Tunnel
from sokken.operator.notices import Notices
from sokken.operator.pods import ROUND_SECONDS, Pods, Seen, is_settled
from sokken.operator.reconcile import (
    Action,
    Apply,
    Delete,
    Hold,
    Plan,
    Ref,
    Remove,
    is_rolling,
    make_plan,
    missing,
    plan_after,
)
from sokken.operator.resources import FIELD_MANAGER, STATUS_FIELD_MANAGER, Defaults, build
from sokken.operator.status import Failure, Observed, Report, describe, describe_invalid
from sokken.operator.turns import Turns

ATTEMPTS: Final = 3
"""Of one reconcile, when what it has read is no longer so (409)."""
LASTING_SECONDS: Final = 20.0
"""A refusal of rights is a restarting API server's until it has lasted so long."""
REFUSED_SECONDS: Final = 300.0
DELETION_SECONDS: Final = 3.0
SUSPENDED: Final = "Suspended"
TURN_SECONDS: Final = 15.0
BACKLOG_SECONDS: Final = 30.0


class Outdated(SokkenError):
    """What was read is no longer so: read it again."""


class RefusedError(SokkenError):
    """Something was refused and will be again; the status says so. ``seconds`` is when to try again at the soonest."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.verb} {failure.ref}: {failure.code} {failure.message}")
        self.trouble = Trouble.FORBIDDEN if failure.code == 403 else Trouble.INVALID
        self.seconds = ROUND_SECONDS if failure.verb == "list" else REFUSED_SECONDS  # pods are listed again so soon


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it. ``again_in`` is in seconds; without it only a bell brings it back."""

    result: str
    """``unchanged``, ``applied``, ``invalid``, ``leaving`` or ``gone``."""
    again_in: float | None = None
    ready: str = ""
    """The status of the condition ``Ready``, or ``Suspended``."""


class Reconciler:
    """Reconciles Tunnels."""

    def __init__(
        self,
        cluster: Cluster,
        children: Children,
        pods: Pods,
        notices: Notices,
        turns: Turns,
        defaults: Callable[[], Defaults],
    ) -> None:
        self._cluster = cluster
        self._children = children
        self._pods = pods
        self._notices = notices
        self._turns = turns
        self._defaults = defaults
        self.awaiting_turn: set[Key] = set()
        """Tunnels that are to be rolled when others have been."""
        self._uids: dict[Key, str] = {}
        self._forbidden_since: dict[Key, float] = {}

    def __repr__(self) -> str:
        return f"<Reconciler {len(self._uids)} Tunnels forbidden={len(self._forbidden_since)}>"

    async def reconcile(self, key: Key) -> Done:
        """Make one Tunnel true; raises ClusterError for what may pass, and RefusedError for what will not."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._reconcile(key)
            except Outdated:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError  # pragma: no cover -- the last turn returns or raises

    async def _reconcile(self, key: Key) -> Done:
        try:
            document = await self._cluster.get(TUNNELS, *key)
        except ClusterError as error:
            if error.trouble is not Trouble.NOT_FOUND:
                raise
            return self._forget(key, "gone")
        self._note_uid(key, document["metadata"]["uid"])
        try:
            tunnel = accept_tunnel(document)
        except InvalidTunnel as error:
            report = describe_invalid(document, error, datetime.now(UTC))
            await self._tell(document, report)
            return Done("invalid", ready="False")
        if tunnel.is_leaving:
            return self._forget(key, "leaving")
        return await self._make_true(key, document, tunnel)

    async def _make_true(self, key: Key, document: Manifest, tunnel: Tunnel) -> Done:
        defaults, seen, has_asked = self._defaults(), self._pods.of(key), self._pods.has_asked(key)
        desired = build(tunnel, defaults)
        live = self._children.of(key)
        live += [found for ref in missing(desired, live) if (found := await self._look_up(ref)) is not None]
        plan = make_plan(tunnel, desired, live, seen.pods, lambda: self._turns.take(tunnel.uid))
        self._note_hold(key, plan)
        known = {Ref.of(manifest): manifest for manifest in live}
        failures = await self._carry_out(key, tunnel, plan, known)
        failures += self._find_refusal(key)
        if plan.actions and not failures:
            self._pods.stir(key)
        if not failures and not has_asked and tunnel.status:
            # The first word of the pods rings again; if there is none, it is known in the round after the next why.
            return Done("applied" if plan.actions else "unchanged", 2 * ROUND_SECONDS)
        report = self._describe(tunnel, plan, known, seen, failures, defaults)
        await self._tell(document, report)
        self._pods.expect(key, is_settled=is_settled(report.status["conditions"]))
        if failures:
            raise RefusedError(failures[0])
        has_acted = bool(plan.actions) or report.has_changed
        return Done("applied" if has_acted else "unchanged", _again_in(plan), _ready(report))

    def _note_hold(self, key: Key, plan: Plan) -> None:
        if plan.hold is Hold.TURN:
            self.awaiting_turn.add(key)
        else:
            self.awaiting_turn.discard(key)

    async def _look_up(self, ref: Ref) -> Manifest | None:
        """What has one of our names, and is not among what is followed: somebody else's, perhaps."""
        try:
            return await self._cluster.get(resource_of(ref), ref.namespace, ref.name)
        except ClusterError as error:
            if error.trouble in {Trouble.NOT_FOUND, Trouble.FORBIDDEN}:  # the write will say what is forbidden
                return None
            raise

    async def _carry_out(self, key: Key, tunnel: Tunnel, plan: Plan, known: dict[Ref, Manifest]) -> list[Failure]:
        """Do all of it, one after the other; what is refused for good does not keep the rest from being done."""
        failures: list[Failure] = []
        is_forbidden = False
        actions = deque(plan.actions)
        while actions:
            action = actions.popleft()
            try:
                await self._do(action, known)
                if (found := known.get(action.ref)) is not None and (left := plan_after(action, found)) is not None:
                    actions.appendleft(left)
            except ClusterError as error:
                if plan.begins_rollout and action.ref.kind == "Deployment":
                    self._turns.release(tunnel.uid)
                if error.trouble is Trouble.FORBIDDEN:
                    is_forbidden = True
                    if not self._has_lasted(key):
                        raise
                failures.append(_judge(action, error))
        if not is_forbidden:
            self._forbidden_since.pop(key, None)
        return failures

    async def _do(self, action: Action, known: dict[Ref, Manifest]) -> None:
        ref, resource = action.ref, resource_of(action.ref)
        match action:
            case Apply():
                self._note(known, await self._cluster.apply(resource, action.manifest, FIELD_MANAGER))
            case Remove():
                self._note(known, await self._cluster.amend(resource, ref.namespace, ref.name, list(action.operations)))
            case Delete():
                await self._cluster.delete(resource, ref.namespace, ref.name, action.uid)
                known.pop(ref, None)

    def _note(self, known: dict[Ref, Manifest], manifest: Manifest) -> None:
        known[Ref.of(manifest)] = manifest
        self._children.note(manifest)
        self.note_rollout(manifest)

    def note_rollout(self, manifest: Manifest, *, is_gone: bool = False) -> None:
        """What a Deployment shows counts for the turns; of one that is gone it is what was seen last."""
        if manifest["kind"] == "Deployment":
            for owner in manifest["metadata"].get("ownerReferences") or ():
                self._turns.note(owner["uid"], is_rolling=is_rolling(manifest) and not is_gone)

    def _has_lasted(self, key: Key) -> bool:
        now = time.monotonic()
        return now - self._forbidden_since.setdefault(key, now) >= LASTING_SECONDS

    def _find_refusal(self, key: Key) -> list[Failure]:
        """Pods that may not be listed: without them nothing is known of the Tunnel."""
        error = self._pods.refusal
        if error is None:
            return []
        return [Failure("list", Ref("v1", "Pod", key[0], ""), error.status, error.message)]

    def _describe(
        self,
        tunnel: Tunnel,
        plan: Plan,
        known: dict[Ref, Manifest],
        seen: Seen,
        failures: list[Failure],
        defaults: Defaults,
    ) -> Report:
        observed = Observed(list(known.values()), seen.pods, seen.answers, plan, failures)
        return describe(tunnel, observed, defaults, datetime.now(UTC))

    async def _tell(self, document: Manifest, report: Report) -> None:
        """Write the status if it is another, and then what is to be told of it."""
        if not report.has_changed:
            return
        metadata = document["metadata"]
        place = {name: metadata[name] for name in ("namespace", "name", "uid")}
        manifest: Manifest = {
            "apiVersion": document["apiVersion"],
            "kind": document["kind"],
            "metadata": place,
            "status": report.status,
        }
        try:
            await self._cluster.apply(TUNNELS, manifest, STATUS_FIELD_MANAGER, "status")
        except ClusterError as error:
            if error.trouble in {Trouble.CONFLICT, Trouble.NOT_FOUND}:
                raise Outdated(str(error)) from None
            raise
        for event in report.events:
            await self._notices.tell(document, event)

    def _note_uid(self, key: Key, uid: str) -> None:
        if (former := self._uids.get(key, uid)) != uid:
            self._turns.release(former)
        self._uids[key] = uid

    def _forget(self, key: Key, result: str) -> Done:
        self._forbidden_since.pop(key, None)
        self.awaiting_turn.discard(key)
        if uid := self._uids.pop(key, ""):
            self._turns.release(uid)
        self._pods.forget(key)
        return Done(result)


def _judge(action: Action, error: ClusterError) -> Failure:
    """What is to be told of a refusal; raises what is to be done instead."""
    if error.trouble in PASSING or error.trouble in {Trouble.GONE, Trouble.TERMINATING}:
        raise error
    if error.trouble in {Trouble.CONFLICT, Trouble.NOT_FOUND} or isinstance(action, Remove):
        raise Outdated(str(error)) from error
    verb = "delete" if isinstance(action, Delete) else "apply"
    return Failure(verb, action.ref, error.status, error.message)


def _again_in(plan: Plan) -> float | None:
    """Nobody rings for what is only a matter of time."""
    if plan.waits_for:
        return DELETION_SECONDS
    return {Hold.TURN: TURN_SECONDS, Hold.DRAIN_BACKLOG: BACKLOG_SECONDS}.get(plan.hold) if plan.hold else None


def _ready(report: Report) -> str:
    """As metrics have it: what is suspended is as somebody wants it."""
    found: Manifest = next((each for each in report.status["conditions"] if each["type"] == "Ready"), {})
    return SUSPENDED if found.get("reason") == SUSPENDED else found.get("status", "Unknown")
