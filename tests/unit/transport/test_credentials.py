"""What a client shows to a proxy: its credentials from a file, and settings that contradict each other."""

import pytest

from sokken.errors import ConfigurationError
from sokken.protocol.proxy import parse_proxy
from sokken.transport.credentials import Credentials
from tests.support.settings import client_settings

OURS = parse_proxy("http://p:3128")


def credentials(**given):
    return Credentials(client_settings(**given))


def test_a_proxy_is_shown_what_its_file_holds_now(tmp_path):
    file = tmp_path / "credentials"
    file.write_text("me:one")
    found = credentials(proxy=OURS, proxy_credentials_file=file)
    assert found.show_to(OURS).authorization == parse_proxy("http://me:one@p").authorization
    file.write_text("me:two")
    assert found.show_to(OURS).authorization == parse_proxy("http://me:two@p").authorization
    assert [each.what for each in found.files] == ["SOKKEN_PROXY_CREDENTIALS_FILE"]


def test_another_proxy_is_shown_nothing_of_it(tmp_path):
    """HTTPS_PROXY is every program's, and may be anybody's."""
    (tmp_path / "credentials").write_text("me:one")
    other = parse_proxy("http://q:3128")
    assert credentials(proxy=OURS, proxy_credentials_file=tmp_path / "credentials").show_to(other) is other
    assert credentials().show_to(OURS) is OURS


@pytest.mark.parametrize("content", [None, "nonsense"])
def test_without_a_good_file_no_proxy_is_asked(tmp_path, content):
    file = tmp_path / "credentials"
    if content is not None:
        file.write_text(content)
    found = credentials(proxy=OURS, proxy_credentials_file=file)
    with pytest.raises(ConfigurationError, match="SOKKEN_PROXY_CREDENTIALS_FILE: cannot use"):
        found.show_to(OURS)
    file.write_text("me:one")
    assert found.show_to(OURS).authorization


@pytest.mark.parametrize(
    ("proxy", "said"),
    [(None, "set SOKKEN_PROXY, too"), (parse_proxy("http://me:one@p"), "SOKKEN_PROXY has credentials; keep one")],
)
def test_credentials_for_no_proxy_or_twice(tmp_path, proxy, said):
    with pytest.raises(ConfigurationError, match=said):
        credentials(proxy=proxy, proxy_credentials_file=tmp_path / "credentials")
