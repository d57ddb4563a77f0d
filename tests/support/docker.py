"""Containers and networks that a test starts: under one label, and all removed with it."""

import json
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import targets
from tests.support.programs import PATIENCE, Line
from tests.support.services import run, succeed
from tests.support.targets import eventually

# As unprivileged as docker can make it. The user is another one than the image's own.
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "12345")


class Container:
    """One that runs in the background; sokken's log is what it writes."""

    def __init__(self, identity: str, words: Sequence[str]) -> None:
        self.id = identity
        self.words = words

    def log(self) -> str:
        done = run("docker", "logs", "--timestamps", self.id)
        return done.stdout + done.stderr

    def lines(self, event: str, **fields: object) -> list[Line]:
        """Those that sokken has logged so far of that event, with these fields."""
        logged = [json.loads(line) for line in run("docker", "logs", self.id).stderr.splitlines() if line[:1] == "{"]
        return [line for line in logged if line["event"] == event and fields.items() <= line.items()]

    def wait_for(self, event: str, **fields: object) -> Line:
        """The first such line, once it is there."""
        return eventually(lambda: self.lines(event, **fields))[0]

    def published(self, port: int) -> tuple[str, int]:
        """Where the host reaches a port that was published."""
        host, _, number = succeed("docker", "port", self.id, f"{port}/tcp").splitlines()[0].rpartition(":")
        return host, int(number)

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run("docker", "exec", self.id, *words)

    def inspect(self, template: str) -> Any:
        return json.loads(succeed("docker", "inspect", "--format", f"{{{{json {template}}}}}", self.id))

    def signal(self, name: str) -> None:
        succeed("docker", "kill", "--signal", name, self.id)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code, once it has ended by itself."""
        eventually(lambda: not self.inspect(".State.Running"), seconds)
        code: int = self.inspect(".State.ExitCode")
        return code


class Docker:
    """What a test makes with the engine, for as long as the test runs."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.containers: list[Container] = []
        self.label = f"sokken.test={uuid.uuid4()}"

    def start(
        self, *words: str, options: Sequence[str] = (), env: Mapping[str, str] | None = None, image: str = ""
    ) -> Container:
        """`docker run` in the background, as unprivileged as can be; of the image under test unless told."""
        command = ["run", "--detach", "--label", self.label, *HARDENED, *options, *_environment(env)]
        container = Container(succeed("docker", *command, image or self.image, *words).strip(), words)
        self.containers.append(container)
        return container

    def finish(
        self, *words: str, options: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`docker run` to the program's own end."""
        command = ["run", "--rm", "--label", self.label, *HARDENED, *options, *_environment(env)]
        return run("docker", *command, self.image, *words)

    def python(self, script: str, *options: str) -> str:
        """What a script prints that runs where sokken runs."""
        done = self.finish("-c", script, options=["--entrypoint", "python", *options])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def network(self) -> str:
        """A network where containers find each other by name."""
        return succeed("docker", "network", "create", "--label", self.label, f"sokken-{uuid.uuid4()}").strip()

    def targets(self, network: str, image: str, name: str = "target", echo: int = 7000, count: int = 9000) -> Container:
        """A host of that name that echoes at one port and counts at another."""
        source = Path(targets.__file__).read_text()
        script = (
            f"{source}\nwith target(echo, '0.0.0.0', {echo}), target(count, '0.0.0.0', {count}):\n"
            "    print('ready', flush=True)\n    threading.Event().wait()"
        )
        options = ["--network", network, "--network-alias", name, "--entrypoint", "python3"]
        container = self.start("-c", script, options=options, image=image)
        eventually(lambda: "ready" in container.log())
        return container

    def remove(self) -> None:
        """Everything that has the label, also what a test has started past this."""
        mine = ("--quiet", "--filter", f"label={self.label}")
        if containers := succeed("docker", "ps", "--all", *mine).split():
            succeed("docker", "rm", "--force", "--volumes", *containers)
        if networks := succeed("docker", "network", "ls", *mine).split():
            succeed("docker", "network", "rm", *networks)


def _environment(env: Mapping[str, str] | None) -> list[str]:
    return [word for name, value in (env or {}).items() for word in ("--env", f"{name}={value}")]
