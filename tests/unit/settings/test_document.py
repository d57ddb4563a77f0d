"""docs/settings.md is what the settings say, today."""

from pathlib import Path

from sokken.settings.catalogue import all_settings
from sokken.settings.document import document

COMMITTED = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_committed_document_is_current():
    remedy = "run: python -m sokken.settings.document > docs/settings.md"
    assert COMMITTED.read_text() == document(), remedy


def test_every_setting_has_a_row():
    rows = [line.split(" | ") for line in document().splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows] == [f"| `{setting.variable}`" for setting in all_settings().values()]
    assert all(len(row) == 6 for row in rows)
    assert [
        "| `SOKKEN_CA_FILE`",
        "`-ca-file`",
        "path",
        "(none)",
        "PEM file of the authorities to trust instead of the system's, for wss://",
        "client |",
    ] in rows
    assert ["| `SOKKEN_TARGETS`", "REMOTE_ADDR", "list", "(required)"] in [row[:4] for row in rows]
