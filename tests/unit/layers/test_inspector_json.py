"""What TensorRT's inspector says is read, whichever release says it, and whatever state the text is in."""

from __future__ import annotations

import json

import pytest

from farm.domain.inspector_json import dtype_word, format_word, parse_inspector
from tests.unit.layers.inspector_texts import (
    CONVOLUTION_8,
    detailed_8,
    detailed_11,
    names_8,
)


def test_a_detailed_layer_has_its_type_precision_tactic_formats_and_memory() -> None:
    layer = parse_inspector(detailed_8()).layers[1]
    assert (layer.name, layer.type, layer.precision) == ("Conv_c0 + Relu_r0", "CaskConvolution", "fp16")
    assert layer.tactic.startswith("sm80_xmma")
    assert layer.formats == "fp16 hwc8 → int8 chw32"
    assert (layer.weights_bytes, layer.output_bytes) == (2 * 448, 8 * 16 * 32 * 32)


def test_the_models_nodes_of_a_layer_come_from_its_metadata_else_from_its_name() -> None:
    reformat, convolution, pointwise = parse_inspector(detailed_8()).layers
    assert reformat.nodes == ()
    assert convolution.nodes == ("Conv_c0", "Relu_r0")
    assert pointwise.nodes == ("Sigmoid_s", "Mul_m")


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("/layer1/conv1/Conv + /layer1/relu/Relu", ("/layer1/conv1/Conv", "/layer1/relu/Relu")),
        ("a || b || c", ("a", "b", "c")),
        ("PWN(PWN(a, b), c)", ("a", "b", "c")),
        ("{ForeignNode[first...last]}", ("first", "last")),
        ("conv1 [profile 1]", ("conv1",)),
        ("Reformatting CopyNode for Output Tensor 0 to conv1", ()),
    ],
)
def test_fused_names_are_taken_apart(name: str, nodes: tuple[str, ...]) -> None:
    (layer,) = parse_inspector(json.dumps({"Layers": [name]})).layers
    assert layer.nodes == nodes


def test_inputs_and_outputs_of_8_and_10_have_the_formats_of_the_layers_that_touch_them() -> None:
    told = parse_inspector(detailed_8()).io
    assert [(tensor.name, tensor.mode, tensor.dtype, tensor.formats) for tensor in told] == [
        ("x", "input", "fp32", ("linear",)),
        ("y", "output", "fp32", ("linear",)),
    ]


def test_names_alone_are_layers_and_the_note_says_how_to_get_more() -> None:
    told = parse_inspector(names_8())
    assert [layer.name for layer in told.layers][1:] == ["Conv_c0 + Relu_r0", "PWN(Sigmoid_s, Mul_m)"]
    assert not told.is_detailed
    assert told.precisions() == {}
    assert "--set profiling_verbosity=DETAILED" in told.note
    assert [tensor.name for tensor in told.io] == ["x", "y"]


def test_11_tells_inputs_and_outputs_as_objects_and_types_apart_from_formats() -> None:
    told = parse_inspector(detailed_11())
    (layer,) = told.layers
    assert (layer.precision, layer.formats, layer.type) == ("fp32", "fp32 linear → fp16 hwc8", "kgen")
    assert layer.nodes == ("Conv_c0", "Relu_r0")
    # A dynamic batch: nobody knows how much it writes.
    assert layer.output_bytes is None
    assert [(t.name, t.mode, t.dtype, t.shape, t.formats) for t in told.io] == [
        ("x", "input", "fp32", (-1, 3, 32, 32), ("linear",)),
        ("y", "output", "fp16", (-1, 16, 32, 32), ("hwc8",)),
    ]


def test_what_is_not_known_is_kept() -> None:
    assert parse_inspector(detailed_11()).layers[0].rest["SomethingNew"] == {"of": "a later release"}
    assert parse_inspector(detailed_8()).layers[1].rest["Kernel"] == [3, 3]


def test_layers_are_counted_by_precision() -> None:
    assert parse_inspector(detailed_8()).precisions() == {"fp32": 1, "fp16": 1, "int8": 1}


