"""The ways in from outside: an Ingress for each controller, and the Gateway API's route."""

import pytest

from tests.support.charts import TARGETS, render

TLS = {"server": {"tls": {"existingSecret": "tls"}}}
NGINX = "nginx.ingress.kubernetes.io/"
ALB = "alb.ingress.kubernetes.io/"


def with_ingress(controller, *more, **values):
    return render(TARGETS, {"server": {"ingress": {"enabled": True, "controller": controller, **values}}}, *more)


def annotations(objects):
    return objects.one("Ingress")["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("controller", "plain", "with_tls"),
    [
        ("", {}, {}),
        (
            "nginx",
            {f"{NGINX}proxy-read-timeout": "3600", f"{NGINX}proxy-send-timeout": "3600"},
            {f"{NGINX}backend-protocol": "HTTPS"},
        ),
        ("traefik", {}, {}),
        (
            "haproxy",
            {"haproxy.org/timeout-tunnel": "1h", "haproxy-ingress.github.io/timeout-tunnel": "1h"},
            {"haproxy.org/server-ssl": "true", "haproxy-ingress.github.io/secure-backends": "true"},
        ),
        (
            "alb",
            {
                f"{ALB}target-type": "ip",
                f"{ALB}load-balancer-attributes": "idle_timeout.timeout_seconds=3600",
                f"{ALB}target-group-attributes": "deregistration_delay.timeout_seconds=300",
                f"{ALB}healthcheck-path": "/readyz",
            },
            {f"{ALB}backend-protocol": "HTTPS"},
        ),
    ],
)
def test_connections_live_long_with_each_controller(controller, plain, with_tls):
    assert annotations(with_ingress(controller)) == plain
    assert annotations(with_ingress(controller, TLS)) == {**plain, **with_tls}


def test_traefik_is_told_at_the_service_that_it_speaks_tls():
    assert "annotations" not in with_ingress("traefik").one("Service")["metadata"]
    service = with_ingress("traefik", TLS).one("Service")["metadata"]
    assert service["annotations"] == {"traefik.ingress.kubernetes.io/service.serversscheme": "https"}


def test_own_annotations_go_before_those_of_the_controller():
    objects = with_ingress("nginx", annotations={f"{NGINX}proxy-read-timeout": "60", "a": "b"})
    assert annotations(objects)[f"{NGINX}proxy-read-timeout"] == "60"
    assert annotations(objects)[f"{NGINX}proxy-send-timeout"] == "3600"
    assert annotations(objects)["a"] == "b"


@pytest.mark.parametrize(("more", "port"), [({}, "http"), (TLS, "https")])
def test_it_leads_to_the_tunnels_and_to_nothing_else(more, port):
    objects = with_ingress("", more, {"server": {"basePath": "/sokken"}}, hosts=["a.example", "b.example"])
    rules = objects.one("Ingress")["spec"]["rules"]
    assert [rule["host"] for rule in rules] == ["a.example", "b.example"]
    for rule in rules:
        (path,) = rule["http"]["paths"]
        assert (path["path"], path["pathType"]) == ("/sokken/tunnel/", "Prefix")
        assert path["backend"]["service"] == {"name": "sokken-server", "port": {"name": port}}
    assert port in {each["name"] for each in objects.one("Service")["spec"]["ports"]}


def test_without_a_host_it_is_for_all():
    (rule,) = with_ingress("", className="nginx").one("Ingress")["spec"]["rules"]
    assert set(rule) == {"http"}


def test_a_route_has_no_limit_in_time():
    route = {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["tunnel.example"]}
    spec = render(TARGETS, {"server": {"httpRoute": route, "basePath": "/a"}}).one("HTTPRoute")["spec"]
    (rule,) = spec["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/a/tunnel/"}}]
    assert rule["backendRefs"] == [{"name": "sokken-server", "port": 80}]
    assert (spec["parentRefs"], spec["hostnames"]) == ([{"name": "gateway"}], ["tunnel.example"])
