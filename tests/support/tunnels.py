"""Tunnels for tests: one that says as little as possible, one that says everything, and those that are refused."""

from copy import deepcopy
from typing import Any

from sokken.operator.model import API_VERSION, KIND, Tunnel, decode_tunnel

UID = "5f0c1f3e-6a0e-4a8f-9f0a-0d6f5f0c1f3e"

SMALL: dict[str, Any] = {
    "server": {"url": "wss://tunnel.example.com"},
    "forwards": [{"name": "pg", "listenPort": 5432, "target": {"host": "db.internal", "port": 5432}}],
}

LARGE: dict[str, Any] = {
    "server": {
        "url": "wss://gateway.example.com:8443/sokken/",
        "caBundleRef": {"kind": "Secret", "name": "authorities", "key": "bundle.pem"},
        "serverName": "tunnel.example.com",
        "headers": [{"name": "X-Route", "value": "blue $(HOME)"}, {"name": "X-Team", "value": "shop"}],
    },
    "auth": {
        "tokenSecretRef": {"name": "tunnel-token", "key": "bearer"},
        "clientCertificateSecretRef": {"name": "tunnel-certificate"},
    },
    "proxy": {"url": "http://proxy.example:3128", "credentialsSecretRef": {"name": "proxy"}},
    "maxConnections": 250,
    "forwards": [
        {
            "name": "pg",
            "listenPort": 5432,
            "target": {"host": "db.internal", "port": 5432},
            "appProtocol": "postgresql",
        },
        {"name": "web", "listenPort": 8443, "servicePort": 443, "target": {"host": "fd00::7", "port": 443}},
    ],
    "replicas": 5,
    "drainTimeoutSeconds": 3600,
    "updatePolicy": "Manual",
    "service": {
        "type": "LoadBalancer",
        "annotations": {"example.com/internal": "true"},
        "labels": {"team": "shop"},
        "trafficDistribution": "PreferClose",
    },
    "podTemplate": {
        "labels": {"team": "shop"},
        "annotations": {"example.com/rolled": "2026-11-26"},
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"memory": "2Gi"}},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
                    ]
                }
            },
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 10,
                        "podAffinityTerm": {
                            "topologyKey": "topology.kubernetes.io/zone",
                            "labelSelector": {"matchLabels": {"app": "db"}},
                        },
                    }
                ]
            },
        },
        "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "imagePullSecrets": [{"name": "registry"}],
        "serviceAccountName": "tunnels",
        "dnsPolicy": "None",
        "dnsConfig": {
            "nameservers": ["10.0.0.53"],
            "searches": ["internal"],
            "options": [{"name": "ndots", "value": "1"}],
        },
        "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["gateway.example.com"]}],
        "env": [{"name": "NO_PROXY", "value": ".internal"}, {"name": "SOKKEN_READINESS", "value": "listener"}],
        "securityContext": {
            "runAsUser": 12345,
            "runAsGroup": 12345,
            "fsGroup": 12345,
            "fsGroupChangePolicy": "OnRootMismatch",
            "supplementalGroups": [4000],
            "seLinuxOptions": {"level": "s0:c1,c2"},
            "seccompProfile": {"type": "Localhost", "localhostProfile": "sokken.json"},
        },
    },
    "image": {"repository": "mirror.example:5000/sokken", "digest": f"sha256:{'0a' * 32}", "pullPolicy": "Always"},
    "networkPolicy": {"mode": "Managed"},
    "monitoring": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "15s"}},
    "telemetry": {
        "tracing": "Enabled",
        "metrics": "Pushed",
        "otlpEndpoint": "http://collector.monitoring.svc:4318",
        "samplingRatio": "0.25",
        "headersSecretRef": {"name": "collector"},
        "logLevel": "Debug",
        "logFormat": "Pretty",
    },
}


