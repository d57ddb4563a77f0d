"""Connected and ReferencesResolved: what pods say of their servers and of their files, as reasons and next steps."""

from datetime import timedelta

import pytest

from sokken.operator.status import Answer, Reason
from sokken.operator.status.answers import File
from sokken.operator.status.connection import OUTCOMES
from sokken.protocol.outcomes import ConnectOutcome, Outcome
from sokken.protocol.outcomes import Reason as Refused
from tests.support.observations import NOW, TOKEN_FILE, Scene, answer, passed, pod, refused
from tests.support.tunnels import LARGE, SMALL, changed, forward, tunnel

WITH_TOKEN = changed(SMALL, "auth", {"tokenSecretRef": {"name": "tunnel", "key": "bearer"}})
WITH_PAIR = changed(SMALL, "auth", {"clientCertificateSecretRef": {"name": "tls"}})
WITH_CA = changed(SMALL, "server.caBundleRef", {"name": "authorities"})
WITH_PROXY = changed(SMALL, "proxy", {"url": "http://p:1", "credentialsSecretRef": {"name": "proxy"}})


def unusable(setting, missing=1, paths=1, result="unavailable", problem="no such file or directory"):
    return File(setting, result, f"{setting}: cannot use {TOKEN_FILE}: {problem}", paths, missing)


def scene(*answers, spec=SMALL):
    """With one ready pod for each answer."""
    names = [f"p{index}" for index in range(len(answers))]
    return Scene(
        tunnel=tunnel(spec), pods=[pod(name) for name in names], answers=dict(zip(names, answers, strict=True))
    )


def test_a_pod_that_is_let_in():
    assert scene(answer(passed())).said("Connected") == ("True", "Admitted")


def test_all_ready_pods_must_be_let_in():
    assert scene(answer(passed()), answer(refused("unauthenticated"))).said("Connected") == (
        "False",
        "AuthenticationFailed",
    )


def test_every_target_must_be_allowed():
    other = "wss://tunnel.example.com/tunnel/web.internal:80"
    spec = changed(SMALL, "forwards", [*SMALL["forwards"], forward()])
    found = scene(answer(passed(), refused("forbidden_target", "not allowed", other)), spec=spec).conditions()[
        "Connected"
    ]
    assert (found["status"], found["reason"]) == ("False", "TargetForbidden")
    assert found["message"] == "forward web: not allowed (pod p0)"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("unauthenticated", "AuthenticationFailed"),
        ("server_tls", "TLSVerificationFailed"),
        ("server_unreachable", "ServerUnreachable"),
        ("server_dns", "ServerUnreachable"),
        ("connect_timeout", "ServerUnreachable"),
        ("forbidden_target", "TargetForbidden"),
        ("not_found", "PathNotFound"),
        ("bad_request", "ProtocolError"),
        ("protocol_error", "ProtocolError"),
        ("server_full", "ServerFull"),
        ("rate_limited", "RateLimited"),
        ("draining", "ServerDraining"),
        ("internal_error", "ClientFault"),
        ("something_of_a_newer_client", "ClientFault"),
    ],
)
def test_why_the_server_does_not_let_it_in(outcome, reason):
    found = scene(answer(refused(outcome, "in its words")))
    assert found.said("Connected") == found.said("Ready") == ("False", reason)
    assert found.conditions()["Ready"]["message"] == "forward pg: in its words (pod p0)"


def test_whatever_a_check_may_end_with_has_a_reason():
    ends = {Outcome.PROTOCOL_ERROR, Outcome.INTERNAL_ERROR}
    no_check = {Refused.TARGET_REFUSED, Refused.TARGET_UNREACHABLE, Refused.TARGET_DNS, Refused.TARGET_TIMEOUT}
    expected = ({*Refused} - no_check) | ({*ConnectOutcome} - {ConnectOutcome.LOCAL_GAVE_UP}) | ends
    assert set(OUTCOMES) == expected


