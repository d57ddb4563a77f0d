"""Whether the servers would let this client in: asked at start, until each has said yes once, and then regularly.

Readiness is latched: a server that goes away later must not take the client's Service out of its balancer, and
must not stop the roll-out that would mend it.
"""

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from typing import Final

from sokken.client.connect import ConnectError, Connector
from sokken.protocol.address import ServerUrl
from sokken.protocol.backoff import retry_delay
from sokken.protocol.outcomes import Outcome
from sokken.telemetry.instruments import SERVER_REACHABLE
from sokken.telemetry.logs import get_logger
from sokken.telemetry.metrics import Metrics

_SPREAD: Final = 0.1

log = get_logger("check")


class ServerCheck:
    """Asks one URL again and again."""

    def __init__(self, connector: Connector, url: ServerUrl, interval: float) -> None:
        self._connector = connector
        self._interval = interval
        self.url = url
        self.has_passed = False
        self.problem: str | None = "not asked yet"
        self.outcome: str | None = None
        """Why the server would not let the client in, in one word."""
        self.asked_at: float | None = None
        """When that was found out (monotonic)."""

    def __repr__(self) -> str:
        return f"<ServerCheck {self.url} {self.problem or 'passed'}>"

    @property
    def server(self) -> str:
        """Its URL."""
        return str(self.url)

    async def run(self) -> None:
        """Ask for ever; only changes are logged."""
        attempt = 0
        while True:
            attempt = 0 if await self._ask() else attempt + 1
            self.asked_at = time.monotonic()
            uniform = random.random()  # noqa: S311 -- spreads requests, hides nothing
            spread = self._interval * (1 - _SPREAD + 2 * _SPREAD * uniform)
            await asyncio.sleep(spread if self.has_passed else retry_delay(attempt, uniform))

    async def _ask(self) -> bool:
        try:
            await self._connector.check(self.url)
        except ConnectError as error:
            if error.detail != self.problem:
                log.warning("server_check_failed", server=str(self.url), outcome=error.outcome, detail=error.detail)
            self.problem, self.outcome = error.detail, error.outcome
            return False
        except Exception as error:  # a fault in a check must not end the tunnels
            if repr(error) != self.problem:
                log.exception("server_check_failed", server=str(self.url), outcome=Outcome.INTERNAL_ERROR)
            self.problem, self.outcome = repr(error), Outcome.INTERNAL_ERROR
            return False
        if self.problem is not None:
            log.info("server_check_passed", server=str(self.url))
        self.has_passed, self.problem, self.outcome = True, None, None
        return True


def describe_missing(checks: Iterable[ServerCheck]) -> str | None:
    """What readiness still waits for; None if nothing."""
    return next((f"server check: {check.problem}" for check in checks if not check.has_passed), None)


def watch_checks(metrics: Metrics, checks: Sequence[ServerCheck], tunnel: str | None) -> None:
    """Let the metrics say which servers would let the client in; ``tunnel`` is its name."""
    named = (("tunnel", tunnel),) if tunnel else ()
    points = [(check, (("server", str(check.url)), *named)) for check in checks]
    metrics.observe(lambda: [(SERVER_REACHABLE, labels, int(check.problem is None)) for check, labels in points])
