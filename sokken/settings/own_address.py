"""Where the program of this environment answers, and what a connection there begins with: all that a probe reads.

Called by cli/probe. It reads the same variables as the models, and must not import them: reading this takes
milliseconds, the models a multiple of everything else that a probe does.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sokken.errors import ConfigurationError, UsageError
from sokken.protocol.address import Address, AddressError, parse_listen_address

_API_ADDR: Final = "SOKKEN_API_ADDR"
_ADMIN_ADDR: Final = "SOKKEN_ADMIN_ADDR"


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """``speaks_tls``: the server has a certificate. ``wants_proxy_header``: it requires the PROXY protocol."""

    address: Address
    speaks_tls: bool = False
    wants_proxy_header: bool = False


def read_own_address(environment: Mapping[str, str] = os.environ) -> OwnAddress:
    """Read API_ADDR, or the admin address where that one cannot be known.

    Raises UsageError for a malformed address, and ConfigurationError if there is none that can be asked.
    """
    values = {name.upper(): value for name, value in environment.items() if value}  # as pydantic-settings does
    api, admin = (_parse(name, values.get(name)) for name in (_API_ADDR, _ADMIN_ADDR))
    if api is not None and api.port:
        return OwnAddress(
            api,
            speaks_tls="SOKKEN_TLS_CERT_FILE" in values,
            wants_proxy_header=values.get("SOKKEN_PROXY_PROTOCOL") == "required",
        )
    if admin is not None and admin.port:
        return OwnAddress(admin)
    problem = "has port 0, which is another port at each start" if api else "is not set"
    raise ConfigurationError(f"{_API_ADDR} {problem}: set it to the address that the program is to serve, as :8000")


def _parse(name: str, text: str | None) -> Address | None:
    try:
        return parse_listen_address(text) if text else None
    except AddressError as error:
        raise UsageError(f"variable {name}: {error}") from None
