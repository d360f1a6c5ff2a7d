"""A model in the types that a precision asks for, by the real converters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from farm.domain.calibration import ALGORITHMS
from farm.domain.conversion import Conversion
from farm.domain.errors import AccuracyError, BuildError, InvalidSpecError, UnsupportedTargetError
from farm.domain.shapes import ShapeRange
from farm.domain.thresholds import Thresholds
from tests.integration.conversion.conftest import classifier
from workers.conversion.convert import convert_model
from workers.conversion.request import (
    ConversionRequest,
    ConversionResult,
    conversion_request_as_json,
    conversion_request_from_json,
)
from workers.toolchains.toolchain import CalibrationInput

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PROFILE = {"x": ShapeRange((1, 3, 32, 32), (4, 3, 32, 32), (8, 3, 32, 32))}
RANDOM = CalibrationInput(ALGORITHMS["entropy"], samples=16)


def converted(
    model: Path,
    conversion: Conversion,
    *,
    calibration: CalibrationInput | None = RANDOM,
    kept: tuple[str, ...] = (),
) -> tuple[onnx.ModelProto, ConversionResult]:
    path = model.parent / "converted" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    request = ConversionRequest(model, path, conversion, PROFILE, calibration, kept)
    assert conversion_request_from_json(conversion_request_as_json(request)) == request
    result = convert_model(request, lambda _fraction, _message: None)
    return onnx.load(path), result


def outputs_of(model: onnx.ModelProto) -> NDArray[Any]:
    """On fixed inputs, without ONNX Runtime's own fusions: its FP8 kernels are not there yet."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = np.random.default_rng(5).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    found: NDArray[Any] = session.run(None, {"x": given})[0]
    return found


def cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    one, other = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def types_by_node(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {
        i.name: i.type.tensor_type.elem_type for i in (*inferred.graph.value_info, *inferred.graph.output)
    }
    return {node.name: types[node.output[0]] for node in inferred.graph.node if node.output[0] in types}


@pytest.mark.parametrize(
    ("conversion", "at_least"),
    [
        (Conversion("fp16"), 0.99999),
        (Conversion("", "int8"), 0.999),
        (Conversion("fp16", "int8"), 0.999),
        (Conversion("", "fp8"), 0.99),
        (Conversion("fp16", "fp8"), 0.99),
        (Conversion("", "int8", for_cpu=True), 0.999),
    ],
    ids=str,
)
def test_a_converted_model_computes_almost_the_same(
    conversion: Conversion, at_least: float, tmp_path: Path
) -> None:
    model = classifier(tmp_path / "model.onnx")
    found, result = converted(model, conversion)
    right = outputs_of(onnx.load(model))
    likeness = cosine(outputs_of(found), right)
    assert at_least < likeness < 1.0, f"{likeness}: {result.note}"


@pytest.mark.parametrize(
    "conversion", [Conversion("fp16"), Conversion("", "int8"), Conversion("fp16", "fp8")], ids=str
)
def test_inputs_and_outputs_stay_in_the_callers_types(conversion: Conversion, tmp_path: Path) -> None:
    found, _ = converted(classifier(tmp_path / "model.onnx"), conversion)
    for info in (*found.graph.input, *found.graph.output):
        assert info.type.tensor_type.elem_type == TensorProto.FLOAT
    assert [info.name for info in (*found.graph.input, *found.graph.output)] == ["x", "y"]


def test_what_was_converted_is_counted_and_said_with_who_did_it(tmp_path: Path) -> None:
    _, result = converted(classifier(tmp_path / "model.onnx"), Conversion("fp16", "int8"))
    assert result.details["quantized_nodes"] == 3, "two convolutions and a matrix product"
    assert result.details["qdq_nodes"] == 12
    assert (result.details["half_nodes"], result.details["float_nodes"]) == (9, 9)
    assert result.note.startswith("INT8 by ONNX Runtime 1.")
    assert "FP16 by ONNX Runtime 1." in result.note
    assert result.note.endswith("9 of 9 nodes")


def test_a_model_with_nothing_to_quantize_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 32, 32]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "relu")], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(BuildError, match="nothing that is computed in INT8"):
        converted(path, Conversion("", "int8"))


@pytest.mark.parametrize(
    "conversion",
    [Conversion("fp16"), Conversion("", "int8"), Conversion("fp16", "int8"), Conversion("", "fp8")],
    ids=str,
)
def test_a_layer_that_is_kept_stays_in_fp32(conversion: Conversion, tmp_path: Path) -> None:
    model = classifier(tmp_path / "model.onnx")
    found, _ = converted(model, conversion, kept=("conv2",))
    assert types_by_node(found)["conv2"] == TensorProto.FLOAT
    (kept,) = (node for node in found.graph.node if node.name == "conv2")
    weights = {tensor.name: tensor.data_type for tensor in found.graph.initializer}
    assert weights.get(kept.input[1], TensorProto.FLOAT) == TensorProto.FLOAT
    dequantized = {
        out for node in found.graph.node if node.op_type == "DequantizeLinear" for out in node.output
    }
    assert not dequantized & set(kept.input), "nothing that was quantized goes into it"
    others, _ = converted(model, conversion)
    assert found.SerializeToString() != others.SerializeToString()


def test_a_layer_to_keep_that_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="no node 'conv3'") as refusal:
        converted(classifier(tmp_path / "model.onnx"), Conversion("fp16"), kept=("conv3",))
    assert "conv" in refusal.value.hint


