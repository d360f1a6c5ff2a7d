"""The documents between supervisor and child: what goes in comes out, in plain JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.jobs import Failure, FailureClass
from farm.domain.shapes import ShapeRange
from farm.domain.thresholds import Thresholds
from tests.factories import a_measurement, an_accuracy
from workers.child.build_series import BuildSeries, seconds_of_kept
from workers.child.reference_request import (
    ReferenceRequest,
    reference_request_as_json,
    reference_request_from_json,
)
from workers.child.requests import (
    AttemptRequest,
    AttemptResult,
    TimedCall,
    attempt_request_as_json,
    attempt_request_from_json,
    result_as_json,
    result_from_json,
    write_json,
)
from workers.toolchains.toolchain import BuildInput, BuildOutput, CalibrationInput

SHAPES = st.dictionaries(st.text(max_size=5), st.lists(st.integers(0, 9), max_size=4).map(tuple), max_size=3)
SPANS = st.dictionaries(
    st.text(max_size=5),
    st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 3)).map(
        lambda n: ShapeRange((n[0], 2), (n[0] + n[1], 2), (n[0] + n[1] + n[2], 2))
    ),
    max_size=3,
)
PATHS = st.sampled_from([Path("/a/b"), Path("/with space/ü")])
ENGINE = Path("/attempt/engine")
BUILDS = st.builds(
    BuildInput,
    model_path=PATHS,
    engine_path=st.just(ENGINE),
    precision=st.sampled_from(["fp32", "fp16"]),
    builder_config=st.dictionaries(
        st.text(max_size=5), st.integers() | st.booleans() | st.lists(st.text(max_size=3), max_size=2)
    ),
    profiles=st.lists(SPANS, max_size=2).map(tuple),
    compute_capability=st.sampled_from(["", "8.9"]),
    timing_cache_in=st.none() | PATHS,
    timing_cache_out=st.none() | PATHS,
    calibration=st.none()
    | st.builds(
        CalibrationInput,
        algorithm=st.just("MINMAX_CALIBRATION"),
        data_path=st.none() | PATHS,
        batch=st.integers(1, 8),
        cache_in=st.none() | PATHS,
        cache_out=st.none() | PATHS,
    ),
    io_formats=st.dictionaries(st.text(max_size=3), st.just("fp16:chw16"), max_size=2),
    plugin_paths=st.lists(PATHS, max_size=2).map(tuple),
    kept_layers=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    conversion=st.text(max_size=5),
    layers_path=st.none() | PATHS,
    refit_path=st.none() | PATHS,
)
SERIES = st.builds(
    BuildSeries,
    count=st.integers(2, 9),
    filed_path=st.none() | PATHS,
    filed_output=st.none() | st.just(BuildOutput(precision_note="TF32", layers=3, details={"plan_bytes": 7})),
    filed_s=st.none() | st.floats(0, 9),
)
REQUESTS = st.builds(
    AttemptRequest,
    series=st.none() | SERIES,
    toolchain=st.text(max_size=5),
    toolchain_version=st.text(max_size=5),
    engine_path=st.just(ENGINE),
    build=st.none() | BUILDS,
    inputs_path=st.none() | PATHS,
    reference_path=st.none() | PATHS,
    reference_name=st.text(max_size=5),
    chunk_shapes=SHAPES,
    thresholds=st.builds(Thresholds, min_cosine=st.floats(0, 1), min_snr_db=st.none() | st.floats(0, 99)),
    benchmark=st.none() | st.just(BenchmarkSpec(batches=(1, 2))),
    timed_calls=st.lists(st.builds(TimedCall, st.integers(0, 9), SHAPES, SHAPES), max_size=3).map(tuple),
    samples_path=st.none() | PATHS,
    profile_path=st.none() | PATHS,
    chunk_values=SHAPES,
    plugin_paths=st.lists(PATHS, max_size=2).map(tuple),
    io_scales=st.dictionaries(st.text(max_size=3), st.floats(0, 9), max_size=2),
    is_verified=st.booleans(),
)


def through_json(value: dict[str, Any]) -> dict[str, Any]:
    """As it comes out of a file."""
    return json.loads(json.dumps(value))


@given(REQUESTS)
def test_a_request_for_an_attempt_comes_out_as_it_went_in(request: AttemptRequest) -> None:
    assert attempt_request_from_json(through_json(attempt_request_as_json(request))) == request


FURTHER = st.lists(st.tuples(SHAPES, SHAPES), max_size=2).map(tuple)


@given(
    st.builds(ReferenceRequest, PATHS, PATHS, st.booleans(), SHAPES, st.integers(0), PATHS, SHAPES, FURTHER)
)
def test_a_request_for_a_reference_comes_out_as_it_went_in(request: ReferenceRequest) -> None:
    assert reference_request_from_json(through_json(reference_request_as_json(request))) == request


@pytest.mark.parametrize(
    "result",
    [
        AttemptResult(),
        AttemptResult(startup={"steps": [{"step": "load", "seconds": 0.5}], "seconds": 0.5}),
        AttemptResult(failure=Failure(FailureClass.REFUSED, "BuildError", "no", "hint", "build")),
        AttemptResult(
            build=BuildOutput(
                "FP16",
                1 << 33,
                12,
                timing_cache_written=True,
                details={"a": [1, None]},
                timing_cache={"hits": None},
            ),
            accuracy=an_accuracy(),
            measurements=(a_measurement(1), a_measurement(8, h2d=None, d2h=None, graph=False)),
            seconds={"build": 1.25},
            environment={"python": "3.10.1", "peak_host_memory_mib": 100},
        ),
    ],
)
def test_a_result_comes_out_as_it_went_in(result: AttemptResult) -> None:
    assert result_from_json(through_json(result_as_json(result))) == result


def test_a_document_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


@pytest.mark.parametrize(
    ("builds", "seconds"),
    [
        ([], 9.0),
        ([{"build_s": 2.0, "kept": False}, {"build_s": 3.0, "kept": True}], 3.0),
        ([{"build_s": None, "kept": True}, {"build_s": 3.0, "kept": False}], 9.0),
    ],
    ids=["one build", "of several", "nobody knows"],
)
def test_the_seconds_of_a_build_are_those_of_the_kept_one(builds: list[Any], seconds: float) -> None:
    assert seconds_of_kept(BuildOutput(details={"builds": builds}), 9.0) == seconds
    assert seconds_of_kept(None, None) is None
