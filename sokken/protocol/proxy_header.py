"""The PROXY protocol, versions 1 and 2: what a proxy says of a connection's client before the first byte.

Read by the server when it stands behind such a proxy, written by it to targets whose rule wants that. The
specification is haproxy's doc/proxy-protocol.txt; its sections are cited. Whom to believe is decided elsewhere.
"""

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from sokken.protocol.address import Address

MAX_HEADER_BYTES: Final = 4096
"""Of version 2, in which TLVs may be long; version 1 has at most 107 (section 2.1)."""

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V1_START: Final = b"PROXY "
_V1_BYTES: Final = 107
_FIXED_BYTES: Final = 16
_LOCAL, _PROXY = 0x20, 0x21  # version 2 in the high half (section 2.2)
_TCP4, _TCP6 = 0x11, 0x21
_FAMILIES: Final = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}
_UNIQUE_ID: Final = 0x05  # section 2.2.5
_TLV: Final = struct.Struct("!BH")

_V1_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)


class ProxyHeaderError(ValueError):
    """The bytes are no header of the PROXY protocol; the message says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole one. ``client`` is None if the proxy speaks for itself or does not know (LOCAL, UNKNOWN)."""

    client: Address | None
    size: int
    """How many bytes it has; what follows is the client's."""


def decode_proxy_header(buffer: bytes) -> ProxyHeader | None:
    """Decode what ``buffer`` starts with; None if it is not whole yet. Raises ProxyHeaderError."""
    if buffer.startswith(_SIGNATURE):
        return _decode_v2(buffer)
    if buffer.startswith(_V1_START):
        return _decode_v1(buffer)
    if _SIGNATURE.startswith(buffer) or _V1_START.startswith(buffer):
        return None
    raise ProxyHeaderError("it did not begin with a header of the PROXY protocol")


def encode_proxy_header(client: Address, server: Address, unique_id: bytes) -> bytes:
    """Write version 2 for a TCP connection of ``client`` to ``server``, both IP addresses.

    ``unique_id`` (at most 128 bytes) is how the connection is called (section 2.2.5). An IPv4 address beside an
    IPv6 one is written as IPv6 (RFC 4291 section 2.5.5.2).
    """
    hosts = [_unmap(ip_address(address.host.partition("%")[0])) for address in (client, server)]
    if all(isinstance(host, IPv4Address) for host in hosts):
        family, packed = _TCP4, [host.packed for host in hosts]
    else:
        family, packed = _TCP6, [_as_ipv6(host) for host in hosts]
    rest = _FAMILIES[family].pack(*packed, client.port, server.port)
    rest += _TLV.pack(_UNIQUE_ID, len(unique_id)) + unique_id
    return _SIGNATURE + struct.pack("!BBH", _PROXY, family, len(rest)) + rest


def _as_ipv6(host: IPv4Address | IPv6Address) -> bytes:
    return host.packed if isinstance(host, IPv6Address) else bytes(10) + b"\xff\xff" + host.packed


def _decode_v1(buffer: bytes) -> ProxyHeader | None:
    line, end, _ = buffer[:_V1_BYTES].partition(b"\r\n")
    if not end:
        if len(buffer) < _V1_BYTES:
            return None
        raise ProxyHeaderError(f"its PROXY line has more than {_V1_BYTES} bytes")
    size = len(line) + len(end)
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(None, size)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise ProxyHeaderError("its PROXY line is malformed")
    kind = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source, _ = (kind(match[group].decode("ascii")) for group in (2, 3))
    except ValueError:
        raise ProxyHeaderError("its PROXY line has a malformed address") from None
    if max(int(match[4]), int(match[5])) > 0xFFFF:
        raise ProxyHeaderError("its PROXY line has a malformed port")
    return ProxyHeader(_canonical(source, int(match[4])), size)


def _decode_v2(buffer: bytes) -> ProxyHeader | None:
    if len(buffer) < _FIXED_BYTES:
        return None
    command, family, length = struct.unpack_from("!BBH", buffer, len(_SIGNATURE))
    size = _FIXED_BYTES + length
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"its PROXY header has an unknown version or command ({command:#04x})")
    if size > MAX_HEADER_BYTES:
        raise ProxyHeaderError(f"its PROXY header has more than {MAX_HEADER_BYTES} bytes")
    if len(buffer) < size:
        return None
    if command == _LOCAL or family not in _FAMILIES:  # other families: as if there were no address (section 2.2)
        return ProxyHeader(None, size)
    layout = _FAMILIES[family]
    if length < layout.size:
        raise ProxyHeaderError("its PROXY header is too short for its addresses")
    source, _, port, _ = layout.unpack_from(buffer, _FIXED_BYTES)
    return ProxyHeader(_canonical(ip_address(source), port), size)  # of 4 bytes or of 16


def _canonical(source: IPv4Address | IPv6Address, port: int) -> Address:
    return Address(str(_unmap(source)), port)


def _unmap(host: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return getattr(host, "ipv4_mapped", None) or host
