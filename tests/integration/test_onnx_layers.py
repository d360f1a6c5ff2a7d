"""An engine that is an ONNX graph: its nodes are its layers, and each knows which nodes of the model it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from farm.storage.onnx_layers import read_onnx_layers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two convolutions with activations, then a sum over places; dynamic batch."""
    rng = np.random.default_rng(0)
    weights = {"w0": rng.standard_normal((16, 3, 3, 3)), "w1": rng.standard_normal((16, 16, 3, 3))}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0"], ["c0"], name="conv0", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c0"], ["r0"], name="relu0"),
            helper.make_node("Conv", ["r0", "w1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
            helper.make_node("GlobalAveragePool", ["r1"], ["y"], name="pool"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 16, 1, 1])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    path = tmp_path / "model.onnx"
    save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def optimized(model: Path, level: ort.GraphOptimizationLevel) -> Path:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    options.optimized_model_filepath = str(model.with_name("engine"))
    ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return model.with_name("engine")


def quantized(model: Path, folder: Path) -> Path:
    """The model with Q/DQ nodes, calibrated with noise."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Noise(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self._left = iter(np.random.default_rng(1).standard_normal((4, 1, 3, 8, 8)).astype(np.float32))

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self._left, None)
            return None if sample is None else {"x": sample}

    path = folder / "quantized.onnx"
    quantize_static(
        model, path, Noise(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    "level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"]
)
def test_every_node_of_the_model_is_in_one_layer(model: Path, level: str) -> None:
    engine = optimized(model, getattr(ort.GraphOptimizationLevel, level))
    told = read_onnx_layers(engine, model.read_bytes())
    assert told is not None
    computed = [node for layer in told.layers for node in layer.nodes]
    assert sorted(computed) == ["conv0", "conv1", "pool", "relu0", "relu1"]


def test_fused_nodes_are_in_the_layer_that_took_them_in(model: Path) -> None:
    engine = optimized(model, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    told = read_onnx_layers(engine, model.read_bytes())
    assert told is not None
    assert ("conv0", "relu0") in [layer.nodes for layer in told.layers]
    assert "com.microsoft::FusedConv" in told.types()


def test_a_quantized_layer_computes_in_the_type_of_its_weights_not_of_its_scales(
    model: Path, tmp_path: Path
) -> None:
    engine = optimized(quantized(model, tmp_path), ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    told = read_onnx_layers(engine, model.read_bytes())
    assert told is not None
    convolutions = [layer for layer in told.layers if layer.type.endswith("QLinearConv")]
    assert [layer.precision for layer in convolutions] == ["int8", "int8"]
    assert [layer.nodes for layer in convolutions] == [("conv0", "relu0"), ("conv1", "relu1")]
    assert {layer.outputs[0].dtype for layer in convolutions} <= {"int8", "uint8"}
    conversions = [layer for layer in told.layers if layer.type in ("QuantizeLinear", "DequantizeLinear")]
    assert conversions
    assert all(layer.nodes == () for layer in conversions)


def test_layers_have_types_precisions_and_weights(model: Path) -> None:
    told = read_onnx_layers(model)
    assert told is not None
    first = told.layers[0]
    assert (first.name, first.type, first.precision, first.nodes) == ("conv0", "Conv", "fp32", ("conv0",))
    assert first.weights_bytes == 4 * 16 * 27
    assert told.precisions() == {"fp32": 5}
    assert [(tensor.name, tensor.mode, tensor.dtype, tensor.shape) for tensor in told.io] == [
        ("x", "input", "fp32", (-1, 3, 8, 8)),
        ("y", "output", "fp32", (-1, 16, 1, 1)),
    ]


def test_what_is_no_graph_has_no_layers(tmp_path: Path) -> None:
    (tmp_path / "engine").write_bytes(b"ftrt" + bytes(100))
    assert read_onnx_layers(tmp_path / "engine") is None


def test_a_graph_that_is_packed_with_its_weights_is_read(model: Path, tmp_path: Path) -> None:
    from workers.toolchains.onnxruntime_files import GRAPH, WEIGHTS, pack

    (tmp_path / GRAPH).write_bytes(model.read_bytes())
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    pack([tmp_path / GRAPH, tmp_path / WEIGHTS], tmp_path / "packed")
    told = read_onnx_layers(tmp_path / "packed")
    assert told is not None
    assert len(told.layers) == 5
