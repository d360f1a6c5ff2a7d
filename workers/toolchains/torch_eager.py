"""PyTorch as most people run it: eager, in FP32, TF32 or with autocast (AMP). A baseline, and no builder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import BuildError, DeviceUnavailableError
from farm.domain.model_formats import PT2
from farm.domain.targets import DeviceKind
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from workers.toolchains.toolchain import BuildInput, BuildOutput, Progress
from workers.toolchains.torch_engine import LoadedTorch
from workers.toolchains.torch_file import Recipe, TorchFile, read_torch_file, write_engine
from workers.toolchains.torch_precision import precision_note, precisions_of
from workers.toolchains.torch_release import TorchRelease, import_torch, installed_torch

if TYPE_CHECKING:
    from pathlib import Path

_CHANNELS_LAST = BuilderOption(
    "channels_last", "bool", default=False, help="Weights and pictures in PyTorch's channels_last format."
)
_CUDNN_BENCHMARK = BuilderOption(
    "cudnn_benchmark",
    "bool",
    default=False,
    help="Let cuDNN try its algorithms (torch.backends.cudnn.benchmark).",
)


def toolchain() -> TorchEagerToolchain:
    """The PyTorch of this interpreter.

    Raises:
        ImportError: it is not installed, or too old.
    """
    return TorchEagerToolchain(installed_torch())


def describe_torch(
    name: str,
    release: TorchRelease,
    options: tuple[BuilderOption, ...] = (),
    model_formats: tuple[str, ...] = (PT2,),
) -> ToolchainDescription:
    """What a way of running models by PyTorch is, and what it can do."""
    precisions = precisions_of(release)
    on_gpu = (_CUDNN_BENCHMARK,) if release.serves is DeviceKind.GPU else ()
    return ToolchainDescription(
        id=release.id(name),
        precisions=precisions,
        options=(_CHANNELS_LAST, *on_gpu, *options),
        serves=release.serves,
        needs_device=True,
        precision_notes={name: precision_note(name) for name, reason in precisions.items() if not reason},
        model_formats=model_formats,
    )


def source_of(build: BuildInput) -> Path:
    """The file with the PyTorch model: the submitted one, or what goes with an ONNX model."""
    return build.program_path or build.model_path


def read_engine(torch: Any, path: Path, way: str, device: str) -> tuple[TorchFile, Recipe]:
    """An engine of a toolchain of PyTorch's, and how it is run.

    Raises:
        BuildError: it is none, or one of another toolchain.
        DeviceUnavailableError: there is no GPU where one is wanted.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceUnavailableError(
            "PyTorch sees no GPU", hint="Does `python -c 'import torch; torch.zeros(1).cuda()'` work there?"
        )
    file = read_torch_file(torch, path, device)
    if file.recipe is None or file.recipe.way != way:
        made_by = file.recipe.way if file.recipe else "nobody: a model as it was exported"
        raise BuildError(f"this is no engine of {way}, but of {made_by}")
    return file, file.recipe


class TorchEagerToolchain:
    """Runs a program's operators one by one.

    Args:
        release: what is installed.
    """

    def __init__(self, release: TorchRelease) -> None:
        self._release = release

    def describe(self) -> ToolchainDescription:
        """Name, exact version, and what it can do."""
        return describe_torch("torch", self._release)

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Writes the program with how it is to be run: there is nothing to build.

        Raises:
            InvalidModelError: the file is no program that this PyTorch reads.
            BuildError: PyTorch can not write it.
        """
        progress(None, "reading the program")
        torch = import_torch()
        file = read_torch_file(torch, source_of(build), self._release.device)
        write_engine(torch, file, Recipe("torch", build.precision, build.builder_config), build.engine_path)
        return BuildOutput(precision_note=f"{precision_note(build.precision)}, eager")

    def load(self, engine_path: Path) -> LoadedTorch:
        """Loads the program onto the GPU, or into the CPU's memory.

        Raises:
            BuildError: this is no engine of this toolchain.
            DeviceUnavailableError: there is no GPU.
        """
        torch = import_torch()
        file, recipe = read_engine(torch, engine_path, "torch", self._release.device)
        return LoadedTorch(torch, file, recipe, self._release.device)
