"""Values that cannot be meant: helm refuses them, in a sentence that names the key."""

import pytest

from tests.support.charts import CLIENT, FORWARD, TARGETS, Refused, helms, merged, render

BOTH = merged(TARGETS, CLIENT, {"server": {"enabled": True}})
RULE = {"action": "allow", "identities": ["*"], "targets": ["a.example:1"]}
ECHO = {"helmTest": {"echo": {"enabled": True}}}


def server(**values):
    return merged(TARGETS, {"server": values})


def client(**values):
    return merged(CLIENT, {"client": values})


def forwards(*more):
    return client(forwards=[{**FORWARD, **each} for each in more])


# By the schema: unknown keys, wrong types, bounds. Each with what must be named.
SCHEMA = {
    "unknown key at the top": (merged(TARGETS, {"sever": {}}), "sever"),
    "unknown key": (server(replica=2), "replica"),
    "unknown key, deep": (server(tls={"secret": "a"}), "secret"),
    "unknown setting": (server(settings={"SOKKEN_MAX_CONECTIONS": 1}), "SOKKEN_MAX_CONECTIONS"),
    "setting of the other program": (server(settings={"SOKKEN_CLIENT_ID": "a"}), "SOKKEN_CLIENT_ID"),
    "no variable of ours": (client(settings={"PATH": "/"}), "PATH"),
    "setting of a wrong type": (server(settings={"SOKKEN_LOG_DEBUG": "yes"}), "SOKKEN_LOG_DEBUG"),
    "setting out of bounds": (server(settings={"SOKKEN_MAX_MESSAGE_BYTES": 1}), "SOKKEN_MAX_MESSAGE_BYTES"),
    "setting that is none of its names": (server(settings={"SOKKEN_LOG_PEER": "no"}), "SOKKEN_LOG_PEER"),
    "a password among settings": (client(settings={"SOKKEN_PROXY": "http://me:secret@proxy"}), "SOKKEN_PROXY"),
    "a Secret for what is none": (
        server(secretSettings={"SOKKEN_MAX_CONNECTIONS": {"name": "a", "key": "b"}}),
        "SOKKEN_MAX_CONNECTIONS",
    ),
    "a Secret without a key": (client(secretSettings={"SOKKEN_PROXY": {"name": "a"}}), "SOKKEN_PROXY"),
    "a number as text": (server(replicas="2"), "replicas"),
    "a text as list": (server(targets="a:1"), "targets"),
    "a target without a port": (server(targets=["db.internal"]), "targets"),
    "two targets in one": (server(targets=["a:1, b:2"]), "targets"),
    "less than none": (server(replicas=-1), "replicas"),
    "a drain without end": (server(drainTimeoutSeconds=100000), "drainTimeoutSeconds"),
    "a digest that is none": (merged(TARGETS, {"image": {"digest": "latest"}}), "digest"),
    "an unknown controller": (server(ingress={"controller": "ngnix"}), "controller"),
    "a policy with an unknown key": (
        {"server": {"policy": {"rules": [{**RULE, "target": []}]}}},
        "target",
    ),
    "a policy with an unknown limit": (
        {"server": {"policy": {"rules": [{**RULE, "limits": {"conections": 1}}]}}},
        "conections",
    ),
    "a policy without rules": ({"server": {"policy": {"rules": []}}}, "rules"),
    "a user in the URL": (client(server={"url": "wss://me:secret@tunnel.example"}), "url"),
    "a query in the URL": (client(server={"url": "wss://tunnel.example?token=secret"}), "url"),
    "https instead of wss": (client(server={"url": "https://tunnel.example"}), "url"),
    "a listen port below 1024": (forwards({"listenPort": 80}), "listenPort"),
    "a forward's name with two hyphens": (forwards({"name": "a--b"}), "name"),
    "a forward's name that is too long": (forwards({"name": "abcdefghijklmnop"}), "name"),
    "a forward's name that is a number": (forwards({"name": "5432"}), "name"),
    "a forward without a target": (client(forwards=[{"name": "a", "listenPort": 1024}]), "target"),
    "a forward with an unknown key": (forwards({"port": 1}), "port"),
    "a target with a path": (forwards({"target": {"host": "a/b", "port": 1}}), "host"),
    "a readiness that is none": (client(readiness="always"), "readiness"),
    "a resource attribute that ends another": (
        merged(TARGETS, {"telemetry": {"resourceAttributes": {"a": "b,c=d"}}}),
        "resourceAttributes",
    ),
}
# By the checks: what one value says about another.
CHECKS = {
    "no targets": ({}, "server.targets is empty"),
    "targets and rules": (server(policy={"rules": [RULE]}), "server.targets and server.policy: "),
    "rules and a ConfigMap": (
        {"server": {"policy": {"rules": [RULE]}, "existingPolicyConfigMap": {"name": "a"}}},
        "server.policy and server.existingPolicyConfigMap.name: ",
    ),
    "tag and digest": (
        merged(TARGETS, {"image": {"tag": "a", "digest": "sha256:" + "0" * 64}}),
        "image.tag and image.digest",
    ),
    "the operator": (merged(TARGETS, {"operator": {"enabled": True}}), "operator.enabled"),
    "authorities of clients without TLS": (server(clientCA={"existingSecret": "a"}), "server.tls.existingSecret"),
    "two sources of authorities": (
        server(tls={"existingSecret": "a"}, clientCA={"existingSecret": "a", "existingConfigMap": "b"}),
        "server.clientCA.existingSecret and server.clientCA.existingConfigMap",
    ),
    "a JWT's issuer alone": (server(jwt={"issuer": "a"}), "server.jwt"),
    "a JWT without keys": (server(jwt={"issuer": "a", "audience": "b"}), "server.jwt"),
    "keys at two places": (
        server(jwt={"issuer": "a", "audience": "b", "jwksURL": "https://a", "jwks": {"existingSecret": "a"}}),
        "server.jwt.jwksURL and server.jwt.jwks ",
    ),
    "the PROXY protocol of nobody": (
        server(settings={"SOKKEN_PROXY_PROTOCOL": "required"}),
        "server.settings.SOKKEN_TRUSTED_PROXIES",
    ),
    "a route of no Gateway": (server(httpRoute={"enabled": True}), "server.httpRoute.parentRefs"),
    "a node's port without one": (server(service={"nodePort": 30000}), "server.service.nodePort"),
    "a setting twice": (
        server(settings={"HTTPS_PROXY": "http://a"}, secretSettings={"HTTPS_PROXY": {"name": "a", "key": "b"}}),
        "server.settings.HTTPS_PROXY and server.secretSettings.HTTPS_PROXY",
    ),
    "a variable twice": (
        server(extraEnv=[{"name": "SOKKEN_API_ADDR", "value": ":1"}]),
        "server.extraEnv: SOKKEN_API_ADDR",
    ),
    "fewer than the least": (
        server(autoscaling={"enabled": True, "minReplicas": 5, "maxReplicas": 2}),
        "server.autoscaling.minReplicas",
    ),
    "nothing to scale by": (
        server(autoscaling={"enabled": True, "targetCPUUtilizationPercentage": 0}),
        "server.autoscaling.metrics",
    ),
    "two authorities of a collector": (
        merged(TARGETS, {"telemetry": {"ca": {"existingSecret": "a", "existingConfigMap": "b"}}}),
        "telemetry.ca.existingSecret and telemetry.ca.existingConfigMap",
    ),
    "no server's URL": (client(server={"url": ""}), "client.server.url is empty"),
    "no forwards": (client(forwards=[]), "client.forwards is empty"),
    "two tokens": (
        client(token={"existingSecret": "a"}, serviceAccountToken={"audience": "b"}),
        "client.token.existingSecret and client.serviceAccountToken.audience",
    ),
    "two authorities": (
        client(ca={"existingSecret": "a", "existingConfigMap": "b"}),
        "client.ca.existingSecret and client.ca.existingConfigMap",
    ),
    "authorities without TLS": (client(server={"url": "ws://a"}, ca={"existingSecret": "a"}), "client.ca needs"),
    "a token that everybody can read": (
        client(server={"url": "ws://a"}, token={"existingSecret": "a"}),
        "client.settings.SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS",
    ),
    "two forwards of one name": (forwards({}, {"listenPort": 1024}), "client.forwards: two are called db"),
    "two forwards on one port": (forwards({}, {"name": "a"}), "listenPort 5432 is taken by db"),
    "two forwards of one Service port": (
        forwards({}, {"name": "a", "listenPort": 1024, "servicePort": 5432}),
        "servicePort 5432 is taken by db",
    ),
    "a forward on the port of health": (forwards({"listenPort": 8000}), "listenPort 8000 is taken by health"),
    "a forward on the admin port": (forwards({"listenPort": 19000}), "listenPort 19000 is taken by the admin address"),
    "a forward called as another port": (forwards({"name": "admin"}), "client.forwards: admin"),
    "an echo without a client": (merged(TARGETS, ECHO), "helmTest.echo.enabled needs"),
    "an echo for rules that the chart cannot write": (
        merged(BOTH, ECHO, {"server": {"targets": [], "existingPolicyConfigMap": {"name": "a"}}}),
        "helmTest.echo.enabled and server.existingPolicyConfigMap.name",
    ),
}


@pytest.mark.parametrize("helm", helms())
@pytest.mark.parametrize("case", [*SCHEMA, *CHECKS])
def test_it_is_refused_and_named(case, helm):
    values, named = (SCHEMA | CHECKS)[case]
    with pytest.raises(Refused) as refused:
        render(values, helm=helm)
    assert named in str(refused.value)
    assert "nil pointer" not in str(refused.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(Refused) as refused:
        render(client(server={"url": ""}, forwards=[]), {"operator": {"enabled": True}})
    for named in ("operator.enabled", "client.server.url", "client.forwards"):
        assert named in str(refused.value)


def test_what_is_refused_is_taken_where_it_is_right():
    for values in (BOTH, forwards({}, {"name": "a", "listenPort": 1024}), merged(BOTH, ECHO)):
        assert render(values).of("Deployment")


def test_a_chart_above_may_switch_it_and_share_values():
    assert render(TARGETS, {"enabled": True, "global": {"storageClass": "fast"}}).of("Deployment")
