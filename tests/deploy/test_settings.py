"""The chart's values and the programs' settings: each is in the other, and none is lost on the way."""

import re

import pytest
import yaml

from charts.generate.kinds import PLACED
from sokken.settings.catalogue import PROGRAMS, all_settings, settings_of
from tests.support.charts import CASES, CHART, CLIENT, TARGETS, Refused, container, environment, render, render_case

# Each with the values that set it, where `settings` does not.
VALUES = {
    "server": {
        "SOKKEN_ADMIN_TOKEN_FILE": {"adminToken": {"existingSecret": "s"}},
        "SOKKEN_ENDPOINT_DELAY_SECONDS": {"endpointDelaySeconds": 1},
        "SOKKEN_DRAIN_TIMEOUT_SECONDS": {"drainTimeoutSeconds": 1},
        "SOKKEN_POLICY_FILE": {"targets": [], "existingPolicyConfigMap": {"name": "c"}},
        "SOKKEN_TARGETS": {"targets": ["a:1"]},
        "SOKKEN_BASE_PATH": {"basePath": "/a"},
        "SOKKEN_TLS_CERT_FILE": {"tls": {"existingSecret": "s"}},
        "SOKKEN_TLS_KEY_FILE": {"tls": {"existingSecret": "s"}},
        "SOKKEN_CLIENT_CA_FILE": {"tls": {"existingSecret": "s"}, "clientCA": {"existingSecret": "s"}},
        "SOKKEN_TOKENS_FILE": {"tokens": {"existingSecret": "s"}},
        "SOKKEN_JWT_JWKS_FILE": {"jwt": {"issuer": "i", "audience": "a", "jwks": {"existingSecret": "s"}}},
        **{
            name: {
                "jwt": {
                    "issuer": "i",
                    "audience": "a",
                    "jwksURL": "https://a.example",
                    "ca": {"existingSecret": "s"},
                    "token": {"existingSecret": "s"},
                }
            }
            for name in (
                "SOKKEN_JWT_ISSUER",
                "SOKKEN_JWT_AUDIENCE",
                "SOKKEN_JWT_JWKS_URL",
                "SOKKEN_JWT_JWKS_CA_FILE",
                "SOKKEN_JWT_JWKS_TOKEN_FILE",
            )
        },
    },
    "client": {
        "SOKKEN_ADMIN_TOKEN_FILE": {"adminToken": {"existingSecret": "s"}},
        "SOKKEN_ENDPOINT_DELAY_SECONDS": {"endpointDelaySeconds": 1},
        "SOKKEN_DRAIN_TIMEOUT_SECONDS": {"drainTimeoutSeconds": 1},
        "SOKKEN_FORWARDS": {},
        "SOKKEN_CA_FILE": {"ca": {"existingSecret": "s"}},
        "SOKKEN_CLIENT_CERT_FILE": {"clientCertificate": {"existingSecret": "s"}},
        "SOKKEN_CLIENT_KEY_FILE": {"clientCertificate": {"existingSecret": "s"}},
        "SOKKEN_TOKEN_FILE": {"token": {"existingSecret": "s"}},
        "SOKKEN_HEADERS": {"secretSettings": {"SOKKEN_HEADERS": {"name": "s", "key": "k"}}},
        "SOKKEN_HEADERS_FILE": {"headers": {"existingSecret": "s"}},
        "SOKKEN_READINESS": {"readiness": "listener"},
    },
}
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
ALWAYS = {"SOKKEN_API_ADDR", "SOKKEN_ADMIN_ADDR"}
# A value for each that has no bounds, or whose example is none.
PROXY = "http://proxy.example:3128"  # without the password that only a Secret may hold
EXAMPLES = {
    "HTTPS_PROXY": PROXY,
    "HTTP_PROXY": PROXY,
    "SOKKEN_PROXY": PROXY,
    "SOKKEN_PROXY_PROTOCOL": "off",
    "SOKKEN_MAX_MESSAGE_BYTES": 1048576,
}
LEAST = {"server": TARGETS, "client": CLIENT}

every_setting = pytest.mark.parametrize(
    ("program", "variable"),
    [(program, setting.variable) for program, model in PROGRAMS.items() for setting in settings_of(model).values()],
)


def example(variable):
    """A value of that setting which is not its default, as YAML would give it."""
    setting = next(each for each in all_settings().values() if each.variable == variable)
    if variable in EXAMPLES:
        return EXAMPLES[variable]
    if setting.is_switch:
        return setting.default == "false"
    if setting.unit == "list":
        return [setting.example, setting.example]
    if setting.unit in {"seconds", "per second"}:
        return 1000000.5
    if setting.unit in {"connections", "days", "files", "megabytes"}:
        return 1000000
    return setting.example or "example"


def as_text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


@every_setting
def test_every_setting_is_reachable_from_values(program, variable):
    def variables(values):
        return {each["name"] for each in container(render(LEAST[program], {program: values}), program)["env"]}

    if variable in ALWAYS | VALUES[program].keys():
        assert variable in variables(VALUES[program].get(variable, {}))
    else:
        value = example(variable)
        objects = render(LEAST[program], {program: {"settings": {variable: value, **needed(variable)}}})
        assert environment(objects, program)[variable] == as_text(value)


def needed(variable):
    return {"SOKKEN_TRUSTED_PROXIES": ["10.0.0.0/8"]} if variable == "SOKKEN_PROXY_PROTOCOL" else {}


@every_setting
def test_a_setting_with_a_value_of_its_own_is_refused_with_that_values_name(program, variable):
    if variable not in PLACED[program]:
        assert variable not in ALWAYS | VALUES[program].keys()
        return
    with pytest.raises(Refused, match=f"{program}.settings.{variable}: ") as refused:
        render(LEAST[program], {program: {"settings": {variable: "x"}}})
    named = re.findall(rf"{program}\.([A-Za-z]+)", PLACED[program][variable])
    assert named or variable in ALWAYS
    assert set(named) <= set(DEFAULTS[program])
    assert PLACED[program][variable] in str(refused.value)


@pytest.mark.parametrize("case", CASES)
def test_only_settings_of_that_program_are_set(case):
    objects = render_case(case)
    for program, model in PROGRAMS.items():
        known = {setting.variable for setting in settings_of(model).values()}
        for thing in objects.of("Deployment"):
            if thing["metadata"]["labels"]["app.kubernetes.io/component"] == program:
                named = {each["name"] for each in container(objects, program)["env"]}
                assert {name for name in named if name.startswith("SOKKEN_")} <= known


def test_every_variable_that_the_templates_name_is_a_setting():
    known = {setting.variable for setting in all_settings().values()}
    files = [*(CHART / "templates").rglob("*"), CHART / "values.yaml", CHART / "README.md"]
    for path in filter(lambda path: path.is_file(), files):
        assert set(re.findall(r"SOKKEN_[A-Z0-9_]*[A-Z0-9]", path.read_text())) <= known, path


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_variable_is_set_twice(program):
    names = [each["name"] for each in container(render_case("everything"), program)["env"]]
    assert sorted(set(names)) == sorted(names)


def test_null_takes_a_default_back():
    objects = render(TARGETS, {"server": {"settings": {"SOKKEN_MAX_CONNECTIONS": None}}})
    assert "SOKKEN_MAX_CONNECTIONS" not in environment(objects, "server")


def test_the_kubelet_expands_nothing():
    objects = render(CLIENT, {"client": {"settings": {"SOKKEN_TUNNEL_NAME": "$(HOSTNAME)"}}})
    assert environment(objects, "client")["SOKKEN_TUNNEL_NAME"] == "$$(HOSTNAME)"
