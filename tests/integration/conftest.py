"""What tests with the real programs share: both event loops, and an authority for certificates."""

import pytest

from tests.support.certificates import Authority


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request):
    return {"SOKKEN_EVENT_LOOP": request.param}


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """With a certificate for servers on loopback, ``authority.server``."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    authority.server = authority.issue("DNS:localhost", "IP:127.0.0.1")
    return authority
