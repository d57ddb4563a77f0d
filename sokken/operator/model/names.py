"""What the Tunnel is called in the API, and the numbers and names that both its rules and its pods must agree on."""

from typing import Final

GROUP: Final = "sokken.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "Tunnel"
PLURAL: Final = "tunnels"
SHORT_NAME: Final = "skt"
CATEGORY: Final = "sokken"

ADMIN_PORT: Final = 19000
"""Where a client's pod serves /statusz and /metrics: no forward may listen there."""
HEALTH_PORT: Final = 19001
"""And where its probes are answered."""
RESERVED_PREFIX: Final = "sokken-"
"""Of the names of these two ports, which no forward may have."""
NAME_SUFFIX: Final = "-sokken"
"""A Tunnel's children are called by its name and this."""
MAX_NAME: Final = 63
"""Characters in the name of a Service, and in a label's value (RFC 1035 section 2.3.4)."""

SETTINGS_IN_ENV: Final = (
    "SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS",
    "SOKKEN_ATTEMPT_TIMEOUT_SECONDS",
    "SOKKEN_CONNECT_TIMEOUT_SECONDS",
    "SOKKEN_EVENT_LOOP",
    "SOKKEN_HALF_CLOSED_TIMEOUT_SECONDS",
    "SOKKEN_LOG_PEER",
    "SOKKEN_MAX_MESSAGE_BYTES",
    "SOKKEN_READINESS",
    "SOKKEN_TRACE_SESSION",
)
"""The client's settings that have no field of their own: they may be set in ``podTemplate.env``."""
