import asyncio
import gc
import json
import time

import pytest

from sokken.admin.connections import MOST_FILTER, MOST_ROWS, MOST_WAITING, Lister, Query, describe, parse_query
from sokken.admin.sampling import Sample, Sampler
from sokken.lifecycle import freeze_startup
from sokken.protocol.identity import Identity
from sokken.protocol.outcomes import Outcome, Refusal
from sokken.transport.connections import Connection, Connections
from tests.support.admin import StillRelay, admit
from tests.support.loops import Clock, run

MOST_LAG = 0.05


def ids(page):
    return [row["id"] for row in page["connections"]]


def pages(connections, *queries, between=lambda: None):
    """The page of each query, after a first look and ``between``."""

    async def main():
        clock = Clock()
        lister = Lister(Sampler(connections, clock))
        await lister.view(Query())
        between()
        clock.now += 1
        return [(await lister.view(query))[1] for query in queries]

    return run(main())


def test_a_query_says_which_page():
    assert parse_query({}) == Query("rate", "desc", "", 100, 0)
    given = {"sort": "age", "order": "asc", "filter": " Db.Internal ", "limit": "500", "offset": "9500"}
    assert parse_query(given) == Query("age", "asc", "db.internal", 500, 9500)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sort": "name"}, "sort is one of rate, bytes, age"),
        ({"order": ""}, "order is one of desc, asc"),
        ({"limit": "0"}, "limit is a number from 1 to 500"),
        ({"limit": "501"}, "limit"),
        ({"limit": "1e3"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "\u0661"}, "limit"),
        ({"offset": "9" * 400}, "offset is a number from 0"),
        ({"offset": "-5"}, "offset"),
        ({"filter": "x" * (MOST_FILTER + 1)}, "filter has more than 100 characters"),
        ({"page": "2"}, "there is no parameter 'page'"),
        ({"x" * 5000: ""}, "there is no parameter"),
    ],
)
def test_a_malformed_query_is_told_in_one_line(given, says):
    with pytest.raises(Refusal) as refusal:
        parse_query(given)
    assert refusal.value.status == 400
    assert says in refusal.value.detail
    assert len(refusal.value.detail) < 200


def test_each_order_and_its_reverse():
    connections = Connections(100)
    made = [admit(connections, number, admitted_at=-float(number % 3)) for number in (5, 1, 3)]

    def move():
        made[1].relay.bytes_in += 900  # the smallest is the busiest

    queries = [Query(sort, order) for sort in ("rate", "bytes", "age") for order in ("desc", "asc")]
    found = [ids(page) for page in pages(connections, *queries, between=move)]
    assert found == [
        ["id-00001", "id-00003", "id-00005"],
        ["id-00003", "id-00005", "id-00001"],
        ["id-00001", "id-00005", "id-00003"],
        ["id-00003", "id-00005", "id-00001"],
        ["id-00005", "id-00001", "id-00003"],
        ["id-00003", "id-00001", "id-00005"],
    ]


def test_pages_cover_all_and_nothing_twice():
    connections = Connections(1000)
    for number in range(250):
        admit(connections, number)
    queries = [Query("bytes", "asc", limit=100, offset=offset) for offset in (0, 100, 200, 300)]
    found = pages(connections, *queries)
    assert [len(page["connections"]) for page in found] == [100, 100, 50, 0]
    assert sum(map(ids, found), []) == [f"id-{number:05}" for number in range(250)]  # noqa: RUF017 -- a test
    assert {(page["total"], page["matching"]) for page in found} == {(250, 250)}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("client-3", 14),
        ("ID-00042", 1),
        ("192.0.2.7:7", 1),
        ("db.internal:5432", 100),
        ("night", 1),
        ("half_closed", 1),
        ("connecting", 1),
        ("alice", 1),
        ("nobody", 0),
    ],
)
def test_a_filter_looks_at_all_that_is_told(text, count):
    connections = Connections(1000)
    for number in range(96):
        admit(connections, number, client_id=f"client-{number % 7}")
    admit(connections, 96, labels={"forward": "night"}, client_id=None)
    half = StillRelay()
    half.session.ended_side = "local"
    admit(connections, 97, relay=half, client_id=None)
    admit(connections, 98, relay=None, client_id=None)
    admit(connections, 99, identity=Identity("Alice", "token"), client_id=None)
    [page] = pages(connections, Query(filter=text.casefold()))
    assert (page["matching"], page["total"]) == (count, 100)


