"""SIGTERM before a program has begun to serve: the kernel keeps it from the first process of a container, unless that
handles it (pid_namespaces(7)). `docker stop` and a deleted pod would wait for their whole time."""

import pytest

from tests.support.targets import eventually

# The real command, but for an import that takes as long as it takes to send a signal.
SLOWLY = """
import sys, time

slow = sys.argv.pop(1)

class Slow:
    def find_spec(self, name, path, target=None):
        if name == slow:
            print("importing", flush=True)
            time.sleep(600)

sys.meta_path.insert(0, Slow())
from sokken.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("program", ["server", "client"])
def test_a_program_that_is_still_starting_ends_at_once(docker, program):
    env = {
        "SOKKEN_API_ADDR": ":8000",
        "SOKKEN_TARGETS": "127.0.0.1:22",
        "SOKKEN_FORWARDS": ":22=ws://machine-b/tunnel/127.0.0.1:22",
    }
    options = ["--entrypoint", "python"]
    container = docker.start("-c", SLOWLY, f"sokken.{program}.program", program, env=env, options=options)
    eventually(lambda: "importing" in container.log())
    container.signal("TERM")
    assert container.wait() == 143
