"""``python -m charts.generate`` writes the chart's schema and README; with ``manifests`` what is in k8s/, by helm."""

import sys
from pathlib import Path

from charts.generate.manifests import manifests
from charts.generate.readme import readme
from charts.generate.schema import schema
from charts.generate.values import CHART


def documents() -> dict[Path, str]:
    """Return what is made without helm."""
    return {CHART / "values.schema.json": schema(), CHART / "README.md": readme()}


if __name__ == "__main__":
    for path, text in (manifests() if sys.argv[1:] == ["manifests"] else documents()).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