def test_nodes_without_names_are_converted_too(tmp_path: Path) -> None:
    found, result = converted(classifier(tmp_path / "model.onnx", named=False), Conversion("fp16", "int8"))
    assert result.details["quantized_nodes"] == 3
    names = [node.name for node in found.graph.node]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("word", ["entropy", "minmax", "percentile"])
def test_every_algorithm_gives_ranges_of_its_own(word: str, tmp_path: Path) -> None:
    found, _ = converted(
        classifier(tmp_path / "model.onnx"),
        Conversion("", "int8"),
        calibration=CalibrationInput(ALGORITHMS[word], samples=16, batch=4),
    )
    (scale,) = (t for t in found.graph.initializer if t.name == "x_scale")
    largest = float(onnx.numpy_helper.to_array(scale)) * 127
    # 16 x 3,072 standard normal numbers: the largest is about 4.2; the other two cut, or round up to a bin.
    assert 2.0 < largest < 5.0


def test_an_algorithm_that_only_tensorrt_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidSpecError, match="entropy-legacy is an algorithm of TensorRT's own calibrators"
    ):
        converted(
            classifier(tmp_path / "model.onnx"),
            Conversion("", "int8"),
            calibration=CalibrationInput(ALGORITHMS["entropy-legacy"], samples=16),
        )


def test_samples_make_the_ranges(tmp_path: Path) -> None:
    model = classifier(tmp_path / "model.onnx")
    scales = []
    for factor in (1, 10):
        data = tmp_path / f"{factor}.npz"
        rng = np.random.default_rng(0)
        np.savez(data, x=(rng.normal(0, factor, (8, 3, 32, 32))).astype(np.float32))
        wanted = CalibrationInput(ALGORITHMS["minmax"], data_path=data, batch=2)
        found, _ = converted(model, Conversion("", "int8"), calibration=wanted)
        (scale,) = (t for t in found.graph.initializer if t.name == "x_scale")
        scales.append(float(onnx.numpy_helper.to_array(scale)))
    assert scales[1] == pytest.approx(10 * scales[0])


def test_an_old_operator_set_is_lifted_where_qdq_in_16_bits_needs_it(tmp_path: Path) -> None:
    model = classifier(tmp_path / "model.onnx", opset=13)
    plain, _ = converted(model, Conversion("", "int8"))
    lifted, _ = converted(model, Conversion("fp16", "int8"))
    assert plain.opset_import[0].version == 13
    assert lifted.opset_import[0].version == 19


def test_a_model_that_is_in_fp16_already_has_nothing_to_convert(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT64, ["N"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"], "neg")], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(BuildError, match="converted nothing to FP16"):
        converted(path, Conversion("fp16"))


def test_without_modelopt_the_refusal_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "modelopt.onnx.autocast", None)
    with pytest.raises(UnsupportedTargetError, match="bf16 needs NVIDIA's ModelOpt") as refusal:
        converted(classifier(tmp_path / "model.onnx"), Conversion("bf16"))
    assert "engine-farm[modelopt]" in refusal.value.hint


def test_a_cast_in_the_middle_of_a_model_goes_with_what_is_around_it(tmp_path: Path) -> None:
    """As in a transformer, whose attention mask comes as integers: FP32 beside FP16 is refused by every parser."""
    path = tmp_path / "model.onnx"
    nodes = [
        helper.make_node("Cast", ["mask"], ["float_mask"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "float_mask"], ["penalty"], "penalty"),
        helper.make_node("Add", ["x", "penalty"], ["y"], "sum"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    mask = helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", 4])
    one = onnx.numpy_helper.from_array(np.ones(1, dtype=np.float32), "one")
    graph = helper.make_graph(nodes, "g", [x, mask], [y], [one])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    found, _ = converted(path, Conversion("fp16"))
    onnx.checker.check_model(found, full_check=True)
    assert types_by_node(found)["penalty"] == TensorProto.FLOAT16


def compared(model: Path, conversion: Conversion, thresholds: Thresholds) -> ConversionResult:
    path = model.parent / "compared" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    request = ConversionRequest(model, path, conversion, PROFILE, RANDOM, thresholds=thresholds)
    assert conversion_request_from_json(conversion_request_as_json(request)) == request
    return convert_model(request, lambda _fraction, _message: None)


def test_where_no_device_runs_the_engine_the_converted_model_is_compared_on_the_cpu(tmp_path: Path) -> None:
    result = compared(classifier(tmp_path / "model.onnx"), Conversion("", "int8"), Thresholds())
    agreement = result.details["agreement"]
    assert 25 < agreement["snr_db"] < 60
    assert f"{agreement['snr_db']:.1f} dB from the model on ONNX Runtime" in result.note
    assert agreement["random"], "so everybody can see what it says"


def test_weights_that_fp16_can_not_hold_are_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    weights = onnx.numpy_helper.from_array(np.diag([1e6, 1.0, 1.0, 1.0]).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "g", [x], [y], [weights]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    request = ConversionRequest(
        path,
        tmp_path / "converted.onnx",
        Conversion("fp16"),
        {"x": ShapeRange((8, 4), (8, 4), (8, 4))},
        thresholds=Thresholds(min_snr_db=20),
    )
    with pytest.raises(AccuracyError, match="SNR in dB"):
        convert_model(request, lambda _fraction, _message: None)


def test_the_thresholds_of_the_job_hold_for_the_conversion(tmp_path: Path) -> None:
    with pytest.raises(AccuracyError, match="cosine similarity"):
        compared(
            classifier(tmp_path / "model.onnx"), Conversion("", "int8"), Thresholds(min_cosine=0.99999999)
        )
