"""Bytes both ways through the client's Service, every one of them compared by checksum."""

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.applications import MIB
from tests.e2e.release import EXCHANGE, begin, pod_names


def test_exchanges_at_once_are_right_to_the_last_byte(namespace):
    applications = begin(namespace)
    sizes = [0, 1, 65_537, 3 * MIB, 24 * MIB, 24 * MIB]
    with ThreadPoolExecutor(len(sizes)) as pool:
        exchanges = [pool.submit(applications.exchange, EXCHANGE, size, seed) for seed, size in enumerate(sizes)]
        results = [exchange.result() for exchange in exchanges]
    assert [result["right"] for result in results] == [True] * len(sizes), results
    for component in ("client", "server"):
        (pod,) = pod_names(namespace, component)
        counted = namespace.status(pod)["connections"]
        assert (counted["ended"], counted["failed"]) == (len(sizes), 0)
        assert counted["bytes_up"] == sum(16 + size for size in sizes)
        assert counted["bytes_down"] == sum(size + 32 for size in sizes)
