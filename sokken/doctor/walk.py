"""The walk along one tunnel, from the credentials to the speed: gather facts, judge them, tell, go on.

Called by the program, once for each URL. What comes after a step that failed is skipped where it cannot be done
without it, and says so.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from sokken.doctor.certificate import Certificate, read_first_certificate
from sokken.doctor.judge_credentials import judge_credentials, judge_unusable
from sokken.doctor.judge_http import (
    Asked,
    Shown,
    judge_auth,
    judge_clock,
    judge_http,
    judge_original_target,
    judge_target,
    judge_websocket,
)
from sokken.doctor.judge_network import judge_dials, judge_look_up, judge_no_proxy, judge_proxy
from sokken.doctor.judge_tls import judge_handshake
from sokken.doctor.judge_tunnel import (
    End,
    Hold,
    judge_half_close,
    judge_idle,
    judge_pings,
    judge_speed,
)
from sokken.doctor.line import Line
from sokken.doctor.reach import DoctorSettings, Reach, read_skew
from sokken.doctor.report import STEPS, Finding, Verdict, skipped
from sokken.errors import ConfigurationError
from sokken.protocol.address import ServerUrl
from sokken.protocol.credentials import AUTHORIZATION, holds_secret
from sokken.protocol.handshake import SUBPROTOCOL_V1
from sokken.protocol.proxy import connect_authority
from sokken.transport.credentials import Credentials, refuse_plaintext
from sokken.transport.plane import Plane

PINGS: Final = 5
PING_EVERY_SECONDS: Final = 1.0
HALF_CLOSE_BYTES: Final = 256 * 1024
SPEED_SECONDS: Final = 4.0
"""Half of it is sent in."""
_ORIGINAL_SECONDS: Final = 3.0

T = TypeVar("T")

Tell = Callable[[Finding], object]
Progress = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Options:
    """How thoroughly to look. ``echoes`` says that the target sends back what it gets; times are in seconds."""

    step_seconds: float = 12.0
    idle_seconds: float = 5.0
    echoes: bool = False


class _Stop(Exception):
    """What comes next cannot be done; the message says why."""


class Walk:
    """Walks to one URL; ``tell`` gets each finding as it is made, ``progress`` a few words while it takes long."""

    def __init__(
        self, plane: Plane, settings: DoctorSettings, url: ServerUrl, options: Options, tell: Tell, progress: Progress
    ) -> None:
        self._plane = plane
        self._settings = settings
        self._url = url
        self._options = options
        self._reach = Reach(plane, settings, url, options.step_seconds)
        self._tell_out = tell
        self._progress = progress
        self._told: set[str] = set()
        self._skew: float | None = None

    async def run(self) -> None:
        """Go as far as it goes."""
        reason = ""
        try:
            can_ask = self._look_at_credentials()
            await self._walk_network()
            if not can_ask:
                raise _Stop("not without the credentials")  # noqa: TRY301
            await self._walk_to_server()
            await self._walk_through()
        except _Stop as stop:
            reason = str(stop)
        for step in STEPS:
            if step not in self._told:
                self._tell(skipped(step, reason))

    def _tell(self, finding: Finding) -> Finding:
        self._told.add(finding.step)
        self._tell_out(finding)
        return finding

    def _need(self, finding: Finding) -> None:
        """Tell it; what comes next cannot be done if it failed."""
        if self._tell(finding).verdict is Verdict.FAILED:
            raise _Stop(f"not after {finding.step} has failed")

    # What this host has

    def _look_at_credentials(self) -> bool:
        """Whether the server can be asked with what is set."""
        settings = self._settings
        try:
            refuse_plaintext(settings)
            credentials = Credentials(settings, are_required=True)
            token = credentials.headers()[AUTHORIZATION].removeprefix("Bearer ") if settings.token_file else None
        except ConfigurationError as error:
            self._tell(judge_unusable(str(error)))
            return False
        self._reach.credentials = credentials
        names = [*self._shown().settings, *(["SOKKEN_CA_FILE"] if settings.ca_file and self._url.secure else [])]
        self._tell(judge_credentials(names, self._own_certificate(), token, datetime.now(UTC)))
        return True

    def _own_certificate(self) -> Certificate | None:
        path = self._settings.client_cert_file
        if path is None or not self._url.secure:
            return None
        with contextlib.suppress(OSError, ValueError):  # it was good a moment ago
            return read_first_certificate(path.read_bytes())
        return None

    def _shown(self) -> Shown:
        settings = self._settings
        given = {
            "SOKKEN_TOKEN_FILE": settings.token_file is not None,
            "SOKKEN_CLIENT_CERT_FILE": settings.client_cert_file is not None and self._url.secure,
            "SOKKEN_HEADERS_FILE": settings.headers_file is not None,
            "SOKKEN_HEADERS": holds_secret(settings.headers),
        }
        return Shown(tuple(name for name, is_given in given.items() if is_given))

    # The way to the server

    async def _walk_network(self) -> None:
        reach = self._reach
        found = await reach.look_up()
        self._need(judge_look_up(found))
        self._need(judge_dials(await reach.dial_each(tuple(found.addresses))))

    async def _walk_to_server(self) -> None:
        reach, url = self._reach, self._url
        if reach.proxy is None:
            self._tell(judge_no_proxy(url, reach.configured_proxy, self._settings.no_proxy))
        else:
            seconds, problem = await reach.pass_proxy(reach.proxy)
            self._need(judge_proxy(reach.proxy, connect_authority(url), seconds, problem))
        if url.secure:
            self._need(judge_handshake(await reach.shake(), datetime.now(UTC)))
        else:
            self._tell(skipped("tls", "ws:// is plain: everybody on the way can read and change what it carries"))

    # What the server says

    async def _walk_through(self) -> None:
        asked, line = await self._ask()
        try:
            self._need(judge_http(asked))
            self._tell(judge_clock(self._skew))
            self._tell(judge_websocket(asked))
            self._tell(judge_auth(asked, self._shown()))
            if line is None:
                self._tell(judge_target(asked))
                raise _Stop("there is no tunnel")
            await self._look_at_target(asked, line)
            await self._use(asked.subprotocol, line)
        finally:
            if line is not None:
                await line.close()

    async def _ask(self) -> tuple[Asked, Line | None]:
        asked = Asked(self._url, await self._reach.check())
        self._skew = read_skew(asked.check, time.time())
        if asked.check.answer is None:
            is_tls = not self._url.secure and await self._reach.speaks_tls()
            greeting = "" if is_tls or self._url.secure else await self._reach.hear_greeting()
            return replace(asked, speaks_tls=is_tls, greeting=greeting), None
        upgrade, line, subprotocol, spoilt = await self._reach.upgrade()
        return replace(asked, upgrade=upgrade, subprotocol=subprotocol, spoilt=spoilt), line

    async def _look_at_target(self, asked: Asked, line: Line) -> None:
        if asked.subprotocol != SUBPROTOCOL_V1:
            self._tell(judge_target(asked))
            return
        is_answering = await line.ping(_ORIGINAL_SECONDS) is not None
        detail = line.ending.detail if line.ending is not None and line.ending.end is End.CLOSED else None
        self._need(judge_original_target(self._url.target, detail, is_answering=is_answering))

    # The open tunnel

    async def _use(self, subprotocol: str, line: Line) -> None:
        options, message_bytes = self._options, self._settings.max_message_bytes
        echoes = options.echoes and subprotocol != SUBPROTOCOL_V1
        seconds = options.step_seconds
        back = await self._on_new_line(
            lambda new: new.send_back(seconds, HALF_CLOSE_BYTES, message_bytes), is_wanted=echoes
        )
        self._tell(judge_half_close(subprotocol, back))
        await self._ping(line)
        await self._hold(line)
        self._progress("speed")
        back = await self._on_new_line(lambda new: new.send_back(SPEED_SECONDS, None, message_bytes), is_wanted=echoes)
        self._tell(judge_speed(back, message_bytes))

    async def _ping(self, line: Line) -> None:
        each = self._options.step_seconds / PINGS
        times = [await line.ping(each) for _ in range(PINGS)]
        self._need(judge_pings([time for time in times if time is not None], PINGS, line.ending))

    async def _hold(self, line: Line) -> None:
        """Hold this tunnel quietly, and another one with pings."""
        seconds = self._options.idle_seconds
        if not seconds:
            self._tell(skipped("idle", "-idle 0 was said"))
            return
        watch = asyncio.create_task(self._count(seconds))
        try:
            quiet, pinged = await asyncio.gather(
                _hold_one(line, seconds, None),
                self._on_new_line(lambda new: _hold_one(new, seconds, PING_EVERY_SECONDS), is_wanted=True),
            )
        finally:
            watch.cancel()
        self._tell(judge_idle(seconds, quiet, pinged))

    async def _count(self, seconds: float) -> None:
        for second in range(int(seconds) + 1):
            self._progress(f"idle for {second} of {seconds:g} s")
            await asyncio.sleep(1)

    async def _on_new_line(self, use: Callable[[Line], Awaitable[T]], *, is_wanted: bool) -> T | None:
        """Do something with a tunnel of its own; None if it is not wanted, or there is none."""
        line = (await self._reach.upgrade())[1] if is_wanted else None
        if line is None:
            return None
        try:
            return await use(line)
        finally:
            await line.close()


async def _hold_one(line: Line, seconds: float, ping_every: float | None) -> Hold:
    held = await line.hold(seconds, ping_every)
    return Hold(held, line.ending)
