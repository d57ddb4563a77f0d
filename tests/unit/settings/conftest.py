"""Settings read the environment: every test here starts with one that says nothing to sokken."""

import os

import pytest


@pytest.fixture(autouse=True)
def silent_environment(monkeypatch):
    for name in os.environ:
        if name.upper().startswith("SOKKEN") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
