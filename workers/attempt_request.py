"""From a job to the request that its child gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from farm.domain.io_formats import IO_SCALES
from workers.calibration import calibration_input
from workers.child.build_document import LayerwiseInput
from workers.child.build_series import CHOICE_DETAILS, BuildSeries
from workers.child.requests import AttemptRequest
from workers.materials import chunk_shapes, chunk_values, timed_calls
from workers.plugin_files import plugin_paths_in
from workers.program_files import program_path_in
from workers.reference import can_run_engine
from workers.toolchains.toolchain import BuildInput, BuildOutput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from farm.domain.filing import Engine
    from farm.domain.models import Model
    from farm.domain.work import Job
    from workers.rival import PlacedRival
    from workers.workplace import Workplace


@dataclass(frozen=True)
class Prepared:
    """What an attempt has ready in its folder before the toolchain's child starts.

    Attributes:
        folder: scratch folder of the attempt.
        engine_path: where the engine is, or goes to.
        is_build: whether to build; else the engine is there to be measured.
        model_path: the graph's file, converted if the cell asks for it.
        conversion: how the model was converted; empty for one as it was submitted.
        calibration_path: the samples to calibrate with; none if there are none.
        timing_cache_out: where the toolchain leaves its timing cache.
        reference: folder of inputs and reference outputs; none if nothing is compared.
        filed: the engine under the key and its file, where several builds contend with it.
        refit_path: the engine whose weights are replaced in place of a build; none for a build.
        details: what the build of the engine to be measured left behind.
        rival: the engine that it is held against; none where it is measured alone.
    """

    folder: Path
    engine_path: Path
    is_build: bool
    model_path: Path
    conversion: str
    calibration_path: Path | None
    timing_cache_out: Path
    reference: Path | None
    filed: tuple[Engine, Path] | None
    refit_path: Path | None
    details: Mapping[str, Any]
    rival: PlacedRival | None = None
    layerwise: Path | None = None


def compose_request(place: Workplace, job: Job, model: Model, prepared: Prepared) -> AttemptRequest:
    """What a child is to do for a job, as far as this worker's device can."""
    spec, target, folder = job.spec, job.target, prepared.folder
    build = BuildInput(
        model_path=prepared.model_path,
        engine_path=prepared.engine_path,
        precision=spec.precision,
        builder_config=spec.builder_config,
        profiles=spec.profiles,
        compute_capability=target.device_type.compute_capability,
        timing_cache_out=prepared.timing_cache_out,
        calibration=calibration_input(spec, prepared.calibration_path),
        kept_layers=spec.kept_layers,
        conversion=prepared.conversion,
        io_formats=spec.io_formats,
        plugin_paths=plugin_paths_in(folder, job),
        layers_path=folder / "layers.json",
        refit_path=prepared.refit_path,
        program_path=program_path_in(folder, job),
    )
    runs_here = can_run_engine(place, job)
    reference = prepared.reference
    inputs = reference and reference / "inputs.npz"
    return AttemptRequest(
        toolchain=target.toolchain.name,
        toolchain_version=target.toolchain.version,
        engine_path=prepared.engine_path,
        build=build if prepared.is_build else None,
        inputs_path=inputs,
        reference_path=reference and reference / "outputs.npz",
        reference_name=(reference / "name.txt").read_text() if reference else "",
        chunk_shapes=chunk_shapes(model, job, inputs) if inputs else {},
        chunk_values=chunk_values(model, job, inputs) if inputs else {},
        # The user's own figures come afterwards, from a child of their own.
        thresholds=replace(job.request.verification.thresholds, metrics={}),
        benchmark=job.request.benchmark.on(job.target.device_type.kind) if runs_here else None,
        timed_calls=timed_calls(model, job) if runs_here else (),
        samples_path=folder / "samples.npz" if runs_here else None,
        profile_path=folder / "profile.json" if runs_here else None,
        histogram_path=folder / "errors.json" if inputs else None,
        input_ranges=job.request.verification.known_ranges,
        actual_path=folder / "actual.npz" if inputs and job.request.verification.metrics else None,
        series=_series_of(job, prepared.filed) if runs_here and prepared.is_build else None,
        plugin_paths=plugin_paths_in(folder, job),
        io_scales=prepared.details.get(IO_SCALES, {}),
        rival=prepared.rival.request(job, inputs) if prepared.rival else None,
        layerwise=LayerwiseInput(prepared.layerwise, build) if prepared.layerwise else None,
    )


def _series_of(job: Job, filed: tuple[Engine, Path] | None) -> BuildSeries | None:
    """Several builds, where they were asked for; the engine that is filed contends with the new ones."""
    if job.request.builds <= 1 or job.spec.refit_of:
        return None
    if filed is None:
        return BuildSeries(job.request.builds)
    engine, path = filed
    facts = BuildOutput(
        precision_note=engine.precision_note,
        device_memory_bytes=engine.device_memory_bytes,
        layers=engine.layers,
        details={name: value for name, value in engine.details.items() if name not in CHOICE_DETAILS},
    )
    return BuildSeries(job.request.builds, path, facts, engine.build_s)