def document(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A Tunnel as the API server gives it, but for the defaults."""
    named = {"name": "db", "namespace": "shop", "uid": UID, "generation": 1, **metadata}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": named, "spec": deepcopy(spec or SMALL)}


def tunnel(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> Tunnel:
    """The same, decoded."""
    return decode_tunnel({**document(spec, **metadata), "status": status or {}})


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A spec with one field of another value: ``forwards.0.listenPort``. None takes it out."""
    whole = deepcopy(spec)
    *way, last = path.split(".")
    place: Any = whole
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    key = int(last) if isinstance(place, list) else last
    if value is None:
        del place[key]
    else:
        place[key] = value
    return whole


def forward(**fields: Any) -> dict[str, Any]:
    """One more forward."""
    return {"name": "web", "listenPort": 8080, "target": {"host": "web.internal", "port": 80}, **fields}


def nodes(operator: str, *values: str) -> dict[str, Any]:
    """A pod template with one condition on nodes."""
    expression = {"key": "a", "operator": operator, **({"values": list(values)} if values else {})}
    term = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}}


def pods(operator: str) -> dict[str, Any]:
    """A pod template that is spread by a selector with one condition."""
    selector = {"matchExpressions": [{"key": "a", "operator": operator}]}
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}
    return {"topologySpreadConstraints": [spread]}


APPARMOR = "container.apparmor.security.beta.kubernetes.io/client"
TOKENS = {"tokenSecretRef": {"name": "a"}, "serviceAccountToken": {"audience": "b"}}
PLAIN = {"server": {"url": "ws://server:8000"}, "forwards": SMALL["forwards"]}

