"""Who the client of a proxied request is, by X-Forwarded-For and Forwarded (RFC 7239), as far as they can be believed.

Called by the server for requests that come from a proxy which it trusts. Everybody can write these fields; what a
trusted proxy has added stands at their end.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from sokken.protocol.address import Address

Networks = Sequence[IPv4Network | IPv6Network]

_MAX_HOPS: Final = 32
_NODE = re.compile(r"(?P<v4>[0-9.]+)(?::(?P<port>[0-9]{1,5}))?|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<port6>[0-9]{1,5}))?")
# RFC 7239 section 4: pairs separated by ";" whose value is a token or a quoted string; an element ends at ",".
_PAIR = re.compile(r'\s*([^=;,"\s]+)\s*=\s*(?:"([^"\\]*)"|([^;,"\s]*))\s*([;,]|\Z)')


def is_within(host: str, networks: Networks) -> bool:
    """Whether an IP address (a zone is left aside) lies in one of the networks."""
    address = _read(host.partition("%")[0])
    return address is not None and any(address in network for network in networks)


def find_client(forwarded_for: str, forwarded: str, proxies: Networks) -> Address | None:
    """Find the last hop that is no proxy of ours; None if the fields do not say, or contradict each other.

    ``forwarded_for`` and ``forwarded`` are the fields' values, joined by commas. Port 0 is a port that was not told.
    A proxy that sets one of the fields may pass the other one on as the client wrote it: so both must agree.
    """
    listed = forwarded_for.split(",") if forwarded_for.strip() else []
    chains = [chain for chain in (listed, _for_values(forwarded)) if chain]
    found = [_last_foreign(chain, proxies) for chain in chains]
    return found[0] if len({client and client.host for client in found}) == 1 else None


def _for_values(forwarded: str) -> list[str]:
    """What each element has for "for"; an empty text where it has none, or where the field is malformed."""
    values, value, at = [], "", 0
    if forwarded.rstrip().endswith((";", ",")):
        return [""]
    while at < len(forwarded.rstrip()):
        match = _PAIR.match(forwarded, at)
        if match is None:
            return [""]
        if match[1].lower() == "for":
            value = match[2] or match[3] or ""
        if match[4] != ";":
            values.append(value)
            value = ""
        at = match.end()
    return values


def _last_foreign(chain: Sequence[str], proxies: Networks) -> Address | None:
    for text in reversed(chain[-_MAX_HOPS:]):
        node = _parse_node(text.strip())
        if node is None or not is_within(node.host, proxies):
            return node
    return None


def _parse_node(text: str) -> Address | None:
    bare = _read(text)
    if bare is not None:
        return Address(str(bare), 0)
    match = _NODE.fullmatch(text)
    address = _read(match["v4"] or match["v6"]) if match else None
    if match is None or address is None:
        return None
    port = int(match["port"] or match["port6"] or 0)
    return Address(str(address), port) if port <= 0xFFFF else None


def _read(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