def test_before_any_pod_is_ready_what_those_are_told_that_start():
    found = Scene(
        pods=[pod("p0", ready=False)], answers={"p0": answer(refused("unauthenticated"), not_ready="server check: no")}
    )
    assert found.said("Connected") == ("False", "AuthenticationFailed")


def test_a_new_pod_that_is_refused_says_nothing_of_those_that_serve():
    found = Scene(
        pods=[pod("p0"), pod("p1", ready=False)], answers={"p0": answer(passed()), "p1": answer(refused("server_tls"))}
    )
    assert found.said("Connected") == ("True", "Admitted")


OTHER = changed(SMALL, "forwards.0.target.port", 5433)


def test_a_spec_whose_pods_the_server_refuses_is_not_ready_though_old_ones_serve():
    """`kubectl wait` after `kubectl apply` must not find the old pods' word for it."""
    found = Scene(
        tunnel=tunnel(OTHER),
        pods=[pod("old", of=tunnel(SMALL)), pod("new", ready=False)],
        answers={"old": answer(passed()), "new": answer(refused("forbidden_target", "not allowed"))},
    )
    assert found.said("Connected") == found.said("Ready") == ("False", "TargetForbidden")
    assert found.said("Available") == ("True", "PodsAvailable")


@pytest.mark.parametrize("new", [[], [pod("new", ready=False)]])
def test_of_a_spec_that_was_just_changed_nothing_is_known_yet(new):
    before = Scene().report().status
    found = Scene(
        tunnel=tunnel(OTHER, status=before),
        pods=[pod("old", of=tunnel(SMALL)), *new],
        answers={"old": answer(passed())},
    )
    assert found.said("Connected") == found.said("Ready") == ("Unknown", "Pending")


def test_what_decides_nothing_about_the_connection_changes_nothing_about_it():
    before = Scene().report().status
    found = Scene(
        tunnel=tunnel(changed(SMALL, "maxConnections", 5), status=before), pods=[pod("old", of=tunnel(SMALL))]
    )
    assert found.said("Connected") == ("True", "Admitted")


def test_a_pod_that_drains_is_not_asked():
    found = Scene(
        pods=[pod("p0"), pod("p1", draining="2026-11-26T12:05:00Z")],
        answers={"p0": answer(passed()), "p1": answer(refused("draining"))},
    )
    assert found.said("Connected") == ("True", "Admitted")


def test_pods_that_cannot_be_asked_are_not_known_to_be_in_trouble():
    found = scene(Answer.failed("no answer within 5 s", NOW), answer(passed()))
    assert found.said("Connected") == found.said("Ready") == ("Unknown", "StatusEndpointUnreachable")
    assert "pod p0 cannot be asked how it is: no answer within 5 s" in found.conditions()["Connected"]["message"]


def test_a_pod_that_was_not_asked_yet_does_not_count_beside_one_that_was():
    found = Scene(pods=[pod("p0"), pod("p1")], answers={"p0": answer(passed())})
    assert found.said("Connected") == ("True", "Admitted")


@pytest.mark.parametrize("answers", [{}, {"p0": answer(passed(), at=NOW - timedelta(seconds=121))}])
def test_what_is_not_known_or_was_said_long_ago(answers):
    assert Scene(pods=[pod("p0")], answers=answers).said("Connected") == ("Unknown", "Pending")


def test_a_pod_that_has_stopped_asking():
    assert scene(answer(passed(ago=61))).said("Connected") == ("Unknown", "CheckStale")
    assert scene(answer(passed(ago=59))).said("Connected") == ("True", "Admitted")


def test_no_pods_at_all():
    assert Scene(pods=[], answers={}).said("Connected") == ("Unknown", "Pending")
    suspended = Scene(tunnel=tunnel(changed(SMALL, "replicas", 0)), pods=[], answers={})
    assert suspended.said("Connected") == ("Unknown", "Suspended")


# What it refers to


def test_a_tunnel_that_refers_to_nothing():
    assert scene(answer(passed())).said("ReferencesResolved") == ("True", "Resolved")


