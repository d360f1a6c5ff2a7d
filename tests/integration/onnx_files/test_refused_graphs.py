"""What is ONNX and yet no model to build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import ModelProto, helper

from tests.integration.onnx_files.onnx_models import (
    FLOAT,
    OPSET,
    WEIGHTS,
    deep_model,
    refusal_of,
    save_model,
    small_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _without_opset(model: ModelProto) -> None:
    del model.opset_import[0]


def _of_opset_99(model: ModelProto) -> None:
    model.opset_import[0].version = 99


def _of_two_opsets(model: ModelProto) -> None:
    model.opset_import.add(domain="ai.onnx", version=OPSET - 1)


def _of_ir_version_99(model: ModelProto) -> None:
    model.ir_version = 99


def _without_outputs(model: ModelProto) -> None:
    del model.graph.output[:]


def _without_graph(model: ModelProto) -> None:
    model.ClearField("graph")


def _with_an_input_that_nobody_produces(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "nobody"


def _with_an_output_that_nobody_produces(model: ModelProto) -> None:
    model.graph.output[0].name = "nobody"


def _with_an_unknown_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "MatMull"


def _with_an_operator_from_the_future(model: ModelProto) -> None:
    model.graph.node[0].op_type, model.opset_import[0].version = "Gelu", 17


def _with_a_deprecated_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "Upsample"


def _with_an_input_without_shape(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def _with_a_sequence_as_input(model: ModelProto) -> None:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [1]))
    model.graph.input[0].type.CopyFrom(kind)


def _with_an_input_of_unknown_type(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 99


def _with_weights_cut_short(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = WEIGHTS.tobytes()[:-1]


def _with_weights_to_spare(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = WEIGHTS.tobytes() + b"\0"


def _with_float_data_to_spare(model: ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(helper.make_tensor("w", FLOAT, [3, 4], range(12)))
    model.graph.initializer[0].float_data.append(1)


def _with_weights_of_unknown_type(model: ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def _with_a_negative_dimension(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-3, -4]


def _with_countless_weights(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**62] * 300


def _with_weights_in_segments(model: ModelProto) -> None:
    model.graph.initializer[0].segment.begin = 0


def _with_a_terminal_command_in_a_name(model: ModelProto) -> None:
    model.graph.node[0].input[0] = "\x1b[2J\nnobody"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_opset, "does not say which opset"),
        (_of_opset_99, f"opset 99; newest known: {onnx.defs.onnx_opset_version()}"),
        (_of_two_opsets, "more than one opset: [19, 20]"),
        (_of_ir_version_99, f"IR version 99; newest known: {onnx.IR_VERSION}"),
        (_without_outputs, "no outputs"),
        (_without_graph, "not an ONNX model"),
        (_with_an_input_that_nobody_produces, "'nobody'"),
        (_with_an_output_that_nobody_produces, "'nobody'"),
        (_with_an_unknown_operator, "'MatMull' of node 'multiply' is not in the ONNX standard"),
        (
            _with_an_operator_from_the_future,
            "'Gelu' of node 'multiply' is not in opset 17; it came with opset 20",
        ),
        (_with_a_deprecated_operator, "deprecated"),
        (_with_an_input_without_shape, "input 'x' has no shape"),
        (_with_a_sequence_as_input, "input 'x' is a sequence"),
        (_with_an_input_of_unknown_type, "input 'x' has element type 99"),
        (_with_weights_cut_short, "'w' has 47 bytes, and its type and dimensions ask for 48"),
        (_with_weights_to_spare, "'w' has 49 bytes"),
        (_with_float_data_to_spare, "'w' has 52 bytes"),
        (_with_weights_of_unknown_type, "'w' has element type 99"),
        (_with_a_negative_dimension, "'w' has a negative dimension"),
        (_with_countless_weights, "'w' has more elements than any memory"),
        (_with_weights_in_segments, "'w' is stored in segments"),
        (_with_a_terminal_command_in_a_name, "nobody"),
    ],
)
def test_a_graph_that_can_not_be_built_is_refused_with_the_reason(
    tmp_path: Path, spoil: Callable[[ModelProto], None], said: str
) -> None:
    model = small_model()
    spoil(model)

    assert said in refusal_of(save_model(model, tmp_path / "m.onnx")).message


def test_the_nearest_operator_is_suggested(tmp_path: Path) -> None:
    model = small_model()
    _with_an_unknown_operator(model)

    assert "Did you mean MatMul" in refusal_of(save_model(model, tmp_path / "m.onnx")).hint


def test_an_unknown_operator_is_found_inside_subgraphs_and_functions(tmp_path: Path) -> None:
    in_branch, in_function = deep_model(), deep_model()
    in_branch.graph.node[-1].attribute[1].g.node[0].op_type = "Ad"
    in_function.functions[0].node[1].op_type = "Ad"

    for model in (in_branch, in_function):
        assert "'Ad'" in refusal_of(save_model(model, tmp_path / "m.onnx")).message


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    content = small_model().SerializeToString().replace(b"multiply", b"mult\xff\xfely")

    assert "not UTF-8" in refusal_of(save_model(content, tmp_path / "m.onnx")).message
