"""The Tunnel as the rest of the operator uses it: a frozen value, decoded from what the API server gives.

Its defaults and its rules stand here alone; the CustomResourceDefinition is generated from them (crd.py). Nothing is
asked of a cluster here, and pydantic is imported nowhere else in the operator.
"""

from sokken.operator.model.names import API_VERSION, CATEGORY, GROUP, KIND, PLURAL, SHORT_NAME, VERSION
from sokken.operator.model.spec import TunnelSpec
from sokken.operator.model.tunnel import InvalidTunnel, Tunnel, decode_tunnel

__all__ = [
    "API_VERSION",
    "CATEGORY",
    "GROUP",
    "KIND",
    "PLURAL",
    "SHORT_NAME",
    "VERSION",
    "InvalidTunnel",
    "Tunnel",
    "TunnelSpec",
    "decode_tunnel",
]
