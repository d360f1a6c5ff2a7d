"""PyTorch's baselines build, load and time a model on this machine's CPU, and compute what the model computes."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import BuildError, InvalidModelError, InvalidSpecError
from farm.domain.methods import SETS, Method
from farm.domain.shapes import ShapeRange
from farm.domain.targets import DeviceKind
from workers.toolchains import load_toolchain
from workers.toolchains.onnxruntime import open_model
from workers.toolchains.toolchain import BuildInput
from workers.toolchains.torch_compile import explained

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.toolchain import LoadedEngine

PROFILE = {"image": ShapeRange((1, 3, 32, 32), (2, 3, 32, 32), (4, 3, 32, 32))}
IMAGE = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
#: Greatest error as a share of the largest value, by the type's own steps.
TOLERANCES = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 5e-2}


@pytest.fixture(autouse=True)
def _on_the_cpu(torch: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("PyTorch has a GPU here: tests/gpu/drive_torch.py is for that")


def built(toolchain: str, program: Path, precision: str = "fp32", **options: Any) -> Path:
    """An engine, from a program that lies beside the ONNX file."""
    engine = program.with_name("engine")
    model, profiles = program.with_name("model.onnx"), (PROFILE,)
    build = BuildInput(model, engine, precision, options, profiles, program_path=program)
    load_toolchain(toolchain).build(build, lambda _share, _message: None)
    return engine


def loaded(toolchain: str, program: Path, precision: str = "fp32", **options: Any) -> LoadedEngine:
    return load_toolchain(toolchain).load(built(toolchain, program, precision, **options))


def error_of(engine: LoadedEngine, program: Path, image: Any = IMAGE) -> float:
    """The greatest error, as a share of the largest value that ONNX Runtime has."""
    model, _ = open_model(program.with_name("model.onnx"))
    ((name, expected),) = model.infer({"image": image}).items()
    found = engine.infer({"image": image})[name]
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("toolchain", ["torch", "torchscript"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_precision_computes_what_the_model_computes(
    resnet: Path, toolchain: str, precision: str, channels_last: bool
) -> None:
    options = {"channels_last": True} if channels_last else {}
    with closing(loaded(toolchain, resnet, precision, **options)) as engine:
        assert error_of(engine, resnet) <= TOLERANCES[precision]


@pytest.mark.parametrize("toolchain", ["torch", "torchscript"])
def test_autocast_changes_what_is_computed(resnet: Path, toolchain: str) -> None:
    with closing(loaded(toolchain, resnet, "bf16")) as engine:
        assert error_of(engine, resnet) > 10 * TOLERANCES["fp32"]


@pytest.mark.parametrize("toolchain", ["torch", "torchscript"])
def test_an_engine_runs_at_other_batches_than_it_was_prepared_at(resnet: Path, toolchain: str) -> None:
    with closing(loaded(toolchain, resnet)) as engine:
        assert error_of(engine, resnet, np.resize(IMAGE, (4, 3, 32, 32))) <= TOLERANCES["fp32"]


# The compiler itself uses what PyTorch has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.slow
def test_torch_compile_computes_what_the_model_computes_at_the_shapes_of_the_build_and_at_others(
    resnet: Path,
) -> None:
    if shutil.which("g++") is None:
        with pytest.raises(BuildError, match=r"needs a C\+\+ compiler"):
            built("torch-compile", resnet)
        return
    with closing(loaded("torch-compile", resnet, "bf16")) as engine:
        share = error_of(engine, resnet)
        assert 10 * TOLERANCES["fp32"] < share <= TOLERANCES["bf16"]
        assert error_of(engine, resnet, IMAGE[:1]) <= TOLERANCES["bf16"]


def test_a_host_without_a_compiler_is_told_what_to_install() -> None:
    error = explained(
        BuildError("the model failed in PyTorch 2.13.0: InvalidCxxCompiler: No working C++ compiler")
    )
    assert error.message.startswith("torch.compile needs a C++ compiler on the host: the model failed")
    assert error.hint.startswith("Install g++ there")
    other = BuildError("the model failed in PyTorch 2.13.0: Unsupported: data-dependent branching")
    assert explained(other) is other


@pytest.mark.parametrize("toolchain", ["torch", "torchscript"])
def test_a_model_on_a_cpu_is_timed_one_way_whatever_is_asked_for(resnet: Path, toolchain: str) -> None:
    with closing(loaded(toolchain, resnet)) as engine:
        inputs = [{"image": IMAGE}, {"image": IMAGE[::-1]}]
        found = []
        for session in engine.sessions_by(inputs, SETS["farm"]):  # type: ignore[attr-defined]
            times = session.iterate()
            found.append(session.method)
            assert times.compute_ms > 0
            assert (times.h2d_ms, times.d2h_ms, session.has_transfers) == (0, 0, False)
            assert session.burst(3) > 0
        assert found == [Method()]


def test_an_input_that_is_missing_is_named(resnet: Path) -> None:
    with closing(loaded("torch", resnet)) as engine, pytest.raises(InvalidSpecError, match="image"):
        engine.infer({})


def test_an_engine_is_loaded_by_the_toolchain_that_built_it_alone(resnet: Path) -> None:
    engine = built("torch", resnet)
    with pytest.raises(BuildError, match="this is no engine of torchscript, but of torch"):
        load_toolchain("torchscript").load(engine)
    with pytest.raises(BuildError, match="but of nobody: a model as it was exported"):
        load_toolchain("torch").load(resnet)


def test_a_file_that_is_none_of_pytorchs_is_refused(torch: Any, tmp_path: Path) -> None:
    (tmp_path / "program.pt2").write_bytes(b"no zip")
    with pytest.raises(InvalidModelError, match="no file of PyTorch"):
        built("torch", tmp_path / "program.pt2")


def test_a_dynamic_input_without_shapes_can_not_be_traced(resnet: Path) -> None:
    build = BuildInput(resnet, resnet.with_name("engine"), "fp32", program_path=resnet)
    with pytest.raises(InvalidSpecError, match="is dynamic and needs shapes"):
        load_toolchain("torchscript").build(build, lambda _share, _message: None)


@pytest.mark.parametrize("name", ["torch", "torch-compile", "torchscript"])
def test_what_pytorch_is_here_is_known_without_importing_it(torch: Any, name: str) -> None:
    description = load_toolchain(name).describe()
    assert (description.id.name, description.id.version) == (name, torch.__version__.partition("+")[0])
    assert description.serves is DeviceKind.CPU
    assert description.why_not("tf32") == "a CPU has no TF32; nearest: fp32"
    assert description.supported_precisions == ("fp32", "fp16", "bf16")
