"""``python -m charts.generate documents`` writes the chart's schema and README, ``… manifests`` what is in k8s/."""

import sys
from pathlib import Path

from charts.generate.readme import readme
from charts.generate.schema import schema
from charts.generate.values import CHART


def documents() -> dict[Path, str]:
    """Return what is made without helm."""
    return {CHART / "values.schema.json": schema(), CHART / "README.md": readme()}


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
