"""A request or a spec file that means nothing: one clear line, what to do next, nothing queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.bad_input.good_model import GOOD

if TYPE_CHECKING:
    from tests.e2e.driver import FarmCommand


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("--batch 4 --min-shapes x:8x8 --opt-shapes x:4x8 --max-shapes x:16x8", "must satisfy min <= opt <= max", ""),
        ("--min-shapes x:1x8 --opt-shapes x:32x8 --max-shapes x:16x8", "1x8, 32x8, 16x8", ""),
        ("", "input 'x' is dynamic (x float32 Nx8) and needs shapes", "or --batch"),
        ("--opt-shapes y:1x8", "the model has no input 'y'", "Known: x."),
        ("--opt-shapes x:1x9", "shape 1x9 does not fit input x float32 Nx8", ""),
        ("--opt-shapes x:1x8x1", "shape 1x8x1 does not fit", ""),
        ("--opt-shapes x:1x8,x:2x8", "input 'x' is given two shapes", ""),
        ("--opt-shapes 1x8", "not an input's shape: '1x8'", "Write name:shape"),
        ("--opt-shapes x:onexeight", "not a shape: 'onexeight'", "Write sizes joined by x"),
        ("--opt-shapes x:-1x8", "not a shape: '-1x8'", ""),
        ("--batch 32 --min-shapes x:1x8 --opt-shapes x:4x8 --max-shapes x:16x8", "batch 32 is outside the profile", ""),
        ("--batch 0", "batch sizes start at 1, not 0", ""),
        ("--batch one", "batch must be a whole number, not 'one'", ""),
        ("--batch 99999999999999999999", "no dimension can be 99999999999999999999", ""),
        ("--batch 1 --gpu h2o", "unknown GPU 'h2o'", "Known: "),
        ("--batch 1 --gpu sm98", "unknown GPU 'sm98'", "Did you mean any-sm89"),
        ("--batch 1 --toolchain tensort-rtx", "no toolchain 'tensort-rtx'", "Did you mean tensorrt-rtx@"),
        ("--batch 1 --toolchain onnxruntime@0.1", "no toolchain 'onnxruntime@0.1'", "Did you mean onnxruntime@"),
        ("--batch 1 --toolchain ONNX!", "not a toolchain: 'ONNX!'", "Write a name or name@version"),
        ("--batch 1 --gpu sm89 --toolchain onnxruntime", "no toolchain onnxruntime has served any-sm89", "Known for it: tensorrt-rtx@"),
        ("--batch 1 --precision fp61", "unknown precision 'fp61'", "Did you mean fp16"),
        ("--batch 1 --gpu cpu --precision int8", "int8 needs samples to calibrate with", "Ask for another"),
        ("--batch 1 --set graph_optimisation_level=ALL", "no builder option 'graph_optimisation_level'", "Did you mean graph_optimization_level"),
        ("--batch 1 --gpu cpu --set graph_optimization_level=MAX", "graph_optimization_level", "ALL"),
        ("--batch 1 --gpu cpu --set tensorrt:builder_optimization_level=4", "for a toolchain that builds no cell here", "onnxruntime"),
        ("--batch 1 --name no/../way!", "not a name for a model", "Letters, digits"),
        ("--batch 1 --max-attempts 0", "at least one attempt", ""),
        ("--static x:99999999999999999999x8", "no dimension can be 99999999999999999999", ""),
        ("--batch 1 --seed -1", "a seed is a whole number from 0 to 9223372036854775807, not -1", ""),
        ("--batch 1 --seed 9223372036854775808", "a seed is a whole number", ""),
        ("--batch 1 --gpu cpu --precision int8 --calibration random --seed -1", "a seed is a whole number", ""),
        ("--batch 1 --deadline -5", "not a span of time: '-5'", "30m"),
    ],
)  # fmt: skip
def test_a_request_that_means_nothing(farm: FarmCommand, words: str, message: str, hint: str) -> None:
    path = models.save(models.dense(), farm.folder / "model.onnx")
    said = farm.refused("submit", path, *words.split(), code=2)
    assert message in said
    assert hint in said
    assert not farm.has_anything()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--opt-shapes x:1x8", "input 'x' is static: it takes no shapes"),
        ("--batch 4", "the model's batch is fixed at 1: it can not run at 4"),
    ],
)
def test_a_static_model_takes_no_other_shapes(farm: FarmCommand, words: str, message: str) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    assert message in farm.refused("submit", path, *words.split(), code=2)
    assert not farm.has_anything()


def test_every_dynamic_input_needs_shapes(farm: FarmCommand) -> None:
    path = models.save(models.two_dynamic(), farm.folder / "model.onnx")
    assert "input 'b' is dynamic" in farm.refused("submit", path, "--opt-shapes", "a:1x8", code=2)
    assert "more than the batch is dynamic in input a" in farm.refused("submit", path, "--batch", "1", code=2)
    assert not farm.has_anything()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can not be read"),
        ("- a list", "must be a mapping"),
        ("model: [1", "can not be read"),
        ("model: model.onnx\nprecison: fp16\n", "unknown key 'precison'"),
        ("model: model.onnx\nbatch: many\n", "batch must be a whole number"),
        ("model: model.onnx\nset: high\n", "set must map names to values"),
        ("model: model.onnx\nmin_shapes: [1, 2]\n", "min_shapes must map inputs to shapes"),
        ("model: model.onnx\nduration_ms: soon\n", "duration_ms must be a whole number"),
        ("model: model.onnx\nbatch: 1\nseed: -1\n", "a seed is a whole number"),
        ("model: model.onnx\nduration_ms: -1\n", "a benchmark needs a duration"),
        ("model: model.onnx\nthresholds: {min_cosine: high}\n", "min_cosine is no number"),
        ("model: 7\n", "7: no such file"),
        ("model: model.onnx\nopt_shapes: {x: [1, 9]}\n", "shape 1x9 does not fit"),
        ("name: net\n", "no model is given"),
        ("model: model.onnx\nname: [a]\n", "name must be a text, not ['a']"),
        ("model: model.onnx\ntags: {1: 2}\nprecision: [16]\n", "unknown precision '16'"),
    ],
)
def test_a_spec_file_that_means_nothing(farm: FarmCommand, text: str | None, message: str) -> None:
    models.save(models.dense(), farm.folder / "model.onnx")
    path = farm.folder / "build.yaml"
    if text is not None:
        path.write_text(text)
    assert message in farm.refused("submit", "--spec", path, code=2)
    assert not farm.has_anything()


def test_a_tuning_with_a_seed_that_is_none(farm: FarmCommand) -> None:
    path = models.save(models.dense(), farm.folder / "model.onnx")
    words = ("tune", path, "--gpu", "cpu", "--max-latency", "1s", "--seed", "-1")
    assert "a seed is a whole number" in farm.refused(*words, code=2)
    assert not farm.has_anything()


@pytest.mark.parametrize("words", [("--batch", 10**20), ("--shapes", f"x:{10**20}x8")])
def test_a_look_at_a_model_at_a_size_that_nothing_has(farm: FarmCommand, words: tuple[object, ...]) -> None:
    path = models.save(models.dense(), farm.folder / "model.onnx")
    said = farm.refused("inspect", path, *words, code=2)
    assert f"no dimension can be {10**20}: the largest is 2147483647" in said


def test_a_spec_that_can_not_be_saved(farm: FarmCommand) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    said = farm.refused("submit", path, "--save-spec", farm.folder / "no" / "such" / "folder.yaml", code=2)
    assert "can not be written: No such file or directory" in said
    assert not farm.has_anything()
