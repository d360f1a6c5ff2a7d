"""What identifies a model: the content that counts, and nothing that only describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from farm.storage.onnx_files import read_model
from tests.integration.onnx_files.onnx_models import (
    EVERY_EXAMPLE,
    OPSET,
    content_sha256,
    deep_model,
    move_outside,
    small_model,
    spread_over_files,
    tensors_of,
)

if TYPE_CHECKING:
    from pathlib import Path


def _nodes(model: ModelProto) -> list[onnx.NodeProto]:
    branches = model.graph.node[-1].attribute
    return [*model.graph.node, *branches[0].g.node, *branches[1].g.node, *model.functions[0].node]


def _describe(model: ModelProto, text: str, number: int) -> None:
    """Write into every field that only describes."""
    model.producer_name, model.producer_version, model.domain = text, text, text
    model.model_version = number
    nodes = _nodes(model)
    described: list[Any] = [
        model,
        model.graph,
        model.graph.node[-1].attribute[0].g,
        *model.graph.input,
        *model.graph.output,
        *model.functions,
        *nodes,
        *tensors_of(model),
    ]
    for message in described:
        message.doc_string = text
        message.metadata_props.add(key="note", value=text)
    for node in nodes:
        for attribute in node.attribute:
            attribute.doc_string = text


@EVERY_EXAMPLE
@given(
    name=st.from_regex(r"[a-z]{1,8}( [a-z]{1,8})?", fullmatch=True),
    text=st.text(max_size=20),
    number=st.integers(0, 2**62),
    files=st.none() | st.lists(st.sampled_from(["a.bin", "b", "c.data"]), min_size=7, max_size=7),
)
def test_names_of_files_descriptions_and_where_weights_lie_do_not_change_the_digest(
    tmp_path: Path, name: str, text: str, number: int, files: list[str] | None
) -> None:
    expected = content_sha256(deep_model(), tmp_path / "model.onnx")
    model = deep_model()
    _describe(model, text, number)
    if files:
        spread_over_files(model, tmp_path, files.__getitem__)

    assert content_sha256(model, tmp_path / f"{name}.onnx") == expected


@EVERY_EXAMPLE
@given(data=st.data(), outside=st.booleans())
def test_any_change_of_a_single_bit_of_a_weight_changes_the_digest(
    tmp_path: Path, data: st.DataObject, outside: bool
) -> None:
    expected = content_sha256(deep_model(), tmp_path / "m.onnx")
    model = deep_model()
    # Not the sparse indices, of which most changes make no valid model.
    tensor = tensors_of(model)[data.draw(st.sampled_from([0, 1, 3, 4, 5, 6]))]
    payload = bytearray(tensor.raw_data)
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    tensor.raw_data = bytes(payload)
    if outside:
        spread_over_files(model, tmp_path, lambda index: "weights.bin")

    assert content_sha256(model, tmp_path / "m.onnx") != expected


def _rename_input(model: ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = "z"


def _rename_output(model: ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "z"


def _rename_node(model: ModelProto) -> None:
    # TensorRT's layers are called by it, and so are their precisions.
    model.graph.node[0].name = "other"


def _lower_opset(model: ModelProto) -> None:
    model.opset_import[0].version = model.functions[0].opset_import[0].version = OPSET - 1


def _fix_batch(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _change_input_type(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def _change_operator(model: ModelProto) -> None:
    model.graph.node[-1].attribute[1].g.node[0].op_type = "Sub"


def _change_function(model: ModelProto) -> None:
    model.functions[0].node[1].op_type = "Sub"


def _swap_operands(model: ModelProto) -> None:
    del model.graph.node[-1].attribute[1].g.node[0].input[:]
    model.graph.node[-1].attribute[1].g.node[0].input.extend(["bias", "m"])


def _swap_branches(model: ModelProto) -> None:
    first, second = model.graph.node[-1].attribute
    first.name, second.name = second.name, first.name


def _reshape_weights(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [4, 3]


def _drop_output_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.ClearField("shape")


def _scalar_output(model: ModelProto) -> None:
    del model.graph.output[0].type.tensor_type.shape.dim[:]


CHANGES = [
    _rename_input,
    _rename_output,
    _rename_node,
    _lower_opset,
    _fix_batch,
    _change_input_type,
    _change_operator,
    _change_function,
    _swap_operands,
    _swap_branches,
    _reshape_weights,
    _drop_output_shape,
    _scalar_output,
]


def test_every_change_of_the_graph_gives_a_digest_of_its_own(tmp_path: Path) -> None:
    digests = {content_sha256(deep_model(), tmp_path / "m.onnx")}
    for change in CHANGES:
        model = deep_model()
        change(model)
        digests.add(content_sha256(model, tmp_path / "m.onnx"))

    assert len(digests) == len(CHANGES) + 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint64", "complex64"])
def test_weights_in_typed_fields_count_as_the_same_bytes(tmp_path: Path, dtype: str) -> None:
    values = np.array([0, 1, 2**31 - 1, 7]).astype(dtype)
    raw, typed = small_model(values), small_model(values)
    kind = raw.graph.initializer[0].data_type
    typed.graph.initializer[0].CopyFrom(helper.make_tensor("w", kind, values.shape, values.tolist()))
    assert not typed.graph.initializer[0].raw_data

    assert content_sha256(raw, tmp_path / "a.onnx") == content_sha256(typed, tmp_path / "b.onnx")


def test_zeros_of_different_signs_are_different_weights(tmp_path: Path) -> None:
    plus, minus = small_model(np.array([0.0])), small_model(np.array([-0.0]))

    assert content_sha256(plus, tmp_path / "a.onnx") != content_sha256(minus, tmp_path / "b.onnx")


def test_an_empty_tensor_is_the_same_inside_and_outside(tmp_path: Path) -> None:
    inside, outside = small_model(np.zeros((0, 4), np.float32)), small_model(np.zeros((0, 4), np.float32))
    move_outside(outside.graph.initializer[0], location="weights.bin", length=0)
    (tmp_path / "weights.bin").write_bytes(b"")

    assert content_sha256(inside, tmp_path / "a.onnx") == content_sha256(outside, tmp_path / "b.onnx")


@pytest.mark.parametrize("data_type", [TensorProto.INT4, TensorProto.UINT2, TensorProto.FLOAT8E4M3FN])
def test_types_narrower_than_a_byte_are_measured_as_onnx_packs_them(tmp_path: Path, data_type: int) -> None:
    inside, outside = small_model(), small_model()
    packed = helper.make_tensor(
        "w", data_type, [5], np.ones(5, helper.tensor_dtype_to_np_dtype(data_type)), raw=True
    )
    inside.graph.initializer[0].CopyFrom(packed)
    outside.graph.initializer[0].CopyFrom(packed)
    (tmp_path / "weights.bin").write_bytes(packed.raw_data)
    move_outside(outside.graph.initializer[0], location="weights.bin")

    assert content_sha256(inside, tmp_path / "a.onnx") == content_sha256(outside, tmp_path / "b.onnx")


def test_models_saved_by_onnx_itself_keep_their_digest(tmp_path: Path) -> None:
    expected = content_sha256(deep_model(), tmp_path / "inline.onnx")
    for name, together in (("one.onnx", True), ("many.onnx", False)):
        onnx.save_model(
            deep_model(),
            tmp_path / name,
            save_as_external_data=True,
            all_tensors_to_one_file=together,
            size_threshold=0,
            convert_attribute=True,
        )
        assert len(read_model(tmp_path / name).files) > 1
        assert read_model(tmp_path / name).digest.sha256 == expected
