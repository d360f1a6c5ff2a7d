"""A child that measures again takes its inputs from the verification, and does not verify a second time."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import AccuracyError
from tests.fake_toolchain.harness import write_model
from workers.child.attempt import run_attempt
from workers.child.events import EventStream
from workers.child.requests import AttemptRequest
from workers.child.timed_call import TimedCall
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def events() -> Iterator[EventStream]:
    reading, writing = os.pipe()
    stream = EventStream(writing)
    yield stream
    stream._lines.close()
    os.close(reading)


def test_outputs_that_were_compared_before_are_not_compared_again(
    tmp_path: Path, events: EventStream
) -> None:
    toolchain = load_toolchain("onnxruntime")
    engine = tmp_path / "engine"
    toolchain.build(
        BuildInput(write_model(tmp_path / "m" / "model.onnx"), engine, "fp32", {}), lambda *_: None
    )
    np.savez(tmp_path / "inputs.npz", x=np.ones((1, 4), np.float32))
    np.savez(tmp_path / "outputs.npz", y=-np.ones((1, 3), np.float32))
    request = AttemptRequest(
        toolchain="onnxruntime",
        toolchain_version=toolchain.describe().id.version,
        engine_path=engine,
        inputs_path=tmp_path / "inputs.npz",
        reference_path=tmp_path / "outputs.npz",
        chunk_shapes={"x": (1, 4)},
        benchmark=BenchmarkSpec(warmup_ms=0, duration_ms=5, min_iterations=3),
        timed_calls=(TimedCall(1, {"x": (1, 4)}),),
    )
    with pytest.raises(AccuracyError):
        run_attempt(request, events)
    result = run_attempt(replace(request, is_verified=True), events)
    assert result.accuracy is None
    assert [m.batch for m in result.measurements] == [1]
    assert set(result.seconds) == {"benchmark"}
