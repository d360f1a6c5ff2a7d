"""The PyTorch model that is kept beside an exported file has the file's names, and is the same bytes every time."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.digests import digest_of_file
from farm.domain.errors import InvalidModelError
from farm.domain.model_formats import PT2, TORCHSCRIPT
from farm.storage.onnx_files import read_model
from tests.integration.baselines.conftest import NETS
from workers.export.inputs import parse_input
from workers.export.pipeline import export
from workers.export.request import Exporter, ExportRequest
from workers.export.sources import parse_source
from workers.toolchains.onnxruntime import open_model
from workers.toolchains.torch_engine import LoadedTorch
from workers.toolchains.torch_file import Recipe, format_of, read_torch_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def outputs(torch: Any, path: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the kept model computes on the CPU."""
    return LoadedTorch(torch, read_torch_file(torch, path, "cpu"), Recipe("torch", "fp32"), "cpu").infer(
        inputs
    )


def assert_same_as_onnx(torch: Any, path: Path, inputs: dict[str, Any]) -> None:
    model, _ = open_model(path.with_name("model.onnx"))
    expected = model.infer(inputs)
    found = outputs(torch, path, inputs)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("exporter", [Exporter.DYNAMO, Exporter.LEGACY])
def test_a_factory_becomes_a_program_at_any_batch(
    torch: Any, kept: Callable[..., Path], exporter: Exporter
) -> None:
    path = kept("resnet", "1x3x32x32", dynamic=["batch"], exporter=exporter)
    assert format_of(path) == PT2
    for batch in (1, 5):
        image = np.random.default_rng(0).standard_normal((batch, 3, 32, 32)).astype(np.float32)
        assert_same_as_onnx(torch, path, {"image": image})


def test_several_outputs_have_the_names_of_the_onnx_file(torch: Any, kept: Callable[..., Path]) -> None:
    path = kept("Volume", "1x1x8x8x8", output_names=("segmentation", "features"))
    assert_same_as_onnx(torch, path, {"volume": np.ones((1, 1, 8, 8, 8), np.float32)})


def test_inputs_by_name_and_outputs_in_a_structure_with_gaps(torch: Any, kept: Callable[..., Path]) -> None:
    path = kept("Structured", "first=2x3", "second=2x3")
    first, second = np.full((2, 3), 1, np.float32), np.full((2, 3), 5, np.float32)
    assert_same_as_onnx(torch, path, {"second": second, "first": first})


def test_whole_numbers_stay_whole(torch: Any, kept: Callable[..., Path]) -> None:
    path = kept("Encoder", "ids=1x8:int64:0..99", "mask=1x8:int64", dynamic=["batch"])
    ids = np.arange(16, dtype=np.int64).reshape(2, 8)
    assert_same_as_onnx(torch, path, {"ids": ids, "mask": np.ones_like(ids)})


def test_the_same_model_is_the_same_bytes(kept: Callable[..., Path]) -> None:
    digests = {
        digest_of_file(kept("resnet", "1x3x32x32", dynamic=["batch"])).sha256,
        digest_of_file(kept("resnet", "1x3x32x32", dynamic=["batch"])).sha256,
    }
    assert len(digests) == 1
    assert digest_of_file(kept("resnet", "1x3x32x32", dynamic=["batch"], seed=1)).sha256 not in digests


def test_nothing_of_the_users_sources_is_in_it(resnet: Path) -> None:
    assert NETS.name.encode() not in resnet.read_bytes()


def test_torchscript_is_kept_as_it_is_with_the_names(
    torch: Any, kept: Callable[..., Path], tmp_path: Path
) -> None:
    from tests import torch_nets

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch_nets.ResNet().eval()).save(tmp_path / "net.ts")
    path = kept(tmp_path / "net.ts", "2x3x32x32", dynamic=["batch"], file="program.ts")
    assert format_of(path) == TORCHSCRIPT
    assert_same_as_onnx(torch, path, {"image": np.ones((3, 3, 32, 32), np.float32)})


def test_a_program_is_taken_over_with_the_names_that_it_has(
    torch: Any, kept: Callable[..., Path], resnet: Path
) -> None:
    path = kept(resnet, file="again.pt2")
    assert [tensor.name for tensor in read_model(path.with_name("model.onnx")).inputs] == ["image"]
    assert_same_as_onnx(torch, path, {"image": np.ones((2, 3, 32, 32), np.float32)})


def test_an_input_that_the_onnx_file_has_lost_is_refused(torch: Any, tmp_path: Path) -> None:
    (tmp_path / "lost.py").write_text(
        "import torch\nclass Lost(torch.nn.Module):\n    def forward(self, x, y):\n        return x + 1\n"
    )
    source = parse_source(f"{tmp_path / 'lost.py'}:Lost")
    assert source is not None
    inputs = (parse_input("2x3"), parse_input("2x3"))
    request = ExportRequest(source, tmp_path / "model.onnx", inputs, program_path=tmp_path / "program.pt2")
    with pytest.raises(InvalidModelError, match="the model has no use for input 'y'") as caught:
        export(replace(request, exporter=Exporter.LEGACY))
    assert "ort-cpu" in caught.value.hint
