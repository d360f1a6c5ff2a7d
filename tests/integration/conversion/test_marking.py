"""Models whose intermediate tensors are outputs, and engines of theirs held against the reference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farm.domain.errors import BuildError, InvalidModelError
from workers.arrays import read_arrays
from workers.child.build_document import LayerwiseInput
from workers.child.layerwise import compare_layers
from workers.child.requests import AttemptRequest
from workers.conversion.marking import mark_layers
from workers.conversion.marking_request import MarkRequest
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.toolchain import Toolchain


def silent(_fraction: float | None, _message: str) -> None:
    """Nobody listens."""


def chain(folder: Path, count: int, *, wrong_at: int | None = None) -> Path:
    """So many sums with a weight each, one of them wrong."""
    nodes = [
        helper.make_node("Add", [f"t{n}", f"w{n}"], [f"t{n + 1}"], name=f"add-{n}") for n in range(count)
    ]
    # Shapes are integers: nothing to compare.
    nodes.insert(1, helper.make_node("Shape", ["t0"], ["shape"], name="shape"))
    weights = [
        numpy_helper.from_array(np.full(4, 99.0 if n == wrong_at else 1.0, np.float32), f"w{n}")
        for n in range(count)
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, ["N", 4])],
        weights,
    )
    path = folder / f"chain-{wrong_at}.onnx"
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def marked(tmp_path: Path, model: Path, built: Path, per_model: int = 64) -> tuple[Path, int]:
    """The folder of the marked models, and how many tensors there are."""
    np.savez(tmp_path / "inputs.npz", t0=np.ones((6, 4), np.float32), labels=np.zeros(6, np.int64))
    folder = tmp_path / f"marked-{per_model}"
    folder.mkdir()
    request = MarkRequest(model, built, tmp_path / "inputs.npz", {"t0": (2, 4)}, {}, folder, per_model)
    return folder, mark_layers(MarkRequest.from_json(json.loads(json.dumps(request.as_json()))), silent)


def compared(
    folder: Path, built: Path, toolchain: Toolchain | None = None
) -> tuple[dict[str, Any], list[Any]]:
    """The summary, and every layer of it."""
    own = load_toolchain("onnxruntime")
    build = BuildInput(built, folder / "unused", "fp32", {"graph_optimization_level": "ALL"})
    request = AttemptRequest(
        own.describe().id.name,
        own.describe().id.version,
        folder / "unused",
        layerwise=LayerwiseInput(folder, build),
        histogram_path=folder / "errors.json",
    )
    summary = compare_layers(toolchain or own, request, silent)
    return summary, json.loads((folder / "errors.json").read_text())["layers"]


def test_every_float_tensor_is_an_output_of_one_of_the_models(tmp_path: Path) -> None:
    model = chain(tmp_path, 5)
    folder, count = marked(tmp_path, model, model, per_model=2)
    assert count == 5
    plan = json.loads((folder / "plan.json").read_text())
    assert [[layer["tensor"] for layer in chunk["layers"]] for chunk in plan] == [
        ["t1", "t2"],
        ["t3", "t4"],
        ["t5"],
    ]
    assert plan[0]["layers"][1] == {
        "tensor": "t2", "output": "t2", "node": "add-1", "operator": "Add", "inputs": ["t1"],
    }  # fmt: skip
    for chunk in plan:
        outputs = {output.name for output in onnx.load(folder / chunk["model"]).graph.output}
        assert outputs == {"t5", *(layer["output"] for layer in chunk["layers"])}
        onnx.checker.check_model(str(folder / chunk["model"]))
    # One call's samples, and what the model has there.
    assert read_arrays(folder / "call.npz")["t0"].shape == (2, 4)
    np.testing.assert_array_equal(read_arrays(folder / "expected-2.npz")["t3"], np.full((2, 4), 4.0))
    assert not list(folder.glob("reference.onnx*"))


def test_what_a_conversion_takes_together_is_compared_with_what_goes_into_all_of_it(tmp_path: Path) -> None:
    model = chain(tmp_path, 4)
    built = onnx.load(model)
    # As a converter that fuses two sums: the tensor between them is gone.
    built.graph.node[2].output[0] = "fused"
    built.graph.node[3].input[0] = "fused"
    onnx.save(built, tmp_path / "fused.onnx")
    folder, count = marked(tmp_path, model, tmp_path / "fused.onnx")
    (chunk,) = json.loads((folder / "plan.json").read_text())
    assert count == 3
    assert [(layer["tensor"], layer["inputs"]) for layer in chunk["layers"]] == [
        ("t1", []), ("t3", ["t1"]), ("t4", ["t3"]),
    ]  # fmt: skip


@pytest.mark.parametrize("per_model", [64, 2])
def test_the_layer_where_engine_and_model_part_is_named(tmp_path: Path, per_model: int) -> None:
    model, built = chain(tmp_path, 5), chain(tmp_path, 5, wrong_at=2)
    folder, _ = marked(tmp_path, model, built, per_model)
    summary, layers = compared(folder, built)
    assert summary["first_jump"]["node"] == "add-2"
    assert summary["first_jump"]["worst_actual"] == 102.0
    assert summary["first_jump"]["worst_expected"] == 4.0
    assert [layer["relative_error"] > 0 for layer in layers] == [False, False, True, True, True]
    assert not (folder / "engine").exists()


def test_a_model_that_can_not_be_built_with_its_tensors_as_outputs_leaves_a_note(tmp_path: Path) -> None:
    class Fails:
        """Builds all but the second marked model."""

        def __init__(self) -> None:
            self._own = load_toolchain("onnxruntime")

        def build(self, build: BuildInput, progress: Any) -> Any:
            if build.model_path.name == "marked-2.onnx":
                raise InvalidModelError("no such output")
            return self._own.build(build, progress)

        def load(self, engine_path: Path) -> Any:
            return self._own.load(engine_path)

    model = chain(tmp_path, 5)
    folder, _ = marked(tmp_path, model, model, per_model=2)
    toolchain: Any = Fails()
    summary, layers = compared(folder, model, toolchain)
    assert summary["notes"] == ["add-2 to add-3 could not be compared: no such output"]
    assert [layer["tensor"] for layer in layers] == ["t1", "t2", "t5"]
    toolchain.build = lambda *_: (_ for _ in ()).throw(InvalidModelError("nothing at all"))
    with pytest.raises(BuildError, match=r"layers can not be compared: add-0 to add-1 .*: nothing at all"):
        compared(folder, model, toolchain)
