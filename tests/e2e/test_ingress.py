"""Through real reverse proxies that end TLS and have their default time-outs, as an ingress does.

An idle connection outlives haproxy's 50 s and nginx's 60 s, because both ends ping every 20 s.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.applications import MIB
from tests.e2e.namespace import eventually
from tests.e2e.release import WITH_IMAGE, client_values, install, pod_names, server_values, start_applications
from tests.e2e.workloads import (
    ECHO_PORT,
    EXCHANGE_PORT,
    INGRESS_PORT,
    add_ingress,
    config_map,
    tls_secret,
)
from tests.support.certificates import Authority

PROXIES = ["haproxy", "nginx"]
IDLE_SECONDS = 180


@pytest.mark.timeout(420)
def test_an_idle_connection_of_three_minutes_and_a_busy_one(namespace, tmp_path):
    authority = Authority(tmp_path)
    certificate = authority.issue(*(f"DNS:{proxy}" for proxy in PROXIES))
    applications = start_applications(namespace)
    namespace.apply(
        config_map("authority", {"ca.crt": authority.file.read_text()}),
        tls_secret("ingress", certificate),
    )
    install(namespace, {**WITH_IMAGE, "server": server_values()})
    for proxy in PROXIES:
        add_ingress(namespace, proxy)
    namespace.wait_for_rollout(*PROXIES)
    for proxy in PROXIES:
        near = client_values(f"wss://{proxy}:{INGRESS_PORT}", ca={"existingConfigMap": "authority"})
        off = {"server": {"enabled": False}}
        install(namespace, {**WITH_IMAGE, **off, "client": near}, release=f"by-{proxy}")
        applications.hold(proxy, f"by-{proxy}-sokken-client:{ECHO_PORT}", 1, every=IDLE_SECONDS)
    with ThreadPoolExecutor() as pool:
        busy = [
            pool.submit(applications.exchange, f"by-{proxy}-sokken-client:{EXCHANGE_PORT}", 16 * MIB, seed)
            for seed, proxy in enumerate(PROXIES)
        ]
        assert all(exchange.result()["right"] for exchange in busy), [exchange.result() for exchange in busy]
    eventually(lambda: all(applications.report(proxy)["spoken"] for proxy in PROXIES), IDLE_SECONDS + 60, every=2)
    for proxy in PROXIES:
        report = applications.report(proxy)
        assert (report["open"], report["opened"], report["lost"]) == (1, 1, []), (proxy, report)
    (server,) = pod_names(namespace, "server")
    assert namespace.status(server)["connections"]["now"] == len(PROXIES)
