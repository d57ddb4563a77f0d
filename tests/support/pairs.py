"""One server and one client with a forward for each of several targets: what tests of a module share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from tests.support.programs import Client, Server, client, server

Where = tuple[str, int]


@dataclass
class Pair:
    """``targets`` says where each target is, by name, and ``entries`` where the client listens for it."""

    server: Server
    client: Client
    targets: Mapping[str, Where]
    entries: dict[str, Where]


@contextmanager
def pair(
    targets: Mapping[str, Where],
    proxy: Callable[[Where], AbstractContextManager[Where]] = nullcontext,
    scheme: str = "ws",
    env: dict[str, str] | None = None,
) -> Iterator[Pair]:
    """``proxy`` starts what is in between, given where the server listens, and says where it listens itself."""
    with server(*targets.values(), env=env) as far, proxy(far.api) as through:
        urls = [far.url(target, through, scheme) for target in targets.values()]
        with client(*urls, env=env) as near:
            yield Pair(far, near, targets, dict(zip(targets, near.entries, strict=True)))
