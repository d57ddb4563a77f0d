"""The relay: one tunnelled connection between a local socket and a WebSocket, until both directions have ended.

"local" is the plain TCP side (the application at the client, the target at the server), "peer" the WebSocket.
Bytes go from one socket to the other within one callback: no task, no queue, no log line and no metric for a
chunk. What the other socket does not take is parked, and until it has gone nothing more is read. How a connection
ends is decided in protocol/session.py alone; this module carries it out.
"""

import math
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from sokken.protocol.frames import (
    Close,
    Code,
    Decoder,
    Event,
    Notice,
    Opcode,
    Ping,
    Pong,
    Span,
    Violation,
    encode_close,
    encode_frame,
    encode_header,
)
from sokken.protocol.liveness import SILENCE_SECONDS, Liveness, Pulse, Sight
from sokken.protocol.outcomes import Outcome
from sokken.protocol.session import EOF, GOAWAY, Action, Notify, SendClose, Session, Step
from sokken.transport.channel import Channel
from sokken.transport.leave import Leave
from sokken.transport.plane import INTERACTIVE_BYTES, INTERACTIVE_TURNS, PAYLOAD_AT, Plane
from sokken.transport.side import Side
from sokken.transport.timers import TICK_SECONDS

CLOSE_SECONDS: Final = 5.0
"""How long an original may take to answer a Close."""
CROWD: Final = 64
"""Frames in one read that make the next reads small."""


class Owner(Protocol):
    """Whose connection it is."""

    def peer_drains(self) -> None:
        """The peer has said `goaway`."""

    def direction_ended(self, *, by_peer: bool) -> None:
        """One direction has ended: the peer's, or the local side's."""

    def ended(self) -> None:
        """Both sockets are closed."""


