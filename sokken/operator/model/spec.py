"""What a user asks of a Tunnel: its ``spec``, with every default and every rule.

The decoded value is what pods are made of (resources.py); its schema becomes the CustomResourceDefinition's (crd.py).
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from sokken.operator.model.names import ADMIN_PORT, HEALTH_PORT, RESERVED_PREFIX
from sokken.operator.model.pod import PodTemplate
from sokken.operator.model.rules import (
    HOST_NAME,
    PORT,
    Int32,
    Key,
    Labels,
    Model,
    ObjectName,
    Port,
    Schema,
    host_rules,
    list_map,
    matching,
    names_within,
    quote_cel,
    rule,
    rules,
    rules_of_class,
)

_AUTHORITY: Final = rf"({HOST_NAME}|\[[0-9A-Fa-f:.]+\])(:{PORT})?"
_PATH: Final = r"(/([-A-Za-z0-9._~!$&'()*+,;=:/]|%[0-9A-Fa-f]{2})*)?"
_NO_USER: Final = rule(
    "!self.contains('@')", "a URL here has no user and password: everybody who may read the Tunnel reads it"
)
_HEADER_NAME: Final = "[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_CREDENTIAL_HEADERS: Final = "(?i)(authorization|cookie|proxy-authorization)"
_OUR_HEADERS: Final = (
    "(?i)(connection|content-length|expect|host|te|transfer-encoding|upgrade|sec-websocket-.*|sokken-.*)"
)
_DECIMAL: Final = r"(0(\.[0-9]{1,6})?|1(\.0{1,6})?)"
_FORWARD_NAME: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_CREDENTIALS: Final = ("tokenSecretRef", "serviceAccountToken", "clientCertificateSecretRef")
_PLAINTEXT: Final = (
    "has(self.podTemplate) && has(self.podTemplate.env) && self.podTemplate.env.exists("
    "e, e.name == 'SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS' && has(e.value) && e.value == 'true')"
)


class CaBundleRef(Model):
    """A ConfigMap or Secret with the certificates of authorities."""

    kind: Literal["ConfigMap", "Secret"] = Field(default="ConfigMap", description="Which of the two it is")
    name: ObjectName = Field(description="Its name, in the Tunnel's namespace")
    key: Key = Field(default="ca.crt", description="Its key that holds them, in PEM form")


class Header(Model):
    """A header field for the server, or for a gateway in between."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=64),
        matching(_HEADER_NAME, "a header's name is letters, digits and -, for example X-Route"),
        rules(
            rule(
                f"!self.matches({quote_cel(f'^{_CREDENTIAL_HEADERS}$')})",
                "this header is a credential: use auth, or proxy.credentialsSecretRef",
            ),
            rule(f"!self.matches({quote_cel(f'^{_OUR_HEADERS}$')})", "this header is sokken's own"),
        ),
    ] = Field(description="Its name")
    value: Annotated[
        str, Field(max_length=1024), matching("[ -~]*", "a header's value is printable ASCII, in one line")
    ] = Field(description="Its value; no secret, because everybody who may read the Tunnel reads it")


class Server(Model):
    """Which server, and how it is known to be the right one."""

    url: Annotated[
        str,
        Field(min_length=1, max_length=2048),
        rules(
            rule("self.startsWith('ws://') || self.startsWith('wss://')", "a server's URL begins with wss:// or ws://"),
            _NO_USER,
            rule("!self.contains('?') && !self.contains('#')", "a server's URL has no query and no fragment"),
            rule("!self.contains('/tunnel/')", "leave /tunnel/ and the target out: targets stand in spec.forwards"),
            rule(
                f"self.matches({quote_cel(f'^wss?://{_AUTHORITY}{_PATH}$')})",
                "a server's URL is wss://HOST[:PORT][/PATH], for example wss://tunnel.example.com",
            ),
        ),
    ] = Field(description="Where the server is, for example wss://tunnel.example.com; without /tunnel/ and a target")
    ca_bundle_ref: CaBundleRef | None = Field(
        default=None, description="Authorities to trust instead of the system's; read again when they change"
    )
    server_name: Annotated[str, Field(min_length=1, max_length=253), host_rules("serverName")] | None = Field(
        default=None, description="The name in the server's certificate, if it is not the URL's host"
    )
    headers: Annotated[tuple[Header, ...], Field(max_length=16), list_map("name")] = Field(
        default=(), description="Header fields to send along; nothing secret"
    )

    model_config = rules_of_class(
        rule(
            "!has(self.caBundleRef) || self.url.startsWith('wss://')",
            "authorities are for wss://; with ws:// nobody is verified",
            ".caBundleRef",
        ),
        rule(
            "!has(self.serverName) || self.url.startsWith('wss://')",
            "a certificate's name is for wss://; with ws:// there is none",
            ".serverName",
        ),
    )


