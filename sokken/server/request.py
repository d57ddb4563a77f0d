"""A request for a tunnel, or for a check whether there would be one, however it was read.

Made where a request comes in (tunnel.py); everything that decides about it looks at this.
"""

from typing import NamedTuple

from sokken.protocol.handshake import Fields
from sokken.transport.channel import Channel


class TunnelRequest(NamedTuple):
    """``asked`` is what the path names, decoded, as claimed; ``peer`` (HOST:PORT) who the connection is from."""

    asked: str
    version: tuple[int, int]
    headers: Fields
    channel: Channel
    peer: str
