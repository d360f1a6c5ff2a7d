"""Filed engines are measured again by workers: several times, on one device alone, and against each other."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.domain.comparisons import Comparison
from farm.domain.jobs import JobState
from farm.services.benchmarking import BenchmarkOrder, queue_benchmarks
from tests.fake_toolchain.harness import QUICK, FarmOfTest, farm_of_test, wait_until
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.domain.filing import Engine, Run


SHORT = replace(QUICK, batches=(1,), precision_percent=100)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm of one host."""
    with farm_of_test(tmp_path, probe_interpreter(Path(sys.executable), tmp_path / "probe")) as made:
        yield made


def built(place: FarmOfTest, **wishes: object) -> Engine:
    (job_id,) = place.submit(toolchain="onnxruntime", **wishes)  # type: ignore[arg-type]
    place.succeeded(job_id)
    return place.engine(job_id)


def queued(place: FarmOfTest, order: BenchmarkOrder) -> list[str]:
    submission = queue_benchmarks(place.farm.database, [order], "me", {})
    return [cell.job_id for cell in submission.cells]


def run_of(place: FarmOfTest, job_id: str) -> Run:
    """The run that a job has made."""
    place.succeeded(job_id)
    attempts = {attempt.id for attempt in place.attempts(job_id)}
    return next(run for run in reversed(place.engine(job_id).runs) if run.attempt_id in attempts)


def test_every_repeat_is_a_run_of_the_same_bytes(place: FarmOfTest) -> None:
    with place.worker():
        engine = built(place)
        jobs = queued(place, BenchmarkOrder(engine, SHORT, repeats=3))
        runs = [run_of(place, job_id) for job_id in jobs]
    assert len({run.id for run in runs}) == 3
    assert {run.engine_sha256 for run in runs} == {engine.digest.sha256}
    assert all(run.measurements for run in runs)


def test_two_engines_are_run_in_turn_and_the_comparison_is_kept_with_both_digests(place: FarmOfTest) -> None:
    with place.worker():
        first = built(place)
        second = built(place, options={"graph_optimization_level": "DISABLE_ALL"})
        (job_id,) = queued(place, BenchmarkOrder(first, SHORT, against=second))
        run = run_of(place, job_id)
    assert run.comparison["a"]["engine_sha256"] == first.digest.sha256
    assert run.comparison["b"]["engine_sha256"] == second.digest.sha256
    assert run.comparison["b"]["engine"] == second.id
    (result,) = run.comparison["results"]
    comparison = Comparison.from_json(result)
    assert comparison.pairs >= 20
    assert comparison.ratio > 0
    assert run.measurements == (), "what is taken in turn is no figure of the engine alone"


def test_a_rival_that_was_given_up_meanwhile_fails_the_comparison_and_says_so(place: FarmOfTest) -> None:
    with place.worker():
        first = built(place)
        second = built(place, options={"graph_optimization_level": "DISABLE_ALL"})
    (job_id,) = queued(place, BenchmarkOrder(first, SHORT, against=second))
    with place.farm.database.transaction() as transaction:
        assert transaction.garbage.retire(second.id)
    with place.worker():
        job = place.ended(job_id)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert "was retired since" in job.failure.message


def test_what_is_for_another_device_is_left_to_it(place: FarmOfTest) -> None:
    with place.worker():
        engine = built(place)
        (elsewhere,) = queued(place, BenchmarkOrder(engine, SHORT, on_device="CPU-elsewhere"))
        (here,) = queued(place, BenchmarkOrder(engine, SHORT, on_device=place.device.uuid))
        assert run_of(place, here).device_uuid == place.device.uuid
        wait_until(lambda: not place.scratch_of_attempts())
        assert place.job(elsewhere).state is JobState.QUEUED
