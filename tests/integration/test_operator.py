"""`sokken operator`, the real program, on a played API server: its life, its health, its settings, what it tells."""

import json
import signal
import time
from contextlib import contextmanager

import pytest

from tests.support.collector import collector, environment
from tests.support.fake_api_server import api_server_elsewhere, status
from tests.support.operators import conditions, put_tunnel, ready
from tests.support.programs import PATIENCE, address, join, running
from tests.support.raw_http import exchange, request
from tests.support.targets import eventually

QUICK = {"SOKKEN_DRAIN_TIMEOUT_SECONDS": "5"}


@pytest.fixture
def api():
    with api_server_elsewhere() as elsewhere:
        yield elsewhere


@contextmanager
def operator(api, folder, name="operator-1", **env):
    """One that is leading, or stands by; with where it serves health and its admin routes."""
    folder.mkdir(exist_ok=True)
    variables = {
        "KUBECONFIG": str(api.kubeconfig(folder)),
        "SOKKEN_ADMIN_ADDR": "127.0.0.1:0",
        "SOKKEN_OPERATOR_POD_NAME": name,
        **QUICK,
        **env,
    }
    with running("operator", "127.0.0.1:0", env=variables) as program:
        program.health = address(program.wait_for("health_listening")["listen"])
        program.admin = address(program.wait_for("admin_listening")["listen"])
        yield program


def ask(where, path):
    answer = exchange(where, request(path, "GET", "HTTP/1.1", ("Host", join(where))))
    return answer.status, answer.body.decode()


def statusz(program):
    return json.loads(ask(program.admin, "/statusz")[1])


def test_it_leads_works_and_gives_the_lease_back_at_the_end(api, tmp_path, loop):
    with operator(api, tmp_path, **loop) as program:
        program.wait_for("working")
        assert ask(program.health, "/readyz") == (200, "ok\n")
        assert ask(program.health, "/livez") == (200, "ok\n")
        api.do(put_tunnel, api.server)
        eventually(lambda: ready(api.server))
        assert api.server.find("leases", "sokken-operator")["spec"]["holderIdentity"].startswith("operator-1_")
        assert api.server.find("leases", "sokken-operator")["metadata"]["namespace"] == "sokken-system"
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        events = [line["event"] for line in program.lines if line["event"] != "reconciled"]  # what was under way ends
        assert events[-4:] == ["leaving", "draining", "lease_released", "drained"]
        assert api.server.find("leases", "sokken-operator")["spec"]["holderIdentity"] == ""


def test_a_standby_is_ready_and_goes_on_within_seconds(api, tmp_path):
    with operator(api, tmp_path / "one") as first, operator(api, tmp_path / "two", "operator-2") as second:
        first.wait_for("working")
        eventually(lambda: ask(second.health, "/readyz")[0] == 200)
        assert statusz(second)["leader"] is False
        assert statusz(second)["lease_holder"].startswith("operator-1_")
        assert "sokken_operator_leader" in ask(second.admin, "/metrics")[1]
        began = time.monotonic()
        assert first.stop() == 0
        second.wait_for("working")
        assert time.monotonic() - began < 8
        api.do(put_tunnel, api.server)
        eventually(lambda: ready(api.server))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_when_the_one_that_works_is_killed_another_works_within_twenty_seconds(api, tmp_path):
    with operator(api, tmp_path / "two", "operator-2") as first:
        first.wait_for("working")
        with operator(api, tmp_path / "one") as second:
            eventually(lambda: ask(second.health, "/readyz")[0] == 200)
            first.kill()
            began = time.monotonic()
            second.wait_for("working", seconds=40)
            assert time.monotonic() - began < 20


def test_without_the_definition_it_is_not_ready_and_says_what_to_do(api, tmp_path):
    del api.server.served["/apis/sokken.dev/v1alpha1"]
    with operator(api, tmp_path) as program:
        program.wait_for("not_ready")
        code, problem = ask(program.health, "/readyz")
        assert code == 503
        assert "sokken operator crds | kubectl apply --server-side -f -" in problem
        assert ask(program.health, "/livez")[0] == 200
        assert statusz(program)["work"]["problem"] in problem


