"""The tables of docs/operator.md are what the code says, today."""

import re
from pathlib import Path

from sokken.operator.document import document
from sokken.operator.model.names import SETTINGS_IN_ENV
from sokken.operator.resources import Annotation
from sokken.operator.status import Reason
from sokken.operator.status.describe import _NOT_TOLD

PAGE = (Path(__file__).parents[3] / "docs" / "operator.md").read_text()


def test_the_committed_page_is_current():
    assert document(PAGE) == PAGE, "run: make docs"


def test_each_reason_has_one_row_with_its_cause_and_what_to_do():
    rows = [
        line.strip("| \n").split(" | ")
        for line in PAGE.splitlines()
        if re.match(r"\| [A-Z]\w+ \| (True|False|U)", line)
    ]
    assert sorted(row[2].strip("`") for row in rows) == sorted(Reason)
    assert all(len(row) == 5 and row[3] and row[4] for row in rows)


def test_each_field_has_a_row():
    for field in ("server.url", "forwards[].target.host", "podTemplate.affinity", "telemetry.samplingRatio"):
        assert f"| `{field}` |" in PAGE


def test_what_has_no_event_is_named():
    paragraph = next(text for text in PAGE.split("\n\n") if text.startswith("Events are written"))
    named = set(re.findall(r"`(\w+)`", paragraph)) - {"Ready", "Progressing", "Warning", "False", "Normal", "True"}
    assert named == {reason.value for reason in _NOT_TOLD}


def test_settings_that_may_be_variables_are_named():
    paragraph = next(text for text in PAGE.split("\n\n") if text.startswith("`podTemplate.env` takes"))
    assert set(re.findall(r"`(SOKKEN_[A-Z_]+[A-Z])`", paragraph)) == set(SETTINGS_IN_ENV)


def test_the_one_annotation_of_users_is_named():
    assert Annotation.IGNORE_DRAIN_BACKLOG in PAGE
