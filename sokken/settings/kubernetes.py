"""Where Kubernetes says that its API server is: variables that it puts into every container.

Read once at start by the operator. Whether they are believed is decided there (operator/cluster/access.py).
"""

import os
from collections.abc import Mapping

from sokken.protocol.address import Address, AddressError, parse_target


def read_api_server(environment: Mapping[str, str] | None = None) -> Address | None:
    """The API server of the cluster that this process runs in; None outside of one."""
    environ = os.environ if environment is None else environment
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT_HTTPS") or environ.get("KUBERNETES_SERVICE_PORT") or "443"
    try:
        return parse_target(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") if host else None
    except AddressError:
        return None