class TokenSecretRef(Model):
    """A Secret with a bearer token."""

    name: ObjectName = Field(description="Its name, in the Tunnel's namespace")
    key: Key = Field(default="token", description="Its key that holds the token")


class ServiceAccountToken(Model):
    """A token of the pods' own ServiceAccount, which Kubernetes signs and renews."""

    audience: Annotated[str, Field(min_length=1, max_length=253), matching("[!-~]+", "an audience has no spaces")] = (
        Field(description="For whom it is: the server's SOKKEN_JWT_AUDIENCE")
    )
    expiration_seconds: Annotated[int, Field(ge=600, le=86400), Schema({"format": "int32"})] = Field(
        default=3600, description="How long one is good; it is renewed before"
    )


class CertificateSecretRef(Model):
    """A Secret of type kubernetes.io/tls."""

    name: ObjectName = Field(description="Its name, in the Tunnel's namespace; its keys are tls.crt and tls.key")


class Auth(Model):
    """How the client proves who it is; nothing of it for a server that asks nobody."""

    token_secret_ref: TokenSecretRef | None = Field(
        default=None, description="A bearer token; read again when it changes"
    )
    service_account_token: ServiceAccountToken | None = Field(
        default=None, description="A projected ServiceAccount token, for a server that trusts this cluster as an issuer"
    )
    client_certificate_secret_ref: CertificateSecretRef | None = Field(
        default=None, description="A client certificate; read again when it changes"
    )

    model_config = rules_of_class(
        rule(
            "!(has(self.tokenSecretRef) && has(self.serviceAccountToken))",
            "these are two tokens for one header: keep tokenSecretRef or serviceAccountToken",
            ".serviceAccountToken",
        )
    )


class ProxyCredentialsRef(Model):
    """A Secret with the credentials of a proxy."""

    name: ObjectName = Field(description="Its name, in the Tunnel's namespace")
    key: Key = Field(default="credentials", description="Its key that holds USER:PASSWORD")


class Proxy(Model):
    """The HTTP proxy that leads to the server."""

    url: Annotated[
        str,
        Field(min_length=1, max_length=2048),
        rules(
            _NO_USER,
            rule(
                f"self.matches({quote_cel(f'^https?://{_AUTHORITY}/?$')})",
                "a proxy's URL is http://HOST[:PORT] or https://HOST[:PORT], for example http://proxy.example:3128",
            ),
        ),
    ] = Field(description="Where it is, for example http://proxy.example:3128")
    credentials_secret_ref: ProxyCredentialsRef | None = Field(
        default=None, description="What it is shown; read again when it changes"
    )


class Target(Model):
    """What the server connects to."""

    host: Annotated[str, Field(min_length=1, max_length=253), host_rules("a target's host")] = Field(
        description="A name or an address, as the server's list of targets spells it"
    )
    port: Port = Field(description="Its port")


