"""``sokken top URL``: the connections of a running program in the terminal, refreshed; without a terminal, once.

Called by dispatch. It reads /connections and /statusz of the admin address as everybody may, and changes nothing.
"""

import asyncio
import json
import os
import socket
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sokken.errors import SokkenError, UsageError
from sokken.protocol.credentials import AUTHORIZATION, parse_token
from sokken.settings import TopSettings
from sokken.transport.files import WatchedFile

HELP: Final = """\
Usage: sokken top [OPTION]... URL

Shows who is connected to what through a running program, like top(1). URL is its admin address (SOKKEN_ADMIN_ADDR),
or a client's API_ADDR on loopback, for example http://127.0.0.1:19000. Without a terminal it is shown once.

  --sort rate|bytes|age   what comes first: the busiest, the largest, or the oldest (default rate)
  --reverse               the other way round
  --filter TEXT           only connections with this text in client, peer, target, forward, id or state
  --interval SECONDS      between two looks, at least 0.5 (default 1)
  --once                  once, also in a terminal

SOKKEN_ADMIN_TOKEN_FILE names the file of the token, if one is needed.
Keys: r, b and a sort by rate, bytes and age, - turns the order round, q quits.
"""
SORTS: Final = {"r": "rate", "b": "bytes", "a": "age"}
FIRST_LOOK_SECONDS: Final = 1.1
"""Between two looks there are rates."""
PATIENCE_SECONDS: Final = 5.0
MOST_BYTES: Final = 4 * 1024 * 1024
MOST_ROWS: Final = 500
_FRAME_ROWS: Final = 6
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_EXAMPLE: Final = "sokken top http://127.0.0.1:19000"

Document = dict[str, Any]


