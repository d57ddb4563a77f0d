"""What is to be done so that the cluster is as it was rendered: a plan, made of what is wanted and what is there.

Called for each Tunnel by the reconciler, which carries the plan out and knows the cluster. Nothing is done here. What
is not ours is never touched: a foreign object of one of our names is a conflict, and stays as it is.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sokken.operator.comparison import is_current
from sokken.operator.foreign import Operation, build_removal, find_scaler
from sokken.operator.model import KIND, Tunnel
from sokken.operator.resources import Annotation, Manifest

_DEPLOYMENT: Final = "Deployment"
_BACKLOG_FACTOR: Final = 2


@dataclass(frozen=True, slots=True)
class Ref:
    """Which object."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> "Ref":
        """The one that a manifest is about."""
        metadata = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"])

    def __str__(self) -> str:
        """As people say it."""
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply a manifest, by force. That of an object which exists has its uid, so that it is not made anew."""

    ref: Ref
    manifest: Manifest
    is_new: bool


@dataclass(frozen=True, slots=True)
class Remove:
    """Take out of an object's lists what others have put there: a JSON Patch."""

    ref: Ref
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object, if it is still that one."""

    ref: Ref
    uid: str


Action = Apply | Remove | Delete


class Hold(StrEnum):
    """Why pods are not rolled now, although their template is another one."""

    MANUAL = "Manual"
    """The Tunnel's updatePolicy."""
    TURN = "Turn"
    """Other Tunnels roll."""
    DISCONNECTED = "Disconnected"
    """The new pods could not become ready: the server does not admit the old ones either."""
    DRAIN_BACKLOG = "DrainBacklog"
    """Too many old pods still drain."""


class RolledBy(StrEnum):
    """Who made a pod template change."""

    TUNNEL = "tunnel"
    """A user did, or nothing was replaced that served: it takes no turn."""
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order, and what can or shall not be done. With conflicts, nothing is to be done."""

    actions: tuple[Action, ...] = ()
    conflicts: tuple[Ref, ...] = ()
    """Objects of our names that are not ours."""
    waits_for: tuple[Ref, ...] = ()
    """Objects of our names that are on their way out: come again in some seconds."""
    hold: Hold | None = None
    begins_rollout: bool = False
    """A turn was taken: give it back if applying the Deployment fails."""
    scaler: str = ""
    """Who else sets the Deployment's replicas."""


@dataclass(slots=True)
class _Draft:
    actions: list[Action] = field(default_factory=list)
    waits_for: list[Ref] = field(default_factory=list)
    hold: Hold | None = None
    begins_rollout: bool = False
    scaler: str = ""

    def finish(self) -> Plan:
        return Plan(
            tuple(self.actions),
            waits_for=tuple(self.waits_for),
            hold=self.hold,
            begins_rollout=self.begins_rollout,
            scaler=self.scaler,
        )


def missing(desired: Iterable[Manifest], live: Iterable[Manifest]) -> tuple[Ref, ...]:
    """Which objects to look for by name before planning: an apply would adopt a foreign one."""
    known = {Ref.of(manifest) for manifest in live}
    return tuple(ref for ref in map(Ref.of, desired) if ref not in known)


def make_plan(
    tunnel: Tunnel,
    desired: Sequence[Manifest],
    live: Sequence[Manifest],
    pods: Sequence[Manifest],
    take_turn: Callable[[], bool],
) -> Plan:
    """Compare what is wanted with what there is: everything that has one of our names, and everything that we own.

    ``pods`` are the Tunnel's, also those that drain. ``take_turn`` is asked, once at most, if pods that serve would
    be rolled by the operator's doing.
    """
    found = {Ref.of(manifest): manifest for manifest in live}
    conflicts = tuple(ref for ref in map(Ref.of, desired) if ref in found and _is_strange(tunnel, found[ref]))
    if conflicts:
        return Plan(conflicts=conflicts)
    draft = _Draft()
    for manifest in desired:
        _plan_one(draft, tunnel, manifest, found.get(Ref.of(manifest)), pods, take_turn)
    wanted = {Ref.of(manifest) for manifest in desired}
    for ref, manifest in found.items():
        is_stale = ref not in wanted and _is_owned(tunnel, manifest) and not _is_leaving(manifest)
        if is_stale and not (ref.kind == "ServiceAccount" and _has_old_pods(desired, found)):
            draft.actions.append(Delete(ref, manifest["metadata"]["uid"]))
    return draft.finish()


