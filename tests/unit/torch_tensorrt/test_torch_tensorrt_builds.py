"""A program is compiled, saved with its names, loaded and run: by PyTorch on the CPU, with a stand-in for the compiler.

What a real compiler makes of it has never been run by this project: docs/torch-tensorrt.md.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import BuildError, InvalidModelError, InvalidSpecError
from farm.domain.shapes import ShapeRange
from tests.pytorch import pytorch
from tests.unit.torch_tensorrt.surface import Surface
from workers.toolchains.toolchain import BuildInput, BuildOutput
from workers.toolchains.torch_program import load_program
from workers.toolchains.torch_tensorrt import TorchTensorRtToolchain

if TYPE_CHECKING:
    from pathlib import Path

torch = pytorch()

PROFILE = {"x": ShapeRange((1, 8), (4, 8), (64, 8))}
X = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)


class Net(torch.nn.Module):  # type: ignore[misc]  # no types here
    """Nested outputs, one of them in bfloat16, and an argument by name."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(8, 4)

    def forward(self, x: Any, *, scale: Any) -> dict[str, Any]:
        scores = self.dense(x)
        return {"scores": scores * scale, "rest": [scores.relu().bfloat16()]}


@pytest.fixture(scope="module")
def program_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        Net(),
        (torch.zeros(2, 8),),
        {"scale": torch.ones(4)},
        dynamic_shapes={"x": {0: batch}, "scale": None},
    )
    torch.export.save(program, path)
    return path


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Surface:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="11.1.0"))
    return Surface("2.14.0", torch)


def build(compiler: Surface, model: Path, folder: Path, **changes: Any) -> BuildOutput:
    given: dict[str, Any] = {"precision": "fp32", "profiles": (PROFILE,), **changes}
    return TorchTensorRtToolchain(torch, compiler).build(
        BuildInput(model, folder / "engine", **given), lambda fraction, message: None
    )


def test_it_is_told_apart_by_all_three_versions(compiler: Surface) -> None:
    description = TorchTensorRtToolchain(torch, compiler).describe()
    assert str(description.id) == "torch-tensorrt 2.14.0"
    assert description.id.variant == f"torch{torch.__version__.partition('+')[0]}-trt11.1.0"
    assert description.model_formats == ("pt2",)
    assert "enable_autocast=True" in description.precision_notes["fp16"]


def test_the_build_for_tensorrt_rtx_is_another_variant(compiler: Surface) -> None:
    compiler.tensorrt_package_name = "tensorrt_rtx"
    assert "-rtx11.1.0" in TorchTensorRtToolchain(torch, compiler).describe().id.variant


def test_the_compiler_is_told_of_the_profile_and_the_options(
    compiler: Surface, program_file: Path, tmp_path: Path
) -> None:
    output = build(compiler, program_file, tmp_path, precision="fp16", builder_config={"min_block_size": 1})
    (call,) = compiler.calls
    (x,) = call["arg_inputs"]
    assert (x["min_shape"], x["opt_shape"], x["max_shape"]) == ((1, 8), (4, 8), (64, 8))
    assert x["dtype"] is torch.float32
    assert call["kwarg_inputs"]["scale"]["shape"] == (4,)
    assert call["min_block_size"] == 1
    assert call["autocast_low_precision_type"] is torch.float16
    assert output.details == {"engines": 1, "operators_in_pytorch": 0}
    assert "autocast_low_precision_type=torch.float16" in output.precision_note


def test_a_compiled_program_computes_what_the_model_does_under_its_names(
    compiler: Surface, program_file: Path, tmp_path: Path
) -> None:
    build(compiler, program_file, tmp_path)
    engine = load_program(torch, tmp_path / "engine", device="cpu")
    assert [(tensor.name, tensor.shape) for tensor in engine.inputs] == [("x", (-1, 8)), ("scale", (4,))]
    scale = np.full(4, 2, np.float32)
    outputs = engine.infer({"x": X, "scale": scale})
    wanted = torch.export.load(program_file).module()(torch.tensor(X), scale=torch.tensor(scale))
    first, second = (outputs[tensor.name] for tensor in engine.outputs)
    np.testing.assert_array_equal(first, wanted["scores"].detach().numpy())
    np.testing.assert_array_equal(second, wanted["rest"][0].detach().float().numpy())
    engine.close()


def test_a_missing_input_is_refused_by_name(compiler: Surface, program_file: Path, tmp_path: Path) -> None:
    build(compiler, program_file, tmp_path)
    with pytest.raises(InvalidSpecError, match="input scale"):
        load_program(torch, tmp_path / "engine", device="cpu").infer({"x": X})


def test_a_program_that_fails_says_why(compiler: Surface, program_file: Path, tmp_path: Path) -> None:
    build(compiler, program_file, tmp_path)
    with pytest.raises(BuildError, match="the compiled program failed"):
        load_program(torch, tmp_path / "engine", device="cpu").infer(
            {"x": X[:, :5], "scale": np.ones(4, np.float32)}
        )


def test_a_program_of_which_nothing_is_in_an_engine_is_refused(
    compiler: Surface, program_file: Path, tmp_path: Path
) -> None:
    compiler.engines = 0
    with pytest.raises(BuildError, match="put nothing of the program into an engine") as refused:
        build(compiler, program_file, tmp_path)
    assert "min_block_size" in refused.value.hint


def test_what_the_compiler_refuses_is_one_line(compiler: Surface, program_file: Path, tmp_path: Path) -> None:
    compiler.refusal = RuntimeError("no converter for aten.strange\nand a long trace")
    with pytest.raises(BuildError) as refused:
        build(compiler, program_file, tmp_path)
    assert refused.value.message.endswith("RuntimeError: no converter for aten.strange")


@pytest.mark.parametrize(
    ("profiles", "said"),
    [((), "is dynamic and needs shapes"), ((PROFILE, PROFILE), "one optimization profile")],
)
def test_shapes_that_do_not_fit_are_refused(
    compiler: Surface, program_file: Path, tmp_path: Path, profiles: Any, said: str
) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        build(compiler, program_file, tmp_path, profiles=profiles)


def test_a_file_that_is_no_program_is_refused(compiler: Surface, tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(InvalidModelError, match="can not read the program"):
        build(compiler, tmp_path / "net.pt2", tmp_path)
    with pytest.raises(BuildError, match="can not load this as a compiled program"):
        load_program(torch, tmp_path / "net.pt2", device="cpu")


def test_a_program_that_the_farm_did_not_compile_is_no_engine(program_file: Path) -> None:
    with pytest.raises(BuildError, match="none that the farm compiled"):
        load_program(torch, program_file, device="cpu")
