"""A new figure is shown beside the one before it, and several beside each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cli.benchmark_view import NewRun, Spread, spreads_of
from cli.engine_words import NamedEngine
from farm.domain.filing import Engine, Run
from tests.factories import a_build_spec, a_digest, a_measurement, a_summary

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def a_run(number: int, median_ms: float, **changes: object) -> Run:
    made = Run(
        id=number,
        engine_id=1,
        device_uuid="GPU-0",
        driver_version="550.90",
        host="host-a",
        started_at=NOW,
        accuracy=None,
        measurements=(a_measurement(8, compute=a_summary(median_ms)),),
        samples=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def named(*runs: Run) -> NamedEngine:
    engine = Engine(
        id=1,
        spec=a_build_spec(),
        digest=a_digest("plan"),
        build_s=1.0,
        precision_note="",
        device_memory_bytes=0,
        layers=0,
        unverified_reason="",
        job_id="j-1",
        created_at=NOW,
        runs=runs,
    )
    return NamedEngine(engine, "resnet@1", "nvidia-h200")


def before_ms(*runs: Run) -> float | None:
    """The median that the newest run is shown beside."""
    newest = runs[-1]
    found = NewRun(named(*runs), newest).before(newest.measurements[0])
    return found.compute.median_ms if found else None


def test_it_is_the_newest_of_the_same_shape_and_method() -> None:
    assert before_ms(a_run(1, 1.0), a_run(2, 2.0), a_run(3, 3.0)) == 2.0
    assert before_ms(a_run(1, 1.0)) is None
    other_batch = a_run(2, 2.0, measurements=(a_measurement(1),))
    other_method = a_run(3, 3.0, measurements=(a_measurement(8, graph=False),))
    assert before_ms(a_run(1, 1.0), other_batch, other_method, a_run(4, 4.0)) == 1.0


@pytest.mark.parametrize(
    "disturbed",
    [
        a_run(2, 9.0, taints=("a profiler looked on",)),
        a_run(2, 9.0, suspect="its canary is slow"),
        a_run(2, 9.0, measurements=(a_measurement(8, taints=("unsettled",)),)),
        a_run(2, 9.0, profile=a_digest("profile")),
        a_run(2, 9.0, engine_sha256=a_digest("another plan").sha256),
    ],
    ids=["run", "device", "figure", "looked inside", "other bytes"],
)
def test_what_was_disturbed_or_of_other_bytes_is_nothing_to_be_compared_with(disturbed: Run) -> None:
    assert before_ms(a_run(1, 1.0), disturbed, a_run(3, 3.0)) == 1.0


def test_the_spread_is_from_the_lowest_to_the_highest_median() -> None:
    runs = [a_run(number, median) for number, median in ((1, 2.0), (2, 2.1), (3, 1.9))]
    engine = named(*runs)
    assert spreads_of([NewRun(engine, run) for run in runs]) == [
        Spread(1, 8, str(runs[0].measurements[0].method), (2.0, 2.1, 1.9))
    ]
    assert spreads_of([NewRun(engine, run) for run in runs])[0].percent == pytest.approx(10.0)


def test_a_single_run_has_no_spread() -> None:
    assert spreads_of([NewRun(named(a_run(1, 2.0)), a_run(1, 2.0))]) == []