def plan_after(action: Action, result: Manifest) -> Remove | None:
    """What is left to do when an action has given this: an apply keeps what others have put into lists.

    Planned at once, because one's own write is no news, and brings no other plan.
    """
    operations = build_removal(action.manifest, result) if isinstance(action, Apply) else ()
    return Remove(action.ref, operations) if operations else None


def is_rolling(deployment: Manifest) -> bool:
    """Whether a roll-out that the operator itself has caused is under way: it counts for the turns."""
    if _annotation(deployment, Annotation.ROLLED_BY) != RolledBy.OPERATOR:
        return False
    return not is_rolled_out(deployment)


def is_rolled_out(deployment: Manifest) -> bool:
    """Whether all pods have been replaced by those of the present template, and these were available.

    What becomes of them later is no roll-out (Deployment's condition Progressing, reason NewReplicaSetAvailable).
    """
    status: dict[str, Any] = deployment.get("status", {})
    is_observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    has_old_pods = status.get("replicas", 0) > status.get("updatedReplicas", 0)
    reasons = {each["type"]: each.get("reason") for each in status.get("conditions", ())}
    return is_observed and not has_old_pods and reasons.get("Progressing") == "NewReplicaSetAvailable"


def _has_old_pods(desired: Sequence[Manifest], found: dict[Ref, Manifest]) -> bool:
    """Whether there may be pods of another template than the wanted one; their Deployment rings when there are none."""
    for manifest in desired:
        live = found.get(Ref.of(manifest))
        if manifest["kind"] == _DEPLOYMENT and live is not None:
            hashes = {_annotation(each, Annotation.TEMPLATE_HASH) for each in (manifest, live)}
            return len(hashes) > 1 or not is_rolled_out(live)
    return False


def _plan_one(
    draft: _Draft,
    tunnel: Tunnel,
    desired: Manifest,
    live: Manifest | None,
    pods: Sequence[Manifest],
    take_turn: Callable[[], bool],
) -> None:
    ref = Ref.of(desired)
    if live is None:
        draft.actions.append(Apply(ref, _rolled_by(desired, RolledBy.TUNNEL), is_new=True))
    elif _is_leaving(live) or _is_of_former(tunnel, live):
        draft.waits_for.append(ref)
    else:
        if desired["kind"] == _DEPLOYMENT:
            desired = _plan_rollout(draft, tunnel, desired, live, pods, take_turn)
        _plan_write(draft, ref, desired, live)


def _plan_write(draft: _Draft, ref: Ref, desired: Manifest, live: Manifest) -> None:
    if not is_current(desired, live):
        manifest = {**desired, "metadata": {**desired["metadata"], "uid": live["metadata"]["uid"]}}
        draft.actions.append(Apply(ref, manifest, is_new=False))
    elif operations := build_removal(desired, live):
        draft.actions.append(Remove(ref, operations))


def _plan_rollout(
    draft: _Draft,
    tunnel: Tunnel,
    desired: Manifest,
    live: Manifest,
    pods: Sequence[Manifest],
    take_turn: Callable[[], bool],
) -> Manifest:
    """The Deployment as it is to be applied now: with its new template, or with the one that it has."""
    if live["spec"].get("replicas") != desired["spec"]["replicas"]:
        draft.scaler = find_scaler(live)
    if _annotation(live, Annotation.TEMPLATE_HASH) == _annotation(desired, Annotation.TEMPLATE_HASH):
        return _rolled_by(desired, _annotation(live, Annotation.ROLLED_BY))
    is_ours = _annotation(live, Annotation.SPEC_HASH) == _annotation(desired, Annotation.SPEC_HASH)
    draft.hold = _backlog(tunnel, desired, pods) or (_hold_ours(tunnel, live, take_turn) if is_ours else None)
    if draft.hold:
        return _with_template_of(live, desired)
    draft.begins_rollout = is_ours and _serves(live)
    return _rolled_by(desired, RolledBy.OPERATOR if draft.begins_rollout else RolledBy.TUNNEL)


