"""What a cell that has ended says of a candidate, and which layers can be kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.jobs import Failure, FailureClass, JobState
from farm.domain.targets import ToolchainId
from farm.domain.tuning import Candidate, Demand
from farm.domain.work import Cell, Disposition
from farm.services.progress import CellProgress
from farm.services.tune import can_keep_layers, trial_of
from tests.behaviours.given import given_a_farm, given_a_finished_job
from tests.factories import a_build_spec, a_model, a_target
from tests.fakes import InMemoryDatabase
from workers.layer_ranking import ranked_names

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.work import Job

CANDIDATE = Candidate("tensorrt 8.6.0", "fp16")


@pytest.fixture
def database() -> InMemoryDatabase:
    database = InMemoryDatabase()
    given_a_farm(database)
    return database


def a_cell(database: InMemoryDatabase, **changes: Any) -> CellProgress:
    """A cell whose engine is filed, measured at batch 1 and 8."""
    job, engine_id = given_a_finished_job(database)
    with database.reading() as transaction:
        engine: Engine = transaction.engines.get(engine_id)
    cell = Cell(0, job.spec, Disposition.QUEUED, job.id, engine_id)
    return replace(CellProgress(cell, "nvidia-h200", job, None, engine, True), **changes)


def failed(job: Job | None, code: str) -> Job:
    assert job is not None
    return replace(
        job, state=JobState.FAILED, failure=Failure(FailureClass.REFUSED, code, "it is not what it was")
    )


def test_a_measured_engine_is_a_trial_with_its_figures(database: InMemoryDatabase) -> None:
    cell = a_cell(database)
    trial = trial_of(CANDIDATE, cell, Demand(8))
    assert cell.engine is not None
    assert (trial.engine_id, trial.is_measured, trial.why_not) == (cell.engine.id, True, "")


def test_an_engine_that_was_not_timed_at_the_batch_is_not_measured(database: InMemoryDatabase) -> None:
    trial = trial_of(CANDIDATE, a_cell(database), Demand(64))
    assert not trial.is_measured
    assert trial.why_not == "not measured"


@pytest.mark.parametrize(("code", "is_inaccurate"), [("AccuracyError", True), ("BuildError", False)])
def test_a_failed_build_says_why(database: InMemoryDatabase, code: str, is_inaccurate: bool) -> None:
    cell = a_cell(database)
    trial = trial_of(CANDIDATE, replace(cell, engine=None, job=failed(cell.job, code)), Demand(8))
    assert (trial.why_not, trial.is_inaccurate) == ("it is not what it was", is_inaccurate)


def test_a_failed_measurement_of_a_filed_engine_is_no_trial_of_it(database: InMemoryDatabase) -> None:
    cell = a_cell(database)
    trial = trial_of(CANDIDATE, replace(cell, job=failed(cell.job, "AccuracyError")), Demand(8))
    assert trial.engine_id is None
    assert not trial.is_measured


@pytest.mark.parametrize(
    ("toolchain", "version", "precision", "can"),
    [
        ("tensorrt", "8.6.0", "fp16", True),
        ("tensorrt", "10.16.1", "int8", True),
        ("tensorrt", "8.6.0", "fp32", False),
        ("tensorrt", "8.6.0", "tf32", False),
        ("tensorrt-rtx", "1.7.1", "fp16", True),
        ("onnxruntime", "1.23.2", "int8", True),
        ("onnxruntime", "1.23.2", "fp32", False),
        ("fake", "1.0.0", "int8", False),
    ],
)
def test_layers_are_kept_by_constraints_or_by_conversion(
    toolchain: str, version: str, precision: str, can: bool
) -> None:
    spec = a_build_spec(
        target=a_target(toolchain=ToolchainId(toolchain, version)), precision=precision, builder_config={}
    )
    assert can_keep_layers(spec, a_model()) is can


def a_layer(name: str, jump: float, *, named: bool = True) -> dict[str, Any]:
    return {"nodes": [name], "jump": jump, "have_own_names": named}


def test_layers_that_lose_nothing_are_no_candidates() -> None:
    layers = [a_layer("a", 0.1), a_layer("b", 0.0), a_layer("c", 1e-9)]
    assert ranked_names(layers, any_name=True) == [("a",)]


def test_a_parser_finds_only_layers_that_the_model_names() -> None:
    layers = [a_layer("MatMul_0", 0.2, named=False), a_layer("head", 0.1)]
    assert ranked_names(layers, any_name=False) == [("head",)]
    assert ranked_names(layers, any_name=True) == [("MatMul_0",), ("head",)]