class Forward(Model):
    """One port of the Service, and the target that its connections are tunnelled to."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=15),
        rules(
            rule(
                f"self.matches({quote_cel(f'^{_FORWARD_NAME}$')}) && self.matches('[a-z]') && !self.contains('--')",
                "a forward's name is lower-case letters, digits and single inner hyphens, with at least one letter",
            ),
            rule(
                f"!self.startsWith({quote_cel(RESERVED_PREFIX)})",
                f"names that begin with {RESERVED_PREFIX} are the operator's own",
            ),
        ),
    ] = Field(description="Its name, which is that of the Service's port, too")
    listen_port: Annotated[
        int,
        Field(ge=1024, le=65535),
        Schema({"format": "int32"}),
        rules(
            rule(f"self != {ADMIN_PORT} && self != {HEALTH_PORT}", "this port is for the pod's own status and health")
        ),
    ] = Field(description="Where the client's pods listen")
    service_port: Port | None = Field(default=None, description="The Service's port; without it listenPort")
    target: Target = Field(description="What the server connects to")
    protocol: Literal["TCP"] = Field(default="TCP", description="TCP is what is tunnelled")
    app_protocol: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="The Service's appProtocol, for meshes and gateways"
    )

    @property
    def exposed_port(self) -> int:
        """The Service's port."""
        return self.service_port or self.listen_port


class Service(Model):
    """How applications reach the client."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "None"] = Field(
        default="ClusterIP", description="The Service's type; None makes no Service"
    )
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32), names_within("an annotation")
    ] = Field(default={}, description="Annotations for the Service")
    labels: Labels = Field(default={}, description="Labels for the Service; the operator's own win")
    traffic_distribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = Field(
        default=None, description="Which of the pods are preferred"
    )


class Image(Model):
    """Which image the pods run, where that is not the operator's own."""

    repository: (
        Annotated[
            str,
            Field(min_length=1, max_length=255),
            matching(
                "[a-z0-9]([-a-z0-9._]*)(:[0-9]+)?(/[a-z0-9]+([-._a-z0-9]*[a-z0-9])?)*",
                "a repository is [HOST[:PORT]/]PATH without tag and digest, for example registry.example/sokken",
            ),
        ]
        | None
    ) = Field(default=None, description="The image without tag and digest")
    tag: Annotated[str, Field(max_length=128, pattern="^[A-Za-z0-9_][-.A-Za-z0-9_]*$")] | None = Field(
        default=None, description="Its tag"
    )
    digest: Annotated[str, Field(max_length=135, pattern="^sha256:[0-9a-f]{64}$")] | None = Field(
        default=None, description="Or its digest"
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When it is pulled"
    )

    model_config = rules_of_class(
        rule("!(has(self.tag) && has(self.digest))", "an image has a tag or a digest, not both", ".digest")
    )


class NetworkPolicy(Model):
    """Who may reach the pods, and whom they may reach."""

    mode: Literal["None", "Managed"] = Field(
        default="None", description="Managed makes a NetworkPolicy; not every cluster enforces one"
    )


class PodMonitor(Model):
    """How Prometheus finds the pods."""

    enabled: bool = Field(default=False, description="Make a PodMonitor, if the cluster knows that kind")
    labels: Labels = Field(default={}, description="Labels for it, by which a Prometheus selects it")
    interval: Annotated[str, Field(max_length=16, pattern="^[1-9][0-9]*(ms|s|m)$")] = Field(
        default="30s", description="How often the pods are scraped"
    )


class Monitoring(Model):
    """Metrics."""

    pod_monitor: PodMonitor = Field(default=PodMonitor(), description="A PodMonitor of the Prometheus operator")


class HeadersSecretRef(Model):
    """A Secret with header fields for a collector."""

    name: ObjectName = Field(description="Its name, in the Tunnel's namespace")
    key: Key = Field(default="headers", description="Its key that holds name=value,name=value")


