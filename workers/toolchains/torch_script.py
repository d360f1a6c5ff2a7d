"""TorchScript: a program traced, its weights frozen into it; or a TorchScript file as it was submitted. A baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.errors import InvalidSpecError
from farm.domain.model_formats import PT2, TORCHSCRIPT
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from workers.toolchains.toolchain import BuildInput, BuildOutput, Progress
from workers.toolchains.torch_eager import describe_torch, read_engine, source_of
from workers.toolchains.torch_engine import LoadedTorch, failure_of
from workers.toolchains.torch_file import Recipe, TorchFile, read_torch_file, without_warnings, write_engine
from workers.toolchains.torch_precision import autocast_type, precision_note
from workers.toolchains.torch_release import TorchRelease, import_torch, installed_torch

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.models import Tensor

_FREEZE = BuilderOption(
    "freeze", "bool", default=True, help="Weights as constants of the graph (torch.jit.freeze)."
)


def toolchain() -> TorchScriptToolchain:
    """The PyTorch of this interpreter.

    Raises:
        ImportError: it is not installed, or too old.
    """
    return TorchScriptToolchain(installed_torch())


def opt_inputs(torch: Any, build: BuildInput, inputs: tuple[Tensor, ...]) -> list[Any]:
    """Random inputs at the shapes to tune for, in the model's order, in the host's memory.

    Raises:
        InvalidSpecError: an input's shapes are not given, or there are several profiles.
    """
    if len(build.profiles) > 1:
        raise InvalidSpecError(
            "a PyTorch model is prepared for one optimization profile, not several",
            hint="Submit each by itself.",
        )
    ranges = build.profiles[0] if build.profiles else {}
    draw = np.random.default_rng(0)
    found = []
    for tensor in inputs:
        if tensor.is_dynamic and tensor.name not in ranges:
            raise InvalidSpecError(f"input {tensor} is dynamic and needs shapes")
        shape = ranges[tensor.name].opt if tensor.name in ranges else tensor.shape
        is_float = "float" in tensor.dtype
        values = draw.standard_normal(shape) if is_float else draw.integers(0, 2, shape)
        found.append(torch.as_tensor(np.asarray(values)).to(getattr(torch, tensor.dtype)))
    return found


class TorchScriptToolchain:
    """Traces a program and freezes it.

    Args:
        release: what is installed.
    """

    def __init__(self, release: TorchRelease) -> None:
        self._release = release

    def describe(self) -> ToolchainDescription:
        """Name, exact version, and what it can do."""
        return describe_torch("torchscript", self._release, (_FREEZE,), (PT2, TORCHSCRIPT))

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Traces the program at the shapes to tune for, and freezes what came of it.

        Raises:
            InvalidModelError: the file is nothing that this PyTorch reads.
            InvalidSpecError: the shapes are not given.
            BuildError: PyTorch can not trace or freeze it.
            OutOfMemoryError: the device or the host was too small.
        """
        progress(None, "reading the model")
        torch = import_torch()
        file = read_torch_file(torch, source_of(build), self._release.device)
        recipe = Recipe("torchscript", build.precision, build.builder_config, is_traced=file.format == PT2)
        what = "as it was submitted"
        if file.format == PT2:
            progress(None, "tracing")
            what = "traced"
            file = self._traced(torch, file, recipe, build)
        if build.builder_config.get("freeze", True):
            progress(None, "freezing")
            what += ", frozen"
            file = replace(file, model=_frozen(torch, file.model))
        write_engine(torch, file, recipe, build.engine_path)
        return BuildOutput(precision_note=f"{precision_note(build.precision)}, TorchScript {what}")

    def _traced(self, torch: Any, file: TorchFile, recipe: Recipe, build: BuildInput) -> TorchFile:
        """The same model as TorchScript, with the casts of autocast in its graph."""
        device = self._release.device
        live = LoadedTorch(torch, file, recipe, device)
        live.settle()
        leaves = live.on_device(opt_inputs(torch, build, file.inputs))
        cast = autocast_type(torch, recipe.precision)
        model = _Flat(torch, live).module
        try:
            # It warns of every size that it takes for a constant; the comparison with the reference finds those. A cast
            # that autocast remembers would be a constant of the trace.
            with (
                torch.no_grad(),
                without_warnings(),
                torch.autocast(device, dtype=cast, enabled=cast is not None, cache_enabled=False),
            ):
                traced = torch.jit.trace(model, tuple(leaves), check_trace=False)
        except Exception as error:
            raise failure_of(torch, error, "the program could not be traced") from error
        return replace(file, model=traced, format=TORCHSCRIPT)

    def load(self, engine_path: Path) -> LoadedTorch:
        """Loads the script onto the GPU, or into the CPU's memory.

        Raises:
            BuildError: this is no engine of this toolchain.
            DeviceUnavailableError: there is no GPU.
        """
        torch = import_torch()
        file, recipe = read_engine(torch, engine_path, "torchscript", self._release.device)
        return LoadedTorch(torch, file, recipe, self._release.device)


class _Flat:
    """A module of tensors in and tensors out: the tracer knows no arguments by name."""

    def __init__(self, torch: Any, live: LoadedTorch) -> None:
        class Flat(torch.nn.Module):  # type: ignore[misc]
            """The model between two flat lists."""

            def __init__(self) -> None:
                super().__init__()
                self.inner = live.module

            def forward(self, *tensors: Any) -> Any:
                """All tensors of the outputs, in order."""
                return tuple(live.leaves(self.inner(*tensors)))

        self.module = Flat()
        # What was exported has no other mode, and refuses to be told.
        self.module.training = False


def _frozen(torch: Any, model: Any) -> Any:
    try:
        with without_warnings():
            return torch.jit.freeze(model.eval())
    except Exception as error:
        raise failure_of(torch, error, "the script could not be frozen (freeze=false leaves it)") from error
