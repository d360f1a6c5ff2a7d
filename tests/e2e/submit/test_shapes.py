"""`farm submit` with several profiles, values of shape inputs, `--static` and `--io-formats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from onnx import ModelProto, TensorProto, helper

from tests.e2e import models
from tests.e2e.driver import fast_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand

SMALL = ("--min-shapes", "a:1x8,b:1x8", "--opt-shapes", "a:8x8,b:8x8", "--max-shapes", "a:16x8,b:16x8")
LARGE = ("--min-shapes", "a:1x64,b:1x64", "--opt-shapes", "a:1x64,b:1x64", "--max-shapes", "a:2x64,b:2x64")


def expansion() -> ModelProto:
    """`x` Nx1 expanded to the shape that `size` holds."""
    graph = helper.make_graph(
        [helper.make_node("Expand", ["x", "size"], ["y"])],
        "expand",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1]),
            helper.make_tensor_value_info("size", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["A", "B"])],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def two(farm: FarmCommand) -> Path:
    """A model of two inputs of which more than the batch is dynamic."""
    return models.save(models.two_dynamic(), farm.folder / "two.onnx")


def test_the_nth_of_each_option_makes_a_profile_and_all_of_them_are_measured(
    farm: FarmCommand, two: Path
) -> None:
    words = ("submit", two, "--spec", fast_spec(farm.folder), "--gpu", "cpu", *SMALL, *LARGE)
    farm.run(*words, "--local")
    (engine,) = farm.json("engines", "two")
    assert [profile["a"]["opt"] for profile in engine["spec"]["profiles"]] == [[8, 8], [1, 64]]
    assert [output["name"] for output in engine["accuracy"]["outputs"]] == ["y", "y (profile 2)"]
    assert farm.json(*words, "--dry-run")["batches"] == [1, 2, 8, 16]


def test_samples_are_verified_in_the_profile_that_takes_them(farm: FarmCommand, two: Path) -> None:
    samples = farm.folder / "samples.npz"
    np.savez(samples, a=np.ones((5, 64), np.float32), b=np.ones((5, 64), np.float32))
    words = ("submit", two, "--spec", fast_spec(farm.folder), "--gpu", "cpu", *SMALL, *LARGE)
    submission = farm.json(*words, "--inputs", samples, "--local")
    assert submission["cells"][0]["state"] == "SUCCEEDED"


def test_profiles_survive_a_spec_file(farm: FarmCommand, two: Path) -> None:
    saved = farm.folder / "build.yaml"
    words = ("submit", two, "--gpu", "cpu", *SMALL, *LARGE)
    plain = farm.run(*words, "--save-spec", saved, "--dry-run", "--json").document
    assert yaml.safe_load(saved.read_text())["max_shapes"] == [
        {"a": "16x8", "b": "16x8"},
        {"a": "2x64", "b": "2x64"},
    ]
    assert farm.json("submit", "--spec", saved, "--dry-run") == plain


def test_profiles_that_are_not_whole_are_refused(farm: FarmCommand, two: Path) -> None:
    said = farm.refused("submit", two, "--gpu", "cpu", *SMALL, "--max-shapes", "a:2x64,b:2x64", code=2)
    assert "1 times min, 1 times opt and 2 times max shapes make no profiles" in said


def test_an_input_that_holds_a_shape_is_fed_its_values(farm: FarmCommand) -> None:
    path = models.save(expansion(), farm.folder / "expand.onnx")
    spec = fast_spec(farm.folder)
    values = (
        "--min-shapes",
        "x:1x1,size:1x4",
        "--opt-shapes",
        "x:1x1,size:2x8",
        "--max-shapes",
        "x:1x1,size:4x8",
    )
    words = ("submit", path, "--spec", spec, "--gpu", "cpu", "--name", "expand")
    submission = farm.json(*words, *values, "--local")
    assert submission["cells"][0]["state"] == "SUCCEEDED"

    # Samples need not have what the profile says.
    samples = farm.folder / "samples.npz"
    np.savez(samples, x=np.ones((1, 1), np.float32))
    submission = farm.json(*words, *values, "--inputs", samples, "--salt", "samples", "--local")
    assert submission["cells"][0]["state"] == "SUCCEEDED"
    assert "no array for input size" in farm.refused(
        *words, "--opt-shapes", "x:1x1", "--inputs", samples, code=2
    )
    assert "holds 2 value(s)" in farm.refused(*words, "--opt-shapes", "x:1x1,size:8", code=2)


def test_a_frozen_model_is_a_model_of_its_own(farm: FarmCommand, two: Path) -> None:
    words = ("submit", two, "--spec", fast_spec(farm.folder), "--gpu", "cpu")
    ended = farm.run(*words, "--static", "a:4x8,b:4x8", "--local")
    assert "frozen by --static: a 4x8, b 4x8" in ended.out
    dynamic = farm.json(*words, *SMALL, "--dry-run")
    frozen = farm.json(*words, "--static", "a:4x8,b:4x8", "--dry-run")
    assert frozen["model"] != dynamic["model"]
    # Under the name of the whole model it would be a version of that one.
    assert frozen["name"] == "two-4x8-4x8"
    assert frozen["batches"] == [4]
    assert frozen["cells"][0]["disposition"] == "built"
    (engine,) = farm.json("engines", "two-4x8-4x8")
    assert engine["spec"]["profiles"] == []
    assert farm.json(*words, "--static", "a:4x8", "--name", "mine", "--dry-run")["name"] == "mine", (
        "both inputs have the same names for their dimensions"
    )


def test_freezing_survives_a_spec_file(farm: FarmCommand, two: Path) -> None:
    saved = farm.folder / "build.yaml"
    words = ("submit", two, "--gpu", "cpu", "--static", "a:4x8,b:4x8")
    plain = farm.run(*words, "--save-spec", saved, "--dry-run", "--json").document
    assert yaml.safe_load(saved.read_text())["static"] == {"a": "4x8", "b": "4x8"}
    assert farm.json("submit", "--spec", saved, "--dry-run") == plain


def test_what_can_not_be_frozen_says_why(farm: FarmCommand, two: Path, dense: Path) -> None:
    words = ("submit", two, "--gpu", "cpu", "--static")
    assert "no input 'c'" in farm.refused(*words, "c:4x8", code=2)
    assert "can not be 4 and 2" in farm.refused(*words, "a:4x8,b:2x8", code=2)
    said = farm.refused("submit", dense, "--gpu", "cpu", "--static", "x:8x8", code=2)
    assert "8x8 does not fit input 'x', which is 1x8" in said
    assert "export the model again" in said
    same = farm.run("submit", dense, "--gpu", "cpu", "--static", "x:1x8", "--dry-run")
    assert "the model is static already" in same.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch", "8"), "the model's batch is fixed at 1: it can not run at 8"),
        (("--opt-shapes", "x:8x8"), "input 'x' is static: it takes no shapes (x float32 1x8)"),
        (("--static", "x:8x8"), "8x8 does not fit input 'x', which is 1x8"),
    ],
)
def test_another_batch_of_a_fixed_model_is_explained(
    farm: FarmCommand, dense: Path, words: tuple[str, str], said: str
) -> None:
    refusal = farm.refused("submit", dense, "--gpu", "cpu", *words, code=2)
    assert said in refusal
    assert "xport" in refusal, "the way out is named"


def test_formats_are_checked_before_anything_is_queued(farm: FarmCommand, dynamic: Path) -> None:
    words = ("submit", dynamic, "--batch", "8", "--gpu")
    assert "has no I/O formats" in farm.refused(*words, "cpu", "--io-formats", "x:fp16", code=2)
    assert "no input or output 'z'" in farm.refused(*words, "cpu", "--io-formats", "z:fp16", code=2)
    assert "is no memory format" in farm.refused(*words, "cpu", "--io-formats", "x:fp16:chw3", code=2)
    assert "needs 3 dimensions" in farm.refused(*words, "cpu", "--io-formats", "x:fp16:chw16", code=2)
    plain = farm.json(*words, "cpu", "--dry-run")
    assert farm.json(*words, "cpu", "--io-formats", "x:fp32:chw,scores:chw", "--dry-run") == plain
    assert not farm.has_anything()


def test_types_that_a_toolchain_can_not_choose_are_refused_by_name(farm: FarmCommand, dynamic: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    said = farm.refused("submit", dynamic, "--batch", "8", "--gpu", "sm89", "--io-formats", "x:fp16", code=2)
    assert "takes an input's or output's type from the model: 'x' is fp32, not fp16" in said
