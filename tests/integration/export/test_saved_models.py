"""Models that PyTorch saved: programs, TorchScript and state dicts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import InvalidModelError, InvalidRequestError, InvalidSpecError
from farm.storage.onnx_files import read_model
from workers.export.request import Exporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workers.export.request import Exported


@pytest.fixture
def nets(torch: Any) -> Any:
    """The module of models."""
    from tests import torch_nets

    torch.manual_seed(0)
    return torch_nets


def saved_program(torch: Any, model: Any, path: Path, example: Any, dynamic: Any = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(model.eval(), example, dynamic_shapes=dynamic), path)
    return path


def saved_script(torch: Any, model: Any, path: Path, example: Any = None) -> Path:
    with warnings.catch_warnings():
        # TorchScript is deprecated; users have it all the same.
        warnings.simplefilter("ignore")
        made = torch.jit.script(model.eval()) if example is None else torch.jit.trace(model.eval(), example)
        made.save(path)
    return path


@pytest.fixture
def dynamic_program(torch: Any, nets: Any, tmp_path: Path) -> Path:
    example = (torch.randn(2, 3, 32, 32),)
    open_batch = ({0: torch.export.Dim.DYNAMIC},)
    return saved_program(torch, nets.ResNet(), tmp_path / "net.pt2", example, open_batch)


def test_a_program_knows_its_inputs_and_what_is_dynamic(
    exported: Callable[..., Exported], dynamic_program: Path
) -> None:
    found = exported(dynamic_program)
    (tensor,) = read_model(found.path).inputs
    assert (tensor.name, tensor.shape, tensor.symbols[0]) == ("image", (-1, 3, 32, 32), "batch")
    assert len(found.comparisons) == 2


def test_a_programs_dimension_takes_the_users_name(
    exported: Callable[..., Exported], dynamic_program: Path
) -> None:
    found = exported(dynamic_program, "1x3x32x32", dynamic=["n"])
    assert read_model(found.path).inputs[0].symbols[0] == "n"


def test_a_program_for_tensorrt_8_is_converted(
    exported: Callable[..., Exported], dynamic_program: Path
) -> None:
    found = exported(dynamic_program, max_opset=17, limited_by="tensorrt 8.6.0")
    assert (found.exporter, read_model(found.path).opset) == (Exporter.DYNAMO, 17)


@pytest.mark.parametrize(
    ("inputs", "dynamic", "words"),
    [
        ((), ("batch",), "was fixed to 1 when the program was made"),
        (("2x3x32x32",), (), "is 1x3x32x32, which 2x3x32x32 does not fit"),
        (("1x3x32x32:int64",), (), "is float32, not int64"),
        (("picture=1x3x32x32",), (), "no input 'picture'"),
    ],
)
def test_a_program_is_what_it_was_made_for(
    exported: Callable[..., Exported],
    torch: Any,
    nets: Any,
    tmp_path: Path,
    inputs: tuple[str, ...],
    dynamic: tuple[str, ...],
    words: str,
) -> None:
    path = saved_program(torch, nets.ResNet(), tmp_path / "net.pt2", (torch.randn(1, 3, 32, 32),))
    with pytest.raises(InvalidSpecError, match=words):
        exported(path, *inputs, dynamic=dynamic)


@pytest.mark.parametrize("is_traced", [False, True])
def test_torchscript_goes_through_the_legacy_exporter(
    exported: Callable[..., Exported], torch: Any, nets: Any, tmp_path: Path, is_traced: bool
) -> None:
    example = torch.randn(1, 3, 32, 32) if is_traced else None
    path = saved_script(torch, nets.ResNet(), tmp_path / "net.ts", example)
    found = exported(path, "1x3x32x32", dynamic=["batch"])
    assert found.exporter is Exporter.LEGACY
    assert [dict(c.shapes)["image"][0] for c in found.comparisons] == [1, 3]
    assert read_model(found.path).inputs[0].name == "image"


def test_a_state_dict_is_no_model_and_needs_its_class(
    exported: Callable[..., Exported], torch: Any, nets: Any, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    torch.save(nets.ResNet().state_dict(), path)
    with pytest.raises(InvalidModelError, match="reads no TorchScript") as caught:
        exported(path, "1x3x32x32")
    assert "MODULE:FACTORY --weights" in caught.value.hint


def test_weights_of_a_parallel_or_compiled_model_fit(
    exported: Callable[..., Exported], torch: Any, nets: Any, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    plain = nets.wide().state_dict()
    torch.save({f"module._orig_mod.{name}": value for name, value in plain.items()}, path)
    prefixed = read_model(exported("wide", "1x8", weights=path).path).digest
    torch.save(plain, path)
    assert read_model(exported("wide", "1x8", weights=path).path).digest == prefixed


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_weights_are_loaded_into_a_factorys_model(
    exported: Callable[..., Exported], torch: Any, nets: Any, tmp_path: Path, wrapper: str | None
) -> None:
    path = tmp_path / "state.pt"
    torch.manual_seed(7)
    state = nets.ResNet().state_dict()
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    without = read_model(exported("ResNet", "1x3x32x32").path).digest
    assert read_model(exported("ResNet", "1x3x32x32", weights=path).path).digest != without
    assert (
        read_model(exported("ResNet", "1x3x32x32", seed=7).path).digest
        == read_model(exported("ResNet", "1x3x32x32", weights=path).path).digest
    )


def test_weights_of_another_model_are_refused(
    exported: Callable[..., Exported], torch: Any, nets: Any, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    torch.save(nets.Volume().state_dict(), path)
    with pytest.raises(InvalidRequestError, match=r"lacks stem\.0\.weight, .* has beside it down\.weight"):
        exported("ResNet", "1x3x32x32", weights=path)
    torch.save(torch.nn.Linear(8, 5).half().state_dict() | {"weight": torch.zeros(2, 2)}, path)
    with pytest.raises(InvalidRequestError, match="does not fit the model"):
        exported("wide", "1x8", weights=path)


def test_a_file_that_is_something_else(exported: Callable[..., Exported], torch: Any, tmp_path: Path) -> None:
    (tmp_path / "odd.pt2").write_bytes(b"nothing of PyTorch's")
    with pytest.raises(InvalidModelError, match=r"reads no torch\.export program"):
        exported(tmp_path / "odd.pt2")
    with pytest.raises(InvalidModelError, match="no such file"):
        exported(tmp_path / "none.ts", "1x3")