class Relay:
    """One open tunnel. ``owner`` is told once, when both sockets are closed; ``session`` then has the outcome.

    ``bytes_out`` counts payload from the local side to the peer, ``bytes_in`` the other way.
    """

    __slots__ = (
        "_decoder",
        "_ends_at",
        "_half_closed_seconds",
        "_has_spoken",
        "_heard_at",
        "_idle_seconds",
        "_is_finishing",
        "_liveness",
        "_local",
        "_local_eof",
        "_moved",
        "_moved_at",
        "_open",
        "_owner",
        "_peer",
        "_pinged_at",
        "_plane",
        "_pong",
        "_sent_at",
        "bytes_in",
        "bytes_out",
        "due",
        "session",
    )

    def __init__(
        self,
        plane: Plane,
        local: socket.socket,
        peer: Channel,
        *,
        original: bool,
        half_closed_seconds: float,
        spread: float,
        owner: Owner,
    ) -> None:
        """``original``: the subprotocol is `sokken`. ``spread`` in 0..1 places the pings (protocol/liveness.py)."""
        self._plane = plane
        self._local = Side(plane, local)
        self._peer = Side(plane, peer)
        self._open = 2  # sockets that are not closed yet
        self._owner: Owner | None = owner
        self._half_closed_seconds = half_closed_seconds
        self._decoder = Decoder(masked=not plane.masks, notices=not original, unmask=plane.unmask)
        self._liveness = Liveness(original, spread)
        self._local_eof = False
        self._is_finishing = False
        self._pong: bytes | None = None
        self._pinged_at: float | None = None  # the last ping without an answer, if round trips are of interest
        self._has_spoken = False
        self._sent_at = self._heard_at = self._moved_at = plane.wheel.refresh()
        self._moved = 0
        self._idle_seconds = self._ends_at = math.inf
        self.due = 0
        self.bytes_in = self.bytes_out = 0
        self.session = Session(half_close=not original)

    def __repr__(self) -> str:
        return (
            f"<Relay in={self.bytes_in} out={self.bytes_out} local=({self._local!r}) peer=({self._peer!r}) "
            f"{self.session!r}>"
        )

    @property
    def is_ended(self) -> bool:
        """Whether both sockets are closed."""
        return self._open == 0

    def limit(self, idle_seconds: float | None, lifetime_seconds: float | None) -> None:
        """End it after so long without payload, or after so long at all; None is never. Called before ``start``."""
        self._idle_seconds = math.inf if idle_seconds is None else idle_seconds
        self._ends_at = math.inf if lifetime_seconds is None else self._plane.wheel.now + lifetime_seconds

    def start(self, tail: bytes = b"", greeting: bytes = b"") -> None:
        """Relay from here on.

        ``tail`` is what came from the peer behind the head of the upgrade, ``greeting`` (a server's 101) goes
        before everything else.
        """
        first = min(self._sent_at + self._liveness.interval, self._moved_at + self._idle_seconds, self._ends_at)
        self._plane.wheel.wake(self, max(first, self._sent_at + TICK_SECONDS))
        if greeting:
            self._send_peer(greeting)
        if tail:
            self._plane.inbound[PAYLOAD_AT : PAYLOAD_AT + len(tail)] = tail
            self._take(PAYLOAD_AT, PAYLOAD_AT + len(tail))
        self._steer()
        if self._local.is_open:
            self._local.watch(self._on_local_error)
        if self._peer.is_open:
            self._peer.watch(self._on_peer_error)
        if self._plane.masks:
            self._reader()()  # an application has waited for the tunnel: what it has to say is often here already

    # What the program decides

    def go_away(self) -> None:
        """Tell the peer that this end is draining."""
        if self.session.may_send and self.session.outcome is None and not self._liveness.original:
            self._perform([Notify(GOAWAY)])

    def end(self, outcome: Outcome) -> None:
        """End it, and tell the peer why."""
        self._perform(self.session.end(outcome))

    def end_drain(self) -> None:
        """The drain time is over."""
        self._perform(self.session.drain_deadline())

    # Local side to peer

    def _reader(self) -> Callable[[], None]:
        return self._read_slots if self._liveness.original else self._read_message

    def _read_message(self) -> None:
        """One read becomes one message (`sokken.v2`)."""
        plane = self._plane
        limit = min(plane.quantum(), plane.message_bytes)
        count = self._receive_local([plane.outbound_view[PAYLOAD_AT : PAYLOAD_AT + limit]])
        if not count:
            return
        key = plane.keys() if plane.masks else None
        header = encode_header(Opcode.BINARY, count, key)
        start, stop = PAYLOAD_AT - len(header), PAYLOAD_AT + count
        if key is not None:
            plane.mask(plane.outbound, PAYLOAD_AT, stop, key)
        plane.outbound[start:PAYLOAD_AT] = header
        self._send_peer(plane.outbound_view[start:stop])

    def _read_slots(self) -> None:
        """One read becomes messages of at most 32 KiB, side by side in the buffer (`sokken`)."""
        plane = self._plane
        slots = max(1, plane.quantum() // plane.slot_bytes)
        count = self._receive_local(plane.slot_views[:slots])
        if not count:
            return
        start = stop = 0
        for at in plane.slots_at[:slots]:
            size = min(count, plane.slot_bytes)
            if not size:
                break
            key = plane.keys() if plane.masks else None
            if key is not None:
                plane.mask(plane.outbound, at, at + size, key)
            header = encode_header(Opcode.BINARY, size, key)
            if not stop:
                start = at - len(header)
            elif at - len(header) != stop:  # a short header leaves a gap: close it, the payload is tiny
                plane.outbound[stop + len(header) : stop + len(header) + size] = plane.outbound[at : at + size]
                at = stop + len(header)  # noqa: PLW2901 -- where the payload is now
            plane.outbound[at - len(header) : at] = header
            stop, count = at + size, count - size
        self._send_peer(plane.outbound_view[start:stop])

    def _receive_local(self, views: list[memoryview]) -> int:
        """Read from the local side; 0 when there is nothing to send (and its end or loss has been dealt with)."""
        if not self._local.is_reading:
            return 0
        local = self._local.channel
        try:
            count = local.recv_into(views[0]) if len(views) == 1 else local.recvmsg_into(views)[0]
        except BlockingIOError:
            return 0
        except OSError:
            self._perform(self.session.local_lost())
            return 0
        if not count:
            self._local_eof = True
            self._tell_end(by_peer=False)
            self._perform(self.session.local_eof())
            self._direction_ended()
            return 0
        if count < INTERACTIVE_BYTES:
            self._plane.interactive = INTERACTIVE_TURNS
        self.bytes_out += count
        return count

    def _send_peer(self, frames: bytes | memoryview) -> None:
        """Send whole frames; what does not go now is held, behind what already is."""
        if not self._peer.is_open or self._peer.has_failed:
            return
        self._sent_at = self._plane.wheel.now
        try:
            gone = self._peer.send(frames, self._on_peer_writable)
        except OSError:
            self._fail_peer()
            return
        if not gone:
            self._steer()

    def _on_peer_writable(self) -> None:
        if not self._peer.is_open:
            return
        self._sent_at = self._plane.wheel.now
        try:
            gone = self._peer.flush()
        except OSError:
            self._fail_peer()
            return
        if gone:
            if self._pong is not None:
                self._answer_ping(self._pong)
            self._steer()

    # Peer to local side

    def _on_peer_readable(self) -> bool:
        """Read once; whether there was something to read."""
        plane, peer = self._plane, self._peer
        if not peer.is_reading:
            return False
        try:
            count = peer.channel.recv_into(plane.inbound_view[PAYLOAD_AT : PAYLOAD_AT + plane.quantum()])
        except BlockingIOError:
            return False
        except OSError:
            count = 0
        if not count:
            self._lose_peer()
            return False
        self._heard_at = plane.wheel.now
        self._take(PAYLOAD_AT, PAYLOAD_AT + count)
        # Bytes that TLS has already decrypted raise no event.
        if peer.is_open and peer.has_decrypted:
            plane.loop.call_soon(self._on_peer_readable)
        return True

    def _take(self, start: int, stop: int) -> None:
        """Deliver and obey what lies in the inbound buffer."""
        self._has_spoken = True
        pieces: list[memoryview] = []
        events = self._decoder.decode(self._plane.inbound, start, stop)
        if len(events) > CROWD:  # each costs time, so that a read full of tiny frames would hold up the loop
            self._plane.interactive = INTERACTIVE_TURNS
        for event in events:
            if type(event) is Span:
                if self.session.accepts_bytes:
                    pieces.append(event.payload)
                else:
                    self._perform(self.session.unexpected_bytes())
                continue
            if pieces:
                self._deliver(pieces)
                pieces = []
            self._obey(event)
        if pieces:
            self._deliver(pieces)

    def _obey(self, event: Event) -> None:
        match event:
            case Notice(text):
                self._obey_notice(text)
            case Close():
                self._perform(self.session.close_received(event))
            case Ping(payload):
                self._answer_ping(payload)
            case Pong():
                self._note_pong()
            case Violation(code, detail):
                self._perform(self.session.violation(code, detail))
            case Span():
                pass

    def _obey_notice(self, text: str) -> None:
        was_draining = self.session.peer_draining
        if text == EOF and self.session.accepts_bytes:
            self._tell_end(by_peer=True)
        self._perform(self.session.notice(text))
        if text == EOF:
            self._direction_ended()
        if self.session.peer_draining and not was_draining and self._owner is not None:
            self._owner.peer_drains()

    def _deliver(self, pieces: list[memoryview]) -> None:
        if not self._local.is_open:
            return
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        self.bytes_in += size
        if size < INTERACTIVE_BYTES:
            self._plane.interactive = INTERACTIVE_TURNS
        try:
            if len(pieces) == 1:
                gone = self._local.send(pieces[0], self._on_local_writable)
            else:
                gone = self._local.send_pieces(pieces, size, self._on_local_writable)
        except OSError:
            self._perform(self.session.local_lost())
            return
        if not gone:
            self._steer()

    def _on_local_writable(self) -> None:
        if not self._local.is_open:
            return
        try:
            gone = self._local.flush()
        except OSError:
            self._perform(self.session.local_lost())
            return
        if gone:
            if self._is_finishing:
                self._finish_local()
            self._steer()

    # Small frames

    def _answer_ping(self, payload: bytes) -> None:
        """Answer the latest ping only, and let at most one answer wait (RFC 6455 section 5.5.3)."""
        if not self.session.may_send:
            return
        if self._peer.held is not None:
            self._pong = payload
            return
        self._pong = None
        self._send_peer(encode_frame(Opcode.PONG, payload, self._key()))

    def _note_pong(self) -> None:
        pinged_at, self._pinged_at = self._pinged_at, None
        if pinged_at is not None and self._plane.on_pong is not None:
            self._plane.on_pong(time.monotonic() - pinged_at)

    def _key(self) -> bytes | None:
        return self._plane.keys() if self._plane.masks else None

    # Steps of the session

    def _perform(self, actions: list[Action]) -> None:
        frames = b""  # several go out together: an `eof` is often followed by the Close
        for action in actions:
            if isinstance(action, Step):
                if frames and action is not Step.CLOSE_LOCAL:
                    self._send_peer(frames)
                    frames = b""
                _STEPS[action](self)
            elif isinstance(action, SendClose):
                frames += encode_close(action.code, action.reason, self._key())
            elif isinstance(action, Notify):
                frames += encode_frame(Opcode.TEXT, action.text.encode(), self._key())
            else:
                self._abort_peer(action.outcome)
        if frames:
            self._send_peer(frames)
        self._steer()
        if actions and not self.session.may_send and self._peer.is_open:
            self._wake_by(self._close_deadline())

    def _finish_local(self) -> None:
        self._is_finishing = self._local.held is not None
        if self._is_finishing or not self._local.is_open:
            return
        if not self._local_eof:  # else it is about to be closed, which says the same
            try:
                self._local.channel.shutdown(socket.SHUT_WR)
            except OSError:
                self._perform(self.session.local_lost())
                return
        self._perform(self.session.delivered())

    def _close_local(self) -> None:
        if not self._local.is_open:
            return
        if self._local_eof:
            self._local.close(clean=True)
            self._settle()
        else:
            # `sokken` ended it from the other side: what the local side still writes has no reader.
            Leave(self._plane, self._local.detach(), done=self._settle)

    def _drop_local(self) -> None:
        self._drop(self._local)

    def _abort_peer(self, outcome: Outcome) -> None:
        if self._peer.held is not None:
            self._drop_peer()
            return
        notice = encode_frame(Opcode.TEXT, f"abort {outcome}".encode(), self._key())
        self._send_peer(notice + encode_close(Code.INTERNAL, outcome, self._key()))
        self._leave_peer()

    def _leave_peer(self) -> None:
        if not self._peer.is_open:
            return
        held = self._peer.held
        if self.session.has_parted and not held:
            self._peer.close(clean=True)
            self._settle()
        else:
            Leave(self._plane, self._peer.detach(), held or b"", self._settle)

    def _drop_peer(self) -> None:
        self._drop(self._peer)

    def _drop(self, side: Side) -> None:
        """Close it with a reset: that is how its socket was prepared."""
        if side.is_open:
            side.close(clean=False)
            self._settle()

    def _settle(self) -> None:
        """One socket is closed; when both are, the connection has ended."""
        self._open -= 1
        if self._open == 0 and self._owner is not None:
            owner, self._owner = self._owner, None
            self._plane.wheel.forget(self)
            owner.ended()

    # Errors

    def _fail_peer(self) -> None:
        """It takes nothing more; what it said before (why, perhaps) may still be there to be read."""
        self._peer.has_failed = True
        self._peer.drop()
        if self._peer.is_reading:
            self._steer()
            # Not left to the reader: it may be paused meanwhile, and the error has been told now.
            self._plane.loop.call_soon(self._on_peer_error)
        else:
            self._lose_peer()

    def _lose_peer(self) -> None:
        """Its connection has ended."""
        self._peer.has_failed = True
        self._perform(self.session.peer_lost())
        if self._peer.is_open:  # the local side is still being served with what came before
            self._peer.drop()
            self._peer.read(self._on_peer_readable, is_wanted=False)

    def _on_local_error(self) -> None:
        """A reset: what came before it is still passed on, as far as the peer takes it."""
        if not self._local.is_open:
            return
        self._local.has_failed = True
        if not self._local.is_reading:
            self._perform(self.session.local_lost())
            return
        known = self.bytes_out
        self._reader()()
        if self._local.is_reading:
            if self.bytes_out == known:
                self._perform(self.session.local_lost())
            else:
                self._plane.loop.call_soon(self._on_local_error)

    def _on_peer_error(self) -> None:
        """The same for the peer: its reasons may be among the last bytes."""
        if not self._peer.is_open:
            return
        if not self._peer.is_reading or not self._on_peer_readable():
            self._lose_peer()
        elif self._peer.is_open:
            self._plane.loop.call_soon(self._on_peer_error)

    # Reading or not

    def _steer(self) -> None:
        """Read from each side exactly while what comes can be passed on."""
        local, peer = self._local, self._peer
        if local.is_open:
            is_wanted = peer.held is None and not peer.has_failed and self.session.sends_bytes
            if is_wanted is not local.is_reading:
                local.read(self._reader(), is_wanted=is_wanted)
                if not is_wanted and local.has_failed:
                    self._perform(self.session.local_lost())
        if peer.is_open and (peer.is_reading or not peer.has_failed):
            is_wanted = local.held is None
            if is_wanted is peer.is_reading:
                return
            peer.read(self._on_peer_readable, is_wanted=is_wanted)
            if is_wanted:
                self._heard_at = self._plane.wheel.now  # silence counts only while this end reads

    # Time

    def on_timer(self, now: float) -> None:
        """Ping, or end what is silent, forgotten half-closed, idle, or has had its time."""
        if not self._peer.is_open:
            return
        if self.session.may_send:
            self._look_after(now)
        elif now >= self._close_deadline():
            self._perform(self.session.peer_silent())
        if self._peer.is_open:
            self._plan(now)

    def _look_after(self, now: float) -> None:
        moved = self.bytes_in + self.bytes_out
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        elif self.session.is_half_closed and now - self._moved_at >= self._half_closed_seconds:
            self.end(Outcome.HALF_CLOSED_TIMEOUT)
            return
        elif now - self._moved_at >= self._idle_seconds:
            self.end(Outcome.IDLE_TIMEOUT)
            return
        if now >= self._ends_at:
            self.end(Outcome.LIFETIME_EXCEEDED)
            return
        pulse = self._liveness.look(now, self._sight())
        if pulse is Pulse.PING:
            if self._plane.on_pong is not None:
                self._pinged_at = time.monotonic()
            self._send_peer(encode_frame(Opcode.PING, b"", self._key()))
            self._sent_at = now
        elif pulse is Pulse.DEAD:
            self._perform(self.session.peer_silent())

    def _close_deadline(self) -> float:
        """When to stop waiting for the peer's Close.

        A peer of `sokken.v2` may still have a full pipe to deliver before it reads ours, and pings meanwhile: it
        is waited for as long as it lives. To close under it would cut off what it has not delivered yet.
        """
        if self._liveness.original:
            # What is held goes first, however long it takes: an original pings nobody while it does not read.
            since = self._plane.wheel.now if self._peer.held is not None else self._sent_at
            return since + CLOSE_SECONDS
        return max(self._heard_at, self._sent_at) + SILENCE_SECONDS

    def _sight(self) -> Sight:
        is_judged = self._liveness.original and not self._has_spoken
        return Sight(
            sent_at=self._sent_at,
            heard_at=self._heard_at,
            is_reading=self._peer.is_reading,
            # An original that reads slowly, and has never had anything to say, must not be taken for a dead one.
            is_holding=self._peer.is_clogged if is_judged else self._peer.held is not None,
            has_spoken=self._has_spoken,
        )

    def _tell_end(self, *, by_peer: bool) -> None:
        if self._owner is not None:
            self._owner.direction_ended(by_peer=by_peer)

    def _direction_ended(self) -> None:
        if self.session.is_half_closed:
            self._moved_at = self._plane.wheel.now
            self._wake_by(self._moved_at + self._half_closed_seconds)

    def _wake_by(self, at: float) -> None:
        """Something may be due then: be woken no later. Who is woken too early plans anew."""
        if not 0 < self.due * TICK_SECONDS <= at:
            self._plane.wheel.wake(self, max(at, self._plane.wheel.now + TICK_SECONDS))

    def _plan(self, now: float) -> None:
        """Ask to be woken when something may be due."""
        if not self.session.may_send:
            at = self._close_deadline()
        else:
            at = min(self._liveness.next_look(now, self._sight()), self._moved_at + self._idle_seconds, self._ends_at)
            if self.session.is_half_closed:
                at = min(at, self._moved_at + self._half_closed_seconds)
        self._plane.wheel.wake(self, max(at, now + TICK_SECONDS))


_STEPS: Final[dict[Step, Callable[[Relay], None]]] = {
    Step.FINISH_LOCAL: Relay._finish_local,  # noqa: SLF001 -- a table of its own methods
    Step.CLOSE_LOCAL: Relay._close_local,  # noqa: SLF001
    Step.RESET_LOCAL: Relay._drop_local,  # noqa: SLF001
    Step.LEAVE_PEER: Relay._leave_peer,  # noqa: SLF001
    Step.RESET_PEER: Relay._drop_peer,  # noqa: SLF001
}
