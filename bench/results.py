"""What a run has measured: every value of every round, and why some are missing. Written and read as JSON.

Filled by the suites, read by targets.py and report.py. It refuses figures that the rounds do not support.
"""

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

MIN_ROUNDS = 3

# suite -> variant -> stack -> metric -> one value for each round
Samples = dict[str, dict[str, dict[str, dict[str, list[float]]]]]


class NotMeasuredError(Exception):
    """There is no such figure; str() says why, ``stack`` for want of which stack: none where nobody tried."""

    def __init__(self, reason: str, stack: str | None = None) -> None:
        super().__init__(reason)
        self.stack = stack


@dataclass(slots=True)
class Results:
    """One run. ``plan`` is full or smoke; ``began`` is a time in UTC, ISO 8601."""

    plan: str
    began: str
    suites: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    gate: dict[str, dict[str, str]] = field(default_factory=dict)
    samples: Samples = field(default_factory=dict)
    histograms: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def record(self, suite: str, variant: str, stack: str, values: Mapping[str, float]) -> None:
        """Add one round."""
        metrics = self.samples.setdefault(suite, {}).setdefault(variant, {}).setdefault(stack, {})
        for metric, value in values.items():
            metrics.setdefault(metric, []).append(float(f"{value:.5g}"))

    def record_histogram(self, suite: str, stack: str, buckets: Iterable[tuple[int, int]]) -> None:
        """Add one round's latencies to those of the rounds before: bucket = floor(16 log2 nanoseconds)."""
        stacks = self.histograms.setdefault(suite, {})
        total = Counter(dict(pairs(stacks.get(stack, []))))
        total.update(dict(buckets))
        stacks[stack] = [number for pair in sorted(total.items()) for number in pair]

    def fail(self, suite: str, stack: str, reason: str) -> None:
        """Note why a stack has no figures, or fewer."""
        self.failures.setdefault(suite, {})[stack] = reason

    def has_failed(self, suite: str, stack: str) -> bool:
        """Whether a stack is out of a suite."""
        return stack in self.failures.get(suite, {})

    def values(self, suite: str, variant: str, stack: str, metric: str) -> list[float]:
        """One for each round. Raises NotMeasuredError."""
        found = self.samples.get(suite, {}).get(variant, {}).get(stack, {}).get(metric)
        if found:
            return found
        if suite not in self.suites:
            raise NotMeasuredError(f"{suite} is not in this run")
        failed = self.failures.get(suite, {}).get(stack) or self.failures.get("gate", {}).get(stack)
        reason = self.absent.get(stack) or failed
        raise NotMeasuredError(f"{stack}: {reason or 'not in this run'}", stack if reason else None)

    def median(self, suite: str, variant: str, stack: str, metric: str) -> float:
        """Of all rounds. Raises NotMeasuredError."""
        return statistics.median(self.values(suite, variant, stack, metric))

    def ratio(self, suite: str, variant: str, stack: str, metric: str, to: str) -> float:
        """Of two stacks' medians. Raises NotMeasuredError, also where there were too few rounds to compare."""
        for name in (stack, to):
            if len(self.values(suite, variant, name, metric)) < MIN_ROUNDS:
                raise NotMeasuredError(f"{name}: fewer than {MIN_ROUNDS} rounds", name)
        return self.median(suite, variant, stack, metric) / self.median(suite, variant, to, metric)

    def stacks(self, suite: str, variant: str) -> list[str]:
        """Those with figures, in the order in which they were first measured."""
        return list(self.samples.get(suite, {}).get(variant, {}))

    def save(self, path: Path) -> None:
        """Write JSON: a line for each list of numbers, so that two runs can be compared by eye."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        fields: dict[str, Any] = json.loads(path.read_text())
        return cls(**fields)


def pairs(flat: list[int]) -> Iterable[tuple[int, int]]:
    """A histogram's buckets and counts."""
    return zip(flat[::2], flat[1::2], strict=True)
