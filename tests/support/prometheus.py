"""Debian's Prometheus, scraping what a test names, and what it answers."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.programs import PATIENCE, join
from tests.support.services import free_port, installed, service
from tests.support.targets import eventually

RULES = Path(__file__).parents[2] / "charts/sokken/files/rules.yaml"


class Prometheus:
    """One that runs at ``where``."""

    def __init__(self, where: tuple[str, int]) -> None:
        self._url = f"http://{join(where)}/api/v1"

    def get(self, path: str, **query: str) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self._url}/{path}?{urllib.parse.urlencode(query)}", timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> dict[str, float]:
        """The series of an expression, by the value of their first own label."""
        return {str(one["metric"]): float(one["value"][1]) for one in self.get("query", query=expression)["result"]}

    def value(self, expression: str) -> float | None:
        """The only value of an expression; None if there is none."""
        return next(iter(self.query(expression).values()), None)

    def wait_for(self, expression: str, value: float) -> None:
        eventually(lambda: self.value(expression) == value)


@contextmanager
def prometheus(folder: Path, *scraped: tuple[str, int], rules: Sequence[Path] = (RULES,)) -> Iterator[Prometheus]:
    """It scrapes ``scraped`` every second."""
    where = ("127.0.0.1", free_port())
    config = folder / "prometheus.yml"
    document = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": "sokken", "static_configs": [{"targets": [join(one) for one in scraped]}]}],
    }
    config.write_text(json.dumps(document))  # YAML, too
    arguments = (
        f"--config.file={config}",
        f"--web.listen-address={join(where)}",
        f"--storage.tsdb.path={folder / 'data'}",
    )
    with service(installed("prometheus"), *arguments, where=where, log=folder / "prometheus.log"):
        yield Prometheus(where)
