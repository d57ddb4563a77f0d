"""Whether pods of a Tunnel could start at all: judged by the client's own parsers, on the settings they would have.

What the API server's rules cannot express is found here, and becomes a condition of the Tunnel instead of pods that
end at once. Called by the reconciler before anything is made.
"""

from collections.abc import Mapping
from typing import Any, Final

from sokken.errors import ConfigurationError
from sokken.operator.model import InvalidTunnel, Tunnel, TunnelSpec, decode_tunnel
from sokken.operator.model.spec import Forward
from sokken.operator.resources.environment import format_forward, format_target, literal_settings
from sokken.protocol.address import AddressError, parse_forward, parse_target
from sokken.settings import ClientSettings, InvalidSettings, read_alone
from sokken.transport.credentials import refuse_contradictions, refuse_plaintext

_FIELDS: Final = {
    "forwards": "spec.forwards",
    "headers": "spec.server.headers",
    "proxy": "spec.proxy.url",
    "server_name": "spec.server.serverName",
    "tunnel_name": "metadata.name",
}
"""By setting. What is missing here has a field whose rules say everything, or is a variable of podTemplate.env."""


def accept_tunnel(document: Mapping[str, Any]) -> Tunnel:
    """Read an object of the API server; raises InvalidTunnel, with the field and what is wrong with it."""
    tunnel = decode_tunnel(document)
    for index, forward in enumerate(tunnel.spec.forwards):
        _accept_forward(tunnel.spec, forward, f"spec.forwards[{index}]")
    own = {each.name: each.value for each in tunnel.spec.pod_template.env}
    try:
        settings = read_alone(ClientSettings, {**own, **literal_settings(tunnel)})
        refuse_contradictions(settings)
        refuse_plaintext(settings)
    except InvalidSettings as error:
        problem = error.problems[0]
        raise InvalidTunnel(f"{_FIELDS.get(problem.setting, 'spec.podTemplate.env')}: {problem.text}") from None
    except ConfigurationError as error:
        raise InvalidTunnel(f"spec: {error}") from None
    return tunnel


def _accept_forward(spec: TunnelSpec, forward: Forward, field: str) -> None:
    """The server reads the target by itself, and so does nobody before it."""
    try:
        parse_target(format_target(forward.target))
    except AddressError as error:
        raise InvalidTunnel(f"{field}.target: {error}") from None
    try:
        parse_forward(format_forward(spec, forward))
    except AddressError as error:
        raise InvalidTunnel(f"{field}, with spec.server.url: {error}") from None
