"""Conversions by NVIDIA's ModelOpt, each in a process of its own: it changes ONNX Runtime's quantizer for good."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest

from farm.domain.calibration import ALGORITHMS
from farm.domain.conversion import Conversion
from farm.domain.shapes import ShapeRange
from tests.integration.conversion.conftest import classifier
from tests.server_programs import missing
from workers.conversion.request import ConversionRequest, conversion_request_as_json
from workers.toolchains.toolchain import CalibrationInput

PROJECT = Path(__file__).parents[3]
PROFILE = {"x": ShapeRange((1, 3, 32, 32), (4, 3, 32, 32), (8, 3, 32, 32))}
if find_spec("modelopt") is None:
    missing("no modelopt: pip install torch==2.13.0 and 'engine-farm[modelopt]'")


def converted(model: Path, conversion: Conversion, kept: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a child answers."""
    folder = model.parent / "converted"
    folder.mkdir()
    random = CalibrationInput(ALGORITHMS["entropy"], samples=16)
    request = ConversionRequest(model, folder / "model.onnx", conversion, PROFILE, random, kept)
    asked, told = model.parent / "request.json", model.parent / "result.json"
    asked.write_text(json.dumps(conversion_request_as_json(request)))
    subprocess.run(
        [sys.executable, "-m", "workers.child", str(asked), str(told)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    answer: dict[str, Any] = json.loads(told.read_text())
    return answer


def types_by_node(path: Path) -> dict[str, int]:
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    types = {
        info.name: info.type.tensor_type.elem_type for info in (*model.graph.value_info, *model.graph.output)
    }
    return {node.name: types[node.output[0]] for node in model.graph.node if node.output[0] in types}


@pytest.mark.parametrize(
    ("half", "kind"), [("fp16", onnx.TensorProto.FLOAT16), ("bf16", onnx.TensorProto.BFLOAT16)]
)
def test_autocast_puts_a_model_in_16_bits_but_for_its_ends_and_what_is_kept(
    half: str, kind: int, tmp_path: Path
) -> None:
    answer = converted(classifier(tmp_path / "model.onnx"), Conversion(half, "", "MODELOPT"), ("conv2",))
    assert answer["failure"] is None, answer
    assert "ModelOpt AutoCast" in answer["note"]
    assert answer["note"].endswith("8 of 9 nodes")
    types = types_by_node(tmp_path / "converted" / "model.onnx")
    assert types["conv1"] == kind
    assert types["conv2"] == onnx.TensorProto.FLOAT


def test_modelopt_quantizes_by_choice(tmp_path: Path) -> None:
    answer = converted(classifier(tmp_path / "model.onnx"), Conversion("", "int8", "MODELOPT"))
    assert answer["failure"] is None, answer
    assert answer["note"].startswith("INT8 by ModelOpt 0.")
    assert answer["details"]["quantized_nodes"] >= 2


def test_a_conversion_to_fp8_that_puts_in_no_qdq_node_is_a_failure(tmp_path: Path) -> None:
    # Measured with 0.47.0: it finds nothing worth quantizing in so small a model, and says that all went well.
    failure = converted(classifier(tmp_path / "model.onnx"), Conversion("", "fp8", "MODELOPT"))["failure"]
    assert "found nothing to put in FP8" in failure["message"]
    assert "ONNX Runtime's quantizer" in failure["hint"]
