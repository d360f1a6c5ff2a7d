"""A frozen model is a model of its own: its inputs fixed, its outputs inferred, its weights where they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from farm.domain.errors import InvalidModelError, InvalidSpecError
from farm.storage.onnx_files import read_model
from farm.storage.onnx_freeze import FrozenModel, freeze_model
from tests.integration.onnx_files.onnx_models import FLOAT, WEIGHTS, move_outside, save_model, small_model

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.shapes import Shape


def image_net(path: Path, *, channels: int = 3) -> Path:
    """`image` NxCxHxW and `mask` NxC through a convolution to `scores`, whose shape the graph does not fix."""
    kernel = np.random.default_rng(0).standard_normal((4, channels, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Concat", ["f", "mask"], ["scores"], axis=1),
        ],
        "net",
        [
            helper.make_tensor_value_info("image", FLOAT, ["N", channels, "H", "W"]),
            helper.make_tensor_value_info("mask", FLOAT, ["N", "C"]),
        ],
        [helper.make_tensor_value_info("scores", FLOAT, ["N", "K"])],
        [numpy_helper.from_array(kernel, "w")],
        value_info=[helper.make_tensor_value_info("c", FLOAT, ["N", 4, "H", "W"])],
    )
    return save_model(
        helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]), path
    )


def frozen(path: Path, **shapes: Shape) -> FrozenModel:
    folder = path.parent / "frozen"
    folder.mkdir(exist_ok=True)
    return freeze_model(path, shapes, folder)


def shown(tensors: Any) -> list[str]:
    return [str(tensor) for tensor in tensors]


def test_inputs_are_fixed_and_outputs_inferred(tmp_path: Path) -> None:
    model = frozen(image_net(tmp_path / "net.onnx"), image=(8, 3, 32, 32), mask=(8, 6)).model
    assert shown(model.inputs) == ["image float32 8x3x32x32", "mask float32 8x6"]
    assert shown(model.outputs) == ["scores float32 8x10"]


def test_a_named_dimension_is_fixed_wherever_it_stands(tmp_path: Path) -> None:
    model = frozen(image_net(tmp_path / "net.onnx"), image=(8, 3, 32, 32)).model
    assert shown(model.inputs) == ["image float32 8x3x32x32", "mask float32 8xC"]
    assert model.outputs[0].shape == (8, -1)


def test_it_computes_what_the_original_computes(tmp_path: Path) -> None:
    path = image_net(tmp_path / "net.onnx")
    graph = frozen(path, image=(2, 3, 16, 16), mask=(2, 5)).graph
    draw = np.random.default_rng(1)
    given = {
        "image": draw.standard_normal((2, 3, 16, 16)).astype(np.float32),
        "mask": draw.standard_normal((2, 5)).astype(np.float32),
    }
    before, after = (
        onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, given)[0]
        for file in (path, graph)
    )
    np.testing.assert_array_equal(before, after)


def test_its_digest_is_its_own_and_the_same_each_time(tmp_path: Path) -> None:
    path = image_net(tmp_path / "net.onnx")
    sizes: list[tuple[int, ...]] = [(8, 3, 32, 32), (8, 3, 32, 32), (4, 3, 32, 32)]
    digests = [frozen(path, image=size).model.digest.sha256 for size in sizes]
    assert digests[0] == digests[1] != digests[2]
    assert read_model(path).digest.sha256 not in digests
    onnx.checker.check_model(str(frozen(path, image=(8, 3, 32, 32)).graph))


def test_weights_outside_stay_where_they_are(tmp_path: Path) -> None:
    inside = save_model(small_model(), tmp_path / "inside" / "model.onnx")
    model = small_model()
    move_outside(model.graph.initializer[0], location="weights.bin")
    outside = save_model(model, tmp_path / "outside" / "model.onnx")
    (outside.parent / "weights.bin").write_bytes(WEIGHTS.tobytes())
    found = frozen(outside, x=(8, 3))
    assert [file.name for file in found.model.files] == ["model.onnx", "weights.bin"]
    assert sorted(path.name for path in found.graph.parent.iterdir()) == ["model.onnx"]
    assert found.model.digest.sha256 == frozen(inside, x=(8, 3)).model.digest.sha256


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        ({"imag": (8, 3, 32, 32)}, "no input 'imag'"),
        ({"image": (8, 3, 32)}, "8x3x32 does not fit input 'image', which is -1x3x-1x-1"),
        ({"image": (8, 4, 32, 32)}, "8x4x32x32 does not fit"),
        ({"image": (0, 3, 32, 32)}, "that holds nothing"),
        ({"image": (8, 3, 32, 32), "mask": (4, 6)}, "dimension 'N' can not be 8 and 4"),
    ],
)
def test_shapes_that_contradict_the_model_are_refused(
    tmp_path: Path, shapes: dict[str, Shape], complaint: str
) -> None:
    with pytest.raises(InvalidSpecError, match=complaint):
        frozen(image_net(tmp_path / "net.onnx"), **shapes)


def test_shapes_at_which_the_layers_contradict_each_other_are_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3, "S"])],
        [helper.make_tensor_value_info("y", FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.zeros((12, 2), np.float32), "w")],
    )
    path = save_model(
        helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]),
        tmp_path / "net.onnx",
    )
    assert frozen(path, x=(2, 3, 4)).model.outputs[0].shape == (2, 2)
    with pytest.raises(InvalidSpecError, match="does not take these shapes"):
        frozen(path, x=(2, 3, 5))


def test_an_operator_that_onnx_does_not_know_is_nothing_to_stumble_over(tmp_path: Path) -> None:
    node = helper.make_node("Mystery", ["x", "w"], ["y"], domain="custom")
    path = save_model(small_model(nodes=[node]), tmp_path / "model.onnx")
    assert frozen(path, x=(8, 3)).model.outputs[0].shape == (8, 4)


def test_what_is_no_model_is_refused_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("no model")
    with pytest.raises(InvalidModelError, match="is not an ONNX model"):
        frozen(path, x=(1,))


def test_an_initializer_of_the_same_name_is_no_input(tmp_path: Path) -> None:
    model = small_model()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 4]))
    with pytest.raises(InvalidSpecError, match="no input 'w'"):
        frozen(save_model(model, tmp_path / "model.onnx"), w=(3, 4))
