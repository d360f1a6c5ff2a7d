"""What the farm says of an ONNX model."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, helper

from farm.domain.digests import digest_of_file
from farm.domain.models import Tensor
from farm.storage.onnx_files import read_model
from tests.integration.onnx_files.onnx_models import FLOAT, OPSET, deep_model, save_model, small_model

if TYPE_CHECKING:
    from pathlib import Path


def test_a_model_is_described_by_its_inputs_outputs_operators_and_weights(tmp_path: Path) -> None:
    proto = small_model()
    proto.producer_name, proto.producer_version = "pytorch", "2.9"
    path = save_model(proto, tmp_path / "model.onnx")

    model = read_model(path)

    assert model.inputs == (Tensor("x", "float32", (-1, 3), ("N", "")),)
    assert model.outputs == (Tensor("y", "float32", (-1, 4), ("N", "")),)
    assert (model.opset, model.ir_version, model.producer) == (OPSET, 10, "pytorch 2.9")
    assert (model.parameters, model.operators) == (12, {"MatMul": 1})
    assert [(file.name, file.digest) for file in model.files] == [("model.onnx", digest_of_file(path))]
    assert model.digest.size_bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("dim", "size", "symbol"), [(2, 2, ""), ("batch", -1, "batch"), (None, -1, ""), (-1, -1, ""), (0, 0, "")]
)
def test_a_dimension_without_a_size_is_minus_one(
    tmp_path: Path, dim: int | str | None, size: int, symbol: str
) -> None:
    model = read_model(save_model(small_model(batch=dim), tmp_path / "model.onnx"))

    assert model.inputs[0].shape == (size, 3)
    assert model.inputs[0].symbols == (symbol, "")


@pytest.mark.parametrize(
    ("data_type", "dtype"),
    [
        (TensorProto.FLOAT, "float32"),
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.BFLOAT16, "bfloat16"),
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.INT64, "int64"),
        (TensorProto.UINT8, "uint8"),
        (TensorProto.BOOL, "bool"),
        (TensorProto.STRING, "string"),
        (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn"),
        (TensorProto.FLOAT8E5M2, "float8_e5m2"),
        (TensorProto.INT4, "int4"),
        (TensorProto.FLOAT4E2M1, "float4_e2m1fn"),
    ],
)
def test_element_types_carry_the_names_of_numpy(tmp_path: Path, data_type: int, dtype: str) -> None:
    model = small_model()
    model.graph.input[0].type.tensor_type.elem_type = data_type

    assert read_model(save_model(model, tmp_path / "model.onnx")).inputs[0].dtype == dtype


def test_an_initializer_that_is_also_an_input_need_not_be_fed(tmp_path: Path) -> None:
    model = small_model()
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [3, 4]))

    assert [tensor.name for tensor in read_model(save_model(model, tmp_path / "m.onnx")).inputs] == ["x"]


def test_operators_and_weights_inside_subgraphs_and_functions_are_counted(tmp_path: Path) -> None:
    path = save_model(deep_model(), tmp_path / "model.onnx")

    model = read_model(path)

    assert model.operators == {"Add": 2, "Constant": 2, "If": 1, "MatMul": 1, "custom::Shift": 1}
    assert model.parameters == 12 + 4 + 4, "w, the sparse ones, a branch's; no constants, none for training"


def test_an_operator_of_another_domain_is_reported_and_not_judged(tmp_path: Path) -> None:
    plugin = helper.make_node("EfficientNMS", ["x", "w"], ["y"], domain="custom")

    assert read_model(save_model(small_model(nodes=[plugin]), tmp_path / "m.onnx")).operators == {
        "custom::EfficientNMS": 1
    }


def test_the_shape_of_an_output_is_inferred_where_the_graph_gives_none(tmp_path: Path) -> None:
    model = small_model(batch=7)
    model.graph.output[0].type.tensor_type.ClearField("shape")

    assert read_model(save_model(model, tmp_path / "m.onnx")).outputs[0].shape == (7, 4)


def test_the_shape_of_an_output_stays_unknown_where_it_can_not_be_inferred(tmp_path: Path) -> None:
    plugin = helper.make_node("EfficientNMS", ["x", "w"], ["y"], domain="custom")
    model = small_model(nodes=[plugin])
    model.graph.output[0].type.tensor_type.ClearField("shape")

    assert read_model(save_model(model, tmp_path / "m.onnx")).outputs[0].shape == ()


def test_an_output_without_shape_survives_an_inference_that_raises(tmp_path: Path) -> None:
    model = deep_model()
    # There is no type 33, and the checker does not look at it.
    model.graph.node[-1].attribute[1].g.output[0].type.tensor_type.elem_type = 33
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ValueError, match="33"):
        onnx.shape_inference.infer_shapes(model)

    assert read_model(save_model(model, tmp_path / "m.onnx")).outputs[0].shape == ()


def test_importing_the_reader_does_not_import_onnx() -> None:
    program = "import farm.storage.onnx_files, sys; print('onnx' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ast.literal_eval(answer.stdout) is False
