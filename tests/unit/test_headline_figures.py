"""Which of an engine's figures it is known by: the newest clean ones, and of every batch size that was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cli.tables import ENGINE_COLUMNS, engine_as_json, engine_rows
from farm.services.profiling import profiled_run
from tests.behaviours.given import given_a_farm, given_a_finished_job
from tests.factories import (
    a_benchmark_request,
    a_build_spec,
    a_device_type,
    a_digest,
    a_measurement,
    a_summary,
    an_accuracy,
    an_outcome,
    an_output_accuracy,
)
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from typing import Any

    from farm.domain.filing import Engine


@pytest.fixture
def database() -> InMemoryDatabase:
    """With an engine that was measured at batch 1 and 8, in 2 ms each."""
    made = InMemoryDatabase()
    given_a_farm(made)
    given_a_finished_job(made, outcome=an_outcome(batches=(1, 8)))
    return made


def measured(database: InMemoryDatabase, median_ms: float, *batches: int, **changes: Any) -> Engine:
    """The default engine, once a benchmark has measured it again."""
    figures = tuple(a_measurement(batch, compute=a_summary(median_ms)).as_json() for batch in batches)
    worse = an_accuracy(replace(an_output_accuracy(), snr_db=20.0)).as_json()
    outcome = an_outcome(
        engine=None, measurements=figures, accuracy=worse, measured=a_digest("plan"), **changes
    )
    given_a_finished_job(database, request=a_benchmark_request(batches=batches), outcome=outcome)
    with database.reading() as transaction:
        engine = transaction.engines.find(a_build_spec())
    assert engine is not None
    return engine


def headline(engine: Engine) -> dict[int, float]:
    """The median in milliseconds at every batch size that is shown."""
    return {measurement.batch: measurement.compute.median_ms for measurement in engine.measurements}


def test_a_run_that_looked_inside_adds_its_batch_and_replaces_nothing(database: InMemoryDatabase) -> None:
    engine = measured(database, 9.0, 7, profile=a_digest("profile"))
    assert headline(engine) == {1: 2.0, 7: 9.0, 8: 2.0}
    assert engine.latest_run == engine.runs[0]
    slugs = {a_device_type(): "h200"}
    assert [row[5] for row in engine_rows(engine, slugs)] == [1, 7, 8]
    assert engine_rows(engine, slugs)[0][ENGINE_COLUMNS.index("SNR>")] == "55.0 dB"
    assert [m["batch"] for m in engine_as_json(engine, slugs)["measurements"]] == [1, 7, 8]
    assert profiled_run(engine) == engine.runs[1]


def test_a_batch_that_was_measured_by_itself_does_not_give_way_to_a_profile_of_it(
    database: InMemoryDatabase,
) -> None:
    assert headline(measured(database, 9.0, 8, profile=a_digest("profile"))) == {1: 2.0, 8: 2.0}


def test_a_newer_benchmark_replaces_what_it_measured_and_hides_nothing_else(
    database: InMemoryDatabase,
) -> None:
    engine = measured(database, 1.5, 8)
    assert headline(engine) == {1: 2.0, 8: 1.5}
    assert engine.latest_run == engine.runs[1]


def test_nsight_systems_disturbs_so_its_figures_are_shown_nowhere(database: InMemoryDatabase) -> None:
    assert headline(measured(database, 9.0, 7, nsys=a_digest("report"))) == {1: 2.0, 8: 2.0}


def test_where_only_a_profile_was_ever_measured_it_is_what_there_is() -> None:
    database = InMemoryDatabase()
    given_a_farm(database)
    given_a_finished_job(database, outcome=an_outcome(batches=()))
    engine = measured(database, 9.0, 7, profile=a_digest("profile"))
    assert headline(engine) == {7: 9.0}
    assert engine.latest_run == engine.runs[-1]


def shown(engine: Engine, column: str) -> list[str]:
    """A column of the rows of an engine."""
    at = ENGINE_COLUMNS.index(column)
    return [row[at] for row in engine_rows(engine, {a_device_type(): "h200"})]


def test_every_figure_is_shown_with_its_interval_and_its_method(database: InMemoryDatabase) -> None:
    engine = measured(database, 1.5, 8)
    assert shown(engine, "method") == ["cuda-graph", "cuda-graph"]
    assert shown(engine, "± %>") == ["–", "–"]
    told = replace(engine.runs[0].measurements[0], interval_ms=(1.99, 2.005))
    engine = replace(engine, runs=(replace(engine.runs[0], measurements=(told,)),))
    assert shown(engine, "± %>") == ["0.50"]


def test_a_figure_is_marked_where_nothing_better_is_known(database: InMemoryDatabase) -> None:
    engine = measured(database, 1.5, 8)
    assert shown(engine, "median ms>") == ["2.000", "1.500"]
    (run, *_) = engine.runs
    odd = tuple(replace(measurement, taints=("drift",)) for measurement in run.measurements)
    assert shown(replace(engine, runs=(replace(run, measurements=odd),)), "median ms>") == ["2.000 †"] * 2
    disturbed = replace(run, taints=("foreign process",))
    assert shown(replace(engine, runs=(disturbed,)), "median ms>") == ["2.000 †"] * 2
