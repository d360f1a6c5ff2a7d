"""The reference in FP64: the same graph in double precision, by ONNX Runtime or by onnx's evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model
from onnx.reference import ReferenceEvaluator

from farm.domain.errors import InvalidSpecError
from workers.conversion.double_ops import AveragePool, Conv, ConvTranspose, MaxPool
from workers.conversion.doubles import open_in_doubles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FLOAT = TensorProto.FLOAT
DRAW = np.random.default_rng(7)


def floats(*shape: int) -> NDArray[np.float32]:
    return DRAW.standard_normal(shape).astype(np.float32)


def a_model(
    nodes: list[Any],
    weights: dict[str, NDArray[Any]],
    *,
    shape: tuple[int, ...] = (2, 8),
    kind: int = FLOAT,
    opset: int = 19,
) -> Any:
    """From `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("custom", 1)]
    return helper.make_model(graph, ir_version=9, opset_imports=imports)


def computed(model: Any, path: Path, x: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """The output in FP64, and who computed it."""
    save_model(model, path)
    engine, name = open_in_doubles(path)
    (found,) = engine.infer({"x": x}).values()
    engine.close()
    return found, name


def test_a_sum_that_floats_can_not_hold_is_exact(tmp_path: Path) -> None:
    # In FP32 the ones are lost beside the large number.
    x = np.array([[2**24, 1, 1, 1, -(2**24), 0, 0, 0]], np.float32)
    model = a_model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((8, 1), np.float32)}, shape=(1, 8)
    )
    found, name = computed(model, tmp_path / "m.onnx", x)
    assert (found.dtype, found.item()) == (np.float64, 3.0)
    assert name == f"onnxruntime {onnxruntime.__version__} fp64"


def test_convolutions_are_computed_by_the_evaluator_which_says_so(tmp_path: Path) -> None:
    x, w = floats(2, 3, 9, 9), floats(4, 3, 3, 3)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    model = a_model(nodes, {"w": w}, shape=(2, 3, 9, 9))
    found, name = computed(model, tmp_path / "m.onnx", x)
    assert "reference evaluator fp64" in name
    plain = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(found, plain.run(None, {"x": x})[0], atol=1e-4)
    # By hand, one element in double precision.
    window = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))[1, :, 2:5, 4:7]
    assert found[1, 3, 1, 2] == pytest.approx(max((window * w[3]).sum(), 0), rel=1e-14)


def test_a_model_in_16_bits_takes_its_own_inputs_and_is_computed_in_64(tmp_path: Path) -> None:
    w = floats(8, 4).astype(np.float16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Cast", ["p"], ["wide"], to=FLOAT),
        helper.make_node("Constant", [], ["tenth"], value_float=0.1),
        helper.make_node("Mul", ["wide", "tenth"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["y"], to=TensorProto.FLOAT16),
    ]
    x = floats(2, 8).astype(np.float16)
    found, _ = computed(a_model(nodes, {"w": w}, kind=TensorProto.FLOAT16), tmp_path / "m.onnx", x)
    np.testing.assert_allclose(
        found, x.astype(np.float64) @ w.astype(np.float64) * np.float64(np.float32(0.1)), rtol=1e-14
    )


def test_branches_are_widened_too(tmp_path: Path) -> None:
    def branch(value: float) -> Any:
        constant = helper.make_tensor("v", FLOAT, [1], [value])
        node = helper.make_node("Constant", [], ["out"], value=constant)
        return helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("out", FLOAT, [1])])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["yes"]),
        helper.make_node("If", ["yes"], ["factor"], then_branch=branch(2.0), else_branch=branch(3.0)),
        helper.make_node("Mul", ["x", "factor"], ["y"]),
    ]
    found, _ = computed(
        a_model(nodes, {"zero": np.float32(0).reshape(())}), tmp_path / "m.onnx", np.ones((2, 8), np.float32)
    )
    np.testing.assert_array_equal(found, np.full((2, 8), 2.0))


def test_sizes_of_a_resize_stay_in_single_precision(tmp_path: Path) -> None:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    x = floats(1, 1, 2, 2)
    model = a_model(nodes, {"scales": np.array([1, 1, 2, 2], np.float32)}, shape=(1, 1, 2, 2))
    found, _ = computed(model, tmp_path / "m.onnx", x)
    np.testing.assert_array_equal(found, x.astype(np.float64).repeat(2, axis=2).repeat(2, axis=3))


def test_what_nothing_here_computes_is_refused_with_both_reasons(tmp_path: Path) -> None:
    save_model(a_model([helper.make_node("Odd", ["x"], ["y"], domain="custom")], {}), tmp_path / "m.onnx")
    with pytest.raises(
        InvalidSpecError, match=r"in FP64: ONNX Runtime says .*Odd.*; onnx's .* evaluator says .*Odd"
    ) as caught:
        open_in_doubles(tmp_path / "m.onnx")
    assert "--reference fp64" in caught.value.hint


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Conv", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Conv", {"pads": [1, 0, 2, 1], "group": 2, "dilations": [2, 1]}),
        ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 1]}),
        ("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
        ("Conv", {"auto_pad": "VALID"}),
        ("ConvTranspose", {"strides": [2, 2]}),
        ("ConvTranspose", {"strides": [3, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 1]}),
        ("ConvTranspose", {"strides": [2, 1], "dilations": [1, 2], "group": 2}),
        ("ConvTranspose", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ("ConvTranspose", {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ("ConvTranspose", {"strides": [2, 2], "output_shape": [18, 19]}),
        *(
            (operator, attributes)
            for operator in ("MaxPool", "AveragePool")
            for attributes in (
                {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
                {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]},
                {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1},
                {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "ceil_mode": 1},
                {"kernel_shape": [2, 2], "dilations": [2, 3]},
            )
        ),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        (
            "AveragePool",
            {
                "kernel_shape": [3, 3],
                "pads": [1, 1, 0, 0],
                "strides": [2, 2],
                "count_include_pad": 1,
                "ceil_mode": 1,
            },
        ),
    ],
)
def test_convolutions_and_pools_are_onnxruntimes(operator: str, attributes: dict[str, Any]) -> None:
    x = floats(2, 4, 9, 10)
    groups, weights = attributes.get("group", 1), {}
    if operator == "Conv":
        weights = {"w": floats(6, 4 // groups, 3, 3), "b": floats(6)}
    elif operator == "ConvTranspose":
        weights = {"w": floats(4, 6 // groups, 3, 3), "b": floats(6)}
    model = a_model(
        [helper.make_node(operator, ["x", *weights], ["y"], **attributes)], weights, shape=x.shape
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = ReferenceEvaluator(model, new_ops=[Conv, ConvTranspose, AveragePool, MaxPool]).run(
        None, {"x": x}
    )
    np.testing.assert_allclose(found, session.run(None, {"x": x})[0], atol=2e-5)