REFUSED: list[tuple[str, Any, str, str]] = [
    # what is changed in SMALL, to what, the field that is named, and a part of what is said of it
    ("server.url", "tunnel.example.com", "spec.server.url", "begins with wss:// or ws://"),
    ("server.url", "https://tunnel.example.com", "spec.server.url", "begins with wss:// or ws://"),
    ("server.url", "wss://me:secret@tunnel.example.com", "spec.server.url", "no user and password"),
    ("server.url", "wss://tunnel.example.com/?a=b", "spec.server.url", "no query"),
    ("server.url", "wss://tunnel.example.com/#a", "spec.server.url", "no fragment"),
    ("server.url", "wss://tunnel.example.com/tunnel/a:1", "spec.server.url", "targets stand in spec.forwards"),
    ("server.url", "wss://", "spec.server.url", "wss://HOST[:PORT][/PATH]"),
    ("server.url", "wss://tunnel.example.com:0", "spec.server.url", "wss://HOST[:PORT][/PATH]"),
    ("server.url", "wss://tunnel.example.com:65536", "spec.server.url", "wss://HOST[:PORT][/PATH]"),
    ("server.url", "wss://tunnel.example.com/a b", "spec.server.url", "wss://HOST[:PORT][/PATH]"),
    ("server.url", "wss://tunnel.example.com/a\nb", "spec.server.url", "wss://HOST[:PORT][/PATH]"),
    ("server.url", "wss://tunnel.example.com/%zz", "spec.server.url", "wss://HOST[:PORT][/PATH]"),
    ("server.url", "wss://-a.example", "spec.server.url", "wss://HOST[:PORT][/PATH]"),
    ("server.url", f"wss://a/{'b' * 2048}", "spec.server.url", "long"),
    ("server.url", None, "spec.server", "url"),
    ("server", {"url": "ws://a", "caBundleRef": {"name": "b"}}, "spec.server.caBundleRef", "for wss://"),
    ("server", {"url": "ws://a", "serverName": "b"}, "spec.server.serverName", "for wss://"),
    ("server.serverName", "a:443", "spec.server.serverName", "without port"),
    ("server.serverName", "10.0.0", "spec.server.serverName", "four decimal numbers"),
    ("server.caBundleRef", {"kind": "File", "name": "a"}, "spec.server.caBundleRef.kind", "File"),
    ("server.caBundleRef", {"name": "No_Name"}, "spec.server.caBundleRef.name", "No_Name"),
    ("server.caBundleRef", {"name": "a", "key": "../b"}, "spec.server.caBundleRef.key", "../b"),
    ("server.caBundleRef", {"name": "a", "key": ".."}, "spec.server.caBundleRef.key", ".."),
    ("server.headers", [{"name": "AUTHORIZATION", "value": "a"}], "spec.server.headers[0].name", "is a credential"),
    ("server.headers", [{"name": "upgrade", "value": "a"}], "spec.server.headers[0].name", "sokken's own"),
    ("server.headers", [{"name": "Sokken-Tunnel", "value": "a"}], "spec.server.headers[0].name", "sokken's own"),
    ("server.headers", [{"name": "a b", "value": "a"}], "spec.server.headers[0].name", "for example X-Route"),
    ("server.headers", [{"name": "a", "value": "b\r\nc: d"}], "spec.server.headers[0].value", "in one line"),
    ("auth", TOKENS, "spec.auth.serviceAccountToken", "two tokens"),
    ("auth", {"serviceAccountToken": {"audience": "a", "expirationSeconds": 60}}, "expirationSeconds", "600"),
    ("auth", {"serviceAccountToken": {"audience": "a b"}}, "spec.auth.serviceAccountToken.audience", "no spaces"),
    ("auth", {"token": "secret"}, "spec.auth", "token"),
    ("", {**PLAIN, "auth": {"tokenSecretRef": {"name": "a"}}}, "spec.auth", "could read a credential"),
    ("", {**PLAIN, "auth": {"serviceAccountToken": {"audience": "a"}}}, "spec.auth", "could read a credential"),
    ("", {**PLAIN, "auth": {"clientCertificateSecretRef": {"name": "a"}}}, "spec.auth", "could read a credential"),
    ("proxy", {"url": "http://me:secret@proxy"}, "spec.proxy.url", "no user and password"),
    ("proxy", {"url": "socks5://proxy"}, "spec.proxy.url", "http://HOST[:PORT]"),
    ("proxy", {"url": "http://proxy/path"}, "spec.proxy.url", "http://HOST[:PORT]"),
    ("maxConnections", 0, "spec.maxConnections", "1"),
    ("maxConnections", "many", "spec.maxConnections", "of type"),
    ("forwards", [], "spec.forwards", "should"),
    ("forwards", None, "spec", "forwards"),
    ("forwards.0.name", "PG", "spec.forwards[0].name", "lower-case letters"),
    ("forwards.0.name", "5432", "spec.forwards[0].name", "at least one letter"),
    ("forwards.0.name", "a--b", "spec.forwards[0].name", "single inner hyphens"),
    ("forwards.0.name", "-a", "spec.forwards[0].name", "inner hyphens"),
    ("forwards.0.name", "a" * 16, "spec.forwards[0].name", "long"),
    ("forwards.0.name", "sokken-admin", "spec.forwards[0].name", "operator's own"),
    ("forwards.0.listenPort", 443, "spec.forwards[0].listenPort", "1024"),
    ("forwards.0.listenPort", 65536, "spec.forwards[0].listenPort", "65535"),
    ("forwards.0.listenPort", 19000, "spec.forwards[0].listenPort", "status and health"),
    ("forwards.0.listenPort", 19001, "spec.forwards[0].listenPort", "status and health"),
    ("forwards.0.servicePort", 0, "spec.forwards[0].servicePort", "1"),
    ("forwards.0.protocol", "UDP", "spec.forwards[0].protocol", "UDP"),
    ("forwards.0.target.host", "db.internal:5432", "spec.forwards[0].target.host", "without port"),
    ("forwards.0.target.host", "[::1]", "spec.forwards[0].target.host", "brackets"),
    ("forwards.0.target.host", "10.0.0.256", "spec.forwards[0].target.host", "0 to 255"),
    ("forwards.0.target.host", "127.1", "spec.forwards[0].target.host", "four decimal numbers"),
    ("forwards.0.target.host", "a/b", "spec.forwards[0].target.host", "a host name or an IP address"),
    ("forwards.0.target.port", 0, "spec.forwards[0].target.port", "1"),
    ("forwards", [*SMALL["forwards"], forward(listenPort=5432)], "spec.forwards", "same listenPort"),
    ("forwards", [*SMALL["forwards"], forward(servicePort=5432)], "spec.forwards", "same servicePort"),
    ("replicas", -1, "spec.replicas", "0"),
    ("drainTimeoutSeconds", 86401, "spec.drainTimeoutSeconds", "86400"),
    ("updatePolicy", "Never", "spec.updatePolicy", "Never"),
    ("service", {"type": "ExternalName"}, "spec.service.type", "ExternalName"),
    ("service", {"labels": {"a b": "c"}}, "spec.service.labels", "a label's name"),
    ("service", {"labels": {"a": "b c"}}, "spec.service.labels.a", "b c"),
    ("service", {"annotations": {"/": "c"}}, "spec.service.annotations", "an annotation's name"),
    ("podTemplate", {"labels": {"sokken.dev/tunnel": "a"}}, "spec.podTemplate.labels", "operator's own"),
    ("podTemplate", {"annotations": {APPARMOR: "unconfined"}}, "spec.podTemplate.annotations", "AppArmor"),
    ("podTemplate", {"annotations": {"sokken.dev/x": "a"}}, "spec.podTemplate.annotations", "operator's own"),
    ("podTemplate", {"env": [{"name": "SOKKEN_FORWARDS", "value": "a"}]}, "podTemplate.env[0].name", "use its field"),
    ("podTemplate", {"env": [{"name": "sokken_token_file", "value": "a"}]}, "podTemplate.env[0].name", "use its field"),
    ("podTemplate", {"env": [{"name": "a-b"}]}, "spec.podTemplate.env[0].name", "a-b"),
    ("podTemplate", {"tolerations": [{"effect": "NoExecute"}]}, "tolerations[0].operator", "anything else has a key"),
    (
        "podTemplate",
        {"tolerations": [{"key": "a", "tolerationSeconds": 1}]},
        "tolerations[0].tolerationSeconds",
        "NoExecute alone",
    ),
    ("podTemplate", nodes("In"), "matchExpressions[0].values", "In, NotIn, Gt, Lt have values"),
    ("podTemplate", nodes("Exists", "a"), "matchExpressions[0].values", "the others have none"),
    ("podTemplate", nodes("Gt"), "matchExpressions[0].values", "In, NotIn, Gt, Lt have values"),
    ("podTemplate", pods("NotIn"), "matchExpressions[0].values", "In, NotIn have values"),
    ("podTemplate", {"hostAliases": [{"ip": "10.0.0.9", "hostnames": ["a b"]}]}, "hostnames[0]", "a b"),
    ("podTemplate", {"dnsPolicy": "None"}, "spec.podTemplate.dnsConfig", "nameservers"),
    ("podTemplate", {"securityContext": {"runAsUser": 0}}, "spec.podTemplate.securityContext.runAsUser", "1"),
    (
        "podTemplate",
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        "securityContext.seccompProfile.type",
        "Unconfined",
    ),
    (
        "podTemplate",
        {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
        "securityContext.seccompProfile.localhostProfile",
        "has a localhostProfile",
    ),
    ("podTemplate", {"resources": {"limits": {"memory": "much"}}}, "resources.limits.memory", "much"),
    ("podTemplate", {"hostNetwork": True}, "spec.podTemplate", "hostNetwork"),
    ("image", {"repository": "registry.example/a:1"}, "spec.image.repository", "without tag and digest"),
    ("image", {"tag": "1", "digest": f"sha256:{'0' * 64}"}, "spec.image.digest", "not both"),
    ("image", {"digest": "sha256:0"}, "spec.image.digest", "sha256:0"),
    ("networkPolicy", {"mode": "Strict"}, "spec.networkPolicy.mode", "Strict"),
    ("monitoring", {"podMonitor": {"interval": "often"}}, "spec.monitoring.podMonitor.interval", "often"),
    ("telemetry", {"tracing": "Enabled"}, "spec.telemetry.otlpEndpoint", "set otlpEndpoint"),
    ("telemetry", {"metrics": "Pushed"}, "spec.telemetry.otlpEndpoint", "set otlpEndpoint"),
    ("telemetry", {"otlpEndpoint": "collector:4318"}, "spec.telemetry.otlpEndpoint", "http://HOST:PORT"),
    ("telemetry", {"otlpEndpoint": "http://me:a@collector"}, "spec.telemetry.otlpEndpoint", "no user and password"),
    ("telemetry", {"samplingRatio": "1.5"}, "spec.telemetry.samplingRatio", "from 0 to 1"),
    ("telemetry", {"samplingRatio": 0.5}, "spec.telemetry.samplingRatio", "of type"),
]
"""Every rule, and most bounds, with a spec that breaks it."""

REFUSED_NAMES = ["1abc", "a.b", "a-", "a" * 57]


def refused_spec(path: str, value: Any) -> dict[str, Any]:
    """The spec of one row."""
    return changed(SMALL, path, value) if path else value