def told(**given) -> dict:
    connections = Connections(10)
    connection = admit(connections, 1000, **given)
    return describe(Sample(connection, 0, connection.bytes_up, connection.bytes_down, 1.25, None), 1010.5)


def test_what_is_told_of_a_connection():
    labels = {"tunnel": "night", "via": "10.0.0.1:1", "client_version": "0.1.0"}
    row = told(identity=Identity("alice", "token"), labels=labels)
    assert row == {
        "id": "id-01000",
        "state": "open",
        "half_closed": None,
        "identity": "alice",
        "identity_method": "token",
        "client_id": "client-6",
        "tunnel": "night",
        "peer": "192.0.2.0:1000",
        "via": "10.0.0.1:1",
        "target": "db.internal:5432",
        "forward": None,
        "server": None,
        "age_s": 10.5,
        "bytes_up": 1000,
        "bytes_down": 2000,
        "rate_up": 1.2,
        "rate_down": None,
        "trace_id": None,
    }
    assert json.loads(json.dumps(row)) == row


def test_a_name_that_nobody_proved_is_no_identity():
    row = told()
    assert (row["identity"], row["identity_method"], row["client_id"]) == (None, "none", "client-6")


@pytest.mark.parametrize(
    ("side", "is_client", "direction"),
    [("local", False, "down"), ("peer", False, "up"), ("local", True, "up"), ("peer", True, "down")],
)
def test_half_closed_says_which_direction_has_ended(side, is_client, direction):
    relay = StillRelay()
    relay.session.ended_side = side
    row = told(relay=relay, is_up_outward=is_client)
    assert (row["state"], row["half_closed"]) == ("half_closed", direction)


def test_before_and_after():
    assert told(relay=None)["state"] == "connecting"
    relay = StillRelay()
    relay.session.outcome = Outcome.COMPLETED
    assert told(relay=relay)["state"] == "ending"


async def worst_lag(done: asyncio.Event) -> float:
    """The longest that the loop did not turn."""
    worst, last = 0.0, time.perf_counter()
    while not done.is_set():
        await asyncio.sleep(0)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    return worst


async def answer(lister: Lister, query: Query) -> int:
    """How many rows there are in the text that a request is answered with."""
    _, page = await lister.view(query)
    return len(json.loads(json.dumps(page))["connections"])


@pytest.fixture
def started():
    """Garbage collection as a program has it once it has started: what was there before is not looked through."""
    thresholds = gc.get_threshold()
    freeze_startup()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_ten_thousand_connections_hold_up_nobody(loop):
    """Whatever is asked of them, and by as many as may ask at once."""

    async def main():
        connections = Connections(20_000)
        for number in range(10_000):
            admit(connections, number, labels={"tunnel": f"tunnel-{number % 13}"})
        lister = Lister(Sampler(connections))
        done = asyncio.Event()
        measuring = asyncio.create_task(worst_lag(done))
        queries = [
            Query("rate", "desc"),
            Query("age", "asc", limit=MOST_ROWS, offset=9_500),
            Query("bytes", "desc", filter="client-3"),
            Query("bytes", "asc", filter="in no field of any"),
        ]
        answers = await asyncio.gather(*(answer(lister, query) for query in queries * (MOST_WAITING // 4)))
        done.set()
        return answers[:4], await measuring

    rows, worst = run(main(), loop)
    assert rows == [100, 500, 100, 0]
    assert worst < MOST_LAG, f"the loop stood still for {worst * 1000:.0f} ms"


def test_who_asks_while_many_wait_is_refused():
    async def main():
        connections = Connections(10)
        admit(connections, 1)
        lister = Lister(Sampler(connections))
        asked = [asyncio.create_task(lister.view(Query())) for _ in range(MOST_WAITING + 1)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        await lister.view(Query())
        return [result for result in results if isinstance(result, BaseException)]

    [refusal] = run(main())
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.retry_after) == (429, 2)


def test_a_connection_of_the_clients_side():
    connections = Connections(10)
    labels = {"forward": "ssh", "server": "ws://machine-b:8000/tunnel/127.0.0.1:22"}
    connection = Connection(
        connections, "id", "me", "127.0.0.1:5", "127.0.0.1:22", labels, is_up_outward=True, relay=StillRelay(7, 9)
    )
    row = describe(Sample(connection, 0, connection.bytes_up, connection.bytes_down, None, None), 0)
    assert (row["forward"], row["server"], row["bytes_up"], row["bytes_down"]) == ("ssh", labels["server"], 9, 7)
