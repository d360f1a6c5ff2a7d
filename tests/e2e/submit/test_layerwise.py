"""`farm submit --layerwise`: every layer of the engine against the model's, and which one's error jumps first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.e2e import models
from tests.e2e.driver import fast_spec
from tests.e2e.submit.submissions import seed, submission_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


@pytest.fixture
def spiky(tmp_path: Path) -> Path:
    """Three products, of which the second has one huge weight: in 8 bits the others of its tensor are lost."""
    draw = np.random.default_rng(seed(tmp_path))
    weights = [draw.standard_normal((16, 16)).astype(np.float32) for _ in range(3)]
    weights[1][0, 0] = 3e4
    nodes = []
    before = "x"
    for number in range(3):
        nodes.append(
            helper.make_node("MatMul", [before, f"w{number}"], [f"p{number}"], name=f"multiply-{number}")
        )
        nodes.append(helper.make_node("Tanh", [f"p{number}"], [f"t{number}"], name=f"bend-{number}"))
        before = f"t{number}"
    graph = helper.make_graph(
        nodes,
        "spiky",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
        [helper.make_tensor_value_info("t2", TensorProto.FLOAT, ["N", 16])],
        [numpy_helper.from_array(array, f"w{number}") for number, array in enumerate(weights)],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    return models.save(model, tmp_path / "spiky.onnx")


def words(model: Path, *more: str) -> Sequence[str | Path]:
    return (
        "submit", model, "--spec", fast_spec(model.parent), "--gpu", "cpu", "--precision", "int8", "--batch", "8",
        "--calibration", "random", "--layerwise", *more, "--wait",
    )  # fmt: skip


def test_the_layer_whose_error_jumps_is_named_and_all_are_shown(busy_farm: FarmCommand, spiky: Path) -> None:
    assert busy_farm.json(*words(spiky, "--threshold", "min_cosine=-1"))["successful"] is True
    document = busy_farm.json("accuracy", "spiky")
    found = document["accuracy"]["layerwise"]
    assert found["first_jump"]["node"] in ("bend-1", "multiply-1")
    assert found["first_jump"]["relative_error"] > 10 * found["first_jump"]["error_of_inputs"]
    layers = document["histogram"]["layers"]
    assert [layer["node"] for layer in layers] == [
        f"{what}-{n}" for n in range(3) for what in ("multiply", "bend")
    ]
    assert found["compared"] == len(layers)
    assert layers[1]["relative_error"] < 0.1
    shown = busy_farm.run("accuracy", "spiky").out
    assert "the error jumps first at" in shown
    assert "multiply-2" in shown
    (cell,) = busy_farm.json(*words(spiky)[:-1], "--dry-run")["cells"]
    assert cell["engine"], "an engine that is filed is held against its reference without a build of its own"


def test_a_cell_that_fails_says_which_layer_it_was(busy_farm: FarmCommand, spiky: Path) -> None:
    ended = busy_farm.run(*words(spiky, "--name", "failing", "--threshold", "min_cosine=0.9999"), code=5)
    (cell,) = busy_farm.json("status", submission_of(ended.out))["cells"]
    assert "cosine similarity" in cell["failure"]["message"]
    assert "the error jumps first at" in cell["failure"]["message"]


def test_a_filed_engine_is_compared_afterwards(busy_farm: FarmCommand, dynamic: Path) -> None:
    plain = ("submit", dynamic, "--spec", fast_spec(dynamic.parent), "--gpu", "cpu", "--batch", "8")
    assert busy_farm.json(*plain, "--wait")["successful"] is True
    engine = busy_farm.json("accuracy", "dynamic")["engine"]
    assert busy_farm.json(*plain, "--layerwise", "--wait")["successful"] is True
    document = busy_farm.json("accuracy", "dynamic")
    assert document["engine"] == engine
    assert document["accuracy"]["layerwise"]["first_jump"] is None
    assert "stands out" in busy_farm.run("accuracy", "dynamic").out
    assert [cell["disposition"] for cell in busy_farm.json(*plain, "--layerwise", "--dry-run")["cells"]] == [
        "built"
    ]