class TopError(SokkenError):
    """The connections could not be had; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    url: str
    sort: str = "rate"
    is_reversed: bool = False
    filter: str = ""
    interval: float = 1.0
    is_once: bool = False
    headers: dict[str, str] = field(default_factory=dict, repr=False)


def top(words: Sequence[str]) -> int:
    """Run ``top`` with the words behind it; returns the exit code. Raises SokkenError."""
    if any(word in ("-h", "-help", "--help") for word in words):
        print(HELP, end="")
        return 0
    options = replace(parse(words), headers=_headers())
    console = Console()
    with suppress(asyncio.CancelledError):
        if options.is_once or not console.is_terminal:
            asyncio.run(_show_once(replace(options, is_once=True), console))
        else:
            asyncio.run(_run(options))
    return 0


def parse(words: Sequence[str]) -> Options:
    """Read the words; raises UsageError."""
    given: dict[str, Any] = {}
    urls = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            urls.append(word)
            continue
        name, equals, text = word.partition("=")
        option = name.removeprefix("-").removeprefix("-")
        if option in ("once", "reverse") and not equals:
            given["is_once" if option == "once" else "is_reversed"] = True
            continue
        if option not in ("sort", "filter", "interval"):
            raise UsageError(f"unknown option {name}, for example {_EXAMPLE} (see sokken top --help)")
        value = text if equals else next(rest, "")
        if not value:
            raise UsageError(f"option {name} needs a value (see sokken top --help)")
        given[option] = _interval(value) if option == "interval" else value
    if given.get("sort", "rate") not in SORTS.values():
        raise UsageError(f"option --sort: {given['sort']!r} is none of {', '.join(SORTS.values())}")
    if len(urls) != 1:
        raise UsageError(f"top is followed by one URL, that of an admin address, for example {_EXAMPLE}")
    return Options(url=_url(urls[0]), **given)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.5 <= seconds <= 3600:
        raise UsageError(f"option --interval: {text!r} is no number of seconds from 0.5 to 3600")
    return seconds


def _url(text: str) -> str:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(f"{text!r} is no URL of an admin address, for example http://127.0.0.1:19000")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _headers() -> dict[str, str]:
    path = TopSettings().admin_token_file
    if path is None:
        return {}
    return {AUTHORIZATION: f"Bearer {WatchedFile(path, parse_token, 'SOKKEN_ADMIN_TOKEN_FILE').value}"}


# Asking


class Asker:
    """Asks one admin address again and again."""

    def __init__(self, options: Options, session: aiohttp.ClientSession) -> None:
        self.options = options
        self._session = session

    async def look(self, rows: int) -> tuple[Document, Document]:
        """The status and the first ``rows`` connections; raises TopError."""
        options = self.options
        query = {
            "sort": options.sort,
            "order": "asc" if options.is_reversed else "desc",
            "filter": options.filter,
            "limit": str(max(1, min(rows, MOST_ROWS))),
        }
        connections = await self._ask("/connections", query)
        return await self._ask("/statusz", {}), connections

    async def _ask(self, path: str, query: dict[str, str]) -> Document:
        url = self.options.url + path
        try:
            async with self._session.get(url, params=query, headers=self.options.headers) as answer:
                content = await _read(answer)
                _judge(answer, url)
        except TimeoutError:
            raise TopError(f"{self.options.url} did not answer within {PATIENCE_SECONDS:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise TopError(f"{self.options.url} cannot be reached: {_explain(error.os_error)}") from None
        except aiohttp.ClientResponseError:
            raise TopError(f"{self.options.url} is no admin address of sokken: it does not speak HTTP") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TopError(f"{self.options.url} is no admin address of sokken: {_first_line(error)}") from None
        return _parse(content, self.options.url)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    content = b""
    async for part in answer.content.iter_chunked(65536):
        content += part
        if len(content) > MOST_BYTES:
            raise ValueError("its answer is too long")
    return content


def _judge(answer: aiohttp.ClientResponse, url: str) -> None:
    base = url.rpartition("/")[0]
    is_ours = answer.headers.get("Server") == "sokken"
    match answer.status if is_ours else None:
        case 200:
            return
        case 401:
            shown = AUTHORIZATION in answer.request_info.headers
            problem = "the token in SOKKEN_ADMIN_TOKEN_FILE is not the one of" if shown else "a token is needed by"
            advice = "" if shown else ": name its file in SOKKEN_ADMIN_TOKEN_FILE"
            raise TopError(f"{problem} {base}{advice}")
        case 404:
            advice = "give its SOKKEN_ADMIN_ADDR, which is off unless it is set"
            raise TopError(f"{base} is sokken, but not its admin address: {advice}")
        case 421:
            raise TopError(f"{base} does not answer to this name: use its IP address, or add it to SOKKEN_ADMIN_HOSTS")
    raise TopError(f"{base} is no admin address of sokken: it answers {answer.status} {answer.reason or ''}".rstrip())


def _parse(content: bytes, url: str) -> Document:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "connections" not in document:
        raise TopError(f"{url} is no admin address of sokken: its answer is another document")
    return document


def _explain(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    return os.strerror(error.errno).lower() if error.errno else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]


# Showing


async def _show_once(options: Options, console: Console) -> None:
    """Two looks, because a rate is between two; all rows that there may be on a page."""
    async with _session() as session:
        asker = Asker(options, session)
        await asker.look(1)
        await asyncio.sleep(FIRST_LOOK_SECONDS)
        status, connections = await asker.look(MOST_ROWS)
    if not console.is_terminal:  # for a pipe: nothing is cut
        console = Console(width=max(console.width, 200))
    console.print(draw(status, connections, options))


async def _run(options: Options) -> None:
    async with _session() as session:
        asker = Asker(options, session)
        console = Console()
        status, connections = await asker.look(console.height)  # what is wrong from the start ends it
        pressed: asyncio.Queue[str] = asyncio.Queue(16)
        with _keys(pressed), Live(console=console, screen=True, auto_refresh=False) as live:
            problem = ""
            while True:
                rows = console.height - _FRAME_ROWS
                live.update(draw(status, connections, asker.options, problem, rows), refresh=True)
                if not await _obey(pressed, asker):
                    return
                try:
                    status, connections = await asker.look(rows)
                    problem = ""
                except TopError as error:
                    problem = str(error)


async def _obey(pressed: "asyncio.Queue[str]", asker: Asker) -> bool:
    """Wait for the next look, or for a key, and do what it says; False to quit."""
    try:
        async with asyncio.timeout(asker.options.interval):
            key = await pressed.get()
    except TimeoutError:
        return True
    if key in SORTS:
        asker.options = replace(asker.options, sort=SORTS[key], is_reversed=False)
    elif key == "-":
        asker.options = replace(asker.options, is_reversed=not asker.options.is_reversed)
    return key not in ("q", "\x03", "\x04")


def _session() -> aiohttp.ClientSession:
    # An admin address is asked directly: its token is for nobody in between, and for no other place.
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS))


@contextmanager
def _keys(pressed: "asyncio.Queue[str]") -> Iterator[None]:
    """Put each key that is pressed into the queue, without waiting for the end of a line."""
    if not sys.stdin.isatty():
        yield
        return
    loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def read() -> None:
        for key in os.read(terminal, 16).decode("ascii", "ignore"):
            with suppress(asyncio.QueueFull):
                pressed.put_nowait(key)

    tty.setcbreak(terminal)
    loop.add_reader(terminal, read)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def draw(status: Document, listed: Document, options: Options, problem: str = "", rows: int = MOST_ROWS) -> Group:
    """The whole picture: two lines about the program, then its connections."""
    totals = status["connections"]
    colour = "green" if status["state"] == "serving" else "yellow"
    head = Text.assemble(
        ("sokken ", "bold"),
        f"{status['role']} {status['version']}  ",
        (status["state"], f"bold {colour}"),
        f"  up {format_duration(status['uptime_s'])}  {totals['now']} of {totals['limit']} connections",
        f"  ↑ {format_rate(totals['rate_up'])}  ↓ {format_rate(totals['rate_down'])}",
    )
    notes = [problem and Text(problem, "bold red"), _describe_drain(status), _describe_readiness(status)]
    order = "reversed" if options.is_reversed else "first"
    matching = f", {listed['matching']} of {listed['total']} match" if options.filter else ""
    keys = "" if options.is_once else "  [r]ate [b]ytes [a]ge [-] turn round [q]uit"
    foot = Text(f"{options.sort} {order}{matching}{keys}", "dim")
    return Group(head, *(note for note in notes if note), _table(status, listed["connections"][: max(rows, 1)]), foot)


def _table(status: Document, connections: Sequence[Document]) -> Table:
    is_client = status["role"] == "client"
    table = Table(box=None, pad_edge=False, header_style="bold reverse", expand=True)
    for name in ("FORWARD" if is_client else "CLIENT", "PEER", "TARGET"):
        table.add_column(name, overflow="ellipsis", no_wrap=True, ratio=2)
    table.add_column("STATE", no_wrap=True)
    for name in ("AGE", "UP/S", "DOWN/S", "UP", "DOWN"):
        table.add_column(name, justify="right", no_wrap=True)
    for connection in connections:
        name = connection["forward"] if is_client else connection["identity"] or connection["client_id"] or "anonymous"
        state = f"{connection['half_closed']} ended" if connection["half_closed"] else connection["state"]
        table.add_row(
            *map(Text, (_printable(name), _printable(connection["peer"]), _printable(connection["target"]))),
            Text(state, "" if state == "open" else "yellow"),
            format_duration(connection["age_s"]),
            Text(format_rate(connection["rate_up"]), "blue" if connection["rate_up"] else "dim"),
            Text(format_rate(connection["rate_down"]), "green" if connection["rate_down"] else "dim"),
            format_bytes(connection["bytes_up"]),
            format_bytes(connection["bytes_down"]),
        )
    return table


def _describe_drain(status: Document) -> Text | None:
    drain = status["drain"]
    return Text(f"draining: {drain['remaining_s']:.0f} s left", "yellow") if drain else None


def _describe_readiness(status: Document) -> Text | None:
    reason = None if status["drain"] else status["not_ready"]
    return Text(f"not ready: {_printable(reason)}", "yellow") if reason else None


def _printable(text: object) -> str:
    """Without what would move a terminal's cursor: clients say what they like."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text or "-"))


def format_bytes(count: float | None) -> str:
    """``1.2 MB``, in powers of 1000; ``-`` for what is not known yet."""
    if count is None:
        return "-"
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit and count < 99.95 else f"{count:.0f} {_UNITS[unit]}"


def format_rate(count: float | None) -> str:
    """Bytes a second."""
    return "-" if count is None else f"{format_bytes(count)}/s"


def format_duration(seconds: float) -> str:
    """``3d04h``, ``4h05m``, ``5m06s`` or ``7s``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"
