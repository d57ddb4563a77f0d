import asyncio
import socket
import struct
import time

import pytest

from sokken.protocol.address import Address
from sokken.transport.dial import HAPPY_EYEBALLS_SECONDS, DialError, DialFailure, dial
from sokken.transport.resolve import Resolver
from tests.support.addresses import UNREACHABLE, closed_port
from tests.support.black_holes import black_hole
from tests.support.loops import LOOPS, run
from tests.support.targets import echo, target

pytestmark = pytest.mark.parametrize("loop", LOOPS)
NAME = Address("several.test", 80)


def resolver(*addresses: tuple[str, int]) -> Resolver:
    """Says that every name has these addresses."""
    found = [
        (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
        for host, port in addresses
    ]
    return Resolver(asyncio.get_running_loop(), lambda *_: found)


async def dial_in_time(address: Address, *found: tuple[str, int], seconds: float = 5) -> tuple[socket.socket, float]:
    started = time.monotonic()
    sock = await dial(resolver(*found), address, seconds)
    return sock, time.monotonic() - started


def option(sock: socket.socket, level: int, name: int) -> int:
    return sock.getsockopt(level, name)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_target_is_dialled_and_its_socket_prepared(loop, host):
    async def main(port):
        real = Resolver(asyncio.get_running_loop())
        with await dial(real, Address(host, port), 5) as sock:
            assert sock.getpeername()[:2] in {(host, port), ("127.0.0.1", port)}
            assert sock.gettimeout() == 0
            assert option(sock, socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert option(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)

    with target(echo, "::1" if host == "::1" else "127.0.0.1") as where:
        run(main(where[1]), loop)


@pytest.mark.parametrize("others", [0, 1])
def test_a_refusal_is_told_as_one_whatever_the_number_of_addresses(loop, others):
    async def main():
        with closed_port() as one, closed_port("::1") as two:
            with pytest.raises(DialError) as caught:
                await dial(resolver(one, *[two] * others), NAME, 5)
            assert caught.value.failure is DialFailure.REFUSED
            assert str(caught.value) == "several.test:80: connection refused"

    run(main(), loop)


def test_no_route_is_no_refusal(loop):
    async def main():
        with pytest.raises(DialError) as caught:
            await dial(resolver(), Address(*UNREACHABLE), 5)
        assert caught.value.failure is DialFailure.UNREACHABLE
        assert str(caught.value) == "255.255.255.255:9: network is unreachable"

    run(main(), loop)


def test_addresses_that_fail_each_in_its_way(loop):
    async def main():
        with closed_port() as refused:
            with pytest.raises(DialError) as caught:
                await dial(resolver(refused, UNREACHABLE), NAME, 5)
            assert caught.value.failure is DialFailure.UNREACHABLE
            for words in ("several.test:80: ", f"'127.0.0.1', {refused[1]}", "Network is unreachable"):
                assert words in str(caught.value)

    run(main(), loop)


def test_an_unknown_name(loop):
    async def main():
        with pytest.raises(DialError) as caught:
            await dial(Resolver(asyncio.get_running_loop()), Address("nowhere.invalid", 80), 5)
        assert caught.value.failure is DialFailure.DNS
        assert str(caught.value).startswith("nowhere.invalid does not resolve: ")

    run(main(), loop)


@pytest.mark.parametrize("count", [1, 2])
def test_who_does_not_answer_is_given_up_in_time(loop, count):
    async def main():
        with black_hole() as where:
            started = time.monotonic()
            with pytest.raises(DialError) as caught:
                await dial(resolver(*[where] * count), NAME, 0.3)
            assert 0.29 <= time.monotonic() - started < 2
            assert caught.value.failure is DialFailure.TIMEOUT
            assert str(caught.value) == "several.test:80 did not answer within 0.3 s"

    run(main(), loop)


def test_a_hung_look_up_counts_toward_the_time(loop):
    async def main():
        with pytest.raises(DialError) as caught:
            await dial(Resolver(asyncio.get_running_loop(), lambda *_: time.sleep(0.5)), NAME, 0.1)
        assert caught.value.failure is DialFailure.TIMEOUT

    run(main(), loop)


def test_the_second_address_is_taken_where_the_first_does_not_answer(loop):
    async def main(good):
        with black_hole() as silent:
            sock, seconds = await dial_in_time(NAME, silent, good)
            with sock:
                assert sock.getpeername() == good
                assert HAPPY_EYEBALLS_SECONDS - 0.05 <= seconds < HAPPY_EYEBALLS_SECONDS + 1
                assert struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)

    with target(echo) as good:
        run(main(good), loop)


def test_the_second_address_is_taken_at_once_where_the_first_refuses(loop):
    async def main(good):
        with closed_port() as refused:
            sock, seconds = await dial_in_time(NAME, refused, good)
            with sock:
                assert sock.getpeername() == good
                assert seconds < HAPPY_EYEBALLS_SECONDS

    with target(echo) as good:
        run(main(good), loop)


@pytest.mark.parametrize("count", [1, 2])
def test_a_dial_that_is_given_up_leaves_no_socket(loop, count):
    """An unclosed socket would be a ResourceWarning, which is an error here."""

    async def main():
        with black_hole() as where:
            dialling = asyncio.ensure_future(dial(resolver(*[where] * count), NAME, 5))
            await asyncio.sleep(0.05)
            dialling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialling

    run(main(), loop)


class Waited:
    """What a dial says that it waits for."""

    def __init__(self):
        self.patience = []

    def __call__(self, patience):
        self.patience.append(patience)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_of_this_host_is_connected_to_at_once(loop, host):
    async def main(port):
        waited, turns = Waited(), []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        with await dial(resolver(), Address(host, port), 5, on_wait=waited) as sock:
            assert turns == []  # nobody else has had a turn
            assert sock.getpeername()[1] == port
        assert waited.patience == []

    with target(echo, host) as where:
        run(main(where[1]), loop)


def test_a_refusal_at_an_address_of_this_host_is_one(loop):
    async def main():
        with closed_port() as where:
            with pytest.raises(DialError) as caught:
                await dial(resolver(), Address(*where), 5)
            assert caught.value.failure is DialFailure.REFUSED
            assert str(caught.value) == f"{where[0]}:{where[1]}: connection refused"

    run(main(), loop)


@pytest.mark.parametrize("is_name", [False, True])
def test_who_must_be_waited_for_can_be_given_up_early(loop, is_name):
    async def main():
        with black_hole() as where:
            waited = Waited()
            address = NAME if is_name else Address(*where)
            dialling = asyncio.ensure_future(dial(resolver(where), address, 5, on_wait=waited))
            await asyncio.sleep(0.05)
            [patience] = waited.patience
            began = time.monotonic()
            patience.reschedule(asyncio.get_running_loop().time())
            with pytest.raises(DialError) as caught:
                await dialling
            assert caught.value.failure is DialFailure.TIMEOUT
            assert time.monotonic() - began < 1

    run(main(), loop)


def test_what_is_not_allowed_is_not_dialled(loop):
    """Neither a name's addresses nor one that is spelled."""

    class Forbidden(Exception):
        pass

    def forbid(found):
        raise Forbidden([address[4][:2] for address in found])

    async def main(where):
        for address in (NAME, Address(*where)):
            with pytest.raises(Forbidden) as caught:
                await dial(resolver(where), address, 5, forbid)
            assert caught.value.args == ([where],)
        assert accepted == []

    accepted = []
    with target(accepted.append) as where:
        run(main(where), loop)


def test_of_several_addresses_only_those_that_are_allowed_are_dialled(loop):
    async def main(good):
        with closed_port() as bad:
            only = resolver(bad, good)
            with await dial(only, NAME, 5, lambda found: [one for one in found if one[4] == good]) as sock:
                assert sock.getpeername() == good

    with target(echo) as good:
        run(main(good), loop)
