"""How often an address may come: each connection is counted once, as early as it is known whose it is.

Over TLS that is before the handshake, which costs more than all that can be asked for behind it: one of the stages
between accept and the head of a request (transport/http.py), behind the PROXY header. Without TLS, and behind
proxies that tell their clients in a field of the request, it is the request for a tunnel or a check.
"""

import time
from typing import Final

from sokken.protocol.forwarded import Networks, is_within
from sokken.protocol.outcomes import Refusal
from sokken.protocol.rate import Buckets
from sokken.server.admission import Admission, network_of
from sokken.server.origin import Origin, host_of
from sokken.telemetry.logs import get_logger
from sokken.transport.channel import Channel
from sokken.transport.http import Next

_LINES_PER_SECOND: Final = 1.0
"""For each address: a flood must not become one of the log."""

log = get_logger("tunnel")


class Greeting:
    """Greets connections if the server speaks TLS, and the requests of who was not greeted so."""

    def __init__(self, admission: Admission, proxies: Networks, *, is_secure: bool) -> None:
        self._admission = admission
        self._proxies = proxies
        self._is_secure = is_secure
        self._lines = Buckets()

    def __repr__(self) -> str:
        return f"<Greeting {'connections' if self._is_secure else 'requests'} {self._admission!r}>"

    def greet_connection(self, channel: Channel, peer: str, then: Next) -> None:
        """Pass a connection on, or end it without a word of TLS: its reset tells a client to try again."""
        if self._is_counted_early(peer):
            try:
                self._admission.greet(peer)
            except Refusal as refusal:
                channel.close()
                if not self._lines.take(network_of(peer), _LINES_PER_SECOND, time.monotonic()):
                    log.warning("connection_refused", peer=peer, reason=refusal.reason, detail=refusal.detail)
                return
        then(channel, peer)

    def greet_request(self, origin: Origin) -> None:
        """Count a request whose connection was not; raises Refusal."""
        if not self._is_counted_early(origin.connected):
            self._admission.greet(origin.peer)

    def _is_counted_early(self, peer: str) -> bool:
        return self._is_secure and not is_within(host_of(peer), self._proxies)
