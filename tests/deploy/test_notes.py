"""What helm says after an installation: what to do next, and what to think of."""

import json

import pytest

from tests.support.charts import CASES, CHART, CLIENT, TARGETS, found, merged
from tests.support.services import succeed


def notes(*layers, values=None):
    """What NOTES.txt says; ``values`` is a file instead."""
    source = ("--values", values) if values else ("--values", "-")
    command = [found("helm"), "install", "edge", CHART, "--dry-run=client", "--namespace", "tunnels", *source]
    text = succeed(*command, "--output", "json", **({} if values else {"input": json.dumps(merged(*layers))}))
    return json.loads(text)["info"]["notes"]


def test_where_the_server_is_and_how_to_try_it():
    said = notes(TARGETS)
    assert "kubectl --namespace tunnels rollout status deployment/edge-sokken-server" in said
    assert "ws://edge-sokken-server.tunnels.svc:80/tunnel/HOST:PORT" in said
    assert "helm test edge --namespace tunnels" in said


@pytest.mark.parametrize(
    ("server", "warned"),
    [({}, True), ({"tokens": {"existingSecret": "a"}}, False), ({"tls": {"existingSecret": "a"}}, True)],
)
def test_a_server_that_asks_nobody_is_warned_of(server, warned):
    assert ("WARNING" in notes(TARGETS, {"server": server})) is warned


def test_urls_from_outside():
    ingress = {"enabled": True, "hosts": ["tunnel.example"], "tls": [{"secretName": "a"}]}
    said = notes(TARGETS, {"server": {"ingress": ingress, "basePath": "/sokken"}})
    assert "wss://tunnel.example/sokken/tunnel/HOST:PORT" in said
    assert "server.ingress.controller is not set" in said
    known = notes(TARGETS, {"server": {"ingress": {**ingress, "controller": "nginx", "tls": []}}})
    assert "ws://tunnel.example/tunnel/HOST:PORT" in known
    assert "server.ingress.controller is not set" not in known


def test_where_the_clients_forwards_lead():
    said = notes(CLIENT)
    assert "edge-sokken-client.tunnels.svc:5432 leads to db.internal:5432" in said
    assert "edge-sokken-server" not in said


def test_nothing():
    assert "nothing runs" in notes(values=CASES["nothing"])


@pytest.mark.parametrize("case", CASES)
def test_there_are_notes_for_every_case(case):
    said = notes(values=CASES[case])
    assert said.startswith("sokken ")
    assert "<no value>" not in said
    assert "%!" not in said
