"""What tuning looks for, what it tries, and which of the engines that it tried is the one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Figures that a least value can be asked of.
ACCURACIES = ("cosine", "snr_db", "top1")
_UNITS_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Demand:
    """What an engine must reach.

    Attributes:
        batch: the batch size that it is timed at.
        max_latency_ms: the longest median compute time, in milliseconds; none for any.
        least: the least value of some of `ACCURACIES`, each of the output that fares worst.
    """

    batch: int
    max_latency_ms: float | None = None
    least: Mapping[str, float] = field(default_factory=dict)

    @property
    def wants_speed(self) -> bool:
        """Whether the fastest is wanted of those that meet it; else the most accurate."""
        return bool(self.least)

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {"batch": self.batch, "max_latency_ms": self.max_latency_ms, "min_accuracy": dict(self.least)}


@dataclass(frozen=True)
class Candidate:
    """One engine that could be built.

    Attributes:
        toolchain: as text.
        precision: of the ladder.
        kept_layers: nodes that stay in FP32.
    """

    toolchain: str
    precision: str
    kept_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What became of a candidate.

    Attributes:
        candidate: that was built, or was to be.
        engine_id: of its engine; none if there is none.
        median_ms: at the demand's batch; none if nothing could time it.
        cosine: of the worst output; none if nothing could verify it.
        snr_db: of the worst output.
        top1: share of labelled inputs that it gets right; without labels how often it agrees with the reference.
        why_not: why there is no engine, or no figures.
        is_inaccurate: whether that is because its outputs were refused.
    """

    candidate: Candidate
    engine_id: int | None = None
    median_ms: float | None = None
    cosine: float | None = None
    snr_db: float | None = None
    top1: float | None = None
    why_not: str = ""
    is_inaccurate: bool = False

    @property
    def is_measured(self) -> bool:
        """Whether it has an engine with a time and an accuracy."""
        return self.engine_id is not None and self.median_ms is not None and self.snr_db is not None

    def is_accurate(self, demand: Demand) -> bool:
        """Whether it reaches every least value; a figure that is not known reaches none."""
        values = {name: getattr(self, name) for name in demand.least}
        return self.is_measured and all(
            value is not None and value >= demand.least[name] for name, value in values.items()
        )

    def is_fast(self, demand: Demand) -> bool:
        """Whether it is fast enough."""
        limit = demand.max_latency_ms
        return self.median_ms is not None and (limit is None or self.median_ms <= limit)

    def meets(self, demand: Demand) -> bool:
        """Whether it is what is asked for."""
        return self.is_accurate(demand) and self.is_fast(demand)


def best_of(trials: Iterable[Trial], demand: Demand) -> Trial | None:
    """The fastest that meets the demand, or the most accurate where only a latency is given; none if none does."""
    meeting = [trial for trial in trials if trial.meets(demand)]

    def order(trial: Trial) -> tuple[float, float]:
        speed, accuracy = trial.median_ms or 0.0, -(trial.snr_db or 0.0)
        return (speed, accuracy) if demand.wants_speed else (accuracy, speed)

    return min(meeting, key=order, default=None)


def parse_latency_ms(text: str) -> float:
    """Milliseconds of `2ms`, `500us`, `0.1s` or `2`.

    Raises:
        InvalidSpecError: it is no span of time above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ]*)\s*", text)
    if not found or found[2] not in _UNITS_MS or not float(found[1]):
        raise InvalidSpecError(f"not a latency: {text!r}", hint="Write it as 2ms, 500us or 0.1s.")
    return float(found[1]) * _UNITS_MS[found[2]]


def parse_least(given: Mapping[str, Any]) -> dict[str, float]:
    """The least accuracies of `cosine=0.999`, `snr_db=40` and the like.

    Raises:
        InvalidSpecError: there is no such figure, or it is no number that it can have.
    """
    least = {}
    for name, value in given.items():
        if name not in ACCURACIES:
            raise InvalidSpecError(f"unknown accuracy {name!r}", hint=did_you_mean(name, ACCURACIES))
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or (name != "snr_db" and number > 1):
            raise InvalidSpecError(
                f"{name} can not be {value!r}", hint="cosine and top1 are at most 1, snr_db is in decibel."
            )
        least[name] = number
    return least
