"""From a job to the request that its child gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.calibration import ALGORITHM_OPTION, ALGORITHMS
from workers.child.requests import AttemptRequest
from workers.materials import benchmark_shapes, chunk_shapes
from workers.reference import can_run_engine
from workers.toolchains.toolchain import BuildInput, CalibrationInput

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.models import Model
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job
    from workers.workplace import Workplace


def compose_request(
    place: Workplace,
    job: Job,
    model: Model,
    folder: Path,
    *,
    model_path: Path,
    engine_path: Path,
    reference: Path | None,
    timing_cache_out: Path | None,
    calibration_path: Path | None,
    is_build: bool,
) -> AttemptRequest:
    """What a child is to do for a job, as far as this worker's device can.

    Args:
        place: what the worker works with.
        job: to be done.
        model: of the job.
        folder: scratch folder of the attempt.
        model_path: the graph's file in it.
        engine_path: where the engine is, or goes to.
        reference: folder of inputs and reference outputs; none if nothing is compared.
        timing_cache_out: where the toolchain leaves its timing cache.
        calibration_path: the samples to calibrate with, in it; none if there are none.
        is_build: whether to build; else the engine is there to be measured.
    """
    spec, target = job.spec, job.target
    build = BuildInput(
        model_path=model_path,
        engine_path=engine_path,
        precision=spec.precision,
        builder_config=spec.builder_config,
        profiles=spec.profiles,
        compute_capability=target.device_type.compute_capability,
        timing_cache_out=timing_cache_out,
        calibration=_calibration_of(spec, calibration_path),
    )
    runs_here = can_run_engine(place, job)
    return AttemptRequest(
        toolchain=target.toolchain.name,
        toolchain_version=target.toolchain.version,
        engine_path=engine_path,
        build=build if is_build else None,
        inputs_path=reference and reference / "inputs.npz",
        reference_path=reference and reference / "outputs.npz",
        reference_name=(reference / "name.txt").read_text() if reference else "",
        chunk_shapes=chunk_shapes(model, job) if reference else {},
        thresholds=job.request.verification.thresholds,
        benchmark=job.request.benchmark if runs_here else None,
        benchmark_shapes=benchmark_shapes(model, job) if runs_here else (),
        samples_path=folder / "samples.npz" if runs_here else None,
    )


def _calibration_of(spec: BuildSpec, data_path: Path | None) -> CalibrationInput | None:
    wanted = spec.calibration
    if wanted is None:
        return None
    return CalibrationInput(
        algorithm=spec.builder_config.get(ALGORITHM_OPTION, ALGORITHMS["entropy"]),
        data_path=data_path,
        batch=wanted.batch,
        samples=wanted.samples,
        seed=wanted.seed,
    )
