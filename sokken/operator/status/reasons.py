"""Every reason that a Tunnel's condition or Event may have: its cause, and what to do.

The one vocabulary of the operator toward its users: docs/operator.md has this table, and a reason that once was here
keeps its meaning, because alerts are made of it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ConditionType(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    ACCEPTED = "Accepted"
    REFERENCES_RESOLVED = "ReferencesResolved"
    AVAILABLE = "Available"
    PROGRESSING = "Progressing"
    CONNECTED = "Connected"


class Reason(StrEnum):
    """Why a condition is what it is, in one word."""

    # what is good
    READY = "Ready"
    ACCEPTED = "Accepted"
    RESOLVED = "Resolved"
    PODS_AVAILABLE = "PodsAvailable"
    ROLLOUT_COMPLETE = "RolloutComplete"
    ADMITTED = "Admitted"
    # what takes its time
    PENDING = "Pending"
    SUSPENDED = "Suspended"
    ROLLING_OUT = "RollingOut"
    DRAINING = "Draining"
    AWAITING_DELETION = "AwaitingDeletion"
    UPDATE_HELD = "UpdateHeld"
    AWAITING_TURN = "AwaitingTurn"
    AWAITING_CONNECTION = "AwaitingConnection"
    # the Tunnel itself
    INVALID_SPEC = "InvalidSpec"
    NAME_CONFLICT = "NameConflict"
    # what it refers to
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 -- a word for users
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    KEY_NOT_FOUND = "KeyNotFound"
    SECRET_INVALID = "SecretInvalid"  # noqa: S105 -- as above
    CA_BUNDLE_INVALID = "CABundleInvalid"
    # its pods
    PODS_NOT_READY = "PodsNotReady"
    PODS_REFUSED = "PodsRefused"
    PODS_CRASHING = "PodsCrashing"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    ROLLOUT_STUCK = "RolloutStuck"
    DRAIN_BACKLOG = "DrainBacklog"
    REPLICAS_CONTESTED = "ReplicasContested"
    # the operator's rights
    RBAC_DENIED = "RBACDenied"
    APPLY_FAILED = "ApplyFailed"
    # the server
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    TLS_VERIFICATION_FAILED = "TLSVerificationFailed"
    SERVER_UNREACHABLE = "ServerUnreachable"
    TARGET_FORBIDDEN = "TargetForbidden"
    PATH_NOT_FOUND = "PathNotFound"
    PROTOCOL_ERROR = "ProtocolError"
    SERVER_FULL = "ServerFull"
    RATE_LIMITED = "RateLimited"
    SERVER_DRAINING = "ServerDraining"
    REFERENCES_NOT_RESOLVED = "ReferencesNotResolved"
    CLIENT_FAULT = "ClientFault"
    STATUS_ENDPOINT_UNREACHABLE = "StatusEndpointUnreachable"
    CHECK_STALE = "CheckStale"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said of a reason in the documents. NS and NAME are the Tunnel's; its children are NAME-sokken."""

    condition: ConditionType
    status: str
    cause: str
    remedy: str


_LOGS: Final = "`kubectl -n NS logs deploy/NAME-sokken`"
_DESCRIBE: Final = "`kubectl -n NS describe pods -l sokken.dev/tunnel=NAME`"
_DOCTOR: Final = "`kubectl -n NS exec deploy/NAME-sokken -- sokken doctor`"
_NOTHING: Final = "nothing"

_READY, _ACCEPTED, _REFERENCES = ConditionType.READY, ConditionType.ACCEPTED, ConditionType.REFERENCES_RESOLVED
_AVAILABLE, _PROGRESSING, _CONNECTED = ConditionType.AVAILABLE, ConditionType.PROGRESSING, ConditionType.CONNECTED

