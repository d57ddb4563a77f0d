"""Whose request it is, behind proxies: the client as a trusted proxy tells it, and the proxy.

Asked for every tunnel and check, before anything is decided by the client's address.
"""

from typing import Final, NamedTuple

from sokken.protocol.forwarded import Networks, find_client, is_within
from sokken.server.request import TunnelRequest
from sokken.transport.listen import format_peer

_SHOWN: Final = 200


class Origin(NamedTuple):
    """``peer`` is HOST:PORT, port 0 if the proxy did not tell it; ``via`` the proxy's host, "" without one.

    ``connected`` is who the connection is from, before its request was read: the PROXY protocol's client, or who has
    connected. ``forwarded_for`` is what somebody claims who is not trusted.
    """

    peer: str
    connected: str
    via: str = ""
    forwarded_for: str = ""


def find_origin(request: TunnelRequest, trusted: Networks) -> Origin:
    """Believe the PROXY protocol's header that was read before, and those fields that a trusted proxy has added."""
    peer = request.peer
    claim = ", ".join(request.headers.getall("X-Forwarded-For", ()))
    if not trusted:
        return Origin(peer, peer, forwarded_for=claim[:_SHOWN])
    neighbour = _neighbour(request) or peer
    via = host_of(neighbour) if neighbour != peer else ""
    if is_within(host_of(peer), trusted):
        client = find_client(claim, ", ".join(request.headers.getall("Forwarded", ())), trusted)
        if client is not None:
            return Origin(str(client), peer, via or host_of(peer))
    return Origin(peer, peer, via, claim[:_SHOWN])


def host_of(peer: str) -> str:
    """The host of HOST:PORT, without brackets."""
    return peer.rpartition(":")[0].strip("[]")


def _neighbour(request: TunnelRequest) -> str | None:
    """Who has connected to this host; None if it has gone."""
    try:
        return format_peer(request.channel.getpeername())
    except OSError:
        return None