def test_one_that_may_not_read_the_lease_is_not_ready_and_says_why(api, tmp_path):
    api.server.refuse(403, status(403, "leases is forbidden"), times=10_000)
    with operator(api, tmp_path) as program:
        eventually(lambda: "leases is forbidden" in ask(program.health, "/readyz")[1])
        assert ask(program.health, "/readyz")[0] == 503


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_api_server_that_restarts_is_survived(api, tmp_path):
    with operator(api, tmp_path) as program:
        program.wait_for("working")
        api.do(api.server.stop)
        program.wait_for("leadership_lost", seconds=30)
        api.do(api.server.start)
        program.wait_for("working", 2, seconds=60)
        api.do(put_tunnel, api.server)
        eventually(lambda: ready(api.server))
        assert ask(program.health, "/livez")[0] == 200


def test_when_kopf_ends_the_process_does_too_and_says_so(api, tmp_path):
    def is_watch(asked):
        return asked.path.endswith("/tunnels") and "watch" in asked.query

    broken = json.dumps({"type": "ERROR", "object": {"code": 500, "message": "a fault that kopf does not survive"}})
    with operator(api, tmp_path) as program:
        program.wait_for("working")
        api.do(api.server.refuse, 200, broken + "\n", matches=is_watch, times=10_000)
        api.do(api.server.end_streams)
        assert program.wait(60) == 1
        (said,) = program.noise
        assert said.startswith("sokken: kopf has ended: Error in the watch-stream: ")
        program.noise.clear()
        assert api.server.find("leases", "sokken-operator")["spec"]["holderIdentity"] == ""


def image_of(api, name="web"):
    deployment = api.server.find("deployments", f"{name}-sokken")
    return deployment and deployment["spec"]["template"]["spec"]["containers"][0]


def test_the_default_image_and_how_it_is_pulled(api, tmp_path):
    images = {
        "SOKKEN_OPERATOR_IMAGE": "registry.example/sokken:9",
        "SOKKEN_OPERATOR_IMAGE_PULL_POLICY": "Always",
        "SOKKEN_OPERATOR_IMAGE_PULL_SECRETS": "one,two",
    }
    with operator(api, tmp_path, **images):
        api.do(put_tunnel, api.server)
        eventually(lambda: image_of(api))
        assert image_of(api)["image"] == "registry.example/sokken:9"
        assert image_of(api)["imagePullPolicy"] == "Always"
        account = api.server.find("serviceaccounts", "web-sokken")
        assert account["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


def test_only_the_namespaces_that_it_shall_watch(api, tmp_path):
    with operator(api, tmp_path, SOKKEN_OPERATOR_WATCH_NAMESPACES="team,other"):
        api.do(put_tunnel, api.server, "strange", "elsewhere")
        api.do(put_tunnel, api.server, "web", "team")
        api.do(put_tunnel, api.server, "also", "other")
        eventually(lambda: ready(api.server, "web") and ready(api.server, "also"))
        assert ready(api.server, "strange") is None
        asked = {asked.path for asked in api.server.asked if not asked.path.startswith("/apis/coordination")}
        assert all("/namespaces/" in path for path in asked if path.count("/") > 3)


def test_the_lease_is_where_and_called_as_it_was_asked_for(api, tmp_path):
    names = {"SOKKEN_OPERATOR_LEASE_NAME": "ours", "SOKKEN_OPERATOR_LEASE_NAMESPACE": "leases"}
    with operator(api, tmp_path, **names) as program:
        program.wait_for("working")
        assert api.server.find("leases", "ours")["metadata"]["namespace"] == "leases"


def test_what_it_may_not_write_it_does_not_watch(api, tmp_path):
    api.server.served["/apis/monitoring.coreos.com/v1"] = {"podmonitors": "PodMonitor"}
    off = {"SOKKEN_OPERATOR_NETWORK_POLICIES": "false", "SOKKEN_OPERATOR_POD_MONITORS": "false"}
    wanted = {"networkPolicy": {"mode": "Managed"}, "monitoring": {"podMonitor": {"enabled": True}}}
    with operator(api, tmp_path, **off):
        api.do(put_tunnel, api.server, **wanted)
        eventually(lambda: ready(api.server))
        told = api.server.find("tunnels", "web")["status"]["conditions"][1]["message"]
        assert "no NetworkPolicy is made" in told
        assert "no PodMonitor is made" in told
        assert not any("networkpolicies" in asked.path or "podmonitors" in asked.path for asked in api.server.asked)
    with operator(api, tmp_path / "again"):
        eventually(lambda: api.server.find("networkpolicies", "web-sokken"))
        eventually(lambda: api.server.find("podmonitors", "web-sokken"))


@pytest.mark.parametrize(("workers", "most"), [("1", 1), ("3", 3)])
def test_so_many_tunnels_are_worked_on_at_once(api, tmp_path, workers, most):
    with operator(api, tmp_path, SOKKEN_OPERATOR_WORKERS=workers) as program:
        program.wait_for("working")
        api.server.patience = 0.1
        for number in range(8):
            api.do(put_tunnel, api.server, f"web-{number}")
        seen = set()
        deadline = time.monotonic() + PATIENCE
        while not all(ready(api.server, f"web-{number}") for number in range(8)):
            assert time.monotonic() < deadline
            seen.add(statusz(program)["work"]["working"])
        api.server.patience = 0
        assert max(seen) == most


@pytest.mark.parametrize(("limit", "rolled"), [("1", 1), ("2", 2)])
def test_so_many_tunnels_roll_at_once(api, tmp_path, limit, rolled):
    names = ["a", "b", "c"]

    def settle(name):
        deployment = json.loads(json.dumps(api.server.find("deployments", f"{name}-sokken")))
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1),
        }
        api.server.put("apps/v1", "deployments", deployment)
        tunnel = json.loads(json.dumps(api.server.find("tunnels", name)))
        for condition in tunnel["status"]["conditions"]:
            condition["status"] = "True"
        api.server.put("sokken.dev/v1alpha1", "tunnels", tunnel)

    with operator(api, tmp_path, SOKKEN_OPERATOR_IMAGE="sokken:1"):
        for name in names:
            api.do(put_tunnel, api.server, name)
        eventually(lambda: all(ready(api.server, name) for name in names))
    for name in names:
        api.do(settle, name)
    limits = {"SOKKEN_OPERATOR_MAX_CONCURRENT_ROLLOUTS": limit, "SOKKEN_OPERATOR_IMAGE": "sokken:2"}
    with operator(api, tmp_path, **limits):
        eventually(lambda: sum(image_of(api, name)["image"] == "sokken:2" for name in names) == rolled)
        waits = ("True", "AwaitingTurn")
        eventually(lambda: [conditions(api.server, n)["Progressing"] for n in names].count(waits) == 3 - rolled)
        assert sum(image_of(api, name)["image"] == "sokken:2" for name in names) == rolled


