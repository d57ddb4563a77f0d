"""kopf as a doorbell: word that a Tunnel has changed, and nothing else. The only importer of kopf.

It runs in a thread and on a loop of its own, because on its way out it cancels whatever task it finds on its loop.
It has one handler (``on.event``), so that it writes nothing into the objects: no finalizer, no annotation. What is
rung for is read anew by the reconciler, which knows nothing of kopf.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import kopf

from sokken.errors import SokkenError
from sokken.operator.cluster.access import Access
from sokken.operator.cluster.cache import Key
from sokken.operator.cluster.client import CONNECT_SECONDS, REQUEST_SECONDS, open_bound_session
from sokken.operator.cluster.resources import TUNNELS
from sokken.telemetry.logs import get_logger, hush

FAREWELL_SECONDS: Final = 10.0
"""What kopf may take to stop."""
_PATIENCE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 0.1
"""asyncio closes a connection over TLS some turns of the loop after it was told to."""
_WATCH_SECONDS: Final = 270
_BACKOFF_SECONDS: Final = (0.2, 0.5, 1, 1, 2, *[3] * 20)
"""Between a request's attempts. A minute is enough: who is without the API server for longer has lost the Lease."""
_HUSHED: Final = ("OS signals are ignored", "Request attempt #")
"""That there is no signal handler is meant so; what the API server does not answer is told by who renews the Lease."""
_IDENTITY: Final[Any] = "sokken"
"""For peering, which is off: without one kopf asks for the user's name, and a container's user has none."""
_MOST_LOGIN_SECONDS: Final = 30.0

log = get_logger("handlers")


@dataclass(frozen=True, slots=True)
class Bell:
    """A Tunnel that has changed, or is there at all."""

    key: Key
    uid: str
    generation: int
    version: str
    is_gone: bool

    @property
    def edition(self) -> tuple[str, int]:
        """Another one is another spec."""
        return self.uid, self.generation


class DoorbellError(SokkenError):
    """kopf has ended, and nobody asked it to."""


class Doorbell:
    """Rings for every Tunnel in the namespaces, or in all, once for each and then at every change.

    ``run`` it; ``ring`` is called on the loop of who runs it.
    """

    def __init__(self, access: Access, namespaces: Sequence[str], ring: Callable[[Bell], object]) -> None:
        self._access = access
        self._namespaces = namespaces
        self._ring = ring
        self._home: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._be_kopf, name="kopf", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: Callable[[], object] = lambda: None
        """Asks kopf to end; called on its loop."""
        self._is_stopping = False
        self._sessions: list[aiohttp.ClientSession] = []

    def __repr__(self) -> str:
        return f"<Doorbell {'rings' if self._thread.is_alive() else 'is silent'}>"

    async def run(self) -> None:
        """Ring until this is cancelled; raises DoorbellError if kopf ends before, or does not end then."""
        hush("kopf", *_HUSHED)
        self._home = asyncio.get_running_loop()
        self._thread.start()
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            await self._close()
            raise
        raise DoorbellError(f"kopf has ended: {self._failure or 'without a word'}")

    async def _close(self) -> None:
        self._is_stopping = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop)
        # Not by `timeout`: before Python 3.11.3 it gives no TimeoutError in a task that is being cancelled (gh-102780).
        ending = asyncio.ensure_future(self._ended.wait())
        if not (await asyncio.wait({ending}, timeout=FAREWELL_SECONDS))[0]:
            ending.cancel()
            raise DoorbellError(f"kopf does not end within {FAREWELL_SECONDS:g} s")

    # On kopf's thread

    def _be_kopf(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 -- it is told where kopf was started
            self._failure = error
        self._call_home(self._ended.set)

    async def _serve(self) -> None:
        flag = self._prepare_to_stop(asyncio.get_running_loop())
        if self._is_stopping:
            return
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._make_login())
        kopf.on.event(TUNNELS.group, TUNNELS.version, TUNNELS.plural, registry=registry)(self._make_handler())
        try:
            await kopf.operator(
                registry=registry,
                settings=make_settings(),
                identity=_IDENTITY,
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=flag,
            )
        finally:
            for session in self._sessions:
                await session.close()
            await asyncio.sleep(_CLOSE_SECONDS)

    def _prepare_to_stop(self, loop: asyncio.AbstractEventLoop) -> asyncio.Event:
        """The flag that kopf looks at; it takes five seconds to end what has hardly begun, and so is cancelled then."""
        flag, serving = asyncio.Event(), asyncio.current_task(loop)

        def stop() -> None:
            flag.set()
            if serving is not None:
                loop.call_later(_PATIENCE_SECONDS, serving.cancel)

        self._stop, self._loop = stop, loop
        return flag

    def _make_login(self) -> Any:  # noqa: ANN401 -- kopf's protocol of a handler is private
        """Each login is a new session: kopf takes none twice that was refused once. They come slower and slower."""
        attempts = 0

        async def login(**_: object) -> kopf.AiohttpSession:
            nonlocal attempts
            if attempts:
                await asyncio.sleep(min(_MOST_LOGIN_SECONDS, 2.0 ** min(attempts, 10)))
            attempts += 1
            session = open_bound_session(self._access)
            self._sessions = [kept for kept in self._sessions if not kept.closed] + [session]
            return kopf.AiohttpSession(server=self._access.url, aiohttp_session=session)

        return login

    def _make_handler(self) -> Any:  # noqa: ANN401 -- as above
        async def on_event(event: kopf.RawEvent, **_: object) -> None:
            metadata = event["object"]["metadata"]
            bell = Bell(
                key=(metadata["namespace"], metadata["name"]),
                uid=metadata["uid"],
                generation=int(str(metadata.get("generation", 0))),
                version=metadata["resourceVersion"],
                is_gone=event["type"] == "DELETED",
            )
            self._call_home(lambda: self._ring(bell))

        return on_event

    def _call_home(self, call: Callable[[], object]) -> None:
        if self._home is not None and not self._home.is_closed():
            self._home.call_soon_threadsafe(call)


def make_settings() -> kopf.OperatorSettings:
    """What kopf's own defaults are too slow, too talkative or too careless for."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # it may not list namespaces and CustomResourceDefinitions, and need not
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.enforce_retry_after = True
    settings.networking.error_backoffs = _BACKOFF_SECONDS
    settings.watching.server_timeout = _WATCH_SECONDS
    settings.watching.client_timeout = _WATCH_SECONDS + REQUEST_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.queueing.worker_limit = 20
    settings.process.ultimate_exiting_timeout = 20
    return settings
