"""Secrets and policies change by `kubectl apply` while applications talk: nothing restarts, and nothing is dropped."""

import json

from tests.e2e.applications import STAY
from tests.e2e.namespace import eventually, was_restarted
from tests.e2e.release import ECHO, OTHER_ECHO, SERVER, begin, pod_names, pods_of, values
from tests.e2e.workloads import ECHO_PORT, EXCHANGE_PORT, OTHER_ECHO_PORT, config_map, secret, tls_secret
from tests.support.certificates import Authority

LIVE = 20
OLD, NEW = "the-first-token-of-this-story", "the-second-token-of-this-story"
# Asks the servers whether they would let in whoever shows this token: 204 if so, else 401.
CHECK = f"""
import http.client, ssl, sys
server = http.client.HTTPSConnection("{SERVER}", context=ssl._create_unverified_context())
server.request("HEAD", "/tunnel/target:{ECHO_PORT}", headers={{"Authorization": "Bearer " + sys.argv[1]}})
print(server.getresponse().status)
"""


def apply_and_wait(namespace, thing, component, setting, result="loaded"):
    """Apply it, and wait until every pod of the component says that it has read it."""
    pods = pod_names(namespace, component)
    before = {pod: reloads(namespace, pod, setting) for pod in pods}
    namespace.apply(thing)

    def have_read():
        waiting = [pod for pod in pods if reloads(namespace, pod, setting) == before[pod]]
        namespace.sync(*waiting)
        return not waiting

    eventually(have_read, every=2)
    assert {reloads(namespace, pod, setting)[-1] for pod in pods} == {result}


def reloads(namespace, pod, setting):
    lines = namespace.lines(pod)
    return [line["result"] for line in lines if line["event"] == "reload" and line["setting"] == setting]


def all_pods(namespace):
    return [pod for component in ("server", "client") for pod in pods_of(namespace, component)]


def assert_nobody_noticed(namespace, applications, pods_before):
    live, new = applications.report("live"), applications.report("new")
    assert (live["open"], live["lost"], live["failed"], new["failed"]) == (LIVE, [], [], [])
    pods = all_pods(namespace)
    assert {pod["metadata"]["uid"] for pod in pods} == {pod["metadata"]["uid"] for pod in pods_before}
    assert not any(was_restarted(pod) for pod in pods)


def test_a_token_is_replaced_in_three_steps(namespace, tmp_path):
    authority = Authority(tmp_path)
    namespace.apply(
        config_map("authority", {"ca.crt": authority.file.read_text()}),
        tls_secret("server-tls", authority.issue(f"DNS:{SERVER}")),
        secret("server-tokens", {"tokens": f"here:{OLD}\n"}),
        secret("client-token", {"token": OLD}),
    )
    server = {"tls": {"existingSecret": "server-tls"}, "tokens": {"existingSecret": "server-tokens"}, "replicas": 2}
    client = {"token": {"existingSecret": "client-token"}, "ca": {"existingConfigMap": "authority"}, "replicas": 2}
    applications = begin(namespace, values(server, {**client, "url": f"wss://{SERVER}"}))
    applications.hold("live", ECHO, LIVE)
    applications.visit("new", ECHO)
    before = all_pods(namespace)

    def lets_in(token):
        said = namespace.kubectl("exec", f"deployment/{STAY}", "--", "python", "-c", CHECK, token)
        return {"204": True, "401": False}[said.strip()]

    assert [lets_in(token) for token in (OLD, NEW)] == [True, False]
    both = secret("server-tokens", {"tokens": f"here:{OLD}\nhere:{NEW}\n"})
    apply_and_wait(namespace, both, "server", "SOKKEN_TOKENS_FILE")
    assert [lets_in(token) for token in (OLD, NEW)] == [True, True]
    apply_and_wait(namespace, secret("client-token", {"token": NEW}), "client", "SOKKEN_TOKEN_FILE")
    one = secret("server-tokens", {"tokens": f"here:{NEW}\n"})
    apply_and_wait(namespace, one, "server", "SOKKEN_TOKENS_FILE")
    assert [lets_in(token) for token in (OLD, NEW)] == [False, True]
    applications.wait_for_more("new", 30)
    assert_nobody_noticed(namespace, applications, before)


def policy(*ports):
    rule = {"action": "allow", "identities": ["*"], "targets": [f"target:{port}" for port in ports]}
    return config_map("policy", {"policy.yaml": json.dumps({"rules": [rule]})})


def test_a_policy_is_in_force_for_those_that_it_forbids_and_unnoticed_by_the_others(namespace):
    namespace.apply(policy(ECHO_PORT, OTHER_ECHO_PORT, EXCHANGE_PORT))
    rules = {
        "targets": [],
        "existingPolicyConfigMap": {"name": "policy"},
        "settings": {"SOKKEN_REVOKE_GRACE_SECONDS": 0},
    }
    applications = begin(namespace, values(rules))
    applications.hold("live", ECHO, LIVE)
    applications.visit("new", ECHO)
    applications.hold("forbidden", OTHER_ECHO, LIVE)
    before = all_pods(namespace)

    apply_and_wait(namespace, policy(ECHO_PORT, EXCHANGE_PORT), "server", "SOKKEN_POLICY_FILE")
    eventually(lambda: len(applications.report("forbidden")["lost"]) == LIVE)
    forbidden = eventually(lambda: (report := applications.report("forbidden"))["failed"] and report)
    assert {seen["how"] for seen in forbidden["lost"] + forbidden["failed"]} == {"reset"}

    broken = config_map("policy", {"policy.yaml": "rules: 5"})
    apply_and_wait(namespace, broken, "server", "SOKKEN_POLICY_FILE", "kept_last_good")
    applications.wait_for_more("new")
    assert applications.report("forbidden")["open"] == 0

    apply_and_wait(namespace, policy(ECHO_PORT, OTHER_ECHO_PORT, EXCHANGE_PORT), "server", "SOKKEN_POLICY_FILE")
    eventually(lambda: applications.report("forbidden")["open"] == LIVE)
    applications.wait_for_more("new")
    assert_nobody_noticed(namespace, applications, before)