def test_control_characters_within_texts_do_not_matter() -> None:
    raw = detailed_8().replace("\\u001e", "\x1e").replace("Conv_c0", "Conv\tc0")
    assert "\x1e" in raw
    assert parse_inspector(raw).layers[1].nodes == ("Conv\tc0", "Relu_r0")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"StreamId": 0,', '"StreamId": 0, "Scale": nan,'),
        lambda text: text.replace('"StreamId": 0,', '"StreamId": -inf,'),
        lambda text: text.replace("]}", ",]}", 1),
        lambda text: text.replace("[3, 3]", "[3, 3, ]"),
        lambda text: text.replace("Relu_r0", "Relu\\_r0"),
        lambda text: "\ufeff" + text + "\n\n",
    ],
    ids=["nan", "inf", "comma before a bracket", "comma in a list", "bad escape", "byte order mark"],
)
def test_what_is_not_quite_json_is_read_whole(spoil: object) -> None:
    spoilt = spoil(detailed_8())  # type: ignore[operator]
    assert spoilt != detailed_8()
    told = parse_inspector(spoilt)
    assert len(told.layers) == 3
    assert told.note == ""


def test_a_text_that_looks_like_a_number_that_is_none_stays_a_text() -> None:
    text = json.dumps({"Layers": [{"Name": "nan, inf,]", "LayerType": "Scale"}]})[:-1] + ",}"
    assert parse_inspector(text).layers[0].name == "nan, inf,]"


def test_of_a_text_that_is_cut_off_the_whole_layers_are_read() -> None:
    text = detailed_8()
    told = parse_inspector(text[: text.index('"PWN(')])
    assert len(told.layers) == 2
    assert "in part" in told.note


@pytest.mark.parametrize(
    "text", ["", "no JSON at all", "[]", "null", '{"Layers": null}', '{"Layers": [1, null]}']
)
def test_where_there_is_nothing_there_are_no_layers_and_a_reason(text: str) -> None:
    told = parse_inspector(text)
    assert told.layers == ()
    assert told.note


def test_an_engine_of_verbosity_none_says_so() -> None:
    assert "profiling_verbosity=NONE" in parse_inspector('{"Layers": [], "Bindings": ["x"]}').note


@pytest.mark.parametrize(
    ("words", "layout", "dtype"),
    [
        ("Row major linear FP32", "linear", "fp32"),
        ("Row major linear INT8 format", "linear", "int8"),
        ("Row major linear BOOL", "linear", "bool"),
        ("Two wide channel vectorized row major FP16 format", "chw2", "fp16"),
        ("Four wide channel vectorized row major INT8 format", "chw4", "int8"),
        ("Sixteen wide channel vectorized row major FP16 format", "chw16", "fp16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "chw32", "int8"),
        ("Channel major FP16 format where channel % 8 == 0", "hwc8", "fp16"),
        ("Channel major FP32 format where channel % 4 == 0 and spatial dims", "hwc4", "fp32"),
        ("Row major linear FP16 format (kLINEAR)", "linear", "fp16"),
        ("Thirty-two wide channel vectorized row major format (kCHW32)", "chw32", ""),
        ("BFloat16", "", "bf16"),
        ("Some new FP8 arrangement", "Some new arrangement", "fp8"),
        ("N/A", "", ""),
    ],
)
def test_the_inspectors_words_become_tensorrts(words: str, layout: str, dtype: str) -> None:
    assert (format_word(words), dtype_word(words)) == (layout, dtype)


def test_a_layer_without_weights_computes_in_the_type_of_its_first_input() -> None:
    told = json.loads(detailed_8())
    without = {name: value for name, value in CONVOLUTION_8.items() if name not in ("Weights", "Bias")}
    told["Layers"] = [{**without, "Inputs": []}, without]
    assert [layer.precision for layer in parse_inspector(json.dumps(told)).layers] == ["int8", "fp16"]


def test_what_a_release_does_not_tell_of_dynamic_shapes_is_left_open() -> None:
    # TensorRT 8.6.0 on an H200, of every tensor of an engine with a profile.
    tensor = {"Name": "x", "Dimensions": [-1, 3], "Format/Datatype": "N/A due to dynamic shapes"}
    told = {"Layers": [{"Name": "conv", "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": []}]}
    (layer,) = parse_inspector(json.dumps(told)).layers
    assert (layer.inputs[0].format, layer.inputs[0].dtype) == ("", "")