REASONS: Final[dict[Reason, Entry]] = {
    Reason.READY: Entry(_READY, "True", "the server admits the client to every target", _NOTHING),
    Reason.ACCEPTED: Entry(
        _ACCEPTED, "True", "the spec can be used; the message says what of it this cluster cannot do", _NOTHING
    ),
    Reason.RESOLVED: Entry(_REFERENCES, "True", "all files that it refers to are in its pods", _NOTHING),
    Reason.PODS_AVAILABLE: Entry(_AVAILABLE, "True", "at least one pod serves", _NOTHING),
    Reason.ROLLOUT_COMPLETE: Entry(_PROGRESSING, "True", "all pods are as the spec wants them", _NOTHING),
    Reason.ADMITTED: Entry(_CONNECTED, "True", "each ready pod's last check of the server has passed", _NOTHING),
    Reason.PENDING: Entry(
        _CONNECTED, "Unknown", "it is not known yet: pods are made, or have not been asked", "wait a minute"
    ),
    Reason.SUSPENDED: Entry(
        _READY, "False", "`replicas` is 0", "`kubectl -n NS scale tunnel NAME --replicas=1`, if that is not meant"
    ),
    Reason.ROLLING_OUT: Entry(_PROGRESSING, "True", "pods are being replaced", _NOTHING),
    Reason.DRAINING: Entry(
        _PROGRESSING,
        "True",
        "old pods wait for their connections to end; the message says until when",
        "nothing; `drainTimeoutSeconds` is how long they may",
    ),
    Reason.AWAITING_DELETION: Entry(
        _PROGRESSING,
        "True",
        "an object of the same name is on its way out; it is made anew when it is gone",
        "if it stays: `kubectl -n NS get KIND NAME-sokken -o yaml` shows whose finalizer holds it",
    ),
    Reason.UPDATE_HELD: Entry(
        _PROGRESSING,
        "True",
        "a new version of the operator would change the pods, and `updatePolicy` is `Manual`",
        "change the spec, or `updatePolicy`, when it suits you",
    ),
    Reason.AWAITING_TURN: Entry(
        _PROGRESSING,
        "True",
        "a new version of the operator changes the pods, and other Tunnels are rolled first",
        "nothing; if it stays: `kubectl get tunnels -A` shows which one is stuck",
    ),
    Reason.AWAITING_CONNECTION: Entry(
        _PROGRESSING,
        "True",
        "a new version of the operator would change the pods, but new ones could not become ready now",
        "see `Connected`",
    ),
    Reason.INVALID_SPEC: Entry(
        _ACCEPTED,
        "False",
        "no pods can be made of the spec; the message names the field. What runs is left as it is",
        "correct it: `kubectl -n NS edit tunnel NAME`",
    ),
    Reason.NAME_CONFLICT: Entry(
        _ACCEPTED,
        "False",
        "an object of the name NAME-sokken is not this Tunnel's. It is not touched, and nothing else is changed",
        "delete it (`kubectl -n NS delete KIND NAME-sokken`), or give the Tunnel another name",
    ),
    Reason.SECRET_NOT_FOUND: Entry(
        _REFERENCES,
        "False",
        "a Secret that is referred to is not there, or has not the key",
        "`kubectl -n NS describe secret SECRET` shows its keys. Pods see a new one within 90 s",
    ),
    Reason.CONFIG_MAP_NOT_FOUND: Entry(
        _REFERENCES,
        "False",
        "the ConfigMap of `server.caBundleRef` is not there, or has not the key",
        "`kubectl -n NS describe configmap CONFIGMAP`. Pods see a new one within 90 s",
    ),
    Reason.KEY_NOT_FOUND: Entry(
        _REFERENCES,
        "False",
        "a Secret is there, but has not all keys: `tls.crt` and `tls.key`",
        "`kubectl -n NS describe secret SECRET` shows its keys",
    ),
    Reason.SECRET_INVALID: Entry(
        _REFERENCES,
        "False",
        "a Secret's content cannot be used; the message says why, without quoting it",
        "make it anew: `kubectl -n NS create secret generic SECRET --from-file=token -o yaml --dry-run=client "
        "| kubectl apply -f -`",
    ),
    Reason.CA_BUNDLE_INVALID: Entry(
        _REFERENCES,
        "False",
        "what `server.caBundleRef` names holds no certificate in PEM form",
        "put the authorities' certificates under its key",
    ),
    Reason.PODS_NOT_READY: Entry(
        _AVAILABLE, "False", "no pod is ready; the message has a pod's own word for why", _DESCRIBE
    ),
    Reason.PODS_REFUSED: Entry(
        _AVAILABLE,
        "False",
        "the cluster does not let pods be made: a quota, an admission webhook, a missing ServiceAccount",
        "`kubectl -n NS describe replicasets -l sokken.dev/tunnel=NAME`",
    ),
    Reason.PODS_CRASHING: Entry(
        _AVAILABLE, "False", "the client ends by itself", "`kubectl -n NS logs deploy/NAME-sokken --previous`"
    ),
    Reason.IMAGE_PULL_FAILED: Entry(
        _AVAILABLE, "False", "the image cannot be pulled", f"{_DESCRIBE}; `image`, `podTemplate.imagePullSecrets`"
    ),
    Reason.UNSCHEDULABLE: Entry(_AVAILABLE, "False", "no node takes the pods; the message says why", _DESCRIBE),
    Reason.ROLLOUT_STUCK: Entry(
        _PROGRESSING,
        "False",
        "new pods have not become ready for 10 minutes. Old ones go on serving",
        f"the message says why; {_DESCRIBE}. Or go back to the spec before",
    ),
    Reason.DRAIN_BACKLOG: Entry(
        _PROGRESSING,
        "False",
        "more than twice as many old pods as `replicas` still drain; new ones are not made before they are fewer",
        "wait, or `kubectl -n NS annotate tunnel NAME sokken.dev/ignore-drain-backlog=true`",
    ),
    Reason.REPLICAS_CONTESTED: Entry(
        _PROGRESSING,
        "False",
        "somebody else sets the Deployment's `replicas`, and the operator sets them back",
        "let the autoscaler scale the Tunnel: a `scaleTargetRef` with `kind: Tunnel`",
    ),
    Reason.RBAC_DENIED: Entry(
        _PROGRESSING,
        "False",
        "the operator may not do what the message names",
        "give it that right: `helm upgrade` with `rbac.create=true`, or the Roles in `k8s/`",
    ),
    Reason.APPLY_FAILED: Entry(
        _PROGRESSING, "False", "the API server does not take an object, for another reason", "the message has its words"
    ),
    Reason.AUTHENTICATION_FAILED: Entry(
        _CONNECTED,
        "False",
        "the server, or a proxy in between, does not accept the credentials",
        "correct the Secret that `auth` (or `proxy`) names; the server's log says what is wrong with them",
    ),
    Reason.TLS_VERIFICATION_FAILED: Entry(
        _CONNECTED,
        "False",
        "the server's certificate is not trusted, expired or another host's; or the client's is not accepted",
        f"`server.caBundleRef`, `server.serverName`; {_DOCTOR}",
    ),
    Reason.SERVER_UNREACHABLE: Entry(
        _CONNECTED,
        "False",
        "nothing answers at `server.url`, its name does not resolve, or what answers is no sokken",
        _DOCTOR,
    ),
    Reason.TARGET_FORBIDDEN: Entry(
        _CONNECTED,
        "False",
        "the server does not allow a target, or not to this client; the message names the forward",
        "spell `forwards[].target` as the server's targets or policy do; `sokken policy test` explains a policy",
    ),
    Reason.PATH_NOT_FOUND: Entry(
        _CONNECTED,
        "False",
        "what answers at `server.url` has no tunnels under that path",
        "correct the path of `server.url`, or the server's `SOKKEN_BASE_PATH`",
    ),
    Reason.PROTOCOL_ERROR: Entry(
        _CONNECTED,
        "False",
        "something in between does not let WebSockets through, or what answers is no sokken",
        _DOCTOR,
    ),
    Reason.SERVER_FULL: Entry(
        _CONNECTED,
        "False",
        "the server has as many connections as it, or its policy, allows",
        "raise the server's limit, or run more servers",
    ),
    Reason.RATE_LIMITED: Entry(
        _CONNECTED, "False", "the server, or something in between, limits how often one may come", "raise it there"
    ),
    Reason.SERVER_DRAINING: Entry(
        _CONNECTED, "False", "the server is going down", "nothing: another one is asked next"
    ),
    Reason.REFERENCES_NOT_RESOLVED: Entry(
        _CONNECTED, "False", "without its credentials the client does not ask the server", "see `ReferencesResolved`"
    ),
    Reason.CLIENT_FAULT: Entry(_CONNECTED, "False", "a fault in sokken", f"please report what {_LOGS} says"),
    Reason.STATUS_ENDPOINT_UNREACHABLE: Entry(
        _CONNECTED,
        "Unknown",
        "the operator cannot ask the pods how they are (port 19000): a NetworkPolicy, perhaps",
        "let the operator's namespace reach the pods' port 19000. Tunnels do not depend on it",
    ),
    Reason.CHECK_STALE: Entry(
        _CONNECTED,
        "Unknown",
        "a pod has not asked its server for a minute",
        f"{_LOGS}; it may have too little processor",
    ),
}
