"""torch.compile with TorchInductor: what PyTorch offers for speed without leaving Python. A baseline."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Callable

from farm.domain.errors import BuildError
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from workers.toolchains.toolchain import BuildInput, BuildOutput, Progress
from workers.toolchains.torch_eager import describe_torch, read_engine, source_of
from workers.toolchains.torch_engine import LoadedTorch
from workers.toolchains.torch_file import CACHE_FILE, Recipe, read_torch_file, write_engine
from workers.toolchains.torch_precision import precision_note
from workers.toolchains.torch_release import TorchRelease, import_torch, installed_torch
from workers.toolchains.torch_script import opt_inputs

if TYPE_CHECKING:
    from pathlib import Path

_OPTIONS = (
    BuilderOption(
        "mode",
        "choice",
        default="DEFAULT",
        choices=("DEFAULT", "REDUCE-OVERHEAD", "MAX-AUTOTUNE", "MAX-AUTOTUNE-NO-CUDAGRAPHS"),
        help="torch.compile's mode.",
    ),
    BuilderOption(
        "dynamic", "bool", default=False, help="One code for all shapes, in place of one for each."
    ),
)
#: Every measured shape is compiled by itself; beyond PyTorch's usual 8 it would quietly run eager.
_MOST_SHAPES = 64


def toolchain() -> TorchCompileToolchain:
    """The PyTorch of this interpreter.

    Raises:
        ImportError: it is not installed, or too old.
    """
    return TorchCompileToolchain(installed_torch())


class TorchCompileToolchain:
    """Compiles a program at the shapes to tune for, and at each other one when it first meets it.

    Args:
        release: what is installed.
    """

    def __init__(self, release: TorchRelease) -> None:
        self._release = release

    def describe(self) -> ToolchainDescription:
        """Name, exact version, and what it can do."""
        return describe_torch("torch-compile", self._release, _OPTIONS)

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Compiles by running once, and keeps what was compiled beside the program.

        Raises:
            InvalidModelError: the file is no program that this PyTorch reads.
            InvalidSpecError: the shapes are not given.
            BuildError: the compiler refused, or there is no C++ compiler on the host.
            OutOfMemoryError: the device or the host was too small.
        """
        progress(None, "reading the program")
        torch = import_torch()
        file = read_torch_file(torch, source_of(build), self._release.device)
        recipe = Recipe("torch-compile", build.precision, build.builder_config)
        progress(None, "compiling")
        live = LoadedTorch(torch, file, recipe, self._release.device, _compiler(torch, recipe))
        live.settle()
        try:
            live.run(live.on_device(opt_inputs(torch, build, file.inputs)))
        except BuildError as error:
            raise explained(error) from error
        # Read anew: compiling has put the weights on the device, and in the memory format that was asked for.
        fresh = read_torch_file(torch, source_of(build), self._release.device)
        write_engine(torch, fresh, recipe, build.engine_path, _compiled_code(torch))
        mode = str(build.builder_config.get("mode", "DEFAULT")).lower()
        return BuildOutput(precision_note=f"{precision_note(build.precision)}, torch.compile, mode {mode}")

    def load(self, engine_path: Path) -> LoadedTorch:
        """Loads the program and what was compiled of it; the rest is compiled when it is first run.

        Raises:
            BuildError: this is no engine of this toolchain.
            DeviceUnavailableError: there is no GPU.
        """
        torch = import_torch()
        file, recipe = read_engine(torch, engine_path, "torch-compile", self._release.device)
        code = file.extra.get(CACHE_FILE, "")
        if code and hasattr(torch.compiler, "load_cache_artifacts"):
            torch.compiler.load_cache_artifacts(base64.b64decode(code))
        return LoadedTorch(torch, file, recipe, self._release.device, _compiler(torch, recipe))


def _compiler(torch: Any, recipe: Recipe) -> Callable[[Any], Any]:
    """What makes a compiled callable of a module."""
    mode = str(recipe.options.get("mode", "DEFAULT")).lower()
    is_dynamic = bool(recipe.options.get("dynamic"))

    def compiled(model: Any) -> Any:
        import torch._dynamo

        limits = torch._dynamo.config
        # Renamed in 2.6.
        name = "recompile_limit" if hasattr(limits, "recompile_limit") else "cache_size_limit"
        setattr(limits, name, _MOST_SHAPES)
        return torch.compile(model, mode=mode, dynamic=is_dynamic, fullgraph=True)

    return compiled


def _compiled_code(torch: Any) -> str:
    """What was compiled in this process, as text; empty where this release can not give it."""
    if not hasattr(torch.compiler, "save_cache_artifacts"):
        return ""
    found = torch.compiler.save_cache_artifacts()
    return base64.b64encode(found[0]).decode() if found else ""


def explained(error: BuildError) -> BuildError:
    """With what to do about a host that has no compiler."""
    lacks = any(
        words in error.message for words in ("InvalidCxxCompiler", "C++ compiler", "C compiler", "g++")
    )
    if not lacks:
        return error
    return BuildError(
        f"torch.compile needs a C++ compiler on the host: {error.message}",
        hint="Install g++ there, or leave torch-compile out of --baseline.",
    )