class Telemetry(Model):
    """Traces, metrics and logs."""

    tracing: Literal["Disabled", "Enabled"] = Field(default="Disabled", description="Send spans to otlpEndpoint")
    metrics: Literal["Scraped", "Pushed"] = Field(
        default="Scraped", description="Pushed sends metrics to otlpEndpoint, too"
    )
    otlp_endpoint: (
        Annotated[
            str,
            Field(min_length=1, max_length=2048),
            rules(
                _NO_USER,
                rule(
                    f"self.matches({quote_cel(f'^https?://{_AUTHORITY}{_PATH}$')})",
                    "an endpoint is http://HOST:PORT or https://HOST:PORT, for example http://collector:4318",
                ),
            ),
        ]
        | None
    ) = Field(default=None, description="A collector that speaks OTLP over HTTP, for example http://collector:4318")
    sampling_ratio: (
        Annotated[
            str,
            Field(max_length=8),
            matching(_DECIMAL, "a ratio is a decimal number from 0 to 1 in quotes, for example '0.1'"),
        ]
        | None
    ) = Field(default=None, description="Which part of the traces is recorded, from 0 to 1, as text; without it all")
    headers_secret_ref: HeadersSecretRef | None = Field(
        default=None, description="Header fields for the collector; read at a pod's start alone"
    )
    log_level: Literal["Info", "Debug"] = Field(default="Info", description="How much the pods log")
    log_format: Literal["JSON", "Pretty"] = Field(default="JSON", description="For programs, or for people")

    model_config = rules_of_class(
        rule(
            "!(has(self.tracing) && self.tracing == 'Enabled' || has(self.metrics) && self.metrics == 'Pushed') || "
            "has(self.otlpEndpoint)",
            "tracing and pushed metrics need to know where to: set otlpEndpoint",
            ".otlpEndpoint",
        )
    )


class TunnelSpec(Model):
    """What a Tunnel is to be."""

    server: Server = Field(description="The server that the tunnels lead to")
    auth: Auth = Field(default=Auth(), description="How the client proves who it is")
    proxy: Proxy | None = Field(default=None, description="An HTTP proxy that leads to the server")
    forwards: Annotated[
        tuple[Forward, ...],
        Field(min_length=1, max_length=32),
        list_map("name"),
        rules(
            rule(
                "self.all(a, self.exists_one(b, b.listenPort == a.listenPort))",
                "two forwards have the same listenPort: give each its own",
            ),
            rule(
                "self.all(a, self.exists_one(b, (has(b.servicePort) ? b.servicePort : b.listenPort) == "
                "(has(a.servicePort) ? a.servicePort : a.listenPort)))",
                "two forwards have the same servicePort (listenPort, where there is none): give each its own",
            ),
        ),
    ] = Field(description="What is tunnelled: each is a port that leads to a target")
    max_connections: Annotated[int, Field(ge=1, le=1_000_000), Schema({"format": "int32"})] = Field(
        default=1000, description="Connections that one pod carries at once; more are rejected"
    )
    replicas: Int32 = Field(default=1, description="How many pods; 0 suspends the Tunnel")
    drain_timeout_seconds: Annotated[int, Field(ge=0, le=86400), Schema({"format": "int32"})] = Field(
        default=300, description="How long connections may take to end by themselves when a pod has to go"
    )
    update_policy: Literal["Automatic", "Manual"] = Field(
        default="Automatic",
        description="Manual: what a new operator would change in the pods waits for the next change of spec",
    )
    service: Service = Field(default=Service(), description="How applications reach the client")
    pod_template: PodTemplate = Field(default=PodTemplate(), description="What the pods have besides")
    image: Image = Field(default=Image(), description="Which image the pods run, if it is not the operator's default")
    network_policy: NetworkPolicy = Field(
        default=NetworkPolicy(), description="Who may reach the pods, and whom they may reach"
    )
    monitoring: Monitoring = Field(default=Monitoring(), description="Metrics")
    telemetry: Telemetry = Field(default=Telemetry(), description="Traces, metrics and logs")

    model_config = rules_of_class(
        rule(
            "self.server.url.startsWith('wss://') || !has(self.auth) || "
            + " && ".join(f"!has(self.auth.{name})" for name in _CREDENTIALS)
            + f" || {_PLAINTEXT}",
            "everybody on the way could read a credential: use wss://, "
            "or set SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS to 'true' in podTemplate.env",
            ".auth",
        ),
    )
