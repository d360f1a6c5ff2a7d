"""What the farm takes as an ONNX model, what it refuses and how it says so, and what identifies a model."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from farm.domain.digests import digest_of_file
from farm.domain.errors import InvalidModelError
from farm.domain.models import Tensor
from farm.storage.onnx_files import read_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPSET = 20
FLOAT = TensorProto.FLOAT
WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)
# One folder serves all examples of a property: each of them writes its files anew.
EVERY_EXAMPLE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _model(
    weights: np.ndarray[Any, Any] = WEIGHTS,
    *,
    nodes: list[onnx.NodeProto] | None = None,
    functions: tuple[onnx.FunctionProto, ...] = (),
    opset: int = OPSET,
    batch: int | str | None = "N",
) -> ModelProto:
    """`y = x @ w`, with x of N x 3 and w of 3 x 4."""
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"], name="multiply")],
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("y", FLOAT, [batch, 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(
        graph,
        ir_version=10,
        functions=functions,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("custom", 1)],
    )


def _save(model: ModelProto | bytes, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def _move_outside(tensor: TensorProto, **entries: object) -> None:
    """Point a tensor at an external file, with entries as given and no others."""
    for field in ("raw_data", "float_data", "int64_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))


def _external(path: Path, **entries: object) -> Path:
    """A model whose weights lie in `weights.bin` beside it, unless the entries say otherwise."""
    model = _model()
    _move_outside(model.graph.initializer[0], **{"location": "weights.bin", **entries})
    (path.parent / "weights.bin").write_bytes(WEIGHTS.tobytes())
    return _save(model, path)


def _refusal(path: Path) -> InvalidModelError:
    with pytest.raises(InvalidModelError) as caught:
        read_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable(), "one line, and nothing that a terminal would obey"
    return caught.value


def _sha256(model: ModelProto | bytes, path: Path) -> str:
    return read_model(_save(model, path)).digest.sha256


# What is read


def test_a_model_is_described_by_its_inputs_outputs_operators_and_weights(tmp_path: Path) -> None:
    proto = _model()
    proto.producer_name, proto.producer_version = "pytorch", "2.9"
    path = _save(proto, tmp_path / "model.onnx")

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
    model = read_model(_save(_model(batch=dim), tmp_path / "model.onnx"))

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
    model = _model()
    model.graph.input[0].type.tensor_type.elem_type = data_type

    assert read_model(_save(model, tmp_path / "model.onnx")).inputs[0].dtype == dtype


def test_an_initializer_that_is_also_an_input_need_not_be_fed(tmp_path: Path) -> None:
    model = _model()
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [3, 4]))

    assert [tensor.name for tensor in read_model(_save(model, tmp_path / "m.onnx")).inputs] == ["x"]


def test_operators_and_weights_inside_subgraphs_and_functions_are_counted(tmp_path: Path) -> None:
    path = _save(_deep_model(), tmp_path / "model.onnx")

    model = read_model(path)

    assert model.operators == {"Add": 2, "Constant": 2, "If": 1, "MatMul": 1, "custom::Shift": 1}
    assert model.parameters == 12 + 4 + 4, "w, the sparse ones, a branch's; no constants, none for training"


def test_an_operator_of_another_domain_is_reported_and_not_judged(tmp_path: Path) -> None:
    plugin = helper.make_node("EfficientNMS", ["x", "w"], ["y"], domain="custom")

    assert read_model(_save(_model(nodes=[plugin]), tmp_path / "m.onnx")).operators == {
        "custom::EfficientNMS": 1
    }


def test_the_shape_of_an_output_is_inferred_where_the_graph_gives_none(tmp_path: Path) -> None:
    model = _model(batch=7)
    model.graph.output[0].type.tensor_type.ClearField("shape")

    assert read_model(_save(model, tmp_path / "m.onnx")).outputs[0].shape == (7, 4)


def test_the_shape_of_an_output_stays_unknown_where_it_can_not_be_inferred(tmp_path: Path) -> None:
    plugin = helper.make_node("EfficientNMS", ["x", "w"], ["y"], domain="custom")
    model = _model(nodes=[plugin])
    model.graph.output[0].type.tensor_type.ClearField("shape")

    assert read_model(_save(model, tmp_path / "m.onnx")).outputs[0].shape == ()


def test_an_output_without_shape_survives_an_inference_that_raises(tmp_path: Path) -> None:
    model = _deep_model()
    # There is no type 33, and the checker does not look at it.
    model.graph.node[-1].attribute[1].g.output[0].type.tensor_type.elem_type = 33
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ValueError, match="33"):
        onnx.shape_inference.infer_shapes(model)

    assert read_model(_save(model, tmp_path / "m.onnx")).outputs[0].shape == ()


def test_importing_the_reader_does_not_import_onnx() -> None:
    program = "import farm.storage.onnx_files, sys; print('onnx' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ast.literal_eval(answer.stdout) is False


# What is no ONNX model


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in _refusal(tmp_path / "absent.onnx").message


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in _refusal(tmp_path).message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "is empty" in _refusal(_save(b"", tmp_path / "m.onnx")).message


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")

    assert "not a regular file" in _refusal(tmp_path / "m.onnx").message


def test_a_graph_over_two_gibibytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as stream:
        stream.truncate(2**31)

    assert "save_as_external_data" in _refusal(tmp_path / "m.onnx").hint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04" + bytes(50), "zip archive"),
        (b"\x80\x02\x8a\x0a", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip"),
        (b"Hello, I am a text.\n", "not an ONNX model"),
        (b'{"irVersion": "10", "graph": {}}', "not an ONNX model"),
        (bytes(1000), "not an ONNX model"),
        (b"\xff" * 1000, "not an ONNX model"),
    ],
)
def test_a_file_of_another_format_is_called_by_its_name(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in _refusal(_save(content, tmp_path / "m.onnx")).message


@EVERY_EXAMPLE
@given(content=st.binary(min_size=1, max_size=300))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    _refusal(_save(content, tmp_path / "m.onnx"))


def test_a_truncated_model_is_refused_at_every_cut(tmp_path: Path) -> None:
    whole = _model().SerializeToString()

    for end in range(1, len(whole)):
        if end == _end_of_first_opset(whole):
            # What is missing there is an opset that no node uses: the model is whole without it.
            continue
        _refusal(_save(whole[:end], tmp_path / "m.onnx"))


def _end_of_first_opset(whole: bytes) -> int:
    del (first := ModelProto.FromString(whole)).opset_import[1:]
    return len(first.SerializeToString())


def test_a_cut_that_loses_only_a_description_gives_the_same_model(tmp_path: Path) -> None:
    model = _model()
    helper.set_model_props(model, {"author": "nobody", "license": "none"})
    whole = model.SerializeToString()
    undescribed = len(_model().SerializeToString())

    for end in range(undescribed, len(whole)):
        _save(whole[:end], tmp_path / "m.onnx")
        try:
            read = read_model(tmp_path / "m.onnx")
        except InvalidModelError:
            continue
        assert read.digest.sha256 == _sha256(whole, tmp_path / "m.onnx")


@EVERY_EXAMPLE
@given(data=st.data())
def test_a_damaged_model_is_read_or_refused_but_never_raises_anything_else(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(_deep_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _save(bytes(content), tmp_path / "m.onnx")

    with contextlib.suppress(InvalidModelError):
        read_model(tmp_path / "m.onnx")


# What is ONNX and yet no model to build


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
    model = _model()
    spoil(model)

    assert said in _refusal(_save(model, tmp_path / "m.onnx")).message


def test_the_nearest_operator_is_suggested(tmp_path: Path) -> None:
    model = _model()
    _with_an_unknown_operator(model)

    assert "Did you mean MatMul" in _refusal(_save(model, tmp_path / "m.onnx")).hint


def test_an_unknown_operator_is_found_inside_subgraphs_and_functions(tmp_path: Path) -> None:
    in_branch, in_function = _deep_model(), _deep_model()
    in_branch.graph.node[-1].attribute[1].g.node[0].op_type = "Ad"
    in_function.functions[0].node[1].op_type = "Ad"

    for model in (in_branch, in_function):
        assert "'Ad'" in _refusal(_save(model, tmp_path / "m.onnx")).message


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    content = _model().SerializeToString().replace(b"multiply", b"mult\xff\xfely")

    assert "not UTF-8" in _refusal(_save(content, tmp_path / "m.onnx")).message


# Weights outside the graph


def test_external_files_are_listed_once_after_the_graph(tmp_path: Path) -> None:
    model = _deep_model()
    _spread(model, tmp_path, lambda index: ("one.bin", "two.bin")[index % 2])
    path = _save(model, tmp_path / "m.onnx")

    read = read_model(path)

    assert [file.name for file in read.files] == ["m.onnx", "one.bin", "two.bin"]
    assert all(file.digest == digest_of_file(tmp_path / file.name) for file in read.files)
    assert read.digest.size_bytes == sum((tmp_path / file.name).stat().st_size for file in read.files)


def test_external_data_may_lie_in_a_folder_below_the_model(tmp_path: Path) -> None:
    path = _external(tmp_path / "m.onnx", location="./parts/weights.bin")
    (tmp_path / "parts").mkdir()
    (tmp_path / "weights.bin").rename(tmp_path / "parts" / "weights.bin")

    assert [file.name for file in read_model(path).files] == ["m.onnx", "parts/weights.bin"]


def test_a_graph_may_be_reached_through_a_symbolic_link(tmp_path: Path) -> None:
    _save(_model(), tmp_path / "blob")
    (tmp_path / "m.onnx").symlink_to(tmp_path / "blob")

    assert read_model(tmp_path / "m.onnx").files[0].name == "m.onnx"


@pytest.mark.parametrize(
    "location",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "../weights.bin",
        "parts/../../weights.bin",
        "parts/../weights.bin",
        "..\\weights.bin",
        "parts\\weights.bin",
        "C:weights.bin",
        "C:/weights.bin",
        "\\\\host\\share",
        "weights.bin\0.txt",
        "weights.bin\n",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_a_location_that_is_not_a_plain_relative_name_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(WEIGHTS.tobytes())

    error = _refusal(_external(folder / "m.onnx", location=location))

    assert "not a plain name" in error.message
    assert "'w'" in error.message


def test_a_missing_external_file_is_named_with_its_tensor(tmp_path: Path) -> None:
    message = _refusal(_external(tmp_path / "m.onnx", location="absent.bin")).message

    assert "'absent.bin' (tensor 'w') is missing" in message


def _symbolic_link(place: Path, secret: Path) -> None:
    place.symlink_to(secret)


def _symbolic_link_within_the_folder(place: Path, secret: Path) -> None:
    shutil.copy(secret, place.with_name("real.bin"))
    place.symlink_to("real.bin")


def _dangling_link(place: Path, secret: Path) -> None:
    place.symlink_to(secret.with_name("absent"))


def _hard_link(place: Path, secret: Path) -> None:
    place.hardlink_to(secret)


def _fifo(place: Path, secret: Path) -> None:
    os.mkfifo(place)


def _folder(place: Path, secret: Path) -> None:
    place.mkdir()


def _socket(place: Path, secret: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(place))


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (_symbolic_link, "symbolic link"),
        (_symbolic_link_within_the_folder, "symbolic link"),
        (_dangling_link, "symbolic link"),
        (_hard_link, "2 hard links"),
        (_fifo, "not a regular file"),
        (_folder, "not a regular file"),
        (_socket, "not a regular file"),
    ],
)
def test_external_data_must_be_a_file_of_its_own(
    tmp_path: Path, put: Callable[[Path, Path], None], said: str
) -> None:
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "model").mkdir()
    path = _external(tmp_path / "model" / "m.onnx")
    (path.parent / "weights.bin").unlink()
    put(path.parent / "weights.bin", tmp_path / "secret")

    assert said in _refusal(path).message


def test_external_data_behind_a_linked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "weights.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "parts").symlink_to(tmp_path / "elsewhere")

    path = _external(tmp_path / "model" / "m.onnx", location="parts/weights.bin")

    assert "symbolic link" in _refusal(path).message


def test_external_data_in_the_graph_file_itself_is_refused(tmp_path: Path) -> None:
    assert "the graph's own file" in _refusal(_external(tmp_path / "m.onnx", location="m.onnx")).message


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"offset": -1}, "'-1', not a number of bytes"),
        ({"offset": "0x0"}, "'0x0', not a number of bytes"),
        ({"offset": " 0"}, "' 0', not a number of bytes"),
        ({"offset": "\N{ARABIC-INDIC DIGIT ZERO}"}, "not a number of bytes"),
        ({"offset": ""}, "not a number of bytes"),
        ({"offset": 1}, "ends at byte 49 of external file 'weights.bin', which has 48"),
        ({"offset": 2**40}, "which has 48"),
        ({"offset": 2**64}, "not a number of bytes"),
        ({"length": -1}, "'-1', not a number of bytes"),
        ({"length": "48.0"}, "'48.0', not a number of bytes"),
        ({"length": 2**40}, "has 1099511627776 bytes, and its type and dimensions ask for 48"),
        ({"length": 47}, "has 47 bytes"),
        ({"length": 0}, "has 0 bytes"),
    ],
)
def test_external_data_must_lie_within_its_file_and_fit_its_tensor(
    tmp_path: Path, entries: dict[str, object], said: str
) -> None:
    assert said in _refusal(_external(tmp_path / "m.onnx", **entries)).message


def test_external_data_without_a_length_must_reach_to_the_end_of_its_file(tmp_path: Path) -> None:
    path = _external(tmp_path / "m.onnx")
    read_model(path)
    with (tmp_path / "weights.bin").open("ab") as stream:
        stream.write(b"\0")

    assert "no length" in _refusal(path).message


def test_an_external_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = _external(tmp_path / "m.onnx", offset=0, length=48)
    os.truncate(tmp_path / "weights.bin", 47)

    assert "which has 47" in _refusal(path).message


def test_an_entry_given_twice_is_refused_since_readers_differ_in_which_they_believe(tmp_path: Path) -> None:
    path = _external(tmp_path / "m.onnx")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    assert "twice" in _refusal(_save(model, path)).message


def test_tensors_that_overlap_can_not_have_a_file_read_over_and_over(tmp_path: Path) -> None:
    model = _model()
    for index in range(20):
        tensor = model.graph.initializer.add(name=f"w{index}", data_type=FLOAT, dims=[3, 4])
        _move_outside(tensor, location="weights.bin", offset=index, length=48)
    (tmp_path / "weights.bin").write_bytes(bytes(100))

    assert "overlap" in _refusal(_save(model, tmp_path / "m.onnx")).message


def test_tensors_may_share_one_place(tmp_path: Path) -> None:
    path = _external(tmp_path / "m.onnx")
    model = onnx.load(path, load_external_data=False)
    tied = model.graph.initializer.add()
    tied.CopyFrom(model.graph.initializer[0])
    tied.name = "tied"

    assert read_model(_save(model, path)).parameters == 24


def test_strings_can_not_be_kept_outside(tmp_path: Path) -> None:
    path = _external(tmp_path / "m.onnx")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].data_type = TensorProto.STRING

    assert "strings" in _refusal(_save(model, path)).message


def test_external_data_is_found_wherever_a_model_can_hold_a_tensor(tmp_path: Path) -> None:
    for index in range(_places()):
        model = _deep_model()
        _move_outside(_tensors(model)[index], location="../secret")
        assert "'../secret'" in _refusal(_save(model, tmp_path / "m.onnx")).message


@pytest.mark.slow
def test_a_model_of_more_than_two_gigabytes_is_read_in_little_memory(tmp_path: Path) -> None:
    rows = 2_200_000_000 // 4 // 4
    model = _model()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = rows
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([rows, 4])
    _move_outside(model.graph.initializer[0], location="weights.bin", offset=0, length=rows * 16)
    # Sparse: it takes no room on the disk.
    with (tmp_path / "weights.bin").open("wb") as stream:
        stream.truncate(rows * 16)
    _save(model, tmp_path / "m.onnx")

    tracemalloc.start()
    try:
        read = read_model(tmp_path / "m.onnx")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert read.parameters == rows * 4
    assert read.digest.size_bytes > 2_200_000_000
    assert peak_bytes < 64 << 20


# What identifies a model


def _deep_model() -> ModelProto:
    """A model with tensors in every kind of place: see `_tensors`."""

    def constant(name: str) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(WEIGHTS[0], name))

    then = helper.make_graph(
        [helper.make_node("Add", ["m", "bias"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, None)],
        [numpy_helper.from_array(WEIGHTS[1], "bias")],
    )
    otherwise = helper.make_graph(
        [constant("e")], "else", [], [helper.make_tensor_value_info("e", FLOAT, None)]
    )
    shift = helper.make_function(
        "custom",
        "Shift",
        ["a"],
        ["b"],
        [constant("by"), helper.make_node("Add", ["a", "by"], ["b"])],
        [helper.make_opsetid("", OPSET)],
    )
    model = _model(
        nodes=[
            helper.make_node("MatMul", ["x", "w"], ["p"], name="multiply"),
            helper.make_node("Shift", ["p"], ["m"], domain="custom"),
            helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=otherwise),
        ],
        functions=(shift,),
    )
    model.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    values = numpy_helper.from_array(WEIGHTS[2], "sparse")
    indices = numpy_helper.from_array(np.array([0, 2, 4, 6]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [8]))
    start = numpy_helper.from_array(WEIGHTS[1], "start")
    model.training_info.add().initialization.initializer.append(start)
    return model


def _tensors(model: ModelProto) -> list[TensorProto]:
    graph, (otherwise, then) = model.graph, model.graph.node[-1].attribute
    return [
        graph.initializer[0],
        graph.sparse_initializer[0].values,
        graph.sparse_initializer[0].indices,
        then.g.initializer[0],
        otherwise.g.node[0].attribute[0].t,
        model.functions[0].node[0].attribute[0].t,
        model.training_info[0].initialization.initializer[0],
    ]


def _places() -> int:
    return len(_tensors(_deep_model()))


def _spread(model: ModelProto, folder: Path, file_of: Callable[[int], str]) -> None:
    """Move every tensor into an external file, one after the other within a file."""
    for name in {file_of(index) for index in range(_places())}:
        (folder / name).write_bytes(b"")
    for index, tensor in enumerate(_tensors(model)):
        payload, file = tensor.raw_data, folder / file_of(index)
        _move_outside(tensor, location=file.name, offset=file.stat().st_size, length=len(payload))
        with file.open("ab") as stream:
            stream.write(payload)


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
        *_tensors(model),
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
    expected = _sha256(_deep_model(), tmp_path / "model.onnx")
    model = _deep_model()
    _describe(model, text, number)
    if files:
        _spread(model, tmp_path, files.__getitem__)

    assert _sha256(model, tmp_path / f"{name}.onnx") == expected


@EVERY_EXAMPLE
@given(data=st.data(), outside=st.booleans())
def test_any_change_of_a_single_bit_of_a_weight_changes_the_digest(
    tmp_path: Path, data: st.DataObject, outside: bool
) -> None:
    expected = _sha256(_deep_model(), tmp_path / "m.onnx")
    model = _deep_model()
    # Not the sparse indices, of which most changes make no valid model.
    tensor = _tensors(model)[data.draw(st.sampled_from([0, 1, 3, 4, 5, 6]))]
    payload = bytearray(tensor.raw_data)
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    tensor.raw_data = bytes(payload)
    if outside:
        _spread(model, tmp_path, lambda index: "weights.bin")

    assert _sha256(model, tmp_path / "m.onnx") != expected


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
    digests = {_sha256(_deep_model(), tmp_path / "m.onnx")}
    for change in CHANGES:
        model = _deep_model()
        change(model)
        digests.add(_sha256(model, tmp_path / "m.onnx"))

    assert len(digests) == len(CHANGES) + 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint64", "complex64"])
def test_weights_in_typed_fields_count_as_the_same_bytes(tmp_path: Path, dtype: str) -> None:
    values = np.array([0, 1, 2**31 - 1, 7]).astype(dtype)
    raw, typed = _model(values), _model(values)
    kind = raw.graph.initializer[0].data_type
    typed.graph.initializer[0].CopyFrom(helper.make_tensor("w", kind, values.shape, values.tolist()))
    assert not typed.graph.initializer[0].raw_data

    assert _sha256(raw, tmp_path / "a.onnx") == _sha256(typed, tmp_path / "b.onnx")


def test_zeros_of_different_signs_are_different_weights(tmp_path: Path) -> None:
    plus, minus = _model(np.array([0.0])), _model(np.array([-0.0]))

    assert _sha256(plus, tmp_path / "a.onnx") != _sha256(minus, tmp_path / "b.onnx")


def test_an_empty_tensor_is_the_same_inside_and_outside(tmp_path: Path) -> None:
    inside, outside = _model(np.zeros((0, 4), np.float32)), _model(np.zeros((0, 4), np.float32))
    _move_outside(outside.graph.initializer[0], location="weights.bin", length=0)
    (tmp_path / "weights.bin").write_bytes(b"")

    assert _sha256(inside, tmp_path / "a.onnx") == _sha256(outside, tmp_path / "b.onnx")


@pytest.mark.parametrize("data_type", [TensorProto.INT4, TensorProto.UINT2, TensorProto.FLOAT8E4M3FN])
def test_types_narrower_than_a_byte_are_measured_as_onnx_packs_them(tmp_path: Path, data_type: int) -> None:
    inside, outside = _model(), _model()
    packed = helper.make_tensor(
        "w", data_type, [5], np.ones(5, helper.tensor_dtype_to_np_dtype(data_type)), raw=True
    )
    inside.graph.initializer[0].CopyFrom(packed)
    outside.graph.initializer[0].CopyFrom(packed)
    (tmp_path / "weights.bin").write_bytes(packed.raw_data)
    _move_outside(outside.graph.initializer[0], location="weights.bin")

    assert _sha256(inside, tmp_path / "a.onnx") == _sha256(outside, tmp_path / "b.onnx")


def test_models_saved_by_onnx_itself_keep_their_digest(tmp_path: Path) -> None:
    expected = _sha256(_deep_model(), tmp_path / "inline.onnx")
    for name, together in (("one.onnx", True), ("many.onnx", False)):
        onnx.save_model(
            _deep_model(),
            tmp_path / name,
            save_as_external_data=True,
            all_tensors_to_one_file=together,
            size_threshold=0,
            convert_attribute=True,
        )
        assert len(read_model(tmp_path / name).files) > 1
        assert read_model(tmp_path / name).digest.sha256 == expected
