import pytest
import structlog


@pytest.fixture
def undo_silence():
    """The doctor silences the log of its process, which is the other tests', too."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
