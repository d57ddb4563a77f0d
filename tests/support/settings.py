"""The client's settings as a test gives them, with the real defaults: nothing is validated, no environment is read."""

from typing import Any

from sokken.settings import ClientSettings


def client_settings(**given: Any) -> ClientSettings:
    """Of a client that has no forwards and listens nowhere, and fails sooner than the real one."""
    times = {"connect_timeout_seconds": 10, "attempt_timeout_seconds": 5}
    return ClientSettings.model_construct(**({"client_id": "machine-a"} | times | given))