def _backlog(tunnel: Tunnel, desired: Manifest, pods: Sequence[Manifest]) -> Hold | None:
    """Pods that go do not count in a Deployment: with long drains, roll-outs would pile them up."""
    if tunnel.annotations.get(Annotation.IGNORE_DRAIN_BACKLOG) == "true":
        return None
    draining = sum(map(_is_leaving, pods))
    return Hold.DRAIN_BACKLOG if draining > _BACKLOG_FACTOR * max(1, desired["spec"]["replicas"]) else None


def _hold_ours(tunnel: Tunnel, live: Manifest, take_turn: Callable[[], bool]) -> Hold | None:
    """Why a roll-out that no user has asked for has to wait. One that replaces nothing that serves need not."""
    if tunnel.spec.update_policy == "Manual":
        return Hold.MANUAL
    if not _serves(live):
        return None
    if _is_refused(tunnel):
        return Hold.DISCONNECTED
    return None if take_turn() else Hold.TURN


def _serves(deployment: Manifest) -> bool:
    return bool(deployment.get("status", {}).get("availableReplicas"))


def _is_refused(tunnel: Tunnel) -> bool:
    conditions = tunnel.status.get("conditions", ())
    return any(each["type"] == "Connected" and each["status"] == "False" for each in conditions)


def _with_template_of(live: Manifest, desired: Manifest) -> Manifest:
    """The wanted Deployment, but for its pods: as they are, and as what they were rendered for."""
    kept = {
        name.value: value
        for name in (Annotation.TEMPLATE_HASH, Annotation.SPEC_HASH, Annotation.ROLLED_BY)
        if (value := _annotation(live, name))
    }
    held = _annotated(desired, kept)
    return {**held, "spec": {**held["spec"], "template": _without_null(live["spec"]["template"])}}


def _without_null(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """``creationTimestamp: null`` is in each template that the API server gives back."""
    if isinstance(value, dict):
        return {name: _without_null(each) for name, each in value.items() if each is not None}
    return [_without_null(each) for each in value] if isinstance(value, list) else value


def _rolled_by(manifest: Manifest, who: str) -> Manifest:
    if manifest["kind"] != _DEPLOYMENT or not who:
        return manifest
    return _annotated(manifest, {Annotation.ROLLED_BY.value: str(who)})


def _annotated(manifest: Manifest, annotations: dict[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata["annotations"], **annotations}}}


def _annotation(manifest: Manifest, name: Annotation) -> str:
    value: str = manifest["metadata"].get("annotations", {}).get(name.value, "")
    return value


def _is_leaving(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]


def _owners(manifest: Manifest) -> Iterable[dict[str, Any]]:
    return (each for each in manifest["metadata"].get("ownerReferences", ()) if each.get("controller"))


def _is_owned(tunnel: Tunnel, manifest: Manifest) -> bool:
    return any(owner["uid"] == tunnel.uid for owner in _owners(manifest))


def _is_strange(tunnel: Tunnel, manifest: Manifest) -> bool:
    """Neither ours nor on its way out."""
    return not (_is_owned(tunnel, manifest) or _is_leaving(manifest) or _is_of_former(tunnel, manifest))


def _is_of_former(tunnel: Tunnel, manifest: Manifest) -> bool:
    """Of a Tunnel of this name that is gone: the garbage collector is about to take it."""
    return any(
        owner["kind"] == KIND and owner["name"] == tunnel.name and owner["uid"] != tunnel.uid
        for owner in _owners(manifest)
    )