def test_files_that_are_there():
    loaded = File("SOKKEN_TOKEN_FILE", "loaded", "", 1, 0)
    assert scene(answer(passed(), files=(loaded,)), spec=WITH_TOKEN).said("ReferencesResolved") == ("True", "Resolved")


@pytest.mark.parametrize(
    ("spec", "file", "reason", "said"),
    [
        (
            WITH_TOKEN,
            unusable("SOKKEN_TOKEN_FILE"),
            Reason.SECRET_NOT_FOUND,
            (
                "Secret shop/tunnel (spec.auth.tokenSecretRef) is not there, or has no key bearer: "
                "kubectl -n shop describe secret tunnel"
            ),
        ),
        (
            WITH_TOKEN,
            unusable("SOKKEN_TOKEN_FILE", missing=0, problem="it is empty; it must hold one token"),
            Reason.SECRET_INVALID,
            "Secret shop/tunnel (spec.auth.tokenSecretRef) cannot be used: it is empty; it must hold one token",
        ),
        (
            WITH_PAIR,
            unusable("SOKKEN_CLIENT_CERT_FILE", missing=2, paths=2),
            Reason.SECRET_NOT_FOUND,
            "has no key tls.crt and tls.key",
        ),
        (
            WITH_PAIR,
            unusable("SOKKEN_CLIENT_CERT_FILE", missing=1, paths=2),
            Reason.KEY_NOT_FOUND,
            "has not both keys tls.crt and tls.key: kubectl -n shop describe secret tls",
        ),
        (
            WITH_CA,
            unusable("SOKKEN_CA_FILE"),
            Reason.CONFIG_MAP_NOT_FOUND,
            (
                "ConfigMap shop/authorities (spec.server.caBundleRef) is not there, or has no key ca.crt: "
                "kubectl -n shop describe configmap authorities"
            ),
        ),
        (
            WITH_CA,
            unusable("SOKKEN_CA_FILE", missing=0, problem="it holds no certificate in PEM form"),
            Reason.CA_BUNDLE_INVALID,
            "it holds no certificate in PEM form",
        ),
        (
            WITH_PROXY,
            unusable("SOKKEN_PROXY_CREDENTIALS_FILE"),
            Reason.SECRET_NOT_FOUND,
            "spec.proxy.credentialsSecretRef",
        ),
    ],
)
def test_what_is_wrong_with_what_it_refers_to(spec, file, reason, said):
    found = scene(answer(refused("credential_unavailable"), files=(file,)), spec=spec)
    assert found.said("ReferencesResolved") == found.said("Ready") == ("False", reason)
    assert said in found.conditions()["ReferencesResolved"]["message"]
    assert TOKEN_FILE not in found.conditions()["ReferencesResolved"]["message"]
    assert found.said("Connected") == ("False", "ReferencesNotResolved")


def test_a_secret_that_is_gone_while_pods_go_on_with_what_they_had():
    gone = unusable("SOKKEN_TOKEN_FILE", result="kept_last_good")
    found = scene(answer(passed(), files=(gone,)), spec=WITH_TOKEN)
    assert found.said("ReferencesResolved") == ("False", "SecretNotFound")
    assert found.conditions()["ReferencesResolved"]["message"].endswith("pods that run keep what they had")
    assert found.said("Connected") == ("True", "Admitted")


def test_any_pod_may_miss_something():
    loaded, missing = File("SOKKEN_TOKEN_FILE", "loaded", "", 1, 0), unusable("SOKKEN_TOKEN_FILE")
    found = scene(answer(files=(loaded,)), answer(files=(missing,)), spec=WITH_TOKEN)
    assert found.said("ReferencesResolved") == ("False", "SecretNotFound")


def test_files_that_nobody_has_told_of_yet():
    assert scene(answer(passed()), spec=WITH_TOKEN).said("ReferencesResolved") == ("Unknown", "Pending")
    assert Scene(tunnel=tunnel(LARGE), pods=[], answers={}).said("ReferencesResolved") == ("Unknown", "Pending")