def test_metrics_say_how_it_goes(api, tmp_path):
    with operator(api, tmp_path) as program:
        api.do(put_tunnel, api.server)
        eventually(lambda: ready(api.server))

        def metrics():
            lines = ask(program.admin, "/metrics")[1].splitlines()
            return dict(line.rsplit(" ", 1) for line in lines if line.startswith("sokken_operator_"))

        eventually(lambda: metrics()['sokken_operator_tunnels{ready="False",role="operator"}'] == "1.0")
        found = metrics()
        assert found['sokken_operator_leader{role="operator"}'] == "1.0"
        assert found['sokken_operator_queue_depth{role="operator"}'] == "0.0"
        assert float(found['sokken_operator_watch_age_seconds{resource="deployments.apps",role="operator"}']) < 60
        counted = 'sokken_operator_reconcile_duration_seconds_count{result="applied",role="operator"}'
        assert float(found[counted]) >= 1
        api.server.refuse(503, times=3)
        api.do(put_tunnel, api.server, drainTimeoutSeconds=60)
        failures = 'sokken_operator_api_failures_total{error_type="unavailable",role="operator"}'
        eventually(lambda: float(metrics().get(failures, 0)) >= 3)


def test_each_reconcile_is_a_span(api, tmp_path):
    with collector() as sink, operator(api, tmp_path, **environment(sink)):
        api.do(put_tunnel, api.server)
        (span, *_) = sink.wait_for("sokken.reconcile", sokken_reconcile_result="applied")
        assert (span.kind, span.status) == ("internal", "unset")
        assert span.attributes["k8s.namespace.name"] == "team"
        assert span.attributes["sokken.tunnel.name"] == "web"
        assert span.resource["service.name"] == "sokken-operator"
        api.server.refuse(503, matches=lambda asked: asked.path.endswith("/tunnels/web"), times=1)
        api.do(put_tunnel, api.server, drainTimeoutSeconds=60)
        (failed, *_) = sink.wait_for("sokken.reconcile", sokken_reconcile_result="failed")
        assert (failed.status, failed.attributes["error.type"]) == ("error", "unavailable")


def test_no_secret_is_told(api, tmp_path):
    with operator(api, tmp_path, SOKKEN_LOG_DEBUG="true") as program:
        api.do(put_tunnel, api.server)
        eventually(lambda: ready(api.server))
        shown = json.dumps([program.lines, statusz(program), ask(program.admin, "/metrics")])
        assert api.server.token not in shown
