"""Any Tunnel that the API server would admit: made from the schema of its definition, for hypothesis."""

from functools import cache
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from sokken.operator.crd import build_crd
from tests.support.api_server import Refused, admit, schema_of
from tests.support.tunnels import document

CRD = build_crd()
SPEC = schema_of(CRD)["properties"]["spec"]

URLS = st.sampled_from(
    ["ws://server", "wss://a.example:8443/base", "wss://[fd00::1]/a,b/", "wss://10.0.0.1", "wss://a.example/$(HOST)/$$"]
)
HOSTS = st.sampled_from(["db.internal", "DB", "10.0.0.7", "fd00::7", "under_score"])
LABELS = st.dictionaries(
    st.from_regex(r"([a-z]{1,8}\.[a-z]{1,3}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?", fullmatch=True),
    st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?)?", fullmatch=True),
    max_size=3,
)
ANNOTATIONS = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}\.example/[a-z]{1,8}", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=20),
    max_size=2,
)
GIVEN = {
    ".server.url": URLS,
    ".server.serverName": HOSTS,
    ".server.headers[].name": st.from_regex(r"X-[A-Za-z]{1,8}", fullmatch=True),
    ".server.headers[].value": st.from_regex(r"[ -~]{0,20}", fullmatch=True),
    ".auth.serviceAccountToken.audience": st.just("sokken"),
    ".proxy.url": st.sampled_from(["http://proxy:3128", "https://proxy.example/"]),
    ".forwards[].name": st.from_regex(r"[a-z]([a-z0-9]{0,13}[a-z0-9])?", fullmatch=True),
    ".forwards[].target.host": HOSTS,
    ".forwards[].appProtocol": st.sampled_from(["http", "kubernetes.io/h2c"]),
    ".service.labels": LABELS,
    ".service.annotations": ANNOTATIONS,
    ".podTemplate.labels": LABELS,
    ".podTemplate.annotations": ANNOTATIONS,
    ".podTemplate.nodeSelector": LABELS,
    ".podTemplate.env[].name": st.sampled_from(["NO_PROXY", "OTEL_SERVICE_NAME", "A", "POD_NAME", "SOKKEN_READINESS"]),
    ".podTemplate.hostAliases[].ip": st.sampled_from(["10.0.0.9", "fd00::9"]),
    ".podTemplate.dnsConfig.nameservers[]": st.just("10.0.0.53"),
    ".monitoring.podMonitor.labels": LABELS,
    ".image.repository": st.sampled_from(["sokken", "registry.example:5000/a/sokken"]),
    ".telemetry.otlpEndpoint": st.sampled_from(["http://collector:4318", "https://[fd00::2]:4318/v1"]),
    ".telemetry.samplingRatio": st.sampled_from(["0", "0.5", "1.0"]),
}
"""Fields whose rules say more than their schema."""


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,54}[a-z0-9])?", fullmatch=True)


@st.composite
def tunnel_documents(draw: st.DrawFn) -> dict[str, Any]:
    """One that is admitted, with its defaults."""
    spec = draw(_any_spec())
    for index, forward in enumerate(spec["forwards"]):
        forward["listenPort"] = 1024 + index
        forward.pop("servicePort", None)
    try:
        return admit(CRD, document(spec, name=draw(NAMES)))
    except Refused:
        assume(condition=False)
        raise


@cache
def _any_spec() -> st.SearchStrategy[Any]:
    return _strategy(SPEC, "")


def _strategy(schema: dict[str, Any], path: str) -> st.SearchStrategy[Any]:
    if path in GIVEN:
        return GIVEN[path]
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "x-kubernetes-int-or-string" in schema:
        return st.sampled_from([1, "1000m", "64Mi", "1.5Gi", "2e3"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "string":
            return _text(schema)
        case "array":
            return _list(schema, path)
        case _:
            return _object(schema, path)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    longest = min(schema["maxLength"], 12)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: len(text) <= schema["maxLength"])
    return st.text("abcxyz019", min_size=schema.get("minLength", 0), max_size=longest)


def _list(schema: dict[str, Any], path: str) -> st.SearchStrategy[list[Any]]:
    keys = schema.get("x-kubernetes-list-map-keys")
    unique = (lambda item: tuple(item.get(key) for key in keys)) if keys else None
    return st.lists(
        _strategy(schema["items"], f"{path}[]"), min_size=schema.get("minItems", 0), max_size=2, unique_by=unique
    )


def _object(schema: dict[str, Any], path: str) -> st.SearchStrategy[dict[str, Any]]:
    if "additionalProperties" in schema:
        values = _strategy(schema["additionalProperties"], f"{path}{{}}")
        return st.dictionaries(st.sampled_from(["cpu", "memory", "example.com/nic"]), values, max_size=2)
    fields = {name: _strategy(each, f"{path}.{name}") for name, each in schema.get("properties", {}).items()}
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: each for name, each in fields.items() if name in required},
        optional={name: each for name, each in fields.items() if name not in required},
    )
