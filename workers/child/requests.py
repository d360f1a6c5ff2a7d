"""What the supervisor asks of a child, and what the child answers, as JSON documents.

Both sides import this module, each in its own interpreter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from farm.domain.accuracy import Accuracy
from farm.domain.benchmarks import BenchmarkSpec, Measurement
from farm.domain.comparisons import Comparison
from farm.domain.input_ranges import InputRange, ranges_as_json, ranges_from_json
from farm.domain.jobs import Failure
from farm.domain.thresholds import Thresholds
from workers.child.build_document import (
    LayerwiseInput,
    build_as_json,
    build_from_json,
    optional_path,
    optional_text,
)
from workers.child.build_series import BuildSeries
from workers.child.reference_request import shapes_as_json, shapes_from_json
from workers.child.rival_request import Rival
from workers.child.timed_call import TimedCall
from workers.toolchains.toolchain import BuildInput, BuildOutput

if TYPE_CHECKING:
    from farm.domain.shapes import Shape


@dataclass(frozen=True)
class AttemptRequest:
    """Build (or take) an engine, verify it, time it.

    Attributes:
        toolchain: name of the toolchain.
        toolchain_version: exact version that the supervisor expects to find.
        engine_path: where the engine is written, or lies if `build` is none.
        build: what to build; none if the engine is there.
        inputs_path: inputs for verification; none if it is not to be verified.
        reference_path: the reference's outputs for them.
        reference_name: what computed them.
        chunk_shapes: every input's shape for one call.
        thresholds: what it must reach.
        benchmark: how to time it; none if it is not to be timed.
        timed_calls: what is fed for every measurement.
        samples_path: where to write raw samples.
        series: that the build is done several times; none for once.
        profile_path: where to write the times of the engine's layers, if the benchmark asks for them.
        chunk_values: what inputs that hold a shape are verified with, where the inputs' file has none.
        plugin_paths: plugin libraries that the engine needs to be loaded.
        io_scales: of int8 inputs and outputs of a filed engine whose model has floats there.
        rival: the engine that this one is held against, in place of a benchmark; none for none.
        histogram_path: where to write the histogram of the outputs' errors (JSON); none if nobody wants it.
        input_ranges: of random inputs whose range is known.
        actual_path: where to write the engine's outputs in the verification (`.npz`); none if nobody wants them.
        is_verified: whether its outputs were compared before, so that the inputs are for timing alone.
        layerwise: how it is held against its reference layer by layer; none if nobody asks.
    """

    toolchain: str
    toolchain_version: str
    engine_path: Path
    build: BuildInput | None = None
    inputs_path: Path | None = None
    reference_path: Path | None = None
    reference_name: str = ""
    chunk_shapes: Mapping[str, Shape] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    benchmark: BenchmarkSpec | None = None
    timed_calls: tuple[TimedCall, ...] = ()
    samples_path: Path | None = None
    series: BuildSeries | None = None
    profile_path: Path | None = None
    chunk_values: Mapping[str, Shape] = field(default_factory=dict)
    plugin_paths: tuple[Path, ...] = ()
    io_scales: Mapping[str, float] = field(default_factory=dict)
    histogram_path: Path | None = None
    rival: Rival | None = None
    input_ranges: Mapping[str, InputRange] = field(default_factory=dict)
    actual_path: Path | None = None
    is_verified: bool = False
    layerwise: LayerwiseInput | None = None


@dataclass(frozen=True)
class AttemptResult:
    """What an attempt came to.

    Attributes:
        failure: why it failed; none if it did not.
        build: facts of the build; none if nothing was built.
        accuracy: against the reference; none if not verified.
        measurements: one per shape and way of launching.
        seconds: wall time of each phase that ran.
        environment: versions and facts of the process, for the record.
        comparisons: with the rival, one per shape and way of launching.
        startup: what it took until the first answer, by `workers.child.startup`; empty where nothing was timed.
    """

    failure: Failure | None = None
    build: BuildOutput | None = None
    accuracy: Accuracy | None = None
    measurements: tuple[Measurement, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    startup: Mapping[str, Any] = field(default_factory=dict)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a document in one step, so that nobody reads half of it."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(value))
    partial.replace(path)


def attempt_request_as_json(request: AttemptRequest) -> dict[str, Any]:
    """The document that `attempt_request_from_json` reads."""
    return {
        "operation": "attempt",
        "toolchain": request.toolchain,
        "toolchain_version": request.toolchain_version,
        "engine_path": str(request.engine_path),
        "build": request.build and build_as_json(request.build),
        "inputs_path": optional_text(request.inputs_path),
        "reference_path": optional_text(request.reference_path),
        "reference_name": request.reference_name,
        "chunk_shapes": shapes_as_json(request.chunk_shapes),
        "thresholds": request.thresholds.as_json(),
        "benchmark": request.benchmark and request.benchmark.as_json(),
        "timed_calls": [call.as_json() for call in request.timed_calls],
        "samples_path": optional_text(request.samples_path),
        "series": request.series and request.series.as_json(),
        "profile_path": optional_text(request.profile_path),
        "chunk_values": shapes_as_json(request.chunk_values),
        "plugin_paths": [str(path) for path in request.plugin_paths],
        "io_scales": dict(request.io_scales),
        "rival": request.rival and request.rival.as_json(),
        "histogram_path": optional_text(request.histogram_path),
        "input_ranges": ranges_as_json(request.input_ranges),
        "actual_path": optional_text(request.actual_path),
        "is_verified": request.is_verified,
        "layerwise": request.layerwise and request.layerwise.as_json(),
    }


def attempt_request_from_json(value: Mapping[str, Any]) -> AttemptRequest:
    """The inverse of `attempt_request_as_json`."""
    return AttemptRequest(
        toolchain=value["toolchain"],
        toolchain_version=value["toolchain_version"],
        engine_path=Path(value["engine_path"]),
        build=build_from_json(value["build"]) if value["build"] else None,
        inputs_path=optional_path(value["inputs_path"]),
        reference_path=optional_path(value["reference_path"]),
        reference_name=value["reference_name"],
        chunk_shapes=shapes_from_json(value["chunk_shapes"]),
        thresholds=Thresholds(**value["thresholds"]),
        benchmark=BenchmarkSpec.from_json(value["benchmark"]) if value["benchmark"] else None,
        timed_calls=tuple(map(TimedCall.from_json, value["timed_calls"])),
        samples_path=optional_path(value["samples_path"]),
        series=BuildSeries.from_json(value["series"]) if value["series"] else None,
        profile_path=optional_path(value["profile_path"]),
        chunk_values=shapes_from_json(value["chunk_values"]),
        plugin_paths=tuple(map(Path, value["plugin_paths"])),
        io_scales=value["io_scales"],
        rival=Rival.from_json(value["rival"]) if value["rival"] else None,
        histogram_path=optional_path(value["histogram_path"]),
        input_ranges=ranges_from_json(value["input_ranges"]),
        actual_path=optional_path(value["actual_path"]),
        is_verified=value["is_verified"],
        layerwise=LayerwiseInput.from_json(value["layerwise"]) if value["layerwise"] else None,
    )


def result_as_json(result: AttemptResult) -> dict[str, Any]:
    """The document that `result_from_json` reads."""
    build = result.build
    return {
        "failure": result.failure and result.failure.as_json(),
        "build": build and {**vars(build), "details": dict(build.details)},
        "accuracy": result.accuracy and result.accuracy.as_json(),
        "measurements": [measurement.as_json() for measurement in result.measurements],
        "seconds": dict(result.seconds),
        "environment": dict(result.environment),
        "comparisons": [comparison.as_json() for comparison in result.comparisons],
        "startup": dict(result.startup),
    }


def result_from_json(value: Mapping[str, Any]) -> AttemptResult:
    """The inverse of `result_as_json`."""
    return AttemptResult(
        failure=Failure.from_json(value["failure"]) if value["failure"] else None,
        build=BuildOutput(**value["build"]) if value["build"] else None,
        accuracy=Accuracy.from_json(value["accuracy"]) if value["accuracy"] else None,
        measurements=tuple(Measurement.from_json(item) for item in value["measurements"]),
        seconds=value["seconds"],
        environment=value["environment"],
        comparisons=tuple(map(Comparison.from_json, value["comparisons"])),
        startup=value["startup"],
    )
