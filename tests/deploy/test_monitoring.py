"""Alerts, dashboards and telemetry: what the chart wraps is what is in its files."""

import json

import yaml

from tests.support.charts import CHART, CLIENT, TARGETS, container, environment, render

ON = {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}


def test_rules_are_those_of_the_file():
    rule = render(TARGETS, ON).one("PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "rules.yaml").read_text())


def test_where_no_server_is_made_nobody_is_told_that_there_is_none():
    def alerts(*values):
        rule = render(*values, ON).one("PrometheusRule")
        return {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}

    assert alerts(TARGETS) - alerts(CLIENT) == {"SokkenNoServerReplicas"}
    assert alerts(CLIENT) < alerts(TARGETS)


def test_dashboards_are_those_of_the_files_and_carry_the_label_by_which_they_are_found():
    objects = render(TARGETS, ON)
    files = sorted((CHART / "files").glob("dashboard-*.json"))
    assert files
    for file in files:
        found = objects.one("ConfigMap", f"sokken-{file.stem}")
        ((name, text),) = found["data"].items()
        assert name == f"sokken-{file.name}"
        assert json.loads(text) == json.loads(file.read_text())
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_nothing_of_it_is_there_unasked():
    kinds = {thing["kind"] for thing in render(TARGETS)}
    assert kinds.isdisjoint({"PrometheusRule", "ServiceMonitor", "PodMonitor", "Ingress", "HTTPRoute", "NetworkPolicy"})
    assert not any(name.startswith("OTEL_") for name in environment(render(TARGETS), "server"))


def test_telemetry_reaches_both_programs():
    telemetry = {
        "endpoint": "https://collector:4318",
        "headers": {"existingSecret": "collector", "key": "all"},
        "ca": {"existingSecret": "collector-ca"},
        "sampler": "parentbased_traceidratio",
        "samplerArg": "0.25",
        "resourceAttributes": {"team": "platform"},
    }
    objects = render(TARGETS, CLIENT, {"server": {"enabled": True}}, {"telemetry": telemetry}, namespace="tunnels")
    for component in ("server", "client"):
        env = environment(objects, component)
        assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://collector:4318"
        assert (env["OTEL_TRACES_SAMPLER"], env["OTEL_TRACES_SAMPLER_ARG"]) == ("parentbased_traceidratio", "0.25")
        assert env["OTEL_RESOURCE_ATTRIBUTES"] == (
            "k8s.namespace.name=tunnels,k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME),team=platform"
        )
        assert env["OTEL_EXPORTER_OTLP_CERTIFICATE"] == "/etc/sokken/collector-ca/ca.crt"
        names = [each["name"] for each in container(objects, component)["env"]]
        # The kubelet expands only what stands above.
        assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES")
        headers = next(each for each in container(objects, component)["env"] if each["name"].endswith("OTLP_HEADERS"))
        assert headers["valueFrom"]["secretKeyRef"] == {"name": "collector", "key": "all", "optional": True}
