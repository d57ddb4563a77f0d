"""`docker run sokken`, as unprivileged as can be: what it says, and its exit code."""

import pytest

from sokken import __version__

SERVER = {"SOKKEN_API_ADDR": ":8000", "SOKKEN_TARGETS": "127.0.0.1:22"}


def test_without_a_network_it_tells_its_version(docker):
    done = docker.finish("--version", options=["--network", "none"])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sokken {__version__}\n", "")


@pytest.mark.parametrize("words", [["server", "--help"], ["doctor", "--help"], ["top", "--help"], ["policy", "--help"]])
def test_every_command_is_there(docker, words):
    done = docker.finish(*words, options=["--network", "none"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: sokken {words[0]}")


@pytest.mark.parametrize(
    ("program", "env", "code", "said"),
    [
        ("server", {}, 3, "API_ADDR is missing"),
        ("client", {}, 3, "API_ADDR is missing"),
        ("server", {"SOKKEN_API_ADDR": ":8000"}, 3, "SOKKEN_TARGETS"),
        ("client", {"SOKKEN_API_ADDR": ":8000"}, 3, "SOKKEN_FORWARDS"),
        ("server", SERVER | {"SOKKEN_TOKENS_FILE": "/run/secrets/tokens"}, 3, "/run/secrets/tokens"),
        ("server", SERVER | {"SOKKEN_LOG_FILE": "/var/log/sokken"}, 3, "/var/log/sokken"),
        ("server", SERVER | {"SOKKEN_MAX_CONNECTIONS": "many"}, 2, "SOKKEN_MAX_CONNECTIONS"),
        ("client", {"SOKKEN_API_ADDR": ":8000", "SOKKEN_FORWARDS": ":22=machine-b:22"}, 2, "SOKKEN_FORWARDS"),
    ],
)
def test_missing_or_wrong_settings_are_one_line_and_an_exit_code(docker, program, env, code, said):
    done = docker.finish(program, env=env)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_settings_in_effect_can_be_looked_at(docker):
    done = docker.finish("check-config", "server", env=SERVER)
    assert done.returncode == 0
    assert "127.0.0.1:22" in done.stdout
