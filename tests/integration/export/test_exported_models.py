"""An exported model is what PyTorch computes, under the names of its forward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

from farm.storage.onnx_files import read_model
from workers.export import graph
from workers.export.request import Exporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.export.request import Exported

ENCODER = ("ids=1x16:int64:0..99", "mask=1x16:int64")
LENGTHS = ("ids:0=batch,1=length", "mask:0=batch,1=length")
TENSORRT_8: dict[str, Any] = {"max_opset": 17, "limited_by": "tensorrt 8.6.0"}
BOTH = pytest.mark.parametrize("exporter", list(Exporter))


def tensors(exported: Exported) -> dict[str, tuple[str, tuple[int | str, ...]]]:
    """Every input and output with its type, and its sizes or their names."""
    model = read_model(exported.path)
    return {
        t.name: (
            t.dtype,
            tuple(s or n for s, n in zip(t.symbols or [""] * len(t.shape), t.shape, strict=True)),
        )
        for t in (*model.inputs, *model.outputs)
    }


def shapes(exported: Exported) -> list[dict[str, tuple[int, ...]]]:
    """At which shapes it was compared."""
    return [dict(comparison.shapes) for comparison in exported.comparisons]


@BOTH
def test_a_convolution_net_with_a_dynamic_batch(
    exported: Callable[..., Exported], exporter: Exporter
) -> None:
    found = exported("ResNet", "1x3x32x32", dynamic=["batch"], exporter=exporter)
    assert tensors(found) == {
        "image": ("float32", ("batch", 3, 32, 32)),
        "output": ("float32", ("batch", 10)),
    }
    # One size is the sample's, the other neither its nor the trace's: a graph that holds a size would show.
    assert shapes(found) == [{"image": (1, 3, 32, 32)}, {"image": (3, 3, 32, 32)}]


@BOTH
def test_a_three_dimensional_net_with_outputs_in_a_dict(
    exported: Callable[..., Exported], exporter: Exporter
) -> None:
    found = tensors(exported("Volume", "1x1x8x8x8", dynamic=["volume:0=batch"], exporter=exporter))
    assert found["volume"] == ("float32", ("batch", 1, 8, 8, 8))
    assert found["mask"] == ("float32", ("batch", 2, 8, 8, 8))
    assert found["score"] == ("float32", ("batch", 4))


def test_a_transformer_with_a_dynamic_length(exported: Callable[..., Exported]) -> None:
    found = exported("Encoder", *ENCODER, dynamic=LENGTHS)
    assert tensors(found)["ids"] == ("int64", ("batch", "length"))
    assert tensors(found)["output_0"] == ("float32", ("batch", "length", 16))
    assert shapes(found)[1] == {"ids": (3, 17), "mask": (3, 17)}


def test_where_the_legacy_exporter_keeps_a_size_the_other_one_is_converted(
    exported: Callable[..., Exported],
) -> None:
    # PyTorch's own attention is traced with the length as a constant, which the second comparison finds.
    found = exported("Encoder", *ENCODER, dynamic=LENGTHS, **TENSORRT_8)
    assert (found.exporter, found.opset, read_model(found.path).opset) == (Exporter.DYNAMO, 17, 17)
    assert "legacy exporter could not do it" in found.notes[0]
    assert "Reshape node /encoder/layers.0/self_attn" in found.notes[0]


def test_a_file_for_tensorrt_8_is_in_the_format_of_its_time(exported: Callable[..., Exported]) -> None:
    found = exported("ResNet", "1x3x32x32", dynamic=["batch"], **TENSORRT_8)
    model = read_model(found.path)
    assert (found.exporter, model.opset, model.ir_version) == (Exporter.LEGACY, 17, 8)


@BOTH
def test_inputs_by_name_and_outputs_in_a_structure(
    exported: Callable[..., Exported], exporter: Exporter
) -> None:
    found = exported("Structured", "2x8", "second=2x8", dynamic=["batch"], exporter=exporter)
    assert list(tensors(found)) == ["first", "second", "sum", "parts_0", "parts_2_0"]


@BOTH
def test_outputs_take_the_names_that_the_user_gives(
    exported: Callable[..., Exported], exporter: Exporter
) -> None:
    # The first wanted name is that of a tensor inside the graph, which has to make way.
    found = exported("Volume", "1x1x8x8x8", output_names=("relu", "volume_score"), exporter=exporter)
    assert list(tensors(found))[1:] == ["relu", "volume_score"]


def test_half_precision_weights_make_half_precision_inputs(exported: Callable[..., Exported]) -> None:
    assert tensors(exported("Half", "1x8"))["x"] == ("float16", (1, 8))


def test_weights_keep_their_names(exported: Callable[..., Exported]) -> None:
    import onnx

    found = exported("wide", "1x8", exporter=Exporter.LEGACY)
    names = {tensor.name for tensor in onnx.load(found.path).graph.initializer}
    assert names == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_constants_are_folded_and_nothing_tells_of_this_host(exported: Callable[..., Exported]) -> None:
    found = exported("Encoder", *ENCODER)
    assert found.folded > 0
    assert not read_model(found.path).operators.get("Identity")
    assert b"torch_nets.py" not in found.path.read_bytes()


def test_the_same_model_gives_the_same_digest(exported: Callable[..., Exported]) -> None:
    first = read_model(exported("resnet", "1x3x32x32").path).digest
    assert read_model(exported("resnet", "1x3x32x32").path).digest == first
    assert read_model(exported("resnet", "1x3x32x32", seed=1).path).digest != first


def test_large_weights_lie_beside_the_graph(
    exported: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LARGEST_INLINE_BYTES", 1000)
    found = exported("wide", "1x8", dynamic=["batch"])
    assert [file.name for file in read_model(found.path).files] == ["model.onnx", "model.onnx.data"]
    monkeypatch.undo()
    replaced, left = exported("wide", "1x8").notes[:2]
    assert replaced == "model.onnx was there already, and was replaced"
    assert "is of an earlier export" in left


def test_large_weights_survive_a_conversion_to_an_older_opset(
    exported: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LARGEST_INLINE_BYTES", 1000)
    found = exported("wide", "1x8", dynamic=["batch"], exporter=Exporter.DYNAMO, opset=17)
    assert read_model(found.path).opset == 17
    assert len(read_model(found.path).files) == 2


def test_the_figures_are_those_of_the_file(exported: Callable[..., Exported], torch: Any) -> None:
    from tests import torch_nets

    found = exported("resnet", "1x3x32x32")
    torch.manual_seed(0)
    model = torch_nets.resnet().eval()
    x = np.random.default_rng(5).standard_normal((1, 3, 32, 32), dtype=np.float32)
    (actual,) = ort.InferenceSession(str(found.path)).run(None, {"image": x})
    assert np.allclose(model(torch.from_numpy(x)).detach().numpy(), actual, atol=1e-5)


def test_a_model_at_its_largest_is_compared_at_a_smaller_size(exported: Callable[..., Exported]) -> None:
    found = exported("LimitedLength", "1x8x4", dynamic=["x:0=batch,1=length"])
    assert shapes(found)[1]["x"][1] < 8


def test_an_input_without_use_is_told(exported: Callable[..., Exported]) -> None:
    found = exported("Structured", "2x8", "1x1", "second=2x8", exporter=Exporter.LEGACY)
    assert found.notes == ("the model has no use for input 'unused': the file is without it",)
