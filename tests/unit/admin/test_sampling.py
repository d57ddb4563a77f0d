import asyncio
import gc
import time
import weakref

import pytest

from sokken.admin import sampling
from sokken.admin.sampling import STALE_SECONDS, Sampler, in_turns
from sokken.transport.connections import Connections
from tests.support.admin import StillRelay, admit
from tests.support.loops import Clock, run


def test_rates_are_over_the_time_between_two_looks():
    async def main():
        clock, connections = Clock(), Connections(10)
        one = admit(connections, 100)
        sampler = Sampler(connections, clock)
        first = await sampler.sweep()
        assert [(sample.bytes_up, sample.rate_up) for sample in first.samples] == [(100, None)]
        one.relay.bytes_in += 500  # at the server what comes in goes up
        one.relay.bytes_out += 60
        two = admit(connections, 40)
        clock.now += 2
        return first, await sampler.sweep(), one, two

    first, second, one, two = run(main())
    assert (first.rate_up, first.rate_down) == (None, None)
    samples = {sample.connection: sample for sample in second.samples}
    assert (samples[one].rate_up, samples[one].rate_down) == (250, 30)
    assert (samples[two].rate_up, samples[two].rate_down) == (20, 40)  # all that it carried came since the last look
    assert (second.rate_up, second.rate_down) == (270, 70)
    assert (second.bytes_up, second.bytes_down) == (640, 340)


def test_what_has_ended_counts_in_the_totals_and_in_the_rate():
    async def main():
        clock, connections = Clock(), Connections(10)
        gone = admit(connections, 100)
        sampler = Sampler(connections, clock)
        await sampler.sweep()
        gone.relay.bytes_in += 50
        connections.ended.bytes_up += gone.bytes_up
        connections.ended.bytes_down += gone.bytes_down
        connections.release(gone)
        clock.now += 1
        return await sampler.sweep()

    sweep = run(main())
    assert (sweep.samples, sweep.bytes_up, sweep.rate_up, sweep.rate_down) == ([], 150, 50, 0)


def test_all_who_ask_within_a_tick_share_one_look():
    async def main():
        clock, connections = Clock(), Connections(10)
        sampler = Sampler(connections, clock)
        sweeps = await asyncio.gather(*(sampler.sweep() for _ in range(5)))
        clock.now += 0.5
        again = await sampler.sweep()
        clock.now += 0.5
        return sweeps, again, await sampler.sweep()

    sweeps, again, later = run(main())
    assert all(sweep is again for sweep in sweeps)
    assert later is not again


def test_after_a_long_while_there_is_no_rate():
    async def main():
        clock, connections = Clock(), Connections(10)
        admit(connections, 1)
        sampler = Sampler(connections, clock)
        await sampler.sweep()
        clock.now += STALE_SECONDS + 1
        return await sampler.sweep()

    sweep = run(main())
    assert (sweep.rate_up, sweep.samples[0].rate_up) == (None, None)


def test_nothing_is_kept_of_what_nobody_asks_for_any_more(monkeypatch):
    monkeypatch.setattr(sampling, "STALE_SECONDS", 0.05)

    async def main():
        connections = Connections(10)
        connection = admit(connections, 1)
        ended = weakref.ref(connection.relay.session)
        sampler = Sampler(connections)
        await sampler.sweep()
        connections.release(connection)
        del connection
        gc.collect()
        held = ended() is not None
        await asyncio.sleep(0.2)
        gc.collect()
        return held, ended(), repr(sampler)

    assert run(main()) == (True, None, "<Sampler idle>")


def test_states_are_counted():
    async def main():
        connections = Connections(10)
        admit(connections, 1, relay=None)
        for side in ("local", "peer", None):
            relay = StillRelay()
            relay.session.ended_side = side
            admit(connections, 2, relay=relay)
        return await Sampler(connections).sweep()

    sweep = run(main())
    assert (sweep.connecting, sweep.half_closed, len(sweep.samples)) == (1, 2, 4)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_loop_has_its_turn_between_batches(loop):
    async def main():
        turns = 0
        done = asyncio.Event()

        async def count():
            nonlocal turns
            while not done.is_set():
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        sizes = [len(batch) async for batch in in_turns(range(1050), 100)]
        done.set()
        await counting
        return sizes, turns

    sizes, turns = run(main(), loop)
    assert sizes == [100] * 10 + [50]
    assert turns >= 10


def test_connections_that_come_and_go_meanwhile_do_no_harm():
    async def main():
        connections = Connections(100_000)
        kept = [admit(connections, number) for number in range(2000)]

        async def churn():
            for connection in kept[:1000]:
                connections.release(connection)
                admit(connections, 5)
                await asyncio.sleep(0)

        started = time.monotonic()
        churning = asyncio.create_task(churn())
        sweep = await Sampler(connections).sweep()
        await churning
        return len(sweep.samples), len(connections), time.monotonic() - started

    samples, live, _ = run(main())
    assert (samples, live) == (2000, 2000)
